/// A piece of a YAML document with the place where it was written.
struct Node: Sendable {
    enum Content: Sendable {
        case scalar(Scalar)
        case sequence([Node])
        case mapping([Entry])
    }

    struct Entry: Sendable {
        var key: String
        var keyPlace: Place
        var value: Node
    }

    struct Scalar: Sendable {
        var text: String
        /// Written without quotes, on one line or several.
        var isPlain: Bool
        /// Characters from the node's place to the first one of `text`; nil where the text does not
        /// stand in the file as it is (escapes, folding, variables), so that columns cannot be
        /// counted.
        var textOffset: Int?
    }

    var place: Place
    var content: Content

    /// This node and all below it.
    var count: Int {
        switch content {
        case .scalar: 1
        case .sequence(let items): items.reduce(1) { $0 + $1.count }
        case .mapping(let entries): entries.reduce(1) { $0 + 1 + $1.value.count }
        }
    }

    /// Whether this node and all below it were written in the same text.
    func isAll(from source: Place.Source) -> Bool {
        guard place.source == source else { return false }
        return switch content {
        case .scalar: true
        case .sequence(let items): items.allSatisfy { $0.isAll(from: source) }
        case .mapping(let entries): entries.allSatisfy { $0.value.isAll(from: source) }
        }
    }

    /// The text of a scalar.
    var text: String? {
        if case .scalar(let scalar) = content { scalar.text } else { nil }
    }

    /// Nothing was written: `key:`, `key: ~` or `key: null`.
    var isNull: Bool {
        guard case .scalar(let scalar) = content, scalar.isPlain else { return false }
        return ["", "~", "null"].contains(scalar.text)
    }

    /// What the node is, for people.
    var kind: String {
        switch content {
        case .scalar(let scalar): isNull ? "nothing" : "'\(abbreviated(scalar.text))'"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }

    /// The value of a key of a mapping.
    func value(_ key: String) -> Node? {
        guard case .mapping(let entries) = content else { return nil }
        return entries.first { $0.key == key }?.value
    }

    /// The place of a character of a scalar's text, as exactly as it is known.
    func place(ofCharacter offset: Int) -> Place {
        guard case .scalar(let scalar) = content, let start = scalar.textOffset else {
            return place
        }
        return place.advanced(by: start + offset)
    }
}

/// At most `limit` characters of a text, on one line.
func abbreviated(_ text: String, to limit: Int = 40) -> String {
    let line = String(text.prefix(limit).map { $0.isNewline ? " " : $0 })
    return text.count > limit ? line + "…" : line
}
