import FoundationEssentials

/// JSON for people and for the rig, off the request path.
enum JSONText {
    /// `value`, sorted and indented; every type that is given here can be encoded.
    static func of(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else {
            preconditionFailure("a configuration that cannot be encoded")
        }
        return String(decoding: data, as: UTF8.self) + "\n"
    }
}
