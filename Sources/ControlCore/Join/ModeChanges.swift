// A service whose mode of mutual TLS changes to or from `off` is spoken to in another way from then
// on. Proxies hear of it at different instants, so the way changes in three steps, which overlap
// although nobody waits for anybody:
//
//     change    ─┬─ clients as before, servers take both
//     + 5 s     ─┼─ clients in the new way, servers take both
//     + 10 s    ─┴─ servers take what the mode says
//
// No request fails as long as a proxy hears of the change within those five seconds.

public import Base
public import Model

/// Which services are between two ways of being spoken to.
public struct ModeChanges: Equatable, Sendable {
    private struct Service: Equatable, Sendable {
        /// Whether clients speak TLS when no change is under way.
        var isSecured: Bool
        /// When the change to the contrary was heard of; nil: none is under way.
        var since: Instant?
    }

    /// How long each step takes: far above what a push takes, and how long a proxy may be without
    /// a control plane, when that comes back (`docs/JOIN.md`).
    public static let step = Duration.seconds(5)

    private var services: [MeshName: Service] = [:]

    public init() {}

    /// Takes notice of what the services are now.
    public mutating func follow(_ mesh: MeshState, _ now: Instant) {
        advance(now)
        services = services.filter { mesh.services[$0.key] != nil }
        for (name, service) in mesh.services {
            let isSecured = service.mtls != .off
            guard let known = services[name] else {
                services[name] = Service(isSecured: isSecured)
                continue
            }
            guard let since = known.since else {
                if known.isSecured != isSecured { services[name]?.since = now }
                continue
            }
            guard known.isSecured == isSecured else { continue }
            // It was taken back: at once where no client has followed yet, else as a change.
            services[name] =
                now < since + Self.step
                ? Service(isSecured: isSecured)
                : Service(isSecured: !isSecured, since: now)
        }
    }

    private mutating func advance(_ now: Instant) {
        for (name, service) in services {
            guard let since = service.since, since + Self.step * 2 <= now else { continue }
            services[name] = Service(isSecured: !service.isSecured)
        }
    }

    /// The services that are between two ways, and how far they have come.
    public func underWay(_ now: Instant) -> [MeshName: MeshModeChange] {
        services.compactMapValues { service in
            guard let since = service.since, now < since + Self.step * 2 else { return nil }
            return now < since + Self.step ? .announced : .followed
        }
    }

    /// When `underWay` says something else next; nil: never.
    public func deadline(after now: Instant) -> Instant? {
        services.values.compactMap(\.since)
            .flatMap { [$0 + Self.step, $0 + Self.step * 2] }
            .filter { $0 > now }.min()
    }
}
