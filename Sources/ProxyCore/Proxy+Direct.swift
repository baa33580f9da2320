// Bodies that pass unseen. Where the length of a body is known and its coding does not change, its
// bytes need not come into the process: the owner of the sockets may move them from one to the
// other within the kernel, by way of a pipe (splice(2)), which spares two copies. How many may be
// moved is said here; how many it has moved, the owner tells.
//
// The last bytes of every body come the ordinary way, so that the end of the message and what is
// found behind it are treated in one place only.

public import Base
import Wire

extension Proxy {
    /// What must be left of a body, bytes, for it to begin to pass unseen. Below about this much,
    /// two copies cost less than two more system calls.
    static let directMinimum = 96 * 1024
    /// The last bytes of a body, which are read.
    static let directTail = 16 * 1024

    /// How many bytes may pass unseen from this connection to its peer; 0: read them.
    @inline(__always)
    public func directBytes(_ slot: Int) -> Int {
        guard connections[slot].body.kind == .length else { return 0 }
        guard mayPassDirectly(slot), !connections[slot].hasInput, !connections[slot].inputEnded,
            let peer = connections[slot].peer,
            connections[peer].output.isEmpty
        else { return 0 }
        return connections[slot].body.remaining - Self.directTail
    }

    /// Bytes that have been taken from this connection and not yet given to its peer.
    @inline(__always)
    public func heldBytes(_ slot: Int) -> Int { connections[slot].body.held }

    /// Whether this body, as far as it goes, passes unseen: now, or when the peer's output is sent.
    func mayPassDirectly(_ slot: Int) -> Bool {
        guard connections[slot].stage == .exchange, connections[slot].body.kind == .length,
            !connections[slot].body.isRead, connections[slot].mirror == 0,
            !connections[slot].isStream,
            let peer = connections[slot].peer,
            !connections[peer].isStream,
            connections[peer].stage == .exchange, !connections[peer].outputFailed,
            !connections[slot].isSecured, !connections[peer].isSecured
        else { return false }
        let least = connections[slot].body.isDirect ? Self.directTail + 1 : Self.directMinimum
        return connections[slot].body.remaining >= least
    }

    /// This body cannot be moved within the kernel, for want of a pipe: all of it is read.
    public func refuseDirect(_ slot: Int) {
        connections[slot].body.isRead = true
        readLater(slot)
    }

    /// The bytes held are lost: the peer takes no more.
    public func dropHeld(_ slot: Int) { connections[slot].body.held = 0 }

    /// The connection that bytes are held of for this one, which takes more now; nil: none are.
    @inline(__always)
    public func directSource(for slot: Int) -> Int? {
        guard let peer = connections[slot].peer, connections[peer].body.held > 0 else { return nil }
        return peer
    }

    /// The other side of the exchange; nil: none.
    public func peer(of slot: Int) -> Int? { connections[slot].peer }

    /// `count` bytes were taken from the connection.
    /// - Precondition: no more than `directBytes`.
    public func movedIn(_ slot: Int, _ count: Int, now: Instant) {
        precondition(
            count <= connections[slot].body.remaining - Self.directTail, "moved past the tail")
        // What passes unseen cannot be kept.
        if isKept(slot) { dropReceived(slot) }
        connections[slot].body.isDirect = true
        connections[slot].body.remaining -= count
        connections[slot].body.held += count
        connections[slot].readPaused = false
        connections[slot].active = now
    }

    /// `count` of the bytes held were given to the peer.
    public func movedOut(_ slot: Int, _ count: Int, now: Instant) {
        precondition(count <= connections[slot].body.held, "more was moved than was held")
        guard let peer = connections[slot].peer else { return }
        connections[slot].body.held -= count
        connections[peer].active = now
        if connections[slot].role == .downstream {
            connections[slot].exchange.requestBytes += count
            connections[peer].requestBytesSent += count
            counters.add(.requestBytes, count)
        } else {
            connections[peer].exchange.responseBytes += count
            counters.add(.responseBytes, count)
        }
        counters.add(.directBytes, count)
        // The tail, or an end that was found too early, has waited for these bytes to be gone.
        if connections[slot].body.held == 0 { readLater(slot) }
    }
}
