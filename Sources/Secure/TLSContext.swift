// What all connections of a listener, or to a cluster, have in common: certificate and key, whom to
// believe, versions, protocols. Made once, shared by threads; a new one replaces it when files have
// changed, while sessions keep the one that they began with.

import Base
import COpenSSL
import Glibc

/// The least version of TLS that is spoken.
public enum TLSMinimum: Sendable { case v12, v13 }

/// A server's side.
public struct TLSServerOptions: Equatable, Sendable {
    /// What is shown to whoever asks for none of the names of `others`.
    public var identity: TLSIdentity
    /// What is shown to whoever asks for one of its DNS names (SNI, RFC 6066, 3). No two have the
    /// same, `identity` among them.
    public var others: [TLSIdentity] = []
    /// PEM: who may vouch for clients; nil: nobody.
    public var authorities: [UInt8]?
    /// A client's certificate is asked for.
    public var asksClient = false
    /// Without one there is no connection.
    public var requiresClient = false
    /// Names of which a client's certificate must carry one; empty: any will do.
    public var clientNames: [String] = []
    /// Protocols in the order of preference (ALPN, RFC 7301); empty: none is agreed on.
    public var protocols: [String] = []
    public var minimum = TLSMinimum.v12

    public init(identity: TLSIdentity, protocols: [String] = []) {
        self.identity = identity
        self.protocols = protocols
    }
}

/// A client's side.
public struct TLSClientOptions: Equatable, Sendable {
    /// PEM: who may vouch for the server; nil: whom the system believes.
    public var authorities: [UInt8]?
    /// Whoever answers is taken for the server: only for what proves itself in another way.
    public var believesAnybody = false
    /// What is shown to a server that asks; nil: nothing.
    public var identity: TLSIdentity?
    /// What is asked for by SNI (RFC 6066, 3); nil, or a numeric address: nothing.
    public var serverName: String?
    /// Names of which the server's certificate must carry one; empty: `serverName`, and without
    /// that the endpoint's address.
    public var names: [String] = []
    /// Protocols that are offered (ALPN, RFC 7301); empty: none.
    public var protocols: [String] = []
    public var minimum = TLSMinimum.v12

    public init(authorities: [UInt8]? = nil, protocols: [String] = []) {
        self.authorities = authorities
        self.protocols = protocols
    }
}

/// Everything that sessions of one kind share.
@safe
public final class TLSContext: @unchecked Sendable {
    // Safety: `pointer` is owned from `init` to `deinit` and only configured in `init`; OpenSSL
    // then lets any thread make sessions from it. Callbacks find this object through it, and
    // sessions keep this object alive.
    let pointer: OpaquePointer
    let isServer: Bool
    /// Names of which the peer must carry one; empty: not checked here.
    let peerNames: [CertificateName]
    let serverName: String?
    /// ALPN's list on the wire: each with its length before it.
    let protocols: [UInt8]
    let cache = SessionCache()
    /// A server's certificates, the first for whoever asks for none of `names`.
    let credentials: [Credential]
    /// What the server's certificates are asked for by.
    let names: ServerNames

    /// The ciphers of TLS 1.2 that are spoken: forward secrecy, and encryption with authentication.
    /// Those of TLS 1.3 are all of that kind.
    private static let ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20"

    /// - Throws: where certificate, key or authorities cannot be used.
    public init(server options: TLSServerOptions) throws(TLSError) {
        (credentials, names) = try Self.credentials([options.identity] + options.others)
        isServer = true
        serverName = nil
        peerNames = options.clientNames.map { CertificateName($0) }
        protocols = Self.wire(options.protocols)
        unsafe pointer = try Self.make(TLS_server_method(), options.minimum)
        unsafe try credentials[0].install(in: pointer)
        if let authorities = options.authorities { try believe(authorities) }
        var mode = SSL_VERIFY_NONE
        if options.asksClient || options.requiresClient { mode |= SSL_VERIFY_PEER }
        if options.requiresClient { mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT }
        unsafe SSL_CTX_set_verify(pointer, mode, verifyPeer)
        // Sessions are resumed by tickets alone, so workers need no common store; their keys live
        // and die with this context.
        control(SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF)
        unsafe SSL_CTX_set_ex_data(pointer, 0, Unmanaged.passUnretained(self).toOpaque())
        if !protocols.isEmpty { unsafe SSL_CTX_set_alpn_select_cb(pointer, selectProtocol, nil) }
        try chooseByName()
    }

    /// - Throws: where certificate, key or authorities cannot be used.
    public init(client options: TLSClientOptions) throws(TLSError) {
        credentials = []
        names = ServerNames()
        isServer = false
        serverName = options.serverName
        let wanted = options.names.isEmpty ? options.serverName.map { [$0] } ?? [] : options.names
        peerNames = wanted.map { CertificateName($0) }
        protocols = Self.wire(options.protocols)
        unsafe pointer = try Self.make(TLS_client_method(), options.minimum)
        if let identity = options.identity {
            unsafe try Credential(identity).install(in: pointer)
        }
        if let authorities = options.authorities {
            try believe(authorities)
        } else if options.believesAnybody {
            // The system's authorities would take some 30 ms to read, and be asked nothing.
        } else {
            unsafe SSL_CTX_set_default_verify_paths(pointer)
        }
        let mode = options.believesAnybody ? SSL_VERIFY_NONE : SSL_VERIFY_PEER
        unsafe SSL_CTX_set_verify(pointer, mode, options.believesAnybody ? nil : verifyPeer)
        control(
            SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL)
        unsafe SSL_CTX_sess_set_new_cb(pointer, keepSession)
        unsafe SSL_CTX_set_ex_data(pointer, 0, Unmanaged.passUnretained(self).toOpaque())
        if !protocols.isEmpty {
            unsafe SSL_CTX_set_alpn_protos(pointer, protocols, UInt32(protocols.count))
        }
    }

