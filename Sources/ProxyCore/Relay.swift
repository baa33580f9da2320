// Bytes of a body from one connection to the other.

import Base
import Model
import Wire

extension Proxy {
    enum Relayed {
        /// So many bytes went on; the source's `body` says whether that was all.
        case moved(Int)
        case invalid(HeadError)
        case noBuffer
    }

    /// Moves what has come of the source's body to the sink's output, as far as it takes it.
    /// - Parameter most: bytes.
    func relay(from source: Int, to sink: Int, atMost most: Int = .max) -> Relayed {
        var moved = 0
        while connections[source].hasInput, !connections[source].body.isComplete, moved < most {
            if connections[sink].outputFailed { connections[sink].output.clear(to: pool) }
            guard !connections[sink].output.isFull else {
                connections[source].readPaused = true
                break
            }
            let all = input(source)
            let bytes = all[0..<min(all.count, most - moved)]
            let piece: Int
            switch connections[source].body.kind {
            case .complete: return .moved(moved)
            case .length:
                piece = min(connections[source].body.remaining, bytes.count)
                connections[source].body.remaining -= piece
                if connections[source].body.remaining == 0 {
                    connections[source].body.kind = .complete
                }
            case .untilClose, .stream: piece = bytes.count
            case .chunked:
                switch connections[source].body.chunks.check(bytes) {
                case .partial(let end): piece = end
                case .complete(let end):
                    piece = end
                    connections[source].body.kind = .complete
                case .invalid(let error): return .invalid(error)
                }
            case .unchunking:
                switch unchunk(source, sink, bytes) {
                case .moved(let count): moved += count
                case let other: return other
                }
                continue
            }
            if connections[sink].coding == .chunks {
                guard let taken = moveAsChunk(piece, of: bytes, from: source, to: sink) else {
                    return .noBuffer
                }
                moved += taken
                continue
            }
            guard move(piece, of: bytes, from: source, to: sink) else { return .noBuffer }
            used(source, piece)
            moved += piece
        }
        if connections[source].body.kind == .stream, connections[source].inputEnded,
            !connections[source].hasInput
        {
            connections[source].body.kind = .complete
        }
        return .moved(moved)
    }

    /// What a chunk's size and its ends take at most: 4 digits for less than a buffer.
    static let chunkOverhead = 8

    /// Copies bytes of a stream as one chunk, as many as a buffer holds.
    private func moveAsChunk(
        _ piece: Int, of bytes: Bytes, from source: Int, to sink: Int
    ) -> Int? {
        let count = min(piece, pool.size - Self.chunkOverhead)
        guard appendChunk(bytes[0..<count], to: sink) else { return nil }
        keepBody(bytes[0..<count], source)
        mirrorBody(bytes[0..<count], of: source)
        consumeInput(source, count)
        used(source, count)
        return count
    }

    /// Writes bytes as one chunk (RFC 9112, 7.1).
    /// - Returns: false: there is no buffer.
    func appendChunk(_ bytes: Bytes, to sink: Int) -> Bool {
        let size = bytes.count + Self.chunkOverhead
        guard let memory = unsafe connections[sink].output.room(for: size, from: pool) else {
            return false
        }
        var out = unsafe ByteWriter(memory)
        let digits = (Int.bitWidth - bytes.count.leadingZeroBitCount + 3) / 4
        out.append(hex: UInt64(bytes.count), digits: digits)
        out.append("\r\n")
        out.append(bytes)
        out.append("\r\n")
        connections[sink].output.grow(by: out.count)
        return true
    }

