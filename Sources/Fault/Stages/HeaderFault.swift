// Faults that requests ask for themselves, in the fields of Envoy's fault filter:
//
//     x-envoy-fault-abort-request             200 to 599
//     x-envoy-fault-abort-grpc-request        0 to 16
//     x-envoy-fault-abort-request-percentage  0 to 100
//     x-envoy-fault-delay-request             milliseconds
//     x-envoy-fault-delay-request-percentage
//     x-envoy-fault-throughput-response       KiB per second
//     x-envoy-fault-throughput-response-percentage
//
// A percentage is capped by the chance of the rule that trusts the fields, and is that where the
// field is absent or is no number. Of each the first field counts. Whatever is no number, or out of
// range, asks for nothing.

public import Base

/// What the fields of a request ask for; -1: nothing.
public struct FaultFields: Equatable, Sendable, BitwiseCopyable {
    var abortHTTP = -1
    var abortGRPC = -1
    var abortPercent = -1
    var delay = -1
    var delayPercent = -1
    var rate = -1
    var ratePercent = -1
    /// Fields that have been met, one bit for each of those above.
    private var met: UInt8 = 0

    public init() {}

    private static let prefix: StaticString = "x-envoy-fault-"

    /// Takes a field of a request, if it is one of these.
    public mutating func take(_ name: Bytes, _ value: Bytes) {
        let prefix = Bytes(Self.prefix)
        guard name.count > prefix.count, name[0..<prefix.count].equalsIgnoringCase(prefix) else {
            return
        }
        let rest = name[prefix.count..<name.count]
        switch rest.count {
        case 13 where rest.equalsIgnoringCase("abort-request"):
            take(0, \.abortHTTP, value, in: 200...599)
        case 18 where rest.equalsIgnoringCase("abort-grpc-request"):
            take(1, \.abortGRPC, value, in: 0...16)
        case 24 where rest.equalsIgnoringCase("abort-request-percentage"):
            take(2, \.abortPercent, value, in: 0...100)
        case 13 where rest.equalsIgnoringCase("delay-request"):
            take(3, \.delay, value, in: 1...3_600_000)
        case 24 where rest.equalsIgnoringCase("delay-request-percentage"):
            take(4, \.delayPercent, value, in: 0...100)
        case 19 where rest.equalsIgnoringCase("throughput-response"):
            take(5, \.rate, value, in: 1...1 << 30)
        case 30 where rest.equalsIgnoringCase("throughput-response-percentage"):
            take(6, \.ratePercent, value, in: 0...100)
        default: break
        }
    }

    private mutating func take(
        _ bit: UInt8, _ place: WritableKeyPath<FaultFields, Int>, _ value: Bytes,
        in range: ClosedRange<Int>
    ) {
        guard met & (1 << bit) == 0 else { return }
        met |= 1 << bit
        guard let number = Self.number(value), range.contains(number) else { return }
        self[keyPath: place] = number
    }

    /// A whole number of up to 10 digits.
    private static func number(_ text: Bytes) -> Int? {
        guard (1...10).contains(text.count) else { return nil }
        var value = 0
        for i in 0..<text.count {
            let digit = text[i] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            value = value * 10 + Int(digit)
        }
        return value
    }
}

/// Does what requests ask for.
struct HeaderFault {
    /// How often at most.
    let chance: Double

    /// Abort, delay and rate are drawn independently, as by Envoy.
    func act(_ draw: FaultDraw, _ fields: FaultFields, on effect: inout FaultEffect) {
        if effect.abort == .none, draw.unit < share(fields.abortPercent) {
            if fields.abortHTTP >= 0 {
                effect.abort = .http(Int16(fields.abortHTTP))
            } else if fields.abortGRPC >= 0 {
                effect.abort = .grpc(Int16(fields.abortGRPC))
            }
        }
        if fields.delay > 0, draw.other(1).unit < share(fields.delayPercent) {
            effect.delay = effect.delay + .milliseconds(Int64(fields.delay))
        }
        if fields.rate > 0, draw.other(2).unit < share(fields.ratePercent) {
            ThrottleFault(rate: fields.rate * 1024).act(draw, on: &effect)
        }
    }

    private func share(_ percent: Int) -> Double {
        percent < 0 ? chance : min(Double(percent) / 100, chance)
    }
}

extension FaultDraw {
    /// One more for the same request, independent of it.
    fileprivate func other(_ number: UInt64) -> FaultDraw {
        var draw = self
        draw.value = mix(value &+ number &* 0x9E37_79B9_7F4A_7C15)
        return draw
    }
}
