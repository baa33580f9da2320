// The access log: one JSON object a line for each exchange. What is known of the request is noted
// when its head is at hand, because the head's bytes are gone by the time the answer is complete.

public import Base
import Model
import Wire

/// Finished lines of one worker, waiting to be written.
public final class AccessLog {
    private(set) var enabled = false
    /// Bound: what may wait for the next turn of the reactor, or for a reader that is slow. A line
    /// that does not fit is counted and lost.
    static let capacity = 256 * 1024
    private var waiting: [UInt8]

    init(enabled: Bool) {
        waiting = []
        adopt(enabled: enabled)
    }

    /// Begins or ceases to take lines, for requests whose head comes from now on.
    func adopt(enabled: Bool) {
        self.enabled = enabled
        if enabled { waiting.reserveCapacity(Self.capacity) }
    }

    /// Whether there is something to write.
    public var isEmpty: Bool { waiting.isEmpty }

    /// Hands the lines to `write`, which returns how many bytes it took, and forgets those.
    public func drain(_ write: (Bytes) -> Int) {
        guard !waiting.isEmpty else { return }
        waiting.removeFirst(waiting.withBytes(write))
    }

    /// Takes a line; false: there was no room.
    func append(_ line: Bytes) -> Bool {
        guard waiting.count + line.count <= Self.capacity else { return false }
        unsafe waiting.append(contentsOf: line.raw)
        return true
    }
}

extension Proxy {
    /// Bytes of a path or host that the log shows at most.
    private static let shownBytes = 1024
    /// Bytes of a request's id that the log shows at most.
    private static let shownIDBytes = 128
    /// Bytes of a note: both shown texts and the id with every byte escaped, and the names around
    /// them.
    static let noteLimit = 8 * 1024

    /// Notes what the log will say of the request in `head`.
    func noteRequest(_ slot: Int, _ bytes: Bytes) {
        guard log.enabled else { return }
        note(slot) { out in
            out.append(",\"method\":\"")
            Self.writeEscaped(bytes[head.method], to: &out)
            out.append("\",\"path\":\"")
            Self.writeEscaped(bytes[head.path], to: &out)
            out.append("\",\"authority\":\"")
            Self.writeEscaped(bytes[head.authority], to: &out)
            for i in 0..<head.fieldCount where head.fields[i].name == .requestID {
                out.append("\",\"request_id\":\"")
                let id = bytes[head.fields[i].valueRange]
                Self.writeEscaped(id[0..<min(id.count, Self.shownIDBytes)], to: &out)
                break
            }
            if connections[slot].isStream {
                out.append("\",\"protocol\":\"HTTP/2\"")
            } else {
                out.append("\",\"protocol\":\"HTTP/1.")
                out.append(decimal: UInt64(head.minorVersion))
                out.append("\"")
            }
        }
    }

    /// Notes that there is nothing to be said of the request.
    func noteMalformed(_ slot: Int) {
        guard log.enabled else { return }
        note(slot) {
            $0.append(",\"method\":null,\"path\":null,\"authority\":null,\"protocol\":null")
        }
    }

    /// Notes that bytes are forwarded of which nothing is known.
    func noteForwarding(_ slot: Int) {
        guard log.enabled else { return }
        note(slot) {
            $0.append(",\"method\":null,\"path\":null,\"authority\":null,\"protocol\":\"TCP\"")
        }
    }

    private func note(_ slot: Int, _ write: (inout ByteWriter) -> Void) {
        dropNote(slot)
        guard let buffer = pool.take() else { return }
        var out = unsafe ByteWriter(
            UnsafeMutableRawBufferPointer(rebasing: pool.memory(buffer)[..<Self.noteLimit]))
        write(&out)
        connections[slot].exchange.note = buffer
        connections[slot].exchange.noteLength = UInt32(out.count)
    }

    func dropNote(_ slot: Int) {
        // A note is a buffer's number; a fresh slot's zero bits never pass for one because
        // `Exchange()` sets -1.
        let buffer = connections[slot].exchange.note
        guard buffer >= 0 else { return }
        connections[slot].exchange.note = -1
        pool.give(buffer)
    }

