import Base
import FoundationEssentials
import Glibc
import Model
import Runtime
import Scenario

/// The file of `meshbench app --config`. What it does not know is an error: a key that is spelled
/// wrong would silently leave the standard in force.
struct AppFile {
    /// The file's configuration.
    /// - Throws: a failure that names the file and the place.
    static func read(_ file: String) throws(CommandFailure) -> AppConfiguration {
        guard let data = FileManager.default.contents(atPath: file) else {
            let reason = unsafe String(cString: strerror(errno))
            throw .failed("meshbench app: \(file) cannot be read: \(reason)")
        }
        do {
            try check(JSONDecoder().decode(Tree.self, from: data), keys, at: "")
            return try JSONDecoder().decode(AppConfiguration.self, from: data)
        } catch let error as Unknown {
            throw CommandFailure(code: .badScenario, message: "\(file): \(error.text)")
        } catch {
            throw CommandFailure(code: .badScenario, message: "\(file): \(text(of: error))")
        }
    }

    /// What the decoder complains of, with the place in the file.
    private static func text(of error: any Error) -> String {
        let context: DecodingError.Context
        switch error {
        case DecodingError.keyNotFound(let key, let missing):
            return "\(place(missing.codingPath + [key])) is missing"
        case DecodingError.dataCorrupted(let found) where found.codingPath.isEmpty:
            return "this is no JSON"
        case DecodingError.typeMismatch(_, let found), DecodingError.valueNotFound(_, let found),
            DecodingError.dataCorrupted(let found):
            context = found
        default: return "\(error)"
        }
        return "\(place(context.codingPath)): \(context.debugDescription)"
    }

    private static func place(_ path: [any CodingKey]) -> String {
        path.map { key in key.intValue.map { "[\($0)]" } ?? "'\(key.stringValue)'" }
            .joined(separator: " in ")
    }

    private struct Unknown: Error { let text: String }

    /// What the keys of an object may be, and what lies below them.
    private indirect enum Keys: Sendable {
        case value
        case object([String: Keys])
        case list(Keys)
        /// Any key, such as the name of a service.
        case map
    }

    // As docs/APP.md tells them.
    private static let keys = Keys.object([
        "name": .value, "listen": .value, "protocol": .value,
        "tls": .object([
            "certificate": .value, "key": .value,
            "certificates": .list(.object(["certificate": .value, "key": .value])),
            "authorities": .value, "clientCertificate": .value, "clientNames": .value,
            "minimumVersion": .value,
        ]),
        "workers": .value, "seed": .value, "calls": .map, "dns": .value, "control": .value,
        "ledger": .value, "requestLog": .value,
        "behaviour": .object([
            "size": .value, "burn": duration, "chunked": .value, "calls": .value,
            "delay": .object([
                "points": .list(.object(["quantile": .value, "delay": duration])),
                "law": .object([
                    "exponential": .object(["mean": duration]),
                    "uniform": .object(["least": duration, "most": duration]),
                    "normal": .object(["mean": duration, "deviation": duration]),
                    "pareto": .object(["least": duration, "shape": .value]),
                ]),
            ]),
            "capacity": .object(["concurrency": .value, "queue": .value]), "deadlines": .value,
            "abandons": .value,
            "statuses": .list(.object(["status": .value, "share": .value])),
        ]),
    ])
    private static let duration = Keys.object(["nanoseconds": .value])

    /// The form is checked by the decoder of the configuration; here are only the keys.
    private static func check(_ tree: Tree, _ keys: Keys, at place: String) throws {
        switch (tree, keys) {
        case (.list(let elements), .list(let keys)):
            for (i, element) in elements.enumerated() {
                try check(element, keys, at: "\(place)[\(i)]")
            }
        case (.object(let fields), .object(let known)):
            for (name, field) in fields.sorted(by: { $0.key < $1.key }) {
                let path = place.isEmpty ? name : "\(place).\(name)"
                guard let keys = known[name] else {
                    let hint = suggestion(for: name, in: known.keys.sorted())
                    throw Unknown(text: "unknown key '\(path)'\(hint)")
                }
                try check(field, keys, at: path)
            }
        default: break
        }
    }

    /// JSON of any form.
    // Bound: the file, which is in memory already.
    private enum Tree: Decodable {
        case object([String: Tree])
        case list([Tree])
        case value

        init(from decoder: any Decoder) throws {
            if let fields = try? decoder.singleValueContainer().decode([String: Tree].self) {
                self = .object(fields)
            } else if let elements = try? decoder.singleValueContainer().decode([Tree].self) {
                self = .list(elements)
            } else {
                self = .value
            }
        }
    }
}
