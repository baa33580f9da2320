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
    func relay(from source: Int, to sink: Int) -> Relayed {
        var moved = 0
        while connections[source].hasInput, !connections[source].body.isComplete {
            if connections[sink].outputFailed { connections[sink].output.clear(to: pool) }
            guard !connections[sink].output.isFull else {
                connections[source].readPaused = true
                break
            }
            let bytes = input(source)
            let piece: Int
            switch connections[source].body.kind {
            case .complete: return .moved(moved)
            case .length:
                piece = min(connections[source].body.remaining, bytes.count)
                connections[source].body.remaining -= piece
                if connections[source].body.remaining == 0 {
                    connections[source].body.kind = .complete
                }
            case .untilClose: piece = bytes.count
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
            guard move(piece, of: bytes, from: source, to: sink) else { return .noBuffer }
            moved += piece
        }
        return .moved(moved)
    }

    /// Copies few bytes, hands many over with their buffer.
    private func move(_ piece: Int, of bytes: Bytes, from source: Int, to sink: Int) -> Bool {
        if piece == bytes.count, piece > Self.copyLimit {
            let connection = connections[source]
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
            if connections[source].body.chunks.isComplete {
                connections[source].body.kind = .complete
            }
            consumeInput(source, used)
            return .moved(data.count)
        } catch {
            return .invalid(error)
        }
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
        case .invalid, .noBuffer: closeTunnel(slot, flag: .OM, detail: "no_buffer", now: now)
        }
    }

    func tunnelEnded(_ slot: Int, now: Instant) { relayTunnel(slot, now: now) }

    /// The other side has ended: this side's sending ends behind what is queued.
    private func passEnd(to slot: Int, now: Instant) {
        guard !connections[slot].endAfterOutput else { return }
        connections[slot].endAfterOutput = true
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
    ///   - flag: why it does not end in order; of a `tcp` listener's.
    ///   - detail: the same in more words.
    func closeTunnel(
        _ slot: Int, reset: Bool = true, flag: ResponseFlag? = nil, detail: StaticString = "",
        now: Instant
    ) {
        guard let peer = connections[slot].peer else { return close(slot, reset: reset) }
        let client = connections[slot].role == .downstream ? slot : peer
        let upstream = client == slot ? peer : slot
        if connections[client].forwards {
            logExchange(client, flag: flag, detail: detail, now: now)
        } else {
            logExchange(client, flag: nil, detail: "upgrade", now: now)
        }
        connections[client].peerPlusOne = 0
        connections[upstream].peerPlusOne = 0
        close(client, reset: reset)
        closeUpstream(upstream, reset: reset, now: now)
    }
}
