// libyaml turns bytes into events with marks; this file turns events into a tree of nodes. Types
// are not guessed here (in YAML 1.1 `no` is false and `1:30` is ninety): every scalar stays a text
// until a key says what it must be.

import CYAML

/// Reads one YAML document.
/// - Throws: the error that ended the reading, and duplicate keys found before it.
func parseYAML(
    _ text: String, source: Place.Source, nodesMost: Int = Limits.nodes
) throws(InvalidDocument) -> Node {
    var parser = TreeParser(
        EventStream(text, source: source), source: source, nodesMost: nodesMost)
    return try parser.document()
}

/// Reads every document of a text that may hold many, as `---` divides them; empty ones count for
/// nothing.
/// - Returns: the documents up to where the text is wrong, and what is wrong with it.
func parseYAMLDocuments(_ text: String) -> (documents: [Node], diagnostics: [Diagnostic]) {
    var parser = TreeParser(
        EventStream(text, source: .file), source: .file, nodesMost: Limits.declarationNodes)
    return parser.documents()
}

/// A text that is no document we read.
struct InvalidDocument: Error {
    var diagnostics: [Diagnostic]
}

/// What libyaml reports, without what we refuse.
private enum Event {
    case scalar(Node.Scalar, anchor: String?)
    case sequenceStart(anchor: String?)
    case mappingStart(anchor: String?)
    case collectionEnd
    case alias(String)
    case documentStart
    case documentEnd
    case streamEnd
}

/// Events as a tree, within bounds.
private struct TreeParser {
    let stream: EventStream
    let source: Place.Source
    private var anchors: [String: Node] = [:]
    private var nodes = 0
    private var duplicates: [Diagnostic] = []
    private let nodesMost: Int

    init(_ stream: EventStream, source: Place.Source, nodesMost: Int) {
        self.stream = stream
        self.source = source
        self.nodesMost = nodesMost
    }

    mutating func documents() -> (documents: [Node], diagnostics: [Diagnostic]) {
        var documents: [Node] = []
        do throws(InvalidDocument) {
            while case .documentStart = try stream.next().event {
                // An alias means an anchor of its own document (YAML 1.2, 3.2.2.2).
                anchors = [:]
                let root = try node(after: try stream.next(), depth: 0)
                _ = try stream.next()
                if !root.isNull { documents.append(root) }
            }
            return (documents, duplicates)
        } catch {
            return (documents, duplicates + error.diagnostics)
        }
    }

    mutating func document() throws(InvalidDocument) -> Node {
        do throws(InvalidDocument) {
            let (start, place) = try stream.next()
            guard case .documentStart = start else { return emptyMapping(place) }
            let root = try node(after: try stream.next(), depth: 0)
            _ = try stream.next()
            let (end, endPlace) = try stream.next()
            guard case .streamEnd = end else {
                throw InvalidDocument(at: endPlace, "one document is expected, here begins another")
            }
            if !duplicates.isEmpty { throw InvalidDocument(diagnostics: []) }
            return root
        } catch {
            throw InvalidDocument(diagnostics: duplicates + error.diagnostics)
        }
    }

    private func emptyMapping(_ place: Place) -> Node { .init(place: place, content: .mapping([])) }

    private mutating func node(
        after event: (event: Event, place: Place), depth: Int
    ) throws(InvalidDocument) -> Node {
        let place = event.place
        try count(1, at: place)
        guard depth < Limits.depth else {
            throw InvalidDocument(at: place, "nested deeper than \(Limits.depth) levels")
        }
        switch event.event {
        case .scalar(let scalar, let anchor):
            return keep(.init(place: place, content: .scalar(scalar)), as: anchor)
        case .sequenceStart(let anchor):
            var items: [Node] = []
            while let next = try nextInCollection() {
                items.append(try node(after: next, depth: depth + 1))
            }
            return keep(.init(place: place, content: .sequence(items)), as: anchor)
        case .mappingStart(let anchor):
            let entries = try mapping(depth: depth)
            return keep(.init(place: place, content: .mapping(entries)), as: anchor)
        case .alias(let name):
            guard let known = anchors[name] else {
                throw InvalidDocument(at: place, "'*\(name)' names no anchor before it")
            }
            // An alias of an alias of an alias grows exponentially: count what it stands for.
            try count(known.count, at: place)
            return known
        case .collectionEnd, .documentStart, .documentEnd, .streamEnd:
            preconditionFailure("libyaml ended a collection that it never began")
        }
    }

    private mutating func mapping(depth: Int) throws(InvalidDocument) -> [Node.Entry] {
        var entries: [Node.Entry] = []
        var places: [String: Place] = [:]
        while let next = try nextInCollection() {
            let key = try node(after: next, depth: depth + 1)
            guard let name = key.text else {
                throw InvalidDocument(at: key.place, "a key must be a word, not \(key.kind)")
            }
            let value = try node(after: try stream.next(), depth: depth + 1)
            if let first = places.updateValue(key.place, forKey: name) {
                let message = "the key '\(abbreviated(name))' is already on line \(first.line)"
                if duplicates.count < Limits.diagnostics {
                    duplicates.append(.init(next.place, message))
                }
            }
            entries.append(.init(key: name, keyPlace: next.place, value: value))
        }
        return entries
    }

