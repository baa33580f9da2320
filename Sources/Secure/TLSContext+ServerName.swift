// A server chooses its certificate by the name that the client asks for, before it looks at the
// session that the client would resume.

import Base
import COpenSSL

/// A certificate, its intermediates and its key, which belong together.
struct Credential {
    /// The leaf, then the intermediates.
    let chain: [Certificate]
    let key: Key

    init(_ identity: TLSIdentity) throws(TLSError) {
        chain = try PEM.certificates(identity.certificate, .malformedCertificate)
        key = try PEM.key(identity.key)
        guard unsafe X509_check_private_key(chain[0].pointer, key.pointer) == 1 else {
            throw TLSError(.keyMismatch, detail: ErrorQueue.take().text)
        }
    }

    /// Makes it what sessions of a context show.
    /// - Throws: where OpenSSL finds it too weak.
    func install(in context: OpaquePointer) throws(TLSError) {
        var taken = unsafe SSL_CTX_use_certificate(context, chain[0].pointer) == 1
        for certificate in chain.dropFirst() where taken {
            let memory = unsafe UnsafeMutableRawPointer(certificate.pointer)
            taken = unsafe SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, memory) == 1
        }
        guard taken, unsafe SSL_CTX_use_PrivateKey(context, key.pointer) == 1 else {
            throw TLSError(.malformedCertificate, detail: ErrorQueue.take().text)
        }
    }

    /// Makes it what a session shows, in place of what it has: OpenSSL holds one of each kind of
    /// key, and would choose among them.
    /// - Returns: whether OpenSSL has taken it.
    func replace(in session: OpaquePointer) -> Bool {
        unsafe SSL_certs_clear(session)
        guard unsafe SSL_use_certificate(session, chain[0].pointer) == 1 else { return false }
        for certificate in chain.dropFirst() {
            let memory = unsafe UnsafeMutableRawPointer(certificate.pointer)
            guard unsafe SSL_ctrl(session, SSL_CTRL_CHAIN_CERT, 1, memory) == 1 else {
                return false
            }
        }
        return unsafe SSL_use_PrivateKey(session, key.pointer) == 1
    }
}

extension TLSContext {
    /// Reads certificates and the names that they are asked for by; the first is also for whoever
    /// asks for none of them.
    /// - Throws: what is wrong, and with which certificate.
    static func credentials(
        _ identities: [TLSIdentity]
    ) throws(TLSError) -> ([Credential], ServerNames) {
        var credentials: [Credential] = []
        var names = ServerNames()
        for (place, identity) in identities.enumerated() {
            let credential: Credential
            do throws(TLSError) {
                credential = try Credential(identity)
            } catch {
                throw TLSError(error.reason, detail: error.detail, certificates: [place])
            }
            let hosts = unsafe AlternativeNames(of: credential.chain[0].pointer).all(GEN_DNS)
            let count = try names.add(hosts, of: place)
            guard place == 0 || count > 0 else {
                throw TLSError(.noServerName, certificates: [place])
            }
            credentials.append(credential)
        }
        return (credentials, names)
    }

    /// Lets sessions choose among `credentials`, of which the context shows the first.
    /// - Throws: where OpenSSL finds one of them too weak.
    func chooseByName() throws(TLSError) {
        for (place, credential) in credentials.enumerated().dropFirst() {
            let trial = unsafe SSL_new(pointer)
            defer { unsafe SSL_free(trial) }
            guard let trial = unsafe trial, unsafe credential.replace(in: trial) else {
                throw TLSError(
                    .malformedCertificate, detail: ErrorQueue.take().text, certificates: [place])
            }
        }
        unsafe SSL_CTX_set_client_hello_cb(pointer, chooseCertificate, nil)
        unsafe mb_set_server_name_callback(pointer, acknowledgeName)
    }
}

/// Called with a client's hello before anything is made of it, and again with the one that follows
/// a retry (RFC 8446, 4.1.2).
private let chooseCertificate:
    @convention(c) (
        OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?
    ) -> Int32 = { ssl, _, _ in
        guard let ssl = unsafe ssl, let session = unsafe TLSSession.of(ssl) else {
            return SSL_CLIENT_HELLO_ERROR
        }
        var start: UnsafePointer<UInt8>?
        var count = 0
        var name: String?
        let kind = UInt32(TLSEXT_TYPE_server_name)
        if unsafe SSL_client_hello_get0_ext(ssl, kind, &start, &count) == 1,
            let start = unsafe start
        {
            name = unsafe ServerNames.asked(in: Bytes(start, count: count))
        }
        return session.choose(by: name) ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR
    }

/// Called when the hello has been read: a client whose name was of use is told so (RFC 6066, 3).
/// One whose name was not is served all the same, which is the better of the two ways there.
private let acknowledgeName:
    @convention(c) (
        OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?
    ) -> Int32 = { ssl, _, _ in
        guard let ssl = unsafe ssl, let session = unsafe TLSSession.of(ssl),
            session.isAskedByName
        else { return SSL_TLSEXT_ERR_NOACK }
        return SSL_TLSEXT_ERR_OK
    }

extension TLSSession {
    /// Shows the certificate for `name`, and lets only sessions that began with the same name be
    /// resumed (RFC 6066, 3, where it is a must; TLS 1.3 leaves it to clients, RFC 8446, 4.6.1):
    /// what OpenSSL calls a session's context is the name's hash, which fits where the name may
    /// not.
    /// - Returns: false: OpenSSL has no memory for it.
    fileprivate func choose(by name: String?) -> Bool {
        let place = name.flatMap { context.names.place(of: $0) }
        serverName = name
        isAskedByName = place != nil
        let chosen = place ?? 0
        if chosen != certificate {
            guard unsafe context.credentials[chosen].replace(in: ssl) else { return false }
            certificate = chosen
        }
        let text = Array((name ?? "").utf8)
        var hash = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        unsafe SHA256(text, text.count, &hash)
        return unsafe SSL_set_session_id_context(ssl, hash, UInt32(hash.count)) == 1
    }
}
