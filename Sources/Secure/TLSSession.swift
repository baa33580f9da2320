// TLS for one connection, without its socket. Whoever has the socket hands in what it read and
// sends what is handed out:
//
//      recv ──▶ input ─▶ read ──▶ plaintext, straight into the caller's memory
//      send ◀── memory ◀─ write ◀── plaintext
//
// Both lend their memory for the time of the call. What is left over is held: ciphertext that was
// not wanted yet (`hold(input:)`), and ciphertext that the kernel did not take (`hold(output:)`).
// Both are bounded by the caller's scratch memory, because it neither receives nor encrypts more
// while something is held. An idle session holds nothing.

public import Base
import COpenSSL
import Glibc

/// What a handshake has come to.
public enum TLSProgress: Equatable, Sendable {
    case done
    /// More of the peer's bytes are needed; ours may wait to be sent.
    case wantsMore
    /// An alert that says so may wait to be sent.
    case failed(TLSError)
}

/// What a transfer has come to.
public enum TLSTransfer: Equatable, Sendable {
    /// So many bytes of plaintext, 1 or more.
    case bytes(Int)
    /// Reading: more of the peer's bytes are needed. Writing: there is no room.
    case wantsMore
    /// The peer has said that nothing follows (`close_notify`).
    case closed
    case failed(TLSError)
}

/// One connection's TLS engine. For one thread at a time.
@safe
public final class TLSSession {
    // Safety: `ssl` and `transport` are owned from `init` to `deinit`. The BIO within `ssl` points
    // to `transport`, which is freed after it; `ssl` points to this object, which outlives it.
    let ssl: OpaquePointer
    let transport: UnsafeMutablePointer<Transport>
    public let context: TLSContext
    /// What a client's sessions are kept under.
    let endpoint: String
    /// Names of which the peer's certificate must carry one; empty: any will do.
    let expectedNames: [CertificateName]
    /// What ended it; nothing is read or written after.
    private(set) var failure: TLSError?
    /// The handshake is done.
    public private(set) var isEstablished = false
    /// The peer has said that nothing follows.
    public private(set) var isClosedByPeer = false
    private var hasSaidClose = false
    /// Which of a server's certificates is shown.
    var certificate = 0
    /// The name that a client has asked a server for (SNI, RFC 6066, 3), in lower case, 253 bytes
    /// at most; nil: none, or none that a host could have.
    public internal(set) var serverName: String?
    /// One of the server's certificates has it.
    var isAskedByName = false

    /// The server's side of a connection.
    public convenience init(server context: TLSContext) {
        precondition(context.isServer, "a client's context for a server")
        self.init(context, endpoint: "", names: context.peerNames)
        unsafe SSL_set_accept_state(ssl)
    }

    /// The client's side of a connection.
    /// - Parameters:
    ///   - endpoint: what its sessions are kept under, so that only connections to the same one
    ///     resume them.
    ///   - address: the endpoint's host or numeric address, which the certificate must name where
    ///     the context knows no other name.
    public convenience init(client context: TLSContext, endpoint: String, address: String) {
        precondition(!context.isServer, "a server's context for a client")
        let names =
            context.peerNames.isEmpty ? [CertificateName(address)] : context.peerNames
        self.init(context, endpoint: endpoint, names: names)
        unsafe SSL_set_connect_state(ssl)
        if let name = context.serverName, !CertificateName.isAddress(name) {
            unsafe _ = name.withCString {
                unsafe SSL_ctrl(
                    ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
                    UnsafeMutableRawPointer(mutating: $0))
            }
        }
        if let session = context.cache.take(for: endpoint) {
            unsafe SSL_set_session(ssl, session.pointer)
        }
    }

    private init(_ context: TLSContext, endpoint: String, names: [CertificateName]) {
        self.context = context
        self.endpoint = endpoint
        expectedNames = names
        guard let ssl = unsafe SSL_new(context.pointer) else {
            preconditionFailure("no memory for a TLS session")
        }
        unsafe self.ssl = unsafe ssl
        unsafe transport = .allocate(capacity: 1)
        unsafe transport.initialize(to: Transport())
        let bio = unsafe TransportMethod.makeBIO(over: transport)
        unsafe SSL_set_bio(ssl, bio, bio)
        unsafe SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        // A session that did not fail may be resumed, however its connection ended: OpenSSL gives
        // up those of connections without an exchange of `close_notify`.
        if failure == nil {
            unsafe SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        }
        unsafe SSL_free(ssl)
        unsafe transport.deinitialize(count: 1)
        unsafe transport.deallocate()
    }

