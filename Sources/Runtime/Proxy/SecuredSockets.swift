import Secure

/// What a worker keeps of a connection that is secured.
struct SecuredSocket {
    let session: TLSSession
    /// The socket is connected, and the handshake has begun.
    var isConnected: Bool
    /// Bytes at the front of the proxy's output that are encrypted already, in what is held to be
    /// sent.
    var encrypted = 0
    /// The socket's sending side is ended once all is sent.
    var endsAfterOutput = false
}

/// A worker's secured connections by slot. It takes memory only as far as slots are secured.
struct SecuredSockets {
    private var sockets: [SecuredSocket?] = []

    subscript(slot: Int) -> SecuredSocket? {
        get { slot < sockets.count ? sockets[slot] : nil }
        set {
            if slot >= sockets.count {
                guard newValue != nil else { return }
                sockets += Array(repeating: nil, count: slot + 1 - sockets.count)
            }
            sockets[slot] = newValue
        }
    }

    /// The session of a slot; nil: it is not secured.
    @inline(__always)
    func session(of slot: Int) -> TLSSession? {
        slot < sockets.count ? sockets[slot]?.session : nil
    }
}
