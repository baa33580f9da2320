/// What a rate limit service holds requests against: the rules of some domains, in the form of
/// Envoy's rate limit service.
///
/// Source: github.com/envoyproxy/ratelimit, "Configuration".
public struct RateLimitRules: Equatable, Sendable {
    /// By name, each once.
    public var domains: [Domain]

    public struct Domain: Equatable, Sendable {
        public var name: String
        public var descriptors: [Descriptor]

        public init(_ name: String, _ descriptors: [Descriptor]) {
            self.name = name
            self.descriptors = descriptors
        }
    }

    /// What one entry of a question's descriptor must be, and what is asked of the next one.
    public struct Descriptor: Equatable, Sendable {
        public var key: String
        /// nil: any; each value is counted by itself. One that is written goes before.
        public var value: String?
        /// Of questions whose descriptor ends here; nil: none.
        public var limit: Limit?
        /// Requests over the limit are only counted.
        public var isShadow: Bool
        public var descriptors: [Descriptor]

        public init(
            _ key: String, _ value: String? = nil, limit: Limit? = nil, isShadow: Bool = false,
            _ descriptors: [Descriptor] = []
        ) {
            self.key = key
            self.value = value
            self.limit = limit
            self.isShadow = isShadow
            self.descriptors = descriptors
        }
    }

    public struct Limit: Equatable, Sendable {
        /// In each window of a unit; 0: none is let in.
        public var requests: UInt32
        public var unit: Unit

        public init(_ requests: UInt32, per unit: Unit) {
            self.requests = requests
            self.unit = unit
        }
    }

    /// Windows begin where a multiple of their length has passed since 1970; a month has 30 days, a
    /// year 365.
    public enum Unit: String, CaseIterable, Sendable {
        case second
        case minute
        case hour
        case day
        case month
        case year
    }

    public init(_ domains: [Domain]) { self.domains = domains }
}
