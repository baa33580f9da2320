// Requests that an upstream of HTTP/2 has not looked at: it has reset their stream with
// REFUSED_STREAM, or gone away naming an earlier stream as its last. They are sent once more,
// whatever their method (RFC 9113, 8.7), if all that had gone on of them is still here.
//
//     client.received ──sent──▶ upstream.replay ──refused──▶ client.received ──▶ sent again,
//                                  ▲      │                                 or waits as others do
//                   body, as it goes on   ▼ the answer begins: dropped
//
// So a request that waits again stands there as any other does, with its head apart from what has
// come since.

import Base
import Model
import Wire

extension Proxy {
    /// A request's head has been sent as a stream's. The first time head and body are kept, as far
    /// as they fit in one buffer; the second time what was kept of the body goes ahead of the rest.
    func keepOrReplay(_ slot: Int, _ upstream: Int, _ headLength: Int) {
        if connections[slot].exchange.isRefused {
            connections[slot].exchange.isRefused = false
            connections[slot].exchange.retried = true
            counters.add(.refusedRetries)
            return sendKeptBody(slot, upstream)
        }
        if connections[slot].isStream {
            connections[upstream].replay = connections[slot].received
            connections[upstream].hasReplay = true
            connections[slot].hasReceived = false
            return
        }
        // Without a buffer the request goes on all the same, and is lost if it is refused.
        if let segment = keep(input(slot)[0..<headLength]) {
            connections[upstream].replay = segment
            connections[upstream].hasReplay = true
        }
        consumeInput(slot, headLength)
    }

    private func sendKeptBody(_ slot: Int, _ upstream: Int) {
        let count = connections[slot].keptBody
        guard count > 0 else { return dropReceived(slot) }
        let segment = connections[slot].received
        connections[upstream].output.push(
            Segment(buffer: segment.buffer, start: segment.end, end: segment.end + count))
        connections[slot].hasReceived = false
        connections[slot].keptBody = 0
        askFlush(upstream)
    }

    /// Bytes of a body go on to a stream: keeps them too, or gives up keeping.
    func keepBody(_ bytes: Bytes, _ upstream: Int) {
        guard connections[upstream].hasReplay, connections[upstream].isStream else { return }
        let segment = connections[upstream].replay
        let end = Int(segment.end + connections[upstream].keptBody)
        guard end + bytes.count <= pool.size else { return dropReplay(upstream) }
        var out = unsafe ByteWriter(pool.memory(segment.buffer), count: end)
        out.append(bytes)
        connections[upstream].keptBody += UInt32(bytes.count)
    }

    /// Whether a request that was refused can be sent again: it is here whole, as far as it has
    /// come, nothing of an answer is, and it has not been sent twice already.
    func mayReplay(_ slot: Int, _ client: Int) -> Bool {
        connections[slot].hasReplay && !connections[slot].answered
            && !connections[client].exchange.retried
    }

    /// Takes a refused request back from its stream, and sends it on another.
    func replayRefused(_ slot: Int, _ client: Int, now: Instant) {
        let session = session(of: slot)
        connections[client].received = connections[slot].replay
        connections[client].hasReceived = true
        connections[client].keptBody = connections[slot].keptBody
        connections[slot].hasReplay = false
        if connections[slot].hasTrailers {
            connections[client].tail = connections[slot].trailers
            connections[client].hasTail = true
            connections[slot].hasTrailers = false
        }
        endAttempt(slot, .reset, now: now)
        connections[slot].peerPlusOne = 0
        connections[client].peerPlusOne = 0
        connections[client].stage = .awaitingRequest
        connections[client].exchange.isRefused = true
        // Until the request has found its place, so that it goes elsewhere if it can; others go
        // elsewhere too while they can.
        unpoolSession(session.slot)
        close(slot)
        sendAgain(client, now: now)
        offerRoom(session, asLast: true, now: now)
    }

    /// Sends a refused request, or has it wait.
    func sendAgain(_ slot: Int, now: Instant) {
        connections[slot].isRerouted = false
        let bytes = headBytes(slot)
        guard head.parseRequest(bytes) == .complete else {
            preconditionFailure("a head that was complete no longer is")
        }
        let cluster = Int(connections[slot].exchange.cluster)
        // The configuration may have changed since.
        guard cluster >= 0, upstreams.clusters[cluster].isHTTP2 else {
            return reply(slot, status: 503, flag: .UC, detail: "stream_refused", now: now)
        }
        forwardStream(slot, bytes, cluster: cluster, now: now)
    }
}
