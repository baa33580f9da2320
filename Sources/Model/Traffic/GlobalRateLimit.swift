public import Base

/// A limit that all proxies have together: each asks a service whether a request is within it, by
/// Envoy's protocol (`envoy.service.ratelimit.v3`). One that is not is answered 429 with `RL` and
/// `x-envoy-ratelimited`.
///
/// Source: Envoy, "Rate limit" (HTTP filter).
public struct GlobalRateLimit: Codable, Equatable, Sendable {
    /// Where the service is: a cluster of `http2`; in a mesh, a service by its name.
    public var cluster: String
    /// Whose rules are meant.
    public var domain: String
    /// From the question to its answer, 1 ms to 10 s. Then the request goes on, or not, as where
    /// the service is down. Envoy's standard.
    public var timeout: Duration
    /// Whether a request is answered 500 with `RLSE` that nothing could be found out about; else it
    /// is let in.
    public var denies: Bool
    /// Whether answers tell the limit (`x-ratelimit-limit`, `-remaining`, `-reset`).
    public var tells: Bool
    /// What the service is told of a request. One of which a part is missing is left out; where all
    /// are, nothing is asked.
    public var descriptors: [Descriptor]

    /// What of a request a rule may be about: parts in the order of the rules.
    public struct Descriptor: Codable, Equatable, Sendable {
        public var entries: [Entry]

        public init(_ entries: [Entry]) { self.entries = entries }
    }

    public struct Entry: Codable, Equatable, Sendable {
        public var key: String
        public var value: Value

        public init(_ key: String, _ value: Value) {
            self.key = key
            self.value = value
        }
    }

    /// Where the value of an entry is taken from.
    public enum Value: Codable, Equatable, Sendable {
        case text(String)
        /// The first line of this field, in lower case; without it there is none.
        case header(String)
        case part(Part)
    }

    public enum Part: String, Codable, CaseIterable, Sendable {
        /// With the query.
        case path
        case method
        /// As the client names it, with a port where it does.
        case host
        /// The address of the client's end of the connection, without port.
        case address
        /// The SPIFFE id that the client has shown; without one there is none.
        case identity
    }

    public init(
        cluster: String, domain: String, descriptors: [Descriptor],
        timeout: Duration = .milliseconds(20), denies: Bool = false, tells: Bool = false
    ) {
        self.cluster = cluster
        self.domain = domain
        self.timeout = timeout
        self.denies = denies
        self.tells = tells
        self.descriptors = descriptors
    }
}

extension GlobalRateLimit {
    /// Of a limit that is declared: who is asked. nil: `cluster` is no service's.
    public var service: MeshName? {
        let parts = cluster.split(separator: "/")
        return parts.count == 2 ? MeshName(String(parts[1]), in: String(parts[0])) : nil
    }
}

extension GlobalRateLimit: TrafficPolicy {
    public func check(_ problems: inout MeshProblems) {
        problems.limitText("domain", domain)
        problems.range("timeout", timeout, TrafficLimits.limitTimeout)
        problems.list("descriptors", descriptors, 1...TrafficLimits.limitDescriptors) {
            problems, descriptor in
            problems.list("entries", descriptor.entries, 1...TrafficLimits.limitEntries) {
                problems, entry in
                problems.limitText("key", entry.key)
                switch entry.value {
                case .text(let text): problems.limitText("value", text)
                case .header(let name): problems.fieldName("header", name)
                case .part: break
                }
            }
        }
        if saidBytes > TrafficLimits.limitBytes {
            problems.report(
                "descriptors",
                "keys and values of \(saidBytes) bytes together, more than "
                    + "\(TrafficLimits.limitBytes): a question has no room for them")
        }
    }

    /// Of the domain, keys and values that do not depend on the request.
    private var saidBytes: Int {
        descriptors.flatMap(\.entries).reduce(domain.utf8.count) { sum, entry in
            guard case .text(let text) = entry.value else { return sum + entry.key.utf8.count }
            return sum + entry.key.utf8.count + text.utf8.count
        }
    }
}

extension MeshProblems {
    /// A name of a domain, or a key or value of a descriptor.
    mutating func limitText(_ step: String, _ text: String) {
        guard !isLimitText(text) else { return }
        report(
            step, "1 to \(TrafficLimits.limitTextBytes) bytes without control characters are needed"
        )
    }
}

/// Whether it can be the name of a domain, or a key or value of a descriptor.
public func isLimitText(_ text: String) -> Bool {
    (1...TrafficLimits.limitTextBytes).contains(text.utf8.count)
        && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
}
