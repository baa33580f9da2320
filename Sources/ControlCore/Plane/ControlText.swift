// The answers of the control plane's API as JSON. What declarations say stands in the store as
// canonical JSON, and goes out as it stands there.

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

    /// What an apply has come to.
    public static func outcome(_ outcome: ControlOutcome) -> [UInt8] {
        func keys(_ keys: [MeshKey]) -> String { list(keys.map(\.path)) }
        return Array(
            ("{\"revision\":\(outcome.revision),\"created\":\(keys(outcome.created)),"
                + "\"changed\":\(keys(outcome.changed)),\"unchanged\":\(outcome.unchanged),"
                + "\"deleted\":\(keys(outcome.deleted))}").utf8)
    }

    /// `{"revision": N, "declarations": […]}`
    public static func declarations(_ entries: [StoreEntry], revision: UInt64) -> [UInt8] {
        var bytes = Array("{\"revision\":\(revision),\"declarations\":[".utf8)
        bytes.reserveCapacity(entries.reduce(bytes.count + 2) { $0 + $1.value.count + 1 })
        for (index, entry) in entries.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes += entry.value
        }
        bytes += "]}".utf8
        return bytes
    }

    /// What a watch says of a commit; nil: it changed no declaration.
    public static func line(_ commit: StoreCommit) -> [UInt8]? {
        var bytes = Array("{\"revision\":\(commit.revision),\"changes\":[".utf8)
        var isFirst = true
        for change in commit.changes {
            guard let text = String(validating: change.key.bytes, as: UTF8.self),
                let key = MeshKey(path: text)
            else { continue }
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            switch change {
            case .put(let entry):
                bytes += "{\"op\":\"put\",\"key\":\(quoted(key.path)),\"declaration\":".utf8
                bytes += entry.value
                bytes.append(UInt8(ascii: "}"))
            case .delete: bytes += "{\"op\":\"delete\",\"key\":\(quoted(key.path))}".utf8
            }
        }
        bytes += "]}".utf8
        return isFirst ? nil : bytes
    }
}
