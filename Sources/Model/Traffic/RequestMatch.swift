// What routes, limits and faults ask of requests.

import Base

extension ProxyConfiguration {
    public enum PathMatch: Codable, Hashable, Sendable {
        case exact(String)
        /// Of whole segments: `/a` matches `/a` and `/a/b`, not `/ab`; `/` matches all.
        case prefix(String)
        /// The whole path fits this expression (`LinearRegex`).
        case regex(String)
    }

    /// What is asked of a value.
    ///
    /// Source: Envoy, `type.matcher.v3.StringMatcher` and `config.route.v3.HeaderMatcher`.
    public enum ValueTest: Codable, Hashable, Sendable {
        /// It is there, with any value.
        case present
        case absent
        case exact(String)
        case prefix(String)
        case suffix(String)
        case contains(String)
        /// All of it fits this expression (`LinearRegex`).
        case regex(String)
        /// A whole decimal number from the first up to the second, which is not in it.
        case range(Int64, Int64)

        /// Why it can never hold, or cannot be held against anything; nil: it can.
        public var problem: String? {
            switch self {
            case .present, .absent: nil
            case .exact(let text): whyNoFieldValue(text)
            case .prefix(let text), .suffix(let text), .contains(let text):
                text.isEmpty || text.utf8.count > 256
                    ? "a text of 1 to 256 bytes is needed" : whyNoFieldValue(text)
            case .regex(let pattern): regexProblem(pattern)
            case .range(let low, let high):
                low < high ? nil : "a range from \(low) up to \(high) has nothing in it"
            }
        }
    }

    /// A condition on a field.
    public struct HeaderMatch: Codable, Hashable, Sendable {
        /// Lower case.
        public var name: String
        public var test: ValueTest
        /// It must be there, and `test` not hold.
        public var isInverted: Bool

        public init(_ name: String, _ test: ValueTest, isInverted: Bool = false) {
            self.name = name
            self.test = test
            self.isInverted = isInverted
        }

        /// Why it can never hold, or says what another says better; nil: neither.
        public var problem: String? {
            switch test {
            case .present where isInverted, .absent where isInverted:
                "`not` asks that it is there: of presence write present or absent alone"
            default: test.problem
            }
        }

        /// - Parameter value: the exact value; nil: the header is present.
        public init(name: String, value: String?) {
            self.init(name, value.map { .exact($0) } ?? .present)
        }

        /// The exact value; nil: it is asked for otherwise.
        public var value: String? {
            if case .exact(let value) = test { value } else { nil }
        }

        /// Whether it asks for an exact value, or for any.
        public var isPlain: Bool {
            switch test {
            case .exact, .present: !isInverted
            default: false
            }
        }
    }

    /// A condition on a parameter of the query, or on a cookie. Of several of one name the first
    /// counts; its value is as it stands in the request, with its escapes.
    public struct ParameterMatch: Codable, Hashable, Sendable {
        /// As it stands in the request.
        public var name: String
        public var test: ValueTest

        public init(_ name: String, _ test: ValueTest) {
            self.name = name
            self.test = test
        }
    }
}

/// What a route asks of requests beside their host, in a proxy's file and declared. All must hold.
public protocol RouteConditions: Sendable {
    var path: ProxyConfiguration.PathMatch { get }
    /// Upper case; empty: any.
    var methods: [String] { get }
    var headers: [ProxyConfiguration.HeaderMatch] { get }
    var query: [ProxyConfiguration.ParameterMatch] { get }
    var cookies: [ProxyConfiguration.ParameterMatch] { get }
}

extension ProxyConfiguration.Route {
    /// Asks of requests what somebody else does.
    public mutating func take(conditions: some RouteConditions) {
        path = conditions.path
        methods = conditions.methods
        headers = conditions.headers
        query = conditions.query
        cookies = conditions.cookies
    }
}

/// Why a text is no regular expression; nil: it is one.
public func regexProblem(_ pattern: String) -> String? {
    do throws(RegexError) {
        _ = try LinearRegex(pattern)
        return nil
    } catch {
        return "\(error.message), at byte \(error.offset + 1) of the expression"
    }
}

extension ProxyConfiguration.HeaderMatch {
    private enum CodingKeys: String, CodingKey {
        case name, value, test, isInverted
    }

    /// In JSON an exact value stands as `value`, and any value as nothing beside the name.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        let name = try fields.decode(String.self, forKey: .name)
        guard
            let test = try fields.decodeIfPresent(
                ProxyConfiguration.ValueTest.self, forKey: .test)
        else {
            self.init(name: name, value: try fields.decodeIfPresent(String.self, forKey: .value))
            return
        }
        let isInverted = try fields.decodeIfPresent(Bool.self, forKey: .isInverted)
        self.init(name, test, isInverted: isInverted ?? false)
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(name, forKey: .name)
        if isPlain { return try fields.encodeIfPresent(value, forKey: .value) }
        try fields.encode(test, forKey: .test)
        try fields.encode(isInverted, forKey: .isInverted)
    }
}
