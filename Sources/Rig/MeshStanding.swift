import Base

/// What the proxies of a mesh have been told, and have taken up: the answer to `GET /v1/proxies`.
struct MeshStanding: Decodable, Equatable {
    struct Proxy: Decodable, Equatable {
        struct Refusal: Decodable, Equatable {
            var version: UInt64
            var error: String
        }

        var proxy: String
        /// The last version that it was told of, and that it has in force.
        var sent: UInt64
        var acknowledged: UInt64
        /// When it said so, on CLOCK_MONOTONIC; nil: not yet.
        var acknowledgedNs: Int64?
        var refused: Refusal?
        /// `envoy`: it is what an Envoy has in force, and not what the agent has that joined for
        /// it. Nil: of all others.
        var dataplane: String?

        enum CodingKeys: String, CodingKey {
            case proxy, sent, acknowledged, refused, dataplane
            case acknowledgedNs = "acknowledged_ns"
        }
    }

    /// Up to which it is settled who is to be told what.
    var revision: UInt64
    /// The last one that any replica knows of.
    private(set) var newest: UInt64
    var proxies: [Proxy]

    enum CodingKeys: String, CodingKey { case revision, proxies }

    init(revision: UInt64, proxies: [Proxy], newest: UInt64? = nil) {
        self.revision = revision
        self.proxies = proxies
        self.newest = newest ?? revision
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        revision = try container.decode(UInt64.self, forKey: .revision)
        proxies = try container.decode([Proxy].self, forKey: .proxies)
        newest = revision
    }

    /// What several replicas say together; nil: none says anything. One that has no proxy tells
    /// nobody, so it does not matter how far it is.
    init?(_ replicas: [MeshStanding]) {
        let telling = replicas.filter { !$0.proxies.isEmpty }
        let all = telling.isEmpty ? replicas : telling
        guard let least = all.map(\.revision).min() else { return nil }
        self.init(
            revision: least, proxies: all.flatMap(\.proxies),
            newest: replicas.map(\.newest).max())
    }

    /// When a revision came into force everywhere; nil: it has not yet.
    /// - Parameters:
    ///   - count: the proxies that there must be: after a start, some have not come back.
    ///   - envoys: how many of these must be Envoys that have asked.
    ///   - answered: when the control plane said that it holds the revision. What no proxy needs to
    ///     know is in force by then.
    func inForce(
        _ wanted: UInt64, proxies count: Int, envoys: Int = 0, answered: Instant
    ) -> Instant? {
        // Who has moved to another replica may still stand in the list of the one before.
        guard revision >= wanted, Set(proxies.map(\.proxy)).count >= count,
            Set(proxies.filter { $0.dataplane == "envoy" }.map(\.proxy)).count >= envoys,
            proxies.allSatisfy({ $0.acknowledged >= $0.sent })
        else { return nil }
        let last = proxies.filter { $0.acknowledged >= wanted }.compactMap(\.acknowledgedNs).max()
        return last.map(Instant.init(nanoseconds:)) ?? answered
    }

    /// What a proxy has against a version, for people; nil: nothing.
    var complaint: String? {
        for proxy in proxies {
            guard let refused = proxy.refused else { continue }
            return "\(proxy.proxy) refuses version \(refused.version): \(refused.error)"
        }
        return nil
    }
}
