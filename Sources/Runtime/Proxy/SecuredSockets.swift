import Base
import Glibc
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

/// Memory that a worker lends to all its sessions, one call at a time: what was read from a socket,
/// and what is to be sent. Touched only once a connection is secured.
@safe
final class TLSScratch {
    // Safety: both are owned from `init` to `deinit`.
    let input: UnsafeMutableRawBufferPointer
    let output: UnsafeMutableRawBufferPointer

    /// What one read takes at most: as much as one of the proxy's buffers.
    private static let inputBytes = 64 * 1024
    /// What one send offers at most: four records, with their heads and tags. Bound: so much is
    /// held of a connection whose peer does not read.
    private static let outputBytes = 4 * (16 * 1024 + 256)

    init() {
        unsafe input = .allocate(byteCount: Self.inputBytes, alignment: 64)
        unsafe output = .allocate(byteCount: Self.outputBytes, alignment: 64)
    }

    deinit {
        unsafe input.deallocate()
        unsafe output.deallocate()
    }

    /// The first bytes of the input.
    func inputBytes(_ count: Int) -> Bytes {
        unsafe Bytes(UnsafeRawBufferPointer(rebasing: input[..<count]))
    }

    /// A range of the output.
    func outputBytes(_ range: Range<Int>) -> Bytes {
        unsafe Bytes(UnsafeRawBufferPointer(rebasing: output[range]))
    }
}
