import Base

/// Which protocols a connection may change to (RFC 9110, 7.8).
///
/// One that may not is not asked for: the server answers as if it had not been mentioned. Without
/// the list, a client could have a tunnel to any server that agrees, to `h2c` for example, and send
/// requests in it that no route and no log ever sees.
struct UpgradePolicy {
    private let protocols: [[UInt8]]
    /// Whether CONNECT may open a tunnel (RFC 9110, 9.3.6).
    let takesConnect: Bool

    /// - Parameter names: as in `upgrade` fields, in lower case; `connect` for the method.
    init(_ names: [String]) {
        protocols = names.filter { $0 != Self.connect }.map { Array($0.utf8) }
        takesConnect = names.contains(Self.connect)
    }

    private static let connect = "connect"

    /// Whether every protocol in an `upgrade` field's value may be passed on.
    func passes(_ value: Bytes) -> Bool {
        var start = 0
        while start <= value.count {
            let comma = value.firstIndex(of: UInt8(ascii: ","), from: start) ?? value.count
            guard allows(trimmed(value[start..<comma])) else { return false }
            start = comma + 1
        }
        return true
    }

    private func allows(_ name: Bytes) -> Bool {
        protocols.contains { allowed in allowed.withBytes { name.equalsIgnoringCase($0) } }
    }

    private func trimmed(_ text: Bytes) -> Bytes {
        var (start, end) = (0, text.count)
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        while start < end, isBlank(text[start]) { start += 1 }
        while end > start, isBlank(text[end - 1]) { end -= 1 }
        return text[start..<end]
    }
}
