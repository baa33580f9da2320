// The lines of a ledger, as docs/FAULTS.md describes them, without an allocation.

public import Base
import Model

/// What was done, of which there is a line.
public enum FaultDeed: Equatable, Sendable, BitwiseCopyable {
    case delayed(Duration)
    case aborted(FaultEffect.Abort)
    case throttled(Int)
    case hung
}

extension HeldFault {
    /// Bytes of an identifier that a line shows at most.
    private static let shownBytes = 256
    /// Bytes that a line has at most: names of 64 and 26 bytes, an identifier with every byte
    /// escaped, and numbers.
    public static let lineBytes = 2048

    /// Writes the line of what was done.
    /// - Parameters:
    ///   - wall: CLOCK_REALTIME, nanoseconds.
    ///   - id: the request's `x-request-id`; empty: it has none.
    public func write(
        _ deed: FaultDeed, wall: Int64, id: Bytes, attempt: Int, to out: inout ByteWriter
    ) {
        out.append("{\"time_ns\":")
        out.append(decimal: UInt64(max(0, wall)))
        out.append(",\"fault\":\"")
        out.append(text: rule.name)
        out.append("\",\"point\":\"")
        out.append(text: rule.point.rawValue)
        out.append("\",\"request\":\"")
        out.append(escaped: id[0..<min(id.count, Self.shownBytes)])
        out.append("\",\"attempt\":")
        out.append(decimal: UInt64(max(0, attempt)))
        switch deed {
        case .delayed(let delay):
            out.append(",\"delay_ns\":")
            out.append(decimal: UInt64(max(0, delay.nanoseconds)))
        case .aborted(.http(let status)):
            out.append(",\"abort_http\":")
            out.append(decimal: UInt64(status))
        case .aborted(.grpc(let status)):
            out.append(",\"abort_grpc\":")
            out.append(decimal: UInt64(status))
        case .aborted(.none): preconditionFailure("an abort that is none")
        case .throttled(let rate):
            out.append(",\"rate\":")
            out.append(decimal: UInt64(rate))
        case .hung: out.append(",\"hangs\":true")
        }
        out.append("}\n")
    }

    /// Counts what was done.
    public func count(_ deed: FaultDeed) {
        switch deed {
        case .delayed: noteDelayed()
        case .aborted: noteAborted()
        case .throttled: noteThrottled()
        case .hung: noteHung()
        }
    }
}

extension ByteWriter {
    /// Bytes within a JSON string: those of ASCII that may stand there as themselves, others as the
    /// code point of the same number.
    public mutating func append(escaped bytes: Bytes) {
        for i in 0..<bytes.count {
            let byte = bytes[i]
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                append(UInt8(ascii: "\\"))
                append(byte)
            case 0x20..<0x7F: append(byte)
            default:
                append("\\u00")
                append(hex: UInt64(byte), digits: 2)
            }
        }
    }
}
