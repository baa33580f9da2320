import Base
import Support
import Testing
import Wire

/// Messages that were bent: whatever comes is read within its bounds, or is no message.
@Suite struct RateLimitFuzz {
    @Test func bentMessages() {
        let budget = FuzzBudget.current(steps: 1000)
        var random = SeededRandom(seed: budget.seed)
        for step in 0..<budget.steps {
            let why = "step \(step): \(budget.rerun("RateLimitFuzz"))"
            let whole = Self.question(&random)
            let bytes = Self.bent(whole.bytes, &random)
            bytes.withBytes { bytes in
                guard let read = try? RateLimitRequest(bytes) else { return }
                #expect(read.descriptors.count <= RateLimitRequest.descriptorsMost, "\(why)")
                // What was read once reads the same again.
                let again = read.bytes.withBytes { try? RateLimitRequest($0) }
                #expect(again == read, "\(why)")
            }
            let answer = Self.bent(Self.answer(&random).bytes, &random)
            answer.withBytes { bytes in
                guard let verdict = RateLimitVerdict(bytes) else { return }
                #expect(verdict.limit > 0 || verdict.remaining == 0, "\(why)")
            }
        }
    }

    private static func text(_ random: inout SeededRandom) -> String {
        String((0..<1 + random.below(6)).map { _ in "abcä/?".randomElement(using: &random) ?? "a" })
    }

    private static func question(_ random: inout SeededRandom) -> RateLimitRequest {
        let descriptors = (0..<1 + random.below(4)).map { _ in
            RateLimitRequest.Descriptor(
                (0..<1 + random.below(4)).map { _ in .init(text(&random), text(&random)) })
        }
        return RateLimitRequest(
            domain: text(&random), descriptors: descriptors, hits: UInt32(random.below(3)))
    }

    private static func answer(_ random: inout SeededRandom) -> RateLimitResponse {
        let statuses = (0..<random.below(4)).map { _ in
            RateLimitResponse.Status(
                random.below(2) == 0 ? .ok : .overLimit,
                limit: random.below(3) == 0
                    ? nil : .init(UInt32(random.below(1000)), per: .minute),
                remaining: UInt32(random.below(100)), reset: Int64(random.below(60)))
        }
        return RateLimitResponse(random.below(2) == 0 ? .ok : .overLimit, statuses)
    }

    private static func bent(_ bytes: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<random.below(4) where !bytes.isEmpty {
            let place = random.below(bytes.count)
            switch random.below(4) {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes.remove(at: place)
            case 2: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
            default: bytes.removeLast(min(bytes.count, 1 + random.below(5)))
            }
        }
        return bytes
    }
}