    deinit { unsafe SSL_CTX_free(pointer) }

    /// Whether this protocol is the only one that is offered by ALPN.
    public func offersOnly(_ name: String) -> Bool { protocols == Self.wire([name]) }

    private static func make(
        _ method: OpaquePointer?, _ minimum: TLSMinimum
    ) throws(TLSError) -> OpaquePointer {
        ErrorQueue.clear()
        guard let context = unsafe SSL_CTX_new(method) else {
            throw TLSError(.protocolError, detail: ErrorQueue.take().text)
        }
        unsafe SSL_CTX_set_options(context, mb_ssl_options())
        let version = minimum == .v13 ? TLS1_3_VERSION : TLS1_2_VERSION
        unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(version), nil)
        // Buffers of an idle connection are given back.
        let mode =
            SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
            | SSL_MODE_RELEASE_BUFFERS
        unsafe SSL_CTX_ctrl(context, SSL_CTRL_MODE, Int(mode), nil)
        unsafe SSL_CTX_set_cipher_list(context, ciphers)
        return unsafe context
    }

    private func control(_ command: Int32, _ value: Int32) {
        unsafe SSL_CTX_ctrl(pointer, command, Int(value), nil)
    }

    private func believe(_ authorities: [UInt8]) throws(TLSError) {
        for authority in try PEM.certificates(authorities, .malformedAuthorities) {
            let store = unsafe SSL_CTX_get_cert_store(pointer)
            guard unsafe X509_STORE_add_cert(store, authority.pointer) == 1 else {
                throw TLSError(.malformedAuthorities, detail: ErrorQueue.take().text)
            }
            if isServer { unsafe SSL_CTX_add_client_CA(pointer, authority.pointer) }
        }
    }

    private static func wire(_ protocols: [String]) -> [UInt8] {
        protocols.flatMap { [UInt8(clamping: $0.utf8.count)] + Array($0.utf8.prefix(255)) }
    }
}

// MARK: Callbacks

/// Called for each certificate of a chain, the leaf last, where `ok` says what OpenSSL has found;
/// adds the check of the name.
private let verifyPeer: @convention(c) (Int32, OpaquePointer?) -> Int32 = { ok, store in
    guard ok == 1, unsafe X509_STORE_CTX_get_error_depth(store) == 0 else { return ok }
    let place = SSL_get_ex_data_X509_STORE_CTX_idx()
    guard let ssl = unsafe OpaquePointer(X509_STORE_CTX_get_ex_data(store, place)),
        let certificate = unsafe X509_STORE_CTX_get_current_cert(store),
        let session = unsafe TLSSession.of(ssl)
    else { return 0 }
    if session.expectedNames.isEmpty { return 1 }
    for name in session.expectedNames where unsafe name.matches(certificate) { return 1 }
    unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH)
    return 0
}

/// The first of our protocols that the client offers too (RFC 7301, 3.2).
private let selectProtocol:
    @convention(c) (
        OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
        UnsafeMutablePointer<UInt8>?, UnsafePointer<UInt8>?, UInt32, UnsafeMutableRawPointer?
    ) -> Int32 = { ssl, selected, selectedLength, offered, offeredLength, _ in
        guard let ssl = unsafe ssl, let session = unsafe TLSSession.of(ssl),
            let start = unsafe offered
        else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        let offer = unsafe Bytes(start, count: Int(offeredLength))
        guard let place = session.context.firstShared(with: offer) else {
            return SSL_TLSEXT_ERR_ALERT_FATAL
        }
        unsafe selected?.pointee = unsafe start + place + 1
        unsafe selectedLength?.pointee = offer[place]
        return SSL_TLSEXT_ERR_OK
    }

extension TLSContext {
    /// Where in a client's list (each name with its length before it) our most wanted protocol of
    /// those in it stands; nil: none is in it.
    func firstShared(with offer: Bytes) -> Int? {
        protocols.withBytes { ours in
            var wanted = 0
            while wanted < ours.count {
                let name = ours[wanted..<wanted + 1 + Int(ours[wanted])]
                var place = 0
                while place < offer.count, place + 1 + Int(offer[place]) <= offer.count {
                    let next = place + 1 + Int(offer[place])
                    if offer[place..<next] == name { return place }
                    place = next
                }
                wanted += name.count
            }
            return nil
        }
    }
}

/// A server has given a ticket, or a session of TLS 1.2 has begun.
private let keepSession: @convention(c) (OpaquePointer?, OpaquePointer?) -> Int32 = { ssl, stored in
    guard let ssl = unsafe ssl, let stored = unsafe stored,
        let session = unsafe TLSSession.of(ssl)
    else { return 0 }
    guard unsafe SSL_SESSION_is_resumable(stored) == 1 else { return 0 }
    let kept = unsafe StoredSession(owning: stored)
    session.context.cache.store(kept, for: session.endpoint)
    return 1
}
