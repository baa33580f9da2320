// `result.json`: everything else in a result folder can be made again from it.

import FoundationEssentials

/// Why a `result.json` cannot be read.
public enum ResultFileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Not JSON, or not an object with a `schema`.
    case notAResult(String)
    /// Another schema than `RunResult.currentSchema`; its name.
    case unknownSchema(String)
    /// The right schema, but a value is missing or of the wrong kind; where and what.
    case malformed(path: String, problem: String)

    public var description: String {
        switch self {
        case .notAResult(let problem):
            "not a meshbench result: \(problem)"
        case .unknownSchema(let name):
            "the result is of schema '\(name)'; this meshbench reads '\(RunResult.currentSchema)'"
        case .malformed(let path, let problem):
            "the result is damaged at \(path): \(problem)"
        }
    }
}

extension RunResult {
    /// The bytes of `result.json`: keys in snake case and sorted, so that two runs can be compared
    /// by `diff`; integers whole, fractions in the shortest form that reads back as the same
    /// number.
    /// - Precondition: every number is finite; `schema` is `currentSchema`.
    public func json() -> [UInt8] {
        precondition(schema == Self.currentSchema, "a result of schema \(schema) written as ours")
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .custom { path in ResultKey(snake: path.last) }
        do {
            var bytes = [UInt8](try encoder.encode(self))
            bytes.append(UInt8(ascii: "\n"))
            return bytes
        } catch {
            // The one thing that can fail here is a number that JSON cannot express.
            preconditionFailure("a result that JSON cannot hold: \(error)")
        }
    }

    /// Reads a `result.json`.
    public init(json: [UInt8]) throws(ResultFileError) {
        let data = Data(json)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .custom { path in ResultKey(camel: path.last) }
        let envelope: Envelope
        do {
            envelope = try decoder.decode(Envelope.self, from: data)
        } catch {
            throw .notAResult(describe(error).problem)
        }
        guard envelope.schema == Self.currentSchema else { throw .unknownSchema(envelope.schema) }
        do {
            self = try decoder.decode(Self.self, from: data)
        } catch {
            let (path, problem) = describe(error)
            throw .malformed(path: path, problem: problem)
        }
    }
}

/// What every version of the file has: read first, so that a later one is refused by name and not
/// by the first field that it lacks.
private struct Envelope: Decodable {
    var schema: String
}

/// Where decoding failed, as `rounds[3].round`, and why.
private func describe(_ error: any Error) -> (path: String, problem: String) {
    guard let error = error as? DecodingError else { return ("the top", "\(error)") }
    let context: DecodingError.Context
    var problem: String
    switch error {
    case .keyNotFound(let key, let found):
        context = found
        problem = "'\(ResultKey(snake: key).stringValue)' is missing"
    case .typeMismatch(_, let found), .valueNotFound(_, let found), .dataCorrupted(let found):
        context = found
        problem = found.debugDescription
    @unknown default:
        return ("the top", "\(error)")
    }
    var path = ""
    for key in context.codingPath {
        if let index = key.intValue {
            path += "[\(index)]"
        } else {
            path += (path.isEmpty ? "" : ".") + ResultKey(snake: key).stringValue
        }
    }
    if problem.isEmpty { problem = "unreadable" }
    return (path.isEmpty ? "the top" : path, problem)
}

/// A key of the file. Not Foundation's own snake case, which would write `cpu_per1000rps_cores`: a
/// digit after a lower-case letter begins a word too.
struct ResultKey: CodingKey {
    var stringValue: String
    var intValue: Int?

    init(stringValue: String) { self.stringValue = stringValue }

    init(intValue: Int) {
        self.stringValue = String(intValue)
        self.intValue = intValue
    }

    /// `cpuPer1000rpsCores` as `cpu_per_1000rps_cores`.
    init(snake key: (any CodingKey)?) {
        var result = ""
        var previous: Character = "_"
        for character in key?.stringValue ?? "" {
            let isWordStart =
                character.isUppercase || (character.isNumber && previous.isLowercase)
            if isWordStart && previous != "_" { result += "_" }
            result += character.lowercased()
            previous = character
        }
        stringValue = result
    }

    /// `cpu_per_1000rps_cores` as `cpuPer1000rpsCores`.
    init(camel key: (any CodingKey)?) {
        let words = (key?.stringValue ?? "").split(separator: "_")
        stringValue = words.enumerated().map { index, word in
            index == 0 ? String(word) : word.prefix(1).uppercased() + word.dropFirst()
        }.joined()
    }
}
