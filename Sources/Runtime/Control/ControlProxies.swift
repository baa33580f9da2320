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

    /// Ends what the proxy of this lineage holds open: it was revoked.
    func dismiss(lineage: String)

    /// Ends what those hold open who are no members any more. Looks at an eighth of all at a time,
    /// or 64.
    func sift(_ isMember: (ControlPeer) -> Bool)

    /// See `ServiceHandler.turnEnds`.
    func turnEnds(_ now: Instant) -> Instant?
}
