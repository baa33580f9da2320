// Listeners as their connections meet them.

public import Base
import Model

/// What holds for connections that came by one listener.
struct Door {
    var speech = ProxyConfiguration.Listener.Speech.auto
    /// Connections are secured.
    var isSecured = false
    /// Clients have to show a certificate.
    var needsCertificate = false
    /// Connections in cleartext are taken.
    var takesCleartext = true
    /// Its clients may say how their requests are sent.
    var trustsHeaders = false
    /// It has a cluster of its own, to which all goes; else routes say.
    var hasCluster = false
    var match = Router.Match(cluster: -1, timeout: .zero)

    init() {}

    init(_ listener: ProxyConfiguration.Listener, _ clusters: ClusterPlaces) {
        speech = listener.speech
        isSecured = listener.tls != nil
        needsCertificate = listener.tls?.clientCertificate == .required
        takesCleartext = listener.tls == nil || listener.isPermissive
        trustsHeaders = listener.trustsHeaders
        if let cluster = listener.cluster {
            hasCluster = true
            match = clusters.match(cluster)
        }
    }
}

extension Proxy {
    static func doors(_ configuration: ProxyConfiguration) -> [Door] {
        let clusters = ClusterPlaces(configuration)
        return configuration.listeners.map { Door($0, clusters) }
    }

    /// Of a client's connection, or of a stream on one.
    @inline(__always)
    func door(of slot: Int) -> Door {
        let listener = Int(connections[slot].listener)
        return listener < doors.count ? doors[listener] : Door()
    }

    /// The place of a client's listener in the configuration.
    public func listener(of slot: Int) -> Int { Int(connections[slot].listener) }

    /// Whether a client that has just connected may speak in cleartext. One whose listener takes
    /// both is in its handshake until its first byte has told.
    public func takesCleartext(_ slot: Int) -> Bool { door(of: slot).takesCleartext }

    /// A client whose connection could have been secured speaks in cleartext.
    public func beganInCleartext(_ slot: Int, now: Instant) {
        counters.add(.downstreamCleartext)
        connections[slot].isSecured = false
        connections[slot].isHandshaking = false
        deadlines.clear(slot)
        connections[slot].since = now
        connections[slot].active = now
        begin(client: slot)
        readLater(slot)
    }

    /// Has clients go whose connections are no longer such as their listeners take: each closes as
    /// soon as its exchange has ended.
    func dismissUnfit(now: Instant) {
        for slot in 0..<touchedSlots
        where connections[slot].role == .downstream && connections[slot].hasSocket {
            let connection = connections[slot]
            guard !connection.isHandshaking, !connection.isLeaving, !fits(slot) else { continue }
            connections[slot].isLeaving = true
            switch connection.stage {
            case .session where session(of: slot).isClosing: break
            case .session: drainSession(slot, now: now)
            case .awaitingRequest: leaveSoon(slot, now: now)
            default: break
            }
        }
    }

    /// Whether a client's connection is such as its listener takes.
    func fits(_ slot: Int) -> Bool {
        let door = door(of: slot)
        guard connections[slot].isSecured else { return door.takesCleartext }
        return door.isSecured && (!door.needsCertificate || isIdentified(slot))
    }

    /// Whether a client's listener asks for more than it has shown: TLS, or a certificate.
    func isBarred(_ slot: Int) -> Bool { door(of: slot).isSecured && !fits(slot) }

    /// A client's connection is closed unless a request of its is on its way.
    func leaveSoon(_ slot: Int, now: Instant) {
        connections[slot].since = now
        arm(slot)
        if isIdle(slot) { readLater(slot) }
    }
}