    /// The session that `ssl` belongs to, for callbacks.
    static func of(_ ssl: OpaquePointer) -> TLSSession? {
        guard let place = unsafe SSL_get_ex_data(ssl, 0) else { return nil }
        return unsafe Unmanaged<TLSSession>.fromOpaque(place).takeUnretainedValue()
    }

    // MARK: Handshake

    /// Goes on with the handshake; what is to be sent is held.
    /// - Parameter input: bytes of the peer's, after those that are held; what was not needed is
    ///   left in it.
    public func handshake(_ input: inout Bytes) -> TLSProgress {
        if let failure { return .failed(failure) }
        if isEstablished { return .done }
        ErrorQueue.clear()
        unsafe transport.pointee.lend(input: input)
        let result = unsafe SSL_do_handshake(ssl)
        settle(&input)
        if result == 1 {
            if isExpired {
                let error = TLSError(.certificateExpired, detail: "of a resumed session")
                failure = error
                return .failed(error)
            }
            isEstablished = true
            return .done
        }
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .wantsMore
        case SSL_ERROR_ZERO_RETURN: return fail(TLSError(.handshakeCut, detail: "close_notify"))
        default: return fail(currentError())
        }
    }

    private func fail(_ error: TLSError) -> TLSProgress {
        failure = error
        return .failed(error)
    }

    private func currentError() -> TLSError {
        TLSError.ofSession(verification: unsafe SSL_get_verify_result(ssl))
    }

    /// Leaves in `input` what was not taken of it.
    private func settle(_ input: inout Bytes) {
        let rest = unsafe transport.pointee.inputCount
        input = input[input.count - rest..<input.count]
        unsafe transport.pointee.takeBack()
    }

    /// Whether this is a resumed session with a peer whose certificate has expired since: OpenSSL
    /// does not look at it again.
    private var isExpired: Bool {
        guard isResumed, let certificate = unsafe SSL_get0_peer_certificate(ssl) else {
            return false
        }
        return unsafe X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0
    }

    // MARK: Transfer

    /// Decrypts into `memory`, as much as there is and fits.
    /// - Parameter input: bytes of the peer's, after those that are held; what was not needed is
    ///   left in it.
    /// - Precondition: the handshake is done, and `memory` is not empty.
    public func read(
        _ input: inout Bytes, into memory: UnsafeMutableRawBufferPointer
    ) -> TLSTransfer {
        guard let base = memory.baseAddress, memory.count > 0 else { return .wantsMore }
        if let failure { return .failed(failure) }
        ErrorQueue.clear()
        unsafe transport.pointee.lend(input: input)
        var filled = 0
        while filled < memory.count, hasBytes {
            let room = Int32(clamping: memory.count - filled)
            let result = unsafe SSL_read(ssl, base + filled, room)
            if result > 0 {
                filled += Int(result)
                continue
            }
            switch unsafe SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: break
            case SSL_ERROR_ZERO_RETURN: isClosedByPeer = true
            default: failure = currentError()
            }
            break
        }
        settle(&input)
        // What was read before an end or a failure comes before it.
        if filled > 0 { return .bytes(filled) }
        if let failure { return .failed(failure) }
        return isClosedByPeer ? .closed : .wantsMore
    }

    /// Whether `read` has something to tell without further bytes: plaintext, or that there is an
    /// end.
    public var hasInput: Bool { hasBytes || isClosedByPeer || failure != nil }

    /// Whether OpenSSL has something to go on with.
    private var hasBytes: Bool {
        unsafe transport.pointee.heldInput.count > 0 || transport.pointee.inputCount > 0
            || SSL_pending(ssl) > 0
    }

    /// Bytes in `memory` beyond the plaintext for which `write` needs room: of a record's head and
    /// tag, and of an answer to a change of keys before it.
    private static let overhead = 256
    /// A record's plaintext at most (RFC 8446, 5.1).
    private static let recordBytes = 16 * 1024
    /// Where not all fits, no smaller piece is encrypted.
    private static let pieceBytes = 4 * 1024

    /// Encrypts into `memory`, as much as fits.
    /// - Parameter used: bytes of `memory` that stand there already, and then with what was added.
    /// - Returns: how many bytes of plaintext were taken; `wantsMore`: there is no room, or
    ///   something is held that must be sent before.
    /// - Precondition: the handshake is done.
    public func write(
        _ plaintext: Bytes, into memory: UnsafeMutableRawBufferPointer, used: inout Int
    ) -> TLSTransfer {
        if let failure { return .failed(failure) }
        guard heldOutputCount == 0 else { return .wantsMore }
        ErrorQueue.clear()
        unsafe transport.pointee.lend(output: memory, used: used)
        var taken = 0
        while taken < plaintext.count {
            let room = unsafe memory.count - transport.pointee.outputCount - Self.overhead
            let rest = plaintext.count - taken
            let piece = min(rest, Self.recordBytes, room)
            guard piece == rest || piece >= Self.pieceBytes else { break }
            let source = plaintext[taken..<taken + piece]
            let result = unsafe SSL_write(ssl, source.raw.baseAddress, Int32(piece))
            guard result > 0 else {
                failure = currentError()
                break
            }
            taken += Int(result)
        }
        unsafe used = transport.pointee.outputCount
        unsafe transport.pointee.takeBack()
        if taken > 0 { return .bytes(taken) }
        if let failure { return .failed(failure) }
        return .wantsMore
    }

    /// Says that nothing follows (`close_notify`); that is held, to be sent. Once is enough.
    public func close() {
        guard isEstablished, !hasSaidClose, failure == nil else { return }
        hasSaidClose = true
        ErrorQueue.clear()
        unsafe SSL_shutdown(ssl)
        ErrorQueue.clear()
    }
}

