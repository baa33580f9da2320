// A line of a proxy's watch. A snapshot may be most of a mesh, and a tree of all its nodes many
// times the text: so the line is cut into its declarations first, and these are read one by one.

import Base
import Model

struct MeshPushReading {
    private let bytes: [UInt8]
    private var decoding = Decoding()

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        decoding.keepsSettings = false
    }

    /// - Throws: the first thing that is wrong: it is a program that reads this, which then refuses
    ///   the whole.
    mutating func push() throws(MeshBodyError) -> MeshPush {
        var push = MeshPush(version: 0, isSnapshot: false)
        var seen: Set<String> = []
        for (key, value) in try members(of: bytes[...], []) {
            guard seen.insert(key).inserted else { throw error([key], "stands here already") }
            switch key {
            case "version":
                let text = String(decoding: value, as: UTF8.self)
                guard let version = UInt64(text) else {
                    throw error([key], "a whole number is needed")
                }
                push.version = version
            case "snapshot": push.isSnapshot = try flag(value, [key])
            case "authorities": push.authorities = try text(value, [key])
            case "declarations": push.puts = try declarations(value)
            case "deleted": push.deletes = try keys(value, ["deleted"])
            case "checks": push.checks = try findings(value)
            default: throw error([key], "unknown key '\(abbreviated(key))'")
            }
        }
        for key in ["version", "snapshot"] where !seen.contains(key) {
            throw error([], "the key '\(key)' is missing")
        }
        try check(push)
        return push
    }

    private func check(_ push: MeshPush) throws(MeshBodyError) {
        if push.isSnapshot, push.authorities == nil {
            throw error(["authorities"], "a snapshot without authorities")
        }
        if push.isSnapshot, !push.deletes.isEmpty {
            throw error(["deleted"], "a snapshot that deletes")
        }
        var keys = Set<MeshKey>(minimumCapacity: push.puts.count + push.deletes.count)
        for (index, declaration) in push.puts.enumerated()
        where !keys.insert(declaration.key).inserted {
            throw error(
                ["declarations", "\(index)"], "\(declaration.key.title) is already declared")
        }
        for (index, key) in push.deletes.enumerated() where !keys.insert(key).inserted {
            throw error(["deleted", "\(index)"], "\(key.title) stands here already")
        }
    }

    private mutating func declarations(
        _ value: ArraySlice<UInt8>
    ) throws(MeshBodyError) -> [MeshDeclaration] {
        var declarations: [MeshDeclaration] = []
        for (index, item) in try items(value, ["declarations"]).enumerated() {
            let path = ["declarations", "\(index)"]
            let node = try node(item, path)
            guard let declaration = MeshForms.declaration(node, &decoding),
                decoding.diagnostics.isEmpty
            else {
                throw error(path, decoding.diagnostics.first?.message ?? "no declaration")
            }
            if let problem = declaration.problems.first {
                throw MeshBodyError([MeshBodyProblem(problem)])
            }
            declarations.append(declaration)
        }
        return declarations
    }

    private func findings(_ value: ArraySlice<UInt8>) throws(MeshBodyError) -> MeshFindings {
        var findings = MeshFindings()
        var seen: Set<String> = []
        var named: Set<MeshName> = []
        for (key, value) in try members(of: value, ["checks"]) {
            let path = ["checks", key]
            guard seen.insert(key).inserted else { throw error(path, "stands here already") }
            switch key {
            case "all": findings.isWhole = try flag(value, path)
            case "undecided": findings.undecided = try endpoints(value, path, &named)
            case "unhealthy": findings.unhealthy = try endpoints(value, path, &named)
            case "healthy": findings.healthy = try endpoints(value, path, &named)
            default: throw error(path, "unknown key '\(abbreviated(key))'")
            }
        }
        if findings.isWhole, !findings.healthy.isEmpty {
            throw error(["checks", "healthy"], "all that are not named are healthy already")
        }
        if !findings.isWhole, !findings.undecided.isEmpty {
            throw error(
                ["checks", "undecided"], "without 'all' nothing is said of those not named")
        }
        return findings
    }

    private func endpoints(
        _ value: ArraySlice<UInt8>, _ path: [String], _ named: inout Set<MeshName>
    ) throws(MeshBodyError) -> [MeshName] {
        var names: [MeshName] = []
        for (index, key) in try keys(value, path).enumerated() {
            let path = path + ["\(index)"]
            guard key.kind == .endpoint else {
                throw error(path, "a key such as endpoints/shop/cart-1 is needed")
            }
            guard named.insert(key.name).inserted else {
                throw error(path, "\(key.title) stands here already")
            }
            names.append(key.name)
        }
        return names
    }

    private func flag(_ value: ArraySlice<UInt8>, _ path: [String]) throws(MeshBodyError) -> Bool {
        switch String(decoding: value, as: UTF8.self) {
        case "true": return true
        case "false": return false
        default: throw error(path, "'true' or 'false' is needed")
        }
    }

    private func keys(
        _ value: ArraySlice<UInt8>, _ path: [String]
    ) throws(MeshBodyError) -> [MeshKey] {
        var keys: [MeshKey] = []
        for (index, item) in try items(value, path).enumerated() {
            let path = path + ["\(index)"]
            guard let key = MeshKey(path: try text(item, path)) else {
                throw error(path, "a key such as endpoints/shop/cart-1 is needed")
            }
            keys.append(key)
        }
        return keys
    }

    private func text(_ value: ArraySlice<UInt8>, _ path: [String]) throws(MeshBodyError) -> String
    {
        guard value.first == UInt8(ascii: "\""), let text = try node(value, path).text else {
            throw error(path, "a text is needed")
        }
        return text
    }

    private func node(_ value: ArraySlice<UInt8>, _ path: [String]) throws(MeshBodyError) -> Node {
        do throws(MeshBodyError) {
            return try MeshBodyReading.document(Array(value))
        } catch {
            throw self.error(path, error.problems.first?.message ?? "no JSON", isUnreadable: true)
        }
    }

    private func error(
        _ path: [String], _ message: String, isUnreadable: Bool = false
    ) -> MeshBodyError {
        MeshBodyError([.init(key: nil, path: path, message)], isUnreadable: isUnreadable)
    }
}

