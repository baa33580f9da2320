// Nodes back into YAML: one line for `explain`, a document for the scenario as it was run. Every
// scalar that could be mistaken for anything else is quoted.

extension Node {
    /// The node on one line.
    var flowText: String {
        switch content {
        case .scalar(let scalar): scalar.flowText
        case .sequence(let items): "[\(items.map(\.flowText).joined(separator: ", "))]"
        case .mapping(let entries):
            "{\(entries.map { "\(quoted($0.key)): \($0.value.flowText)" }.joined(separator: ", "))}"
        }
    }

    /// The node as a document.
    var documentText: String {
        var lines: [String] = []
        write(into: &lines, indent: "")
        return lines.map { $0 + "\n" }.joined()
    }

    private func write(into lines: inout [String], indent: String) {
        switch content {
        case .mapping(let entries) where !entries.isEmpty:
            for entry in entries {
                entry.value.write(after: "\(indent)\(quoted(entry.key)):", into: &lines, indent)
            }
        case .sequence(let items) where !items.isEmpty:
            for item in items { item.write(after: "\(indent)-", into: &lines, indent) }
        default: lines.append(indent + flowText)
        }
    }

    private func write(after head: String, into lines: inout [String], _ indent: String) {
        guard !isShort else { return lines.append("\(head) \(flowText)") }
        lines.append(head)
        write(into: &lines, indent: indent + "  ")
    }

    /// Fits on the line of its key.
    private var isShort: Bool {
        switch content {
        case .scalar: true
        case .sequence(let items): items.allSatisfy { $0.text != nil } && flowText.count <= 70
        case .mapping(let entries):
            entries.allSatisfy { $0.value.text != nil } && flowText.count <= 70
        }
    }
}

extension Node.Scalar {
    fileprivate var flowText: String {
        // A plain null stays what it is; the same text in quotes stays a text.
        isPlain && ["", "~", "null"].contains(text) ? "null" : quoted(text)
    }
}

/// The text as a YAML scalar: bare where it is harmless, else in double quotes.
private func quoted(_ text: String) -> String {
    let harmless = text.utf8.allSatisfy { byte in
        isNameByte(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
            || "./_%+".utf8.contains(byte)
    }
    let mistakable = ["", "null", "~"].contains(text) || "-%+".utf8.contains(text.utf8.first ?? 0)
    return harmless && !mistakable ? text : JSON.string(text).text
}
