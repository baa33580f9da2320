// By which names a server's certificates are asked for, and which name a client asks for (SNI,
// RFC 6066, 3).

import Base

/// The names of several certificates, each of which belongs to one of them alone.
struct ServerNames: Sendable {
    /// Certificates by whole names in lower case.
    private var exact: [String: Int] = [:]
    /// Certificates by what follows `*` in their names, with its dot.
    private var wildcards: [String: Int] = [:]

    /// Adds the names of the certificate at `place`. Those that no client can ask for, such as
    /// partial wildcards, are left out.
    /// - Returns: how many were added.
    /// - Throws: `TLSFailure.duplicateServerName` where another certificate has one of them.
    mutating func add(_ names: [String], of place: Int) throws(TLSError) -> Int {
        var count = 0
        for name in names {
            var other: Int?
            if name.hasPrefix("*.") {
                guard let suffix = Self.normalized(name.utf8.dropFirst()) else { continue }
                other = wildcards.updateValue(place, forKey: suffix)
            } else {
                guard let whole = Self.normalized(name.utf8) else { continue }
                other = exact.updateValue(place, forKey: whole)
            }
            if let other, other != place {
                throw TLSError(
                    .duplicateServerName, detail: name, certificates: [other, place])
            }
            count += 1
        }
        return count
    }

    /// The certificate for a normalized name: the one that has it, else the one that has it with a
    /// wildcard for its whole first label (RFC 9525, 6.3); nil: none has.
    func place(of name: String) -> Int? {
        if let place = exact[name] { return place }
        guard let dot = name.utf8.firstIndex(of: UInt8(ascii: ".")), dot != name.startIndex else {
            return nil
        }
        return wildcards[String(name[dot...])]
    }

    /// Bound: bytes of a name (RFC 1035, 2.3.4, in text).
    private static let bytesMost = 253

    /// The name in lower case; nil: no host is called so. Names in other scripts come as A-labels
    /// (RFC 5890, 2.3.2.1), which are letters, digits and hyphens too; underscores are no host's by
    /// the letter, yet used.
    private static func normalized(_ name: some Collection<UInt8>) -> String? {
        guard !name.isEmpty, name.count <= bytesMost else { return nil }
        var lower: [UInt8] = []
        lower.reserveCapacity(name.count)
        for byte in name {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): lower.append(byte | 0x20)
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                lower.append(byte)
            default: return nil
            }
        }
        return String(decoding: lower, as: UTF8.self)
    }

    /// The name in the extension `server_name` of a client's, normalized; nil: there is none that a
    /// host could have. What is malformed ends the handshake later, by OpenSSL's own reading.
    static func asked(in data: Bytes) -> String? {
        // A list, with its length before it, of one name: its kind, its length, and itself.
        let head = 5
        let count = data.count - head
        guard count > 0, data[0] == UInt8(truncatingIfNeeded: (count + 3) >> 8),
            data[1] == UInt8(truncatingIfNeeded: count + 3), data[2] == 0,
            data[3] == UInt8(truncatingIfNeeded: count >> 8),
            data[4] == UInt8(truncatingIfNeeded: count)
        else { return nil }
        return unsafe normalized(data[head..<data.count].raw)
    }
}
