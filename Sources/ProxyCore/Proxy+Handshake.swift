// Connections that are secured. The TLS itself is with whoever has the sockets; what is read and
// sent here is plaintext. The core knows which connections are in their handshake, for how long,
// and what came of it.
//
// A client's connection is in its handshake from the accept on (`Stage.handshaking`). An upstream's
// goes on being opened (`Stage.connecting`) until `secured`: within the cluster's connect timeout,
// as with Envoy.

public import Base
public import Model
public import Secure

/// Which HTTP both sides agreed to speak (ALPN, RFC 7301).
public enum AgreedProtocol: UInt8, Sendable, BitwiseCopyable {
    /// Nothing was agreed on, or neither of these.
    case none
    case http1
    case http2

    /// The names that the registry of ALPN gives them (RFC 7301, 6; RFC 9113, 3.1).
    public init(name: String?) {
        switch name {
        case "http/1.1": self = .http1
        case "h2": self = .http2
        default: self = .none
        }
    }
}

/// What a handshake came to.
public struct TLSAgreement: Sendable {
    /// `1.2` or `1.3`.
    public var version: StaticString
    public var agreed: AgreedProtocol
    public var isResumed: Bool
    /// What the peer's certificate calls it; nil: it has shown none.
    public var peer: String?
    /// Whom the client's certificate names: its only URI, where that is a SPIFFE id (X509-SVID, 2).
    public var identity: SPIFFEID?
    /// The name that a client has asked for, 253 bytes at most; nil: none, or none that a host
    /// could have.
    public var serverName: String?

    public init(
        version: StaticString, agreed: AgreedProtocol, isResumed: Bool = false,
        peer: String? = nil, identity: SPIFFEID? = nil, serverName: String? = nil
    ) {
        self.version = version
        self.agreed = agreed
        self.isResumed = isResumed
        self.peer = peer
        self.identity = identity
        self.serverName = serverName
    }
}

/// Which side of the proxy a connection is on, as counters name it.
public enum Side: Int, CaseIterable, Sendable {
    case downstream
    case upstream
}

extension Proxy {
    /// Whether the connection that is opened by a slot's `connect` effect is to be secured: the
    /// place of its cluster in the configuration; nil: it is not.
    public func securedCluster(of slot: Int) -> Int? {
        guard connections[slot].isSecured else { return nil }
        let endpoint = upstreams.endpoints[Int(connections[slot].endpoint)]
        return endpoint.cluster >= 0 && !endpoint.removed ? Int(endpoint.cluster) : nil
    }

    /// Whether the slot's connection is in its handshake.
    public func isHandshaking(_ slot: Int) -> Bool { connections[slot].isHandshaking }

    /// What was agreed on with a client; nil: its connection is not secured.
    func agreement(of slot: Int) -> TLSAgreement? {
        let owner = connections[slot].isStream ? Int(connections[slot].carrier) : slot
        return connections[owner].isSecured ? agreements[owner] : nil
    }

    /// Whether the client has shown a certificate that is believed.
    func isIdentified(_ slot: Int) -> Bool { agreement(of: slot)?.peer != nil }

    /// The connection that was asked for is open, and its handshake begins.
    public func handshakeBegan(_ slot: Int) { connections[slot].isHandshaking = true }

    /// The handshake is done: goes on as with a connection that has just been accepted or opened.
    public func secured(_ slot: Int, _ agreement: TLSAgreement, now: Instant) {
        connections[slot].isHandshaking = false
        connections[slot].agreed = agreement.agreed
        if connections[slot].role == .upstream {
            counters.add(.upstreamHandshakes)
            if agreement.isResumed { counters.add(.upstreamHandshakesResumed) }
            connected(slot, now: now)
            // What came along with the end of the handshake, unless what was agreed on will not do.
            if connections[slot].role != .free { readLater(slot) }
            return
        }
        agreements[slot] = agreement
        // Asked for since its handshake began, or since the session that it resumes.
        if isBarred(slot) {
            return handshakeFailed(slot, .noPeerCertificate, now: now)
        }
        counters.add(.downstreamHandshakes)
        if agreement.isResumed { counters.add(.downstreamHandshakesResumed) }
        deadlines.clear(slot)
        connections[slot].since = now
        connections[slot].active = now
        begin(client: slot)
        // As above, and what is to be said at it.
        askFlush(slot)
        readLater(slot)
    }

    /// The connection could not be secured.
    public func handshakeFailed(_ slot: Int, _ failure: TLSFailure, now: Instant) {
        let side = connections[slot].role == .upstream ? Side.upstream : .downstream
        counters.add(failure, side)
        guard side == .upstream else {
            counters.add(.downstreamHandshakesFailed)
            return close(slot)
        }
        counters.add(.upstreamHandshakesFailed)
        connectFailed(slot, flag: .UF, detail: .secureFailed(failure), now: now)
    }

    /// TLS has failed after the handshake: the connection is gone.
    ///
    /// In TLS 1.3 a server looks at a client's certificate after the client is done (RFC 8446,
    /// 4.4): what it says instead of a first answer is as good as a failed handshake.
    public func securityFailed(_ slot: Int, _ failure: TLSFailure, now: Instant) {
        let connection = connections[slot]
        let side = connection.role == .upstream ? Side.upstream : .downstream
        counters.add(failure, side)
        let isNew = connection.stage == .exchange || connection.stage == .session
        guard side == .upstream, isNew, !connection.answered, !connection.reused,
            failure != .truncated
        else { return failed(slot, now: now) }
        connectFailed(slot, flag: .UF, detail: .secureFailed(failure), now: now)
    }

    /// A handshake has taken too long.
    func handshakeTimedOut(_ slot: Int, now: Instant) {
        handshakeFailed(slot, .handshakeTimeout, now: now)
    }

    /// Writes what the access log says of a secured connection.
    func writeSecurity(_ slot: Int, to out: inout ByteWriter) {
        guard let agreement = agreement(of: slot) else { return }
        out.append(",\"tls\":\"")
        out.append(agreement.version)
        out.append("\",\"server_name\":")
        writeName(agreement.serverName, to: &out)
        out.append(",\"peer\":")
        writeName(agreement.peer, to: &out)
    }

    private func writeName(_ name: String?, to out: inout ByteWriter) {
        guard let name else { return out.append("null") }
        out.append("\"")
        Self.writeEscaped(name, to: &out)
        out.append("\"")
    }
}
