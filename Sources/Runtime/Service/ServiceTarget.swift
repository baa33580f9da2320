// A request's path and query, taken apart (RFC 3986, 3.3 and 3.4).

import Base

/// What a request is for.
public struct ServiceTarget: Equatable, Sendable {
    /// One `name=value` of a query.
    public struct Parameter: Equatable, Sendable {
        public var name: String
        /// Empty where there is no `=`.
        public var value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// As sent, without the query: `/v1/services/a%2Fb`. `/` where it was empty.
    public let path: String
    /// The path's segments, escapes undone: `v1`, `services`, `a/b`. Empty ones stay: `/a/` has the
    /// segments `a` and ``; `/` has none.
    public let segments: [String]
    /// In order, escapes undone; a `+` is a `+`.
    public let query: [Parameter]

    /// - Parameter text: origin form, or the `*` of OPTIONS, as `Head` lets them pass: visible
    ///   ASCII.
    /// - Returns: nil where an escape is none, or what it stands for is not UTF-8 or holds a NUL,
    ///   or where a segment is `.` or `..`, which clients resolve before they send (RFC 3986,
    ///   5.2.4): whoever sends them wants to be somewhere else than it says.
    public init?(_ text: String) {
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts.first.map(String.init) ?? ""
        self.path = path.isEmpty ? "/" : path
        var segments: [String] = []
        if path.hasPrefix("/"), path.utf8.count > 1 {
            for piece in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
                guard let segment = Self.decoded(piece), segment != ".", segment != ".." else {
                    return nil
                }
                segments.append(segment)
            }
        }
        self.segments = segments
        var query: [Parameter] = []
        if parts.count > 1 {
            for piece in parts[1].split(separator: "&") {
                let pair = piece.split(
                    separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard let name = Self.decoded(pair[0]),
                    let value = pair.count > 1 ? Self.decoded(pair[1]) : ""
                else { return nil }
                query.append(Parameter(name, value))
            }
        }
        self.query = query
    }

    /// The value of the first parameter of that name; nil: there is none.
    public subscript(_ name: String) -> String? { query.first { $0.name == name }?.value }

    /// `text` with its escapes undone.
    static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexDigit),
                let low = rest.popFirst().flatMap(hexDigit), high << 4 | low != 0
            else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
