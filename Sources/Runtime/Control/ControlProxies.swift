// The seam between the proxies' listener, which knows who asks, and what proxies are told.

import Base
import Model
import Posix

/// A proxy that has shown a certificate of this mesh, which is valid now and not revoked.
struct ControlPeer: Equatable, Sendable {
    /// Its certificate's only URI, of this mesh's trust domain.
    var identity: SPIFFEID
    /// Its certificate's serial number, in lower-case hexadecimal.
    var serial: String
    /// What its certificate has in common with those that it had before, back to when it joined.
    var lineage: String
    /// When its certificate ends, seconds since 1970.
    var notAfter: Int64
    /// What it joined as: the service that its token was for, and what it called itself. Nil where
    /// nothing is kept of that, as after the store was replaced.
    var service: MeshName?
    var proxy: String?
    var address: SocketAddress
}

/// What answers for `/v1/proxy/…` but for certificates: the watch, its acknowledgements,
/// heartbeats. On the control plane's thread, as all of it.
protocol ControlProxies: AnyObject {
    /// Answers `watchPushes`, `acknowledgePush`, `heartbeat` and `leave`.
    func respond(
        to request: ServiceRequest, _ operation: ControlOperation, from peer: ControlPeer
    ) -> ServiceAnswer

    /// The trusted authorities have changed: from now on `bundle` (PEM) is what a push carries.
    /// Called once before any request.
    func trust(_ bundle: String)

    /// Whether the proxy of this lineage has acknowledged a push with the last `bundle`. Makes a
    /// rotation of the authority go on before the life of certificates would.
    func hasAcknowledgedTrust(lineage: String) -> Bool

    /// Ends what the proxy of this lineage holds open, and what it has registered: it was revoked,
    /// by somebody who waits for that.
    func dismiss(lineage: String)

    /// Ends what those hold open who are no members any more, and commits nothing: of what they
    /// have registered nobody hears any more, so it ends by itself. Looks at an eighth of all at a
    /// time, or 64.
    func sift(_ isMember: (ControlPeer) -> Bool)

    /// See `ServiceHandler.turnEnds`.
    func turnEnds(_ now: Instant) -> Instant?
}

/// Goes round over members, some of them at a time, so that nobody has to wait for all.
struct MemberSieve {
    /// Those of this round who are yet to be looked at. Bound: members at its beginning.
    private var rest: [String] = []

    /// The least of a step.
    private static let least = 64

    /// Those to be looked at now: an eighth of all, or 64.
    /// - Parameters:
    ///   - count: how many members there are.
    ///   - all: their names, with which another round begins. Asked where the last is at its end.
    mutating func next(_ count: Int, _ all: () -> [String]) -> ArraySlice<String> {
        if rest.isEmpty { rest = all() }
        let step = rest.suffix(max(Self.least, count / 8))
        rest.removeLast(step.count)
        return step
    }
}
