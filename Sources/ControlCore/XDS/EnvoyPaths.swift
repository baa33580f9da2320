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
    /// What is behind the end for who looks no further than there.
    private static let end = "(?:(?:;|%3[bBfF]|%23).*)?"

    /// Paths of which nobody can tell what a server takes them for.
    static let unclear =
        "(?:"
        + [
            "\(separator){2}.*",
            ".*\(separator)\(dot){2}\(parameters)(?:(?:\(separator)|%3[fF]|%23).*)?",
            #".*(?:;|%3[bB])[^/]*(?:\\|%2[fF]|%5[cC]).*"#,
            // No escapes, or those of octets that no text has.
            ".*%(?:[^0-9a-fA-F].*|[0-9a-fA-F](?:[^0-9a-fA-F].*)?)?",
            ".*%(?:00|[cC][01]|[fF][5-9a-fA-F]|[eE]0%[89][0-9a-fA-F]|[fF]0%8[0-9a-fA-F]).*",
        ].joined(separator: "|") + ")"

    /// Paths of octets that HTTP has for them. Others are let through by Envoy in HTTP/2, and no
    /// other expression here matches them, as they are no UTF-8.
    static let plain = "[!-~]*"

    /// Every path that some server may take for `path`.
    static func pattern(exact path: String) -> String {
        pattern(of: segments(path)) + nothing + end
    }

    /// Every path that some server may take for one below `prefix`, in whole segments.
    static func pattern(prefix: String) -> String {
        let segments = segments(prefix)
        return segments.isEmpty ? ".*" : pattern(of: segments) + "(?:\(separator).*)?" + end
    }

    /// A rule's path has no empty ones, but behind a slash at its end, which some servers drop.
    private static func segments(_ path: String) -> [[UInt8]] {
        percentDecoded(path).split(separator: UInt8(ascii: "/")).map { Array($0) }
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