    private func nextInCollection() throws(InvalidDocument) -> (event: Event, place: Place)? {
        let next = try stream.next()
        if case .collectionEnd = next.event { return nil }
        return next
    }

    private mutating func keep(_ node: Node, as anchor: String?) -> Node {
        if let anchor { anchors[anchor] = node }
        return node
    }

    private mutating func count(_ more: Int, at place: Place) throws(InvalidDocument) {
        nodes += more
        guard nodes <= nodesMost else {
            throw InvalidDocument(at: place, "more than \(nodesMost) values in one file")
        }
    }
}

/// libyaml's event stream over one text.
@safe
private final class EventStream {
    // Safety: `parser` and `input` are allocated here, freed in `deinit`, and never handed out;
    // libyaml reads `input` only within its recorded size.
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let input: UnsafeMutableBufferPointer<UInt8>
    private let source: Place.Source

    init(_ text: String, source: Place.Source) {
        let bytes = Array(text.utf8)
        unsafe input = .allocate(capacity: max(bytes.count, 1))
        _ = unsafe input.update(fromContentsOf: bytes)
        unsafe parser = .allocate(capacity: 1)
        self.source = source
        let isReady = unsafe yaml_parser_initialize(parser)
        precondition(isReady == 1, "no memory for a YAML parser")
        unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        unsafe yaml_parser_set_input_string(parser, input.baseAddress, bytes.count)
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
        unsafe input.deallocate()
    }

    /// The next event; after the end of the stream, its end again.
    func next() throws(InvalidDocument) -> (event: Event, place: Place) {
        while true {
            var event = unsafe yaml_event_t()
            guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw failure() }
            defer { unsafe yaml_event_delete(&event) }
            let place = unsafe Place(event.start_mark, source)
            switch unsafe event.type {
            case YAML_STREAM_START_EVENT: continue
            case YAML_DOCUMENT_START_EVENT: return (.documentStart, place)
            case YAML_DOCUMENT_END_EVENT: return (.documentEnd, place)
            case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return (.collectionEnd, place)
            case YAML_ALIAS_EVENT:
                return (.alias(unsafe string(event.data.alias.anchor) ?? ""), place)
            case YAML_SEQUENCE_START_EVENT:
                let start = unsafe event.data.sequence_start
                try refuse(tag: unsafe string(start.tag), at: place)
                return (.sequenceStart(anchor: unsafe string(start.anchor)), place)
            case YAML_MAPPING_START_EVENT:
                let start = unsafe event.data.mapping_start
                try refuse(tag: unsafe string(start.tag), at: place)
                return (.mappingStart(anchor: unsafe string(start.anchor)), place)
            case YAML_SCALAR_EVENT:
                try refuse(tag: unsafe string(event.data.scalar.tag), at: place)
                let anchor = unsafe string(event.data.scalar.anchor)
                return (.scalar(unsafe scalar(event), anchor: anchor), place)
            default: return (.streamEnd, place)
            }
        }
    }

    private func refuse(tag: String?, at place: Place) throws(InvalidDocument) {
        if let tag {
            throw InvalidDocument(at: place, "tags such as '\(tag)' have no meaning here")
        }
    }

    @unsafe private func scalar(_ event: yaml_event_t) -> Node.Scalar {
        let data = unsafe event.data.scalar
        let bytes = unsafe UnsafeBufferPointer(start: data.value, count: data.length)
        let text = unsafe String(decoding: bytes, as: UTF8.self)
        let isPlain = unsafe data.style == YAML_PLAIN_SCALAR_STYLE
        let quotes = isPlain ? 0 : 1
        let written = unsafe event.end_mark.column - event.start_mark.column
        let isOneLine = unsafe event.start_mark.line == event.end_mark.line
        let isVerbatim = isOneLine && written == text.unicodeScalars.count + 2 * quotes
        return .init(text: text, isPlain: isPlain, textOffset: isVerbatim ? quotes : nil)
    }

    @unsafe private func string(_ bytes: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        guard let bytes = unsafe bytes else { return nil }
        return unsafe String(cString: bytes)
    }

    private func failure() -> InvalidDocument {
        let state = unsafe parser.pointee
        var message =
            unsafe state.problem.map { unsafe String(cString: $0) } ?? "not a YAML document"
        if unsafe state.error == YAML_READER_ERROR {
            return .init(at: unsafe place(ofByte: state.problem_offset), message)
        }
        if let context = unsafe state.context {
            let line = unsafe state.context_mark.line + 1
            message += unsafe " \(String(cString: context)) that begins on line \(line)"
        }
        return .init(at: unsafe Place(state.problem_mark, source), message)
    }

    private func place(ofByte offset: Int) -> Place {
        let before = unsafe input.prefix(offset)
        let line = unsafe before.split(separator: 10, omittingEmptySubsequences: false)
        return unsafe .init(
            source: source, line: max(line.count, 1), column: (line.last?.count ?? 0) + 1)
    }
}

extension InvalidDocument {
    fileprivate init(at place: Place, _ message: String) {
        diagnostics = [.init(place, message)]
    }
}

extension Place {
    fileprivate init(_ mark: yaml_mark_t, _ source: Source) {
        self.init(source: source, line: mark.line + 1, column: mark.column + 1)
    }
}
