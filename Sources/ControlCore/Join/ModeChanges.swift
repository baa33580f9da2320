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
    /// How long each step takes: far above what a push takes, and how long a proxy may be without
    /// a control plane, when that comes back (`docs/JOIN.md`).
    public static let step = Duration.seconds(5)

    /// Whether clients speak TLS when no change is under way. Bound: the mesh's services.
    private var secured: [MeshName: Bool] = [:]
    /// When a change to the contrary was heard of.
    private var since: [MeshName: Instant] = [:]

    public init() {}

    /// Takes notice of what the services are now.
    public mutating func follow(_ mesh: MeshState, _ now: Instant) {
        advance(now)
        secured = secured.filter { mesh.services[$0.key] != nil }
        since = since.filter { mesh.services[$0.key] != nil }
        for (name, service) in mesh.services { take(name, service, now) }
    }

    /// Takes notice of what one service is now; nil: it is gone.
    public mutating func follow(_ name: MeshName, _ service: MeshService?, _ now: Instant) {
        advance(now)
        if let service {
            take(name, service, now)
        } else {
            secured[name] = nil
            since[name] = nil
        }
    }

    private mutating func take(_ name: MeshName, _ service: MeshService, _ now: Instant) {
        let isSecured = service.mtls != .off
        guard let known = secured[name] else {
            secured[name] = isSecured
            return
        }
        guard let began = since[name] else {
            if known != isSecured { since[name] = now }
            return
        }
        guard known == isSecured else { return }
        // It was taken back: at once where no client has followed yet, else as a change.
        if now < began + Self.step {
            since[name] = nil
        } else {
            secured[name] = !isSecured
            since[name] = now
        }
    }

    private mutating func advance(_ now: Instant) {
        for (name, began) in since where began + Self.step * 2 <= now {
            since[name] = nil
            secured[name]?.toggle()
        }
    }

    /// The services that are between two ways, and how far they have come.
    public func underWay(_ now: Instant) -> [MeshName: MeshModeChange] {
        since.compactMapValues { began in
            guard now < began + Self.step * 2 else { return nil }
            return now < began + Self.step ? .announced : .followed
        }
    }

    /// When `underWay` says something else next; nil: never.
    public func deadline(after now: Instant) -> Instant? {
        since.values.flatMap { [$0 + Self.step, $0 + Self.step * 2] }.filter { $0 > now }.min()
    }
}
