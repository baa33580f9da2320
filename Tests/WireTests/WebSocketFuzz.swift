import Base
import Support
import Testing

@testable import Wire

/// The reader against a sender that knows what it sent, whole and bent. One connection a step.
@Suite struct WebSocketFuzz {
    @Test func everyMessageIsReadAsItWasSent() {
        let budget = FuzzBudget.current(seed: 7, steps: 1500)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("WebSocketFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        for step in 0..<steps {
            let masked = random.below(2) == 0
            var (bytes, sent) = connection(masked: masked, &random)
            let isBent = random.below(3) == 0 && !bytes.isEmpty
            if isBent {
                for _ in 0...random.below(3) {
                    bytes[random.below(bytes.count)] = UInt8(random.below(256))
                }
            }
            let whole = WebSocketTests.read([bytes], masked: masked, limit: 4096)
            if !isBent, whole != sent { return "step \(step): \(whole) is not \(sent)" }
            // However it is cut, it is the same.
            let cut = WebSocketTests.read(pieces(of: bytes, &random), masked: masked, limit: 4096)
            if cut != whole { return "step \(step): cut, \(cut) is not \(whole)" }
        }
        return nil
    }

    private static func connection(
        masked: Bool, _ random: inout SeededRandom
    ) -> ([UInt8], [WebSocketTests.Seen]) {
        var bytes: [UInt8] = []
        var seen: [WebSocketTests.Seen] = []
        func key(_ random: inout SeededRandom) -> UInt32? {
            masked ? UInt32(truncatingIfNeeded: random.next()) : nil
        }
        for _ in 0..<random.below(5) {
            let isText = random.below(2) == 0
            let payload = isText ? text(&random) : data(random.below(600), &random)
            var rest = payload[...]
            var opcode: WebSocketOpcode = isText ? .text : .binary
            repeat {
                let count = random.below(3) == 0 ? random.below(rest.count + 1) : rest.count
                let isFinal = count == rest.count
                bytes += WebSocketTests.frame(
                    opcode, Array(rest.prefix(count)), isFinal: isFinal, key: key(&random))
                rest = rest.dropFirst(count)
                opcode = .continuation
                if isFinal {
                    seen.append(.message(isText: isText, payload))
                    break
                }
                if random.below(3) == 0 {
                    let note = data(random.below(126), &random)
                    let isPing = random.below(2) == 0
                    bytes += WebSocketTests.frame(isPing ? .ping : .pong, note, key: key(&random))
                    seen.append(isPing ? .ping(note) : .pong(note))
                }
            } while true
        }
        if random.below(2) == 0 {
            bytes += WebSocketTests.frame(.close, [0x0B, 0xB8], key: key(&random))
            seen.append(.close(3000))
        }
        return (bytes, seen)
    }

    private static func data(_ count: Int, _ random: inout SeededRandom) -> [UInt8] {
        (0..<count).map { _ in UInt8(random.below(256)) }
    }

    private static func text(_ random: inout SeededRandom) -> [UInt8] {
        var text = ""
        for _ in 0..<random.below(60) {
            let bound = [0x7F, 0x7FF, 0xFFFF, 0x10FFFF][random.below(4)]
            if let scalar = Unicode.Scalar(UInt32(random.below(bound + 1))) {
                text.unicodeScalars.append(scalar)
            }
        }
        return Array(text.utf8)
    }

    private static func pieces(of bytes: [UInt8], _ random: inout SeededRandom) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = min(rest.count, 1 + random.below(random.below(2) == 0 ? 4 : 300))
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return pieces
    }
}
