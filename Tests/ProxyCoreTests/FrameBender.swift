import Base
import Support

/// Frames of HTTP/2, bent: what a peer sends that means no good, or has mistakes.
struct FrameBender {
    var random: SeededRandom
    /// Of a hundred frames, how many are bent.
    var rate: Int
    /// Frames made or passed on so far.
    var count = 0
    private var kept: [UInt8] = []

    init(_ random: SeededRandom, rate: Int) {
        self.random = random
        self.rate = rate
    }

    private mutating func chance(_ percent: Int) -> Bool { random.below(100) < percent }

    private mutating func byte() -> UInt8 { UInt8(random.below(256)) }

    /// What goes out instead of `frame`.
    mutating func bend(_ frame: [UInt8]) -> [UInt8] {
        count += 1
        guard chance(rate) else { return release() + frame }
        switch random.below(12) {
        case 0: return []
        case 1: return frame + frame
        case 2:
            // Its header says more than comes.
            return Array(frame.prefix(9 + random.below(frame.count - 8)))
        case 3: return Self.sized(Array(frame.prefix(9 + random.below(frame.count - 8))))
        case 4: return Self.sized(frame + (0...random.below(40)).map { _ in byte() })
        case 5:
            var bent = frame
            bent[3] = chance(80) ? UInt8(random.below(11)) : byte()
            return bent
        case 6:
            var bent = frame
            bent[4] = chance(50) ? byte() : bent[4] ^ (1 << UInt8(random.below(8)))
            return bent
        case 7:
            var bent = frame
            bent[8] = chance(80) ? UInt8(random.below(16)) : byte()
            if chance(10) { bent[5] = byte() }
            return bent
        case 8 where frame.count > 9:
            var bent = frame
            for _ in 0...random.below(4) { bent[9 + random.below(frame.count - 9)] = byte() }
            return bent
        case 9:
            kept = frame
            return []
        default: return release() + made() + frame
        }
    }

    /// A frame that was held back comes behind the next.
    private mutating func release() -> [UInt8] {
        defer { kept = [] }
        return kept
    }

    private static func sized(_ frame: [UInt8]) -> [UInt8] {
        var frame = frame
        let length = frame.count - 9
        frame[0] = UInt8(truncatingIfNeeded: length >> 16)
        frame[1] = UInt8(truncatingIfNeeded: length >> 8)
        frame[2] = UInt8(truncatingIfNeeded: length)
        return frame
    }

    static func frame(_ kind: Int, _ flags: Int, _ stream: Int, _ payload: [UInt8]) -> [UInt8] {
        sized(
            [0, 0, 0, UInt8(kind), UInt8(flags)]
                + (0..<4).map { UInt8(truncatingIfNeeded: stream >> (24 - 8 * $0)) } + payload)
    }

    /// One or more frames out of nothing.
    mutating func made() -> [UInt8] {
        count += 1
        let stream = random.below(12)
        switch random.below(10) {
        case 0: return chain(stream)
        case 1:
            // A header block that unpacks to far more than it is.
            let entry: [UInt8] =
                [0x40, 1, 0x61, 0x7F, 0xE1, 0x1E] + Array(repeating: 0x62, count: 4000)
            let uses = [UInt8](repeating: 0xBE, count: 1 + random.below(12_000))
            return Self.frame(1, 5, stream | 1, Array((entry + uses).prefix(16_384)))
        case 2:
            // Garbage for HPACK.
            return Self.frame(1, 4 + random.below(2), stream | 1, noise(60))
        case 3:
            var settings: [UInt8] = []
            for _ in 0...random.below(3) {
                settings += [0, UInt8(random.below(10))] + noise(4, exactly: true)
            }
            return Self.frame(4, 0, 0, settings)
        case 4: return Self.frame(8, 0, stream, noise(4, exactly: true))
        case 5: return Self.frame(3, 0, stream, [0, 0, 0, UInt8(random.below(15))])
        case 6: return Self.frame(0, random.below(16), stream, noise(300))
        case 7: return Self.frame(7, 0, 0, [0, 0, 0, UInt8(stream), 0, 0, 0, byte()])
        case 8: return Self.frame(6, random.below(2), 0, noise(8, exactly: true))
        default: return Self.frame(random.below(14), random.below(256), stream, noise(30))
        }
    }

    private mutating func chain(_ stream: Int) -> [UInt8] {
        var bytes = Self.frame(1, random.below(2), stream | 1, [0x82, 0x86])
        for _ in 0...random.below(14) {
            bytes += Self.frame(9, chance(10) ? 4 : 0, stream | 1, chance(50) ? [] : [0x84])
            count += 1
        }
        return bytes
    }

    private mutating func noise(_ most: Int, exactly: Bool = false) -> [UInt8] {
        let count = exactly ? most : random.below(most + 1)
        return (0..<count).map { _ in chance(30) ? 0 : byte() }
    }
}
