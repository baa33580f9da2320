// Words of HTTP that configurations hold: what may stand in them. Used by the readers of files and
// by the checks of values that no file wrote.

import Base
import Glibc

/// Whether a text is a method (RFC 9110, 9.1) in upper case that asks for a path: CONNECT is none.
public func isMethod(_ text: String) -> Bool {
    (1...32).contains(text.utf8.count) && text != "CONNECT"
        && text.utf8.allSatisfy { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
}

/// Whether a text is made of what a request target may hold (RFC 9112, 3.2).
public func isTargetText(_ text: String) -> Bool {
    text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x23 }
}

/// Whether a text is a path as routes compare it: without a query.
public func isRoutePath(_ text: String) -> Bool {
    text.utf8.first == UInt8(ascii: "/") && text.utf8.count <= 4096
        && !text.utf8.contains(UInt8(ascii: "?")) && isTargetText(text)
}

/// Whether a text is a path as rules about who may ask for it compare it: one that servers read in
/// no two ways. It has no parameters, no escapes that are none or no UTF-8, and no segments that
/// are empty or dots, before its escapes are undone and after.
public func isRulePath(_ text: String) -> Bool {
    guard isRoutePath(text) else { return false }
    let bytes = percentDecoded(text)
    let escapes = text.utf8.count(where: { $0 == UInt8(ascii: "%") })
    guard text.utf8.count - bytes.count == 2 * escapes,
        String(validating: bytes, as: UTF8.self) != nil,
        !bytes.contains(where: { ";\\?#\0".utf8.contains($0) }),
        bytes.count(where: { $0 == UInt8(ascii: "/") })
            == text.utf8.count(where: { $0 == UInt8(ascii: "/") })
    else { return false }
    let segments = bytes.dropFirst().split(
        separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    return !segments.dropLast().contains(where: \.isEmpty)
        && !segments.contains { Array($0) == Array(".".utf8) || Array($0) == Array("..".utf8) }
}

/// A text's bytes with its escapes undone (RFC 3986, 2.1); what is none stays as it is.
public func percentDecoded(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
        let digits = rest.prefix(2).compactMap(hexDigit)
        guard byte == UInt8(ascii: "%"), digits.count == 2 else {
            bytes.append(byte)
            continue
        }
        bytes.append(digits[0] << 4 | digits[1])
        rest = rest.dropFirst(2)
    }
    return bytes
}

/// Whether a text is the name of a field (RFC 9110, 5.6.2).
public func isFieldName(_ text: String) -> Bool {
    (1...256).contains(text.utf8.count)
        && text.utf8.allSatisfy { isAlphanumeric($0) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
}

/// Why a text is not the value of a field (RFC 9110, 5.5): visible characters with single lines of
/// blanks between, at most 8192 bytes; nil: it is one.
public func whyNoFieldValue(_ text: String) -> String? {
    let isClean = text.unicodeScalars.allSatisfy {
        $0 == "\t" || $0.value >= 0x20 && $0.value != 0x7F
    }
    if !isClean { return "a field's value cannot hold control characters" }
    if text.utf8.count > 8192 { return "longer than 8192 bytes" }
    if text.first?.isWhitespace == true || text.last?.isWhitespace == true {
        return "a field's value cannot begin or end with a blank"
    }
    return nil
}

/// Whether a text is a host of a route: lower case, without port, `*.example.org` for any below, or
/// a numeric address.
public func isHostPattern(_ text: String) -> Bool {
    guard (1...255).contains(text.utf8.count) else { return false }
    if text.hasPrefix("[") { return isNumericHost(text) && text == text.lowercased() }
    let name = text.hasPrefix("*.") ? text.dropFirst(2) : text[...]
    return !name.isEmpty && !name.hasPrefix(".")
        && name.utf8.allSatisfy {
            isAlphanumeric($0) && !(UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                || "-._".utf8.contains($0)
        }
}

/// Whether a text is a host of its own, with a port or without: `cart.shop.mesh:80`.
public func isAuthority(_ text: String) -> Bool {
    guard !text.hasPrefix("*") else { return false }
    guard let end = text.lastIndex(of: ":"), !text[end...].contains("]") else {
        return isHostPattern(text)
    }
    let port = text[text.index(after: end)...]
    return isHostPattern(String(text[..<end]))
        && port.utf8.allSatisfy { (0x30...0x39).contains($0) }
        && Int(port).map { (1...65_535).contains($0) } == true
}

/// `127.0.0.1` or `[::1]`.
public func isNumericHost(_ text: String) -> Bool {
    var parsed = in6_addr()
    // A NUL would end the text early for the C library.
    guard text.utf8.allSatisfy({ $0 != 0 }) else { return false }
    if text.hasPrefix("["), text.hasSuffix("]") {
        return unsafe inet_pton(AF_INET6, String(text.dropFirst().dropLast()), &parsed) == 1
    }
    return unsafe inet_pton(AF_INET, text, &parsed) == 1
}

/// A numeric address with its port, `127.0.0.1:8080` or `[::1]:8080`.
public struct NumericAddress: Equatable, Sendable {
    public var host: String
    public var port: Int

    /// Nil where the text is no such address.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), isNumericHost(String(text[..<colon])) else {
            return nil
        }
        let digits = text[text.index(after: colon)...]
        guard (1...5).contains(digits.utf8.count),
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = Int(digits),
            port <= 65_535
        else { return nil }
        host = String(text[..<colon])
        self.port = port
    }
}

extension NumericAddress {
    /// The host in network order: 4 bytes of IPv4, or 16 of IPv6.
    public var hostBytes: [UInt8]? {
        let isIPv6 = host.hasPrefix("[")
        var bytes = [UInt8](repeating: 0, count: isIPv6 ? 16 : 4)
        let text = isIPv6 ? String(host.dropFirst().dropLast()) : host
        return unsafe inet_pton(isIPv6 ? AF_INET6 : AF_INET, text, &bytes) == 1 ? bytes : nil
    }
}

/// Whether a byte is a letter or digit of ASCII.
public func isAlphanumeric(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
    default: false
    }
}