    /// All of the source's body has gone on: ends it in the way of the sink, with the fields that
    /// came behind it.
    /// - Returns: false: there is no buffer.
    func endBody(from source: Int, to sink: Int) -> Bool {
        switch connections[sink].coding {
        case .same: dropUsedTail(source)
        case .frames:
            guard !connections[sink].endAfterOutput else { return true }
            passTail(source, sink)
            connections[sink].endAfterOutput = true
            askFlush(sink)
        case .chunks:
            connections[sink].coding = .same
            let segment = connections[source].tail
            let lines =
                connections[source].hasTail
                ? pool.bytes(segment.buffer, Int(segment.start)..<Int(segment.end)) : Bytes("")
            let size = lines.count + Self.chunkOverhead
            guard let memory = unsafe connections[sink].output.room(for: size, from: pool) else {
                return false
            }
            var out = unsafe ByteWriter(memory)
            out.append("0\r\n")
            out.append(lines)
            out.append("\r\n")
            connections[sink].output.grow(by: out.count)
            dropUsedTail(source)
            if connections[sink].stage != .connecting { askFlush(sink) }
        }
        return true
    }

    /// Fields behind a body have gone on, and are for nobody else.
    private func dropUsedTail(_ source: Int) {
        if connections[source].hasTail, !isKept(source) { dropTail(source) }
    }

    /// Hands the fields behind a body over to a stream; of a request that is kept, a copy.
    private func passTail(_ source: Int, _ sink: Int) {
        guard connections[source].hasTail else { return }
        var segment = connections[source].tail
        if isKept(source) {
            let bytes = pool.bytes(segment.buffer, Int(segment.start)..<Int(segment.end))
            if let copy = keep(bytes) {
                segment = copy
            } else {
                // It cannot be sent again without them.
                dropReceived(source)
                connections[source].hasTail = false
            }
        } else {
            connections[source].hasTail = false
        }
        connections[sink].trailers = segment
        connections[sink].hasTrailers = true
    }

    /// Copies few bytes, hands many over with their buffer.
    private func move(_ piece: Int, of bytes: Bytes, from source: Int, to sink: Int) -> Bool {
        keepBody(bytes[0..<piece], source)
        mirrorBody(bytes[0..<piece], of: source)
        let connection = connections[source]
        if piece > Self.copyLimit, piece == Int(connection.inputEnd - connection.inputStart) {
            connections[sink].output.push(
                Segment(
                    buffer: connection.input, start: connection.inputStart, end: connection.inputEnd
                ))
            connections[source].input = -1
            connections[source].inputStart = 0
            connections[source].inputEnd = 0
            return true
        }
        guard connections[sink].output.append(bytes[0..<piece], from: pool) else { return false }
        consumeInput(source, piece)
        return true
    }

    private func unchunk(_ source: Int, _ sink: Int, _ bytes: Bytes) -> Relayed {
        do throws(HeadError) {
            let (data, used) = try connections[source].body.chunks.nextData(bytes)
            if !data.isEmpty, !connections[sink].output.append(bytes[data], from: pool) {
                return .noBuffer
            }
            keepBody(bytes[data], source)
            mirrorBody(bytes[0..<used], of: source)
            consumeInput(source, used)
            if connections[source].body.chunks.isBehindData { try takeTrailers(source, sink) }
            if connections[source].body.chunks.isComplete {
                connections[source].body.kind = .complete
            }
            return .moved(data.count)
        } catch {
            return .invalid(error)
        }
    }

    /// Fields behind chunks are kept for a stream; a client of HTTP/1.0 has no place for them.
    private func takeTrailers(_ source: Int, _ sink: Int) throws(HeadError) {
        guard connections[source].hasInput else { return }
        let bytes = input(source)
        let (lines, used) = try connections[source].body.chunks.nextTrailers(bytes)
        if connections[sink].isStream, !lines.isEmpty {
            if !connections[source].hasTail {
                guard let buffer = pool.take() else { throw .trailersTooLarge }
                connections[source].tail = Segment(buffer: buffer)
                connections[source].hasTail = true
            }
            let segment = connections[source].tail
            // `ChunkedBody` bounds them below a buffer.
            var out = unsafe ByteWriter(pool.memory(segment.buffer), count: Int(segment.end))
            out.append(bytes[lines])
            connections[source].tail.end = UInt32(out.count)
        }
        mirrorBody(bytes[0..<used], of: source)
        consumeInput(source, used)
    }

