// The bodies of requests: declarations in the form of files, whose errors say a path in place of a
// line, because whoever sends them has made them himself.

import Base
public import Model

extension MeshCodec {
    /// The canonical JSON of declarations; reads whatever files may say.
    public static let json = MeshCodec(
        encode: { $0.canonical },
        declaration: { bytes throws(MeshBodyError) in
            var reading = MeshBodyReading()
            let declaration = reading.declaration(try MeshBodyReading.document(bytes), at: [])
            try reading.finish()
            guard let declaration else { preconditionFailure("nothing was read, or reported") }
            let problems = declaration.problems
            guard problems.isEmpty else { throw MeshBodyError(problems.map(MeshBodyProblem.init)) }
            return declaration
        },
        body: { bytes throws(MeshBodyError) in
            var reading = MeshBodyReading()
            let body = reading.body(try MeshBodyReading.document(bytes))
            try reading.finish()
            return body
        },
        push: { bytes throws(MeshBodyError) in
            var reading = MeshPushReading(bytes)
            return try reading.push()
        })
}

struct MeshBodyReading {
    private var problems: [MeshBodyProblem] = []
    private var decoding = Decoding()

    init() { decoding.keepsSettings = false }

    /// The one document of a text.
    static func document(_ bytes: [UInt8]) throws(MeshBodyError) -> Node {
        func unreadable(_ message: String) -> MeshBodyError {
            MeshBodyError([.init(key: nil, message)], isUnreadable: true)
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw unreadable("the body is not UTF-8")
        }
        let (documents, diagnostics) = parseYAMLDocuments(text)
        if let first = diagnostics.first {
            throw unreadable("\(first.place.line):\(first.place.column): \(first.message)")
        }
        guard documents.count == 1 else { throw unreadable("one document of JSON is needed") }
        return documents[0]
    }

    func finish() throws(MeshBodyError) {
        guard problems.isEmpty else { throw MeshBodyError(problems) }
    }

    private mutating func report(_ path: [String], _ message: String) {
        guard problems.count < Limits.diagnostics else { return }
        problems.append(.init(key: nil, path: path, message))
    }

    mutating func body(_ node: Node) -> MeshBody {
        var body = MeshBody([])
        guard case .mapping(let entries) = node.content else {
            report([], "an object with 'declarations' is needed, not \(node.kind)")
            return body
        }
        if node.value("declarations") == nil { report([], "the key 'declarations' is missing") }
        for entry in entries {
            switch (entry.key, entry.value.content) {
            case ("declarations", .sequence(let items)): body.declarations = list(items)
            case ("declarations", _):
                report(["declarations"], "a list is needed, not \(entry.value.kind)")
            case ("revision", _) where entry.value.isNull: break
            case ("revision", _):
                body.revision = entry.value.text.flatMap { UInt64($0) }
                if body.revision == nil {
                    report(["revision"], "a whole number is needed, not \(entry.value.kind)")
                }
            default:
                let hint = suggestion(for: entry.key, in: ["declarations", "revision"])
                report([entry.key], "unknown key '\(entry.key)'\(hint)")
            }
        }
        return body
    }

    private mutating func list(_ items: [Node]) -> [MeshDeclaration] {
        var found: [MeshDeclaration] = []
        var seen: [MeshKey: Int] = [:]
        for (index, item) in items.enumerated() {
            let path = ["declarations", "\(index)"]
            guard let declaration = declaration(item, at: path) else { continue }
            let key = declaration.key
            if let first = seen.updateValue(index, forKey: key) {
                report(path, "\(key.title) is already declared, as item \(first)")
            }
            found.append(declaration)
        }
        return found
    }

    /// - Parameter start: where the node stands in the body.
    mutating func declaration(_ node: Node, at start: [String]) -> MeshDeclaration? {
        let before = decoding.diagnostics.count
        let declaration = MeshForms.declaration(node, &decoding)
        let key = declaration?.key
        let isNamed = key.map { MeshKey(path: $0.path) == $0 } ?? false
        for diagnostic in decoding.diagnostics[before...] {
            guard problems.count < Limits.diagnostics else { break }
            let path = node.path(to: diagnostic.place)
            problems.append(
                isNamed
                    ? .init(key: key, path: path, diagnostic.message)
                    : .init(key: nil, path: start + path, diagnostic.message))
        }
        if declaration == nil, problems.isEmpty { report(start, "no declaration") }
        return declaration
    }
}

extension Node {
    /// The path to what begins last of all that begins at or before a place.
    fileprivate func path(to place: Place) -> [String] {
        var best = (start: self.place, path: [String]())
        find(place, [], &best)
        return best.path
    }

    private func find(
        _ wanted: Place, _ path: [String], _ best: inout (start: Place, path: [String])
    ) {
        func offer(_ start: Place, _ path: [String]) {
            if start.source == wanted.source, start <= wanted, best.start < start {
                best = (start, path)
            }
        }
        offer(place, path)
        switch content {
        case .scalar: break
        case .sequence(let items):
            for (index, item) in items.enumerated() {
                item.find(wanted, path + ["\(index)"], &best)
            }
        case .mapping(let entries):
            for entry in entries {
                offer(entry.keyPlace, path + [entry.key])
                entry.value.find(wanted, path + [entry.key], &best)
            }
        }
    }
}