    /// Writes the exchange's line.
    /// - Parameter isLate: it ends within its answer.
    func logExchange(
        _ slot: Int, flag: ResponseFlag?, detail: ResponseDetail, isLate: Bool = false,
        now: Instant
    ) {
        guard !connections[slot].isMirror else {
            return countMirror(slot, isAnswered: flag == nil)
        }
        // Who has its body by now goes on without it.
        cutMirrors(of: slot)
        if let flag { counters.add(flag) }
        if connections[slot].exchange.fault.isDelayed {
            connections[slot].exchange.noted.insert(.DI)
        }
        countEnd(slot, flag: flag)
        concludeAttempts(slot, now: now)
        guard log.enabled, connections[slot].exchange.note >= 0 else { return }
        let exchange = connections[slot].exchange
        guard let buffer = pool.take() else {
            counters.add(.accessLogDropped)
            return dropNote(slot)
        }
        var out = unsafe ByteWriter(pool.memory(buffer))
        out.append("{\"start_ns\":")
        out.append(decimal: UInt64(max(0, exchange.started.nanoseconds + (wallOffset ?? 0))))
        out.append(pool.bytes(exchange.note, 0..<Int(exchange.noteLength)))
        out.append(",\"status\":")
        out.append(decimal: UInt64(exchange.status))
        out.append(",\"flags\":\"")
        exchange.noted.write(flag, to: &out)
        out.append("\",\"details\":\"")
        detail.write(isLate: isLate, to: &out)
        out.append("\",\"decided_by\":\"")
        out.append(exchange.decision.name)
        out.append("\",\"duration_us\":")
        out.append(decimal: UInt64(max(0, (now - exchange.started).nanoseconds / 1000)))
        out.append(",\"request_bytes\":")
        out.append(decimal: UInt64(exchange.requestBytes))
        out.append(",\"response_bytes\":")
        out.append(decimal: UInt64(exchange.responseBytes))
        out.append(",\"attempts\":")
        out.append(decimal: UInt64(exchange.attempts))
        writePlaces(slot, exchange, to: &out)
        writeSecurity(slot, to: &out)
        out.append("}\n")
        if !log.append(pool.bytes(buffer, 0..<out.count)) { counters.add(.accessLogDropped) }
        pool.give(buffer)
        dropNote(slot)
    }

    private func writePlaces(_ slot: Int, _ exchange: Exchange, to out: inout ByteWriter) {
        out.append(",\"client\":\"")
        out.append(client(of: slot))
        out.append("\",\"cluster\":")
        let cluster = Int(exchange.cluster)
        if upstreams.clusterNames.indices.contains(cluster) {
            out.append("\"")
            Self.writeEscaped(upstreams.clusterNames[cluster], to: &out)
            out.append("\"")
        } else {
            out.append("null")
        }
        out.append(",\"upstream\":")
        if exchange.endpoint >= 0 {
            out.append("\"")
            out.append(text: upstreams.addresses[Int(exchange.endpoint)])
            out.append("\"")
        } else {
            out.append("null")
        }
    }

    /// A name of the configuration's or of a certificate's, which is valid UTF-8.
    static func writeEscaped(_ name: String, to out: inout ByteWriter) {
        for byte in name.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                out.append(UInt8(ascii: "\\"))
                out.append(byte)
            case ..<0x20:
                out.append("\\u00")
                out.append(hex: UInt64(byte), digits: 2)
            default: out.append(byte)
            }
        }
    }

    /// Bytes of a request, each shown as itself or as its number.
    private static func writeEscaped(_ bytes: Bytes, to out: inout ByteWriter) {
        for i in 0..<min(bytes.count, shownBytes) {
            let byte = bytes[i]
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                out.append(UInt8(ascii: "\\"))
                out.append(byte)
            case 0x20..<0x7F: out.append(byte)
            default:
                out.append("\\u00")
                out.append(hex: UInt64(byte), digits: 2)
            }
        }
    }
}
