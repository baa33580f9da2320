import Base

/// Bytes on their way, first in, first out.
struct ByteQueue {
    private var bytes: [UInt8] = []
    private var start = 0

    var count: Int { bytes.count - start }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ piece: some Sequence<UInt8>) { bytes.append(contentsOf: piece) }

    mutating func append(_ piece: Bytes) { unsafe bytes.append(contentsOf: piece.raw) }

    /// Takes out the first `limit` bytes, or all.
    mutating func take(_ limit: Int) -> ArraySlice<UInt8> {
        let end = start + min(limit, count)
        let taken = bytes[start..<end]
        start = end
        if start == bytes.count {
            bytes = []
            start = 0
        } else if start > 1 << 16 {
            bytes.removeFirst(start)
            start = 0
        }
        return taken
    }

    mutating func removeAll() { self = ByteQueue() }
}

/// One connection as the kernel would hold it between the proxy and a peer: two bounded queues, the
/// ends of both directions, and the edges that epoll would report.
final class SimulatedSocket {
    enum Opening { case pending, open, refused, never }

    var slot = -1
    var generation: UInt32 = 0
    var opening = Opening.open
    var openAt = Instant.zero

    /// From the peer to the proxy.
    var inbound = ByteQueue()
    let inboundCapacity: Int
    var peerEnded = false
    var peerClosed = false
    var peerReset = false

    /// From the proxy to the peer.
    var outbound = ByteQueue()
    let outboundCapacity: Int
    var proxyEnded = false
    var proxyClosed = false
    var proxyReset = false

    var readable = false
    var writable = false
    private var blocked = false

    init(inboundCapacity: Int, outboundCapacity: Int) {
        self.inboundCapacity = inboundCapacity
        self.outboundCapacity = outboundCapacity
    }

    /// The proxy gave it up before it was open.
    var wasNeverOpened: Bool { proxyClosed && opening != .open }

    // MARK: The peer's side

    /// How much the peer may write now.
    var peerRoom: Int {
        proxyClosed || peerEnded || peerReset ? 0 : max(0, inboundCapacity - inbound.count)
    }

    func peerWrite(_ bytes: ArraySlice<UInt8>) {
        if proxyClosed { return }
        inbound.append(bytes)
        readable = true
    }

    func peerRead(_ limit: Int) -> ArraySlice<UInt8> {
        let taken = outbound.take(limit)
        if blocked, !taken.isEmpty {
            blocked = false
            writable = true
        }
        return taken
    }

    /// Whether the peer, having read everything, finds the end; reset or not.
    var peerFindsEnd: Bool { (proxyEnded || proxyClosed) && outbound.isEmpty }

    func peerEnd() {
        peerEnded = true
        readable = true
    }

    func peerClose(reset: Bool) {
        peerClosed = true
        peerEnded = true
        if reset || !outbound.isEmpty { peerReset = true }
        outbound.removeAll()
        readable = true
        writable = true
    }

    // MARK: The proxy's side

    /// What a send of `offered` bytes takes; nil: it fails.
    func send(_ regions: [Bytes]) -> Int? {
        if peerReset { return nil }
        precondition(!proxyEnded && !proxyClosed, "sending after the end")
        let offered = regions.reduce(0) { $0 + $1.count }
        if peerClosed {
            // Taken by the kernel, answered by a reset.
            peerReset = true
            readable = true
            return offered
        }
        var room = outboundCapacity - outbound.count
        var sent = 0
        for region in regions where room > 0 {
            let piece = region[0..<min(region.count, room)]
            outbound.append(piece)
            room -= piece.count
            sent += piece.count
        }
        if sent < offered { blocked = true }
        return sent
    }

    func close(reset: Bool) {
        precondition(!proxyClosed, "a socket was closed twice")
        proxyClosed = true
        proxyReset = reset || !inbound.isEmpty
        if proxyReset { outbound.removeAll() }
        inbound.removeAll()
    }
}
