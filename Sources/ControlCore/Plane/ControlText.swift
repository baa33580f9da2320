// The answers of the control plane's API as JSON. Declarations go out as the codec writes them, not
// as they stand in a store that others may write to as well.

public import Model

/// Texts of JSON, made front to back.
public enum ControlText {
    /// RFC 8259, section 7.
    public static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    static func list(_ texts: some Sequence<String>) -> String {
        "[\(texts.map(quoted).joined(separator: ","))]"
    }

    /// `{"error": …, "problems": […]}`
    public static func error(_ message: String, _ problems: [MeshBodyProblem] = []) -> [UInt8] {
        let items = problems.map { problem in
            "{\"key\":\(quoted(problem.key?.path ?? "")),\"path\":\(list(problem.path)),"
                + "\"message\":\(quoted(problem.message))}"
        }
        return Array(
            "{\"error\":\(quoted(message)),\"problems\":[\(items.joined(separator: ","))]}".utf8)
    }

    /// `{"revision": N}`
    public static func revision(_ revision: UInt64) -> [UInt8] {
        Array("{\"revision\":\(revision)}".utf8)
    }

    /// What an apply has come to, and what was declared that is likely to be a mistake.
    public static func outcome(
        _ outcome: ControlOutcome, warnings: [MeshProblem] = []
    ) -> [UInt8] {
        func keys(_ keys: [MeshKey]) -> String { list(keys.map(\.path)) }
        let warned =
            warnings.isEmpty ? "" : ",\"warnings\":\(list(warnings.map(\.description)))"
        return Array(
            ("{\"revision\":\(outcome.revision),\"created\":\(keys(outcome.created)),"
                + "\"changed\":\(keys(outcome.changed)),\"unchanged\":\(outcome.unchanged),"
                + "\"deleted\":\(keys(outcome.deleted))\(warned)}").utf8)
    }

    /// `{"revision": N, "declarations": […]}`, and of what cannot be read
    /// `"damaged": [{"key": …, "reason": …}]`.
    public static func declarations(
        _ declarations: some Sequence<MeshDeclaration>, damaged: [ControlDamage], revision: UInt64,
        encode: (MeshDeclaration) -> [UInt8]
    ) -> [UInt8] {
        var bytes = Array("{\"revision\":\(revision),\"declarations\":[".utf8)
        for (index, declaration) in declarations.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes += encode(declaration)
        }
        bytes.append(UInt8(ascii: "]"))
        if !damaged.isEmpty {
            let items = damaged.map {
                "{\"key\":\(quoted("\($0.key)")),\"reason\":\(quoted($0.reason))}"
            }
            bytes += ",\"damaged\":[\(items.joined(separator: ","))]".utf8
        }
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    /// What a watch says of a commit; nil: it changed no declaration. Of a value that is none it
    /// says that it is unreadable.
    public static func line(_ commit: StoreCommit, codec: MeshCodec) -> [UInt8]? {
        guard commit.touchesDeclarations else { return nil }
        var bytes = Array("{\"revision\":\(commit.revision),\"changes\":[".utf8)
        var isFirst = true
        for change in commit.changes where change.isOfDeclaration {
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            let key = quoted("\(change.key)")
            switch change {
            case .put(let entry):
                // What was declared here reads back as itself.
                if let declaration = try? codec.declaration(entry.value),
                    StoreKey(declaration.key.path) == entry.key
                {
                    bytes += "{\"op\":\"put\",\"key\":\(key),\"declaration\":".utf8
                    bytes += codec.encode(declaration)
                    bytes.append(UInt8(ascii: "}"))
                } else {
                    bytes += "{\"op\":\"unreadable\",\"key\":\(key)}".utf8
                }
            case .delete: bytes += "{\"op\":\"delete\",\"key\":\(key)}".utf8
            }
        }
        bytes += "]}".utf8
        return bytes
    }
}
