import Base
import Support
import Testing

@testable import Wire

/// The parser against the reference, on messages from the grammar, most of them bent. One input a
/// step.
@Suite struct HeadFuzz {
    @Test func requestHeadsAgreeWithTheReference() {
        let budget = FuzzBudget.current(seed: 1, steps: 2500)
        if let failure = Self.run(budget.seed, budget.steps, requests: true) {
            Issue.record("\(failure)\n\(budget.rerun("HeadFuzz"))")
        }
    }

    @Test func answerHeadsAgreeWithTheReference() {
        let budget = FuzzBudget.current(seed: 2, steps: 2500)
        if let failure = Self.run(budget.seed, budget.steps, requests: false) {
            Issue.record("\(failure)\n\(budget.rerun("HeadFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int, requests: Bool) -> String? {
        var generator = MessageGenerator(seed: seed)
        var head = Head(limits: HeadLimits())
        for step in 0..<steps {
            var bytes: [UInt8]
            var message = HeadFeeder.Message.request
            if requests {
                bytes = generator.request()
            } else {
                let answer = generator.response()
                bytes = answer.bytes
                message = .response(toHead: answer.toHead)
            }
            let isValid = !generator.chance(70)
            if !isValid { bytes = generator.mutate(bytes) }
            if let found = disagreement(bytes, message, &head) {
                return "step \(step): \(found) in \(visible(bytes))"
            }
            let whole = parse(bytes, message, into: &head)
            if isValid, whole != .complete {
                return "step \(step): \(whole) for the valid \(visible(bytes))"
            }
            let cuts = (0..<generator.random.below(4)).map { _ in
                generator.random.below(bytes.count + 1)
            }
            let split = HeadFeeder.verdict(bytes, message, cuts: cuts.sorted(), into: &head)
            // In pieces a refusal may wait for the end of the head; nothing else may differ.
            if split != whole, split != .incomplete || whole == .complete {
                return "step \(step): \(whole), cut at \(cuts) \(split): \(visible(bytes))"
            }
        }
        return nil
    }
}

/// The chunked coding against the reference.
@Suite struct ChunkedFuzz {
    @Test func bodiesAgreeWithTheReference() {
        let budget = FuzzBudget.current(seed: 3, steps: 4000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("ChunkedFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var generator = MessageGenerator(seed: seed)
        for step in 0..<steps {
            var bytes = generator.chunkedBody()
            let isValid = !generator.chance(70)
            if !isValid { bytes = generator.mutate(bytes) }
            let behind = generator.chance(50) ? [] : Array("GET / ".utf8)
            bytes += behind
            let cuts = (0..<generator.random.below(4)).map { _ in
                generator.random.below(bytes.count + 1)
            }.sorted()
            if let found = disagreement(bytes, cuts: cuts, isValid: isValid) {
                return "step \(step): \(found) in \(visible(bytes)) cut at \(cuts)"
            }
        }
        return nil
    }

    private static func disagreement(_ bytes: [UInt8], cuts: [Int], isValid: Bool) -> String? {
        let whole = check(bytes, cuts: [])
        let split = check(bytes, cuts: cuts)
        if split != whole { return "\(whole), in pieces \(split)" }
        switch (whole, ReferenceParser.chunked(bytes)) {
        case (.complete(let end), .accepted(let body, let length)):
            if end != length { return "ends at \(end), reference \(length)" }
            let data = decode(Array(bytes[..<end]), cuts: cuts.filter { $0 < end })
            return data == body.data ? nil : "data \(data.map(visible) ?? "refused")"
        case (.partial, .unfinished): return isValid ? "a valid body is partial" : nil
        case (.invalid, .refused): return isValid ? "a valid body is refused" : nil
        case (.invalid(let error), .unfinished):
            for end in [
                "\r\n\r\n", "\n\r\n", "0\r\n\r\n", "\r\n0\r\n\r\n", ":\r\n\r\n", "\"\r\n\r\n",
            ] {
                if case .accepted = ReferenceParser.chunked(bytes + Array(end.utf8)) {
                    return "\(error), but accepted with \(visible(end.utf8)) behind it"
                }
            }
            return nil
        case (let found, let reference): return "\(found), reference \(reference)"
        }
    }
}
