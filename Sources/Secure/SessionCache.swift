// What a client keeps of earlier sessions, so that the next handshake with the same server can be a
// short one.

import COpenSSL
import Synchronization

/// A session that can be resumed.
@safe
final class StoredSession: @unchecked Sendable {
    // Safety: one reference is owned, from `init` to `deinit`; OpenSSL counts references with
    // atomics, and nothing here changes the session.
    let pointer: OpaquePointer
    /// A ticket of TLS 1.3 is used once, so that two connections cannot be linked by it (RFC 8446,
    /// C.4).
    let isSingleUse: Bool

    init(owning pointer: OpaquePointer) {
        unsafe self.pointer = unsafe pointer
        unsafe isSingleUse = SSL_SESSION_get_protocol_version(pointer) >= TLS1_3_VERSION
    }

    deinit { unsafe SSL_SESSION_free(pointer) }
}

/// Sessions by endpoint; newest first out. Shared by the threads that use a context.
final class SessionCache: Sendable {
    /// Bound: sessions kept of one endpoint; a server gives two tickets with each full handshake.
    static let perEndpoint = 16
    /// Bound: endpoints.
    static let endpointsMost = 1024

    private let sessions = Mutex<[String: [StoredSession]]>([:])

    func store(_ session: StoredSession, for endpoint: String) {
        sessions.withLock { all in
            if all[endpoint] == nil, all.count >= Self.endpointsMost, let victim = all.keys.first {
                all[victim] = nil
            }
            // Sessions that are used again and again replace each other.
            if !session.isSingleUse {
                all[endpoint] = [session]
                return
            }
            if let count = all[endpoint]?.count, count >= Self.perEndpoint {
                all[endpoint]?.removeFirst()
            }
            all[endpoint, default: []].append(session)
        }
    }

    /// The newest session of an endpoint; nil: none is kept.
    func take(for endpoint: String) -> StoredSession? {
        sessions.withLock { all in
            guard let newest = all[endpoint]?.last else { return nil }
            if newest.isSingleUse { all[endpoint]?.removeLast() }
            return newest
        }
    }

    /// Sessions kept of an endpoint.
    func count(for endpoint: String) -> Int {
        sessions.withLock { $0[endpoint]?.count ?? 0 }
    }
}
