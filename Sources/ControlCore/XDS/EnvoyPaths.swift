import Base
import Model

// The paths of rules as Envoy is told them. It forwards a path as it came, as the reference proxy
// does, and compares it as it came too. So what a `deny` means whatever a server makes of a path
// (docs/PROXY.md, "Authorization") is said by regular expressions (RE2): of the rule's path in all
// the ways to write it, and of paths that are nobody's.

enum EnvoyPaths {
    private static let separator = #"(?:[/\\]|%2[fF]|%5[cC])"#
    private static let dot = #"(?:\.|%2[eE])"#
    private static let parameters = #"(?:(?:;|%3[bB])[^/\\]*)?"#
    /// Segments that say nothing.
    private static let nothing = "(?:\(separator)\(dot)?\(parameters))*"

    /// Paths of which nobody can tell what a server takes them for.
    static let unclear =
        ".*(?:\(separator)\(dot){2}\(parameters)(?:\(separator).*)?|%00.*|%[cC][01].*"
        + #"|(?:;|%3[bB])[^/]*(?:\\|%2[fF]|%5[cC]).*)"#

    /// Every path that some server may take for `path`.
    static func pattern(exact path: String) -> String {
        var segments = segments(path)
        let last = segments.removeLast()
        return pattern(of: segments)
            + (last.isEmpty ? nothing + separator + dot + "?" + parameters : pattern(of: [last]))
    }

    /// Every path that some server may take for one below `prefix`, in whole segments.
    static func pattern(prefix: String) -> String {
        var segments = segments(prefix)
        let isOpen = segments.last?.isEmpty == true
        if isOpen { segments.removeLast() }
        return pattern(of: segments) + (isOpen ? "\(separator).*" : "(?:\(separator).*)?")
    }

    private static func segments(_ path: String) -> [[UInt8]] {
        percentDecoded(path).dropFirst().split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false
        ).map { Array($0) }
    }

    private static func pattern(of segments: [[UInt8]]) -> String {
        segments.map { nothing + separator + $0.map(octet).joined() + parameters }.joined()
    }

    /// An octet as it is, and escaped (RFC 3986, 2.1).
    private static func octet(_ byte: UInt8) -> String {
        let escaped = "%" + digit(byte >> 4) + digit(byte & 15)
        guard (0x21...0x7E).contains(byte) else { return escaped }
        return "(?:\(EnvoyRendering.quoted(String(UnicodeScalar(byte))))|\(escaped))"
    }

    private static func digit(_ value: UInt8) -> String {
        let digit = String(value, radix: 16)
        return value < 10 ? digit : "[\(digit)\(digit.uppercased())]"
    }
}