    // MARK: Tunnels

    /// Both sides pass bytes as they come from here on (RFC 9110, 7.8).
    func beginTunnel(_ client: Int, _ upstream: Int, now: Instant) {
        counters.add(.upgrades)
        for slot in [client, upstream] {
            connections[slot].stage = .tunnel
            connections[slot].body.kind = .untilClose
            connections[slot].since = now
            askRead(slot)
        }
        arm(client)
        relayTunnel(upstream, now: now)
    }

    func relayTunnel(_ slot: Int, now: Instant) {
        guard let peer = connections[slot].peer else { return }
        switch relay(from: slot, to: peer) {
        case .moved(let bytes):
            if connections[slot].role == .downstream {
                connections[slot].exchange.requestBytes += bytes
                counters.add(.requestBytes, bytes)
            } else {
                connections[peer].exchange.responseBytes += bytes
                counters.add(.responseBytes, bytes)
            }
            if bytes > 0 { askFlush(peer) }
            if connections[slot].inputEnded, !connections[slot].hasInput {
                passEnd(to: peer, now: now)
            }
        case .invalid, .noBuffer: closeTunnel(slot, flag: .OM, detail: .noBuffer, now: now)
        }
    }

    func tunnelEnded(_ slot: Int, now: Instant) { relayTunnel(slot, now: now) }

    /// The other side has ended: this side's sending ends behind what is queued.
    private func passEnd(to slot: Int, now: Instant) {
        guard !connections[slot].endAfterOutput else { return }
        connections[slot].endAfterOutput = true
        if connections[slot].isStream { return askFlush(slot) }
        // One that is not yet open ends when it is.
        if connections[slot].output.isEmpty, connections[slot].stage == .tunnel {
            connections[slot].outputEnded = true
            ask(.endSending(slot: slot))
            closeTunnelIfDone(slot, now: now)
        }
    }

    func closeTunnelIfDone(_ slot: Int, now: Instant) {
        guard let peer = connections[slot].peer, connections[slot].outputEnded,
            connections[peer].outputEnded
        else { return }
        closeTunnel(slot, reset: false, now: now)
    }

    /// - Parameters:
    ///   - flag: why it does not end in order; of an upgraded one, only that its time was over.
    ///   - detail: the same in more words.
    func closeTunnel(
        _ slot: Int, reset: Bool = true, flag: ResponseFlag? = nil,
        detail: ResponseDetail = .viaUpstream,
        now: Instant
    ) {
        guard let peer = connections[slot].peer else { return close(slot, reset: reset) }
        let client = connections[slot].role == .downstream ? slot : peer
        let upstream = client == slot ? peer : slot
        let isTimed = flag == .DT || flag == .UMSDR || flag == .SI
        if isTimed {
            connections[client].exchange.decision =
                flag == .SI ? .idleTimeout : .durationTimeout
        }
        if connections[client].forwards || isTimed {
            logExchange(client, flag: flag, detail: detail, isLate: true, now: now)
        } else {
            logExchange(client, flag: nil, detail: .viaUpstream, now: now)
        }
        connections[client].peerPlusOne = 0
        connections[upstream].peerPlusOne = 0
        // Its endpoint was judged when the tunnel was there: how that ends says nothing of it.
        let isThere = connections[upstream].isJudged
        endAttempt(upstream, isThere ? .cancelled : AttemptResult(flag), now: now)
        if connections[client].isStream {
            // RFC 9113, 8.5: what has befallen the connection behind a tunnel.
            dropStream(client, hasEnded(client) ? nil : .connectError, now: now)
        } else {
            close(client, reset: reset)
        }
        closeUpstream(upstream, reset: reset, now: now)
    }

    /// Whether both sides have said all on a stream.
    func hasEnded(_ slot: Int) -> Bool {
        connections[slot].inputEnded && connections[slot].outputEnded
    }
}
