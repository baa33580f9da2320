// A request that may have to be sent again is kept at its client's side: its head as it came, and
// behind it, in the same buffer, what has gone on of its body. It is kept
//
//  - where a retry policy holds, until an answer is settled on;
//  - on a stream to an upstream of HTTP/2, which may refuse it, until the answer begins (RFC 9113,
//    8.7);
//  - on a connection that was used before, which its peer may have closed meanwhile, until the
//    answer begins, if all of it is here or comes in chunks (RFC 9112, 9.3.1).
//
// It is kept without a copy where the client's input holds it and nothing else. Bound: one buffer,
// head and body together; and the policy's `bodyLimit`. What outgrows it is kept no longer, and
// sent once.

import Base
import Model
import Wire

extension Proxy {
    /// A client's request, part of which has gone on, is kept.
    func isKept(_ slot: Int) -> Bool {
        connections[slot].role == .downstream && connections[slot].hasReceived
            && connections[slot].stage == .exchange
    }

    /// The head in hand has been sent for the first time: keeps it, or uses it up.
    func keepRequest(_ slot: Int, _ upstream: Int, _ headLength: Int) {
        let goesAsStream = connections[upstream].isStream
        let hasPolicy = connections[slot].exchange.hasPolicy
        connections[slot].exchange.goesAsStream = goesAsStream
        let isWanted = goesAsStream || hasPolicy
        let mayBeStale = connections[upstream].reused
        if connections[slot].isStream {
            if !isWanted, !(mayBeStale && connections[slot].body.isComplete) {
                dropReceived(slot)
            }
            return
        }
        // A client that is waited for has its head apart already.
        guard !connections[slot].hasReceived else { return }
        let count = Int(connections[slot].inputEnd - connections[slot].inputStart)
        var length = headLength
        let body = connections[slot].body
        let limit = hasPolicy ? Int(tries[slot].rules.bodyLimit) : Self.copyLimit
        if body.kind == .length, body.remaining <= min(limit, count - headLength) {
            length += body.remaining
        }
        // Where a body in chunks ends is seen only as it goes on.
        let isChunked = body.kind == .chunked && connections[slot].exchange.idempotent
        let isWhole = body.isComplete || length > headLength || isChunked
        guard isWanted || mayBeStale && isWhole, mayKeep(body, limit, hasPolicy: hasPolicy),
            setAside(slot, length, of: count)
        else { return consumeInput(slot, headLength) }
        let bodyLength = length - headLength
        connections[slot].received.end -= UInt32(bodyLength)
        connections[slot].keptBody = UInt32(bodyLength)
        guard bodyLength > 0 else { return }
        connections[slot].body.remaining = 0
        connections[slot].body.kind = .complete
        connections[slot].exchange.requestBytes += bodyLength
        counters.add(.requestBytes, bodyLength)
        let start = Int(connections[slot].received.end)
        mirrorBody(
            pool.bytes(connections[slot].received.buffer, start..<start + bodyLength), of: slot)
    }

    /// Whether it makes sense to begin: a body that is known to be too long is not kept.
    private func mayKeep(_ body: BodyProgress, _ limit: Int, hasPolicy: Bool) -> Bool {
        !hasPolicy || body.kind != .length || body.remaining <= limit
    }

    /// Puts the first `length` bytes of the input apart.
    /// - Returns: false: there is no buffer.
    func setAside(_ slot: Int, _ length: Int, of count: Int) -> Bool {
        if length == count {
            let connection = connections[slot]
            connections[slot].received = Segment(
                buffer: connection.input, start: connection.inputStart, end: connection.inputEnd)
            connections[slot].input = -1
            connections[slot].inputStart = 0
            connections[slot].inputEnd = 0
        } else {
            guard let segment = keep(input(slot)[0..<length]) else { return false }
            connections[slot].received = segment
            consumeInput(slot, length)
        }
        connections[slot].hasReceived = true
        connections[slot].keptBody = 0
        return true
    }

    /// Bytes of a body go on from `source`: keeps them too, or gives up keeping.
    func keepBody(_ bytes: Bytes, _ source: Int) {
        guard connections[source].hasReceived, isKept(source) else { return }
        let kept = Int(connections[source].keptBody)
        let segment = connections[source].received
        let end = Int(segment.end) + kept
        let limit =
            connections[source].exchange.hasPolicy
            ? Int(tries[source].rules.bodyLimit) : pool.size
        guard end + bytes.count <= pool.size, kept + bytes.count <= limit else {
            return dropReceived(source)
        }
        var out = unsafe ByteWriter(pool.memory(segment.buffer), count: end)
        out.append(bytes)
        connections[source].keptBody += UInt32(bytes.count)
    }

    /// Sends what is kept of the body behind the head.
    /// - Returns: false: there is no buffer.
    func sendKept(_ slot: Int, _ upstream: Int) -> Bool {
        let count = Int(connections[slot].keptBody)
        guard count > 0 else { return true }
        let segment = connections[slot].received
        let start = Int(segment.end)
        let bytes = pool.bytes(segment.buffer, start..<start + count)
        if connections[upstream].coding == .chunks {
            guard appendChunks(bytes, upstream) else { return false }
        } else {
            guard connections[upstream].output.append(bytes, from: pool) else { return false }
        }
        if connections[upstream].stage != .connecting { askFlush(upstream) }
        return true
    }

    private func appendChunks(_ bytes: Bytes, _ sink: Int) -> Bool {
        var start = 0
        while start < bytes.count {
            let count = min(bytes.count - start, pool.size - Self.chunkOverhead)
            guard appendChunk(bytes[start..<start + count], to: sink) else { return false }
            start += count
        }
        return true
    }

    /// A request has been sent once more: counts that where no policy asked for it.
    func noteResent(_ slot: Int) {
        countDecided(slot)
        switch connections[slot].exchange.resending {
        case .no: return
        case .stale: counters.add(.staleRetries)
        case .refused: counters.add(.refusedRetries)
        }
        connections[slot].exchange.resending = .no
    }

    /// The answer has begun, and no policy may want another: the request is not sent again.
    func letGo(_ client: Int) {
        guard connections[client].hasReceived, !connections[client].exchange.hasPolicy else {
            return
        }
        dropReceived(client)
    }
}