// MARK: What is held

extension TLSSession {
    /// Bytes of the peer's that were not wanted yet.
    public var heldInputCount: Int { unsafe transport.pointee.heldInput.count }

    /// Keeps bytes of the peer's for the next call, behind those that are held.
    public func hold(input: Bytes) { unsafe transport.pointee.heldInput.append(input) }

    /// Bytes that wait to be sent before all others.
    public var heldOutputCount: Int { unsafe transport.pointee.heldOutput.count }

    /// The bytes that wait, valid until the next call.
    public var heldOutput: Bytes { unsafe transport.pointee.heldOutput.bytes }

    /// So many of them have been sent.
    public func sent(held count: Int) { unsafe transport.pointee.heldOutput.drop(count) }

    /// Moves the first of them to `memory`; returns how many.
    public func takeHeldOutput(into memory: UnsafeMutableRawBufferPointer) -> Int {
        unsafe transport.pointee.heldOutput.move(to: memory)
    }

    /// Keeps what the kernel did not take of `write`'s memory.
    public func hold(output: Bytes) { unsafe transport.pointee.heldOutput.prepend(output) }
}

// MARK: What was agreed

extension TLSSession {
    /// `1.2` or `1.3`.
    public var version: StaticString {
        unsafe SSL_version(ssl) == TLS1_3_VERSION ? "1.3" : "1.2"
    }

    /// The cipher by OpenSSL's name.
    public var cipher: String {
        guard let cipher = unsafe SSL_get_current_cipher(ssl),
            let name = unsafe SSL_CIPHER_get_name(cipher)
        else { return "" }
        return unsafe String(cString: name)
    }

    /// Whether an earlier session was resumed.
    public var isResumed: Bool { unsafe SSL_session_reused(ssl) == 1 }

    /// The protocol that both agreed on (ALPN, RFC 7301); nil: none.
    public var agreedProtocol: String? {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        unsafe SSL_get0_alpn_selected(ssl, &name, &count)
        guard let start = unsafe name, count > 0 else { return nil }
        return unsafe Bytes(start, count: Int(count)).text
    }

    /// What the peer's certificate calls it: its first URI, else its first DNS name, else its
    /// subject; nil: it has shown none.
    public var peer: String? {
        guard let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return nil }
        return unsafe AlternativeNames.title(of: certificate)
    }

    /// The URIs that the peer's certificate carries, in order.
    public var peerURIs: [String] {
        guard let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return [] }
        return unsafe AlternativeNames(of: certificate).all(GEN_URI)
    }

    /// Whom the peer's certificate names; nil: it has shown none.
    public var peerIdentity: PeerIdentity? {
        guard let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return nil }
        return unsafe PeerIdentity(of: certificate)
    }
}