// MARK: - Cutting

extension MeshPushReading {
    /// The members of an object: the line, or one in it.
    private func members(
        of object: ArraySlice<UInt8>, _ path: [String]
    ) throws(MeshBodyError) -> [(key: String, value: ArraySlice<UInt8>)] {
        var members: [(key: String, value: ArraySlice<UInt8>)] = []
        var cutter = Cutter(object)
        guard cutter.take(UInt8(ascii: "{")) else {
            throw error(path, "an object is needed", isUnreadable: path.isEmpty)
        }
        while !cutter.take(UInt8(ascii: "}")) {
            guard members.isEmpty || cutter.take(UInt8(ascii: ",")), let key = cutter.value(),
                cutter.take(UInt8(ascii: ":")), let value = cutter.value()
            else { throw unreadable("no JSON") }
            members.append((try text(key, path), value))
        }
        guard cutter.isAtEnd() else { throw unreadable("no JSON") }
        return members
    }

    private func items(
        _ value: ArraySlice<UInt8>, _ path: [String]
    ) throws(MeshBodyError) -> [ArraySlice<UInt8>] {
        var items: [ArraySlice<UInt8>] = []
        var cutter = Cutter(value)
        guard cutter.take(UInt8(ascii: "[")) else { throw error(path, "a list is needed") }
        while !cutter.take(UInt8(ascii: "]")) {
            guard items.isEmpty || cutter.take(UInt8(ascii: ",")), let item = cutter.value() else {
                throw unreadable("no JSON")
            }
            items.append(item)
        }
        guard cutter.isAtEnd() else { throw unreadable("no JSON") }
        return items
    }

    private func unreadable(_ message: String) -> MeshBodyError {
        error([], message, isUnreadable: true)
    }
}

/// Finds where values of JSON end, without a look at what they say: whoever reads a value finds
/// what is wrong in it.
private struct Cutter {
    private let bytes: ArraySlice<UInt8>
    private var index: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        index = bytes.startIndex
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    private mutating func skipBlanks() {
        while index < bytes.endIndex, Self.isBlank(bytes[index]) { index += 1 }
    }

    mutating func isAtEnd() -> Bool {
        skipBlanks()
        return index == bytes.endIndex
    }

    /// Takes a byte if it is the next but for blanks.
    mutating func take(_ byte: UInt8) -> Bool {
        guard !isAtEnd(), bytes[index] == byte else { return false }
        index += 1
        return true
    }

    /// The next value; nil where there is none, or it does not end.
    mutating func value() -> ArraySlice<UInt8>? {
        skipBlanks()
        let start = index
        var depth = 0
        repeat {
            guard index < bytes.endIndex else { return nil }
            switch bytes[index] {
            case UInt8(ascii: "\""):
                guard skipText() else { return nil }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                guard depth > 0 else { return nil }
                depth -= 1
            case UInt8(ascii: ","), UInt8(ascii: ":"):
                guard depth > 0 else { return nil }
            default:
                if depth == 0 {
                    skipWord()
                    continue
                }
            }
            index += 1
        } while depth > 0
        return bytes[start..<index]
    }

    /// A number, or such as `true`.
    private mutating func skipWord() {
        while index < bytes.endIndex, !Self.isBlank(bytes[index]),
            !",:{}[]\"".utf8.contains(bytes[index])
        {
            index += 1
        }
    }

    /// - Returns: whether the text that begins here ends.
    private mutating func skipText() -> Bool {
        index += 1
        while index < bytes.endIndex {
            switch bytes[index] {
            case UInt8(ascii: "\\"): index += 2
            case UInt8(ascii: "\""):
                index += 1
                return true
            default: index += 1
            }
        }
        index = bytes.endIndex
        return false
    }
}
