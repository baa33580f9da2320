// A strict reader of the little XML that the report is made of: tags closed in order, attributes
// quoted, ampersands and brackets only as markup. Stricter than a browser, which would mend what is
// broken.

/// What is wrong, and where.
struct XMLError: Error, CustomStringConvertible {
    var offset: Int
    var problem: String
    var context: String
    var description: String { "\(problem) at \(offset): …\(context)…" }
}

/// One start tag.
struct XMLElement {
    var name: String
    var attributes: [String: String]
    var depth: Int
}

/// Reads a document and returns its elements in order of their start tags.
func readXML(_ text: String) throws(XMLError) -> [XMLElement] {
    var reader = XMLReader(bytes: Array(text.utf8))
    return try reader.read()
}

private struct XMLReader {
    let bytes: [UInt8]
    var at = 0
    var open: [String] = []
    var elements: [XMLElement] = []

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func read() throws(XMLError) -> [XMLElement] {
        let prologue = Array("<!DOCTYPE html>\n".utf8)
        guard bytes.starts(with: prologue) else { throw error("no document type") }
        at = prologue.count
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "<"): try tag()
            case UInt8(ascii: "&"): try reference()
            case UInt8(ascii: ">") where open.last != "style" && open.last != "script":
                throw error("a bare >")
            case 0..<0x20 where bytes[at] != 0x0A: throw error("a control character")
            default:
                if open.isEmpty && bytes[at] != 0x0A { throw error("text outside the document") }
                at += 1
            }
        }
        guard open.isEmpty else { throw error("<\(open[open.count - 1])> is not closed") }
        return elements
    }

    private mutating func tag() throws(XMLError) {
        at += 1
        if take("/") {
            let name = try name()
            guard let expected = open.popLast(), expected == name, take(">") else {
                throw error("</\(name)> closes nothing")
            }
            return
        }
        let name = try name()
        var attributes: [String: String] = [:]
        while take(" ") {
            let key = try self.name()
            guard take("=") && take("\"") else { throw error("\(key) has no quoted value") }
            let start = at
            while at < bytes.count && bytes[at] != UInt8(ascii: "\"") {
                if bytes[at] == UInt8(ascii: "<") { throw error("< in an attribute") }
                if bytes[at] == UInt8(ascii: "&") { try reference() } else { at += 1 }
            }
            let value = String(decoding: bytes[start..<at], as: UTF8.self)
            guard take("\"") else { throw error("\(key) is not closed") }
            guard attributes.updateValue(value, forKey: key) == nil else {
                throw error("\(key) twice")
            }
        }
        elements.append(.init(name: name, attributes: attributes, depth: open.count))
        if take("/") {
            guard take(">") else { throw error("a slash within <\(name)>") }
        } else {
            guard take(">") else { throw error("<\(name) is not closed") }
            open.append(name)
        }
    }

    private mutating func reference() throws(XMLError) {
        for known in ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"] where take(known) { return }
        throw error("an ampersand that begins no reference")
    }

    private mutating func name() throws(XMLError) -> String {
        let start = at
        while at < bytes.count,
            bytes[at] == UInt8(ascii: "-")
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[at])
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(bytes[at])
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(bytes[at])
        { at += 1 }
        guard at > start else { throw error("no name") }
        return String(decoding: bytes[start..<at], as: UTF8.self)
    }

    private mutating func take(_ text: String) -> Bool {
        guard bytes[at...].starts(with: text.utf8) else { return false }
        at += text.utf8.count
        return true
    }

    private func error(_ problem: String) -> XMLError {
        let context = bytes[max(0, at - 40)..<min(bytes.count, at + 40)]
        return .init(
            offset: at, problem: problem, context: String(decoding: context, as: UTF8.self))
    }
}
