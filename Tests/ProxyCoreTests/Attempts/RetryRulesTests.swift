import Base
import Model
import Testing

@testable import ProxyCore

/// When an attempt is followed by another: the whole table, against a second statement of it.
@Suite struct RetryRulesTests {
    /// What Envoy's documentation says of each condition, condition by condition.
    private func documented(
        _ condition: RetryPolicy.Condition, _ outcome: AttemptOutcome
    ) -> Bool {
        switch outcome {
        case .answer(let signs):
            if signs.isRateLimited { return condition == .rateLimited }
            switch condition {
            case .serverError: return (500...599).contains(signs.status)
            case .gatewayError: return [502, 503, 504].contains(signs.status)
            case .retriable4xx: return signs.status == 409
            case .statuses: return [418, 503].contains(signs.status)
            case .headers: return signs.hasHeader
            case .reset, .connectFailure, .refusedStream, .rateLimited: return false
            case .cancelled, .deadlineExceeded, .internalError, .resourceExhausted, .unavailable:
                return condition.grpcStatus == signs.grpcStatus
            }
        case .failure(let failure):
            switch condition {
            // A 5xx comes of any of them, and Envoy counts them as gateway errors too.
            case .serverError, .gatewayError, .reset: return true
            case .connectFailure: return failure == .connect
            case .refusedStream: return failure == .refused
            default: return false
            }
        }
    }

    private var outcomes: [AttemptOutcome] {
        var all = AttemptFailure.allCases.map(AttemptOutcome.failure)
        for status in [200, 204, 302, 404, 408, 409, 418, 429, 500, 501, 502, 503, 504, 599] {
            for grpc in [-1, 0, 1, 4, 8, 13, 14, 16] {
                for bits in 0..<4 {
                    all.append(
                        .answer(
                            AnswerSigns(
                                status: status, grpcStatus: grpc, isRateLimited: bits & 1 == 1,
                                hasHeader: bits & 2 == 2)))
                }
            }
        }
        return all
    }

    @Test func everyPairOfConditions() {
        let conditions = RetryPolicy.Condition.allCases
        for a in conditions {
            for b in conditions {
                let rules = RetryRules(RetryPolicy(on: [a, b], statuses: [418, 503]), place: 0)
                for outcome in outcomes {
                    let expected = documented(a, outcome) || documented(b, outcome)
                    #expect(rules.isFailure(outcome) == expected, "\(a) \(b) \(outcome)")
                }
            }
        }
    }

    /// Conditions × what may be repeated × what is here × what is left × room.
    @Test func everyVerdict() {
        for unsafe in [false, true] {
            let rules = RetryRules(
                RetryPolicy(on: [.serverError], includesUnsafe: unsafe), place: 0)
            for isFailure in [false, true] {
                let outcome = AttemptOutcome.answer(AnswerSigns(status: isFailure ? 503 : 200))
                for bits in 0..<16 {
                    let (mayRepeat, isHere) = (bits & 1 == 1, bits & 2 == 2)
                    let (left, hasRoom) = (bits & 4 == 4 ? 1 : 0, bits & 8 == 8)
                    var asked = 0
                    let verdict = rules.verdict(
                        outcome, mayRepeat: mayRepeat, isHere: isHere, left: left
                    ) {
                        asked += 1
                        return hasRoom
                    }
                    let expected: RetryVerdict =
                        if !isFailure {
                            .no
                        } else if !mayRepeat, !unsafe {
                            .unsafe
                        } else if !isHere {
                            .gone
                        } else if left == 0 {
                            .exhausted
                        } else {
                            hasRoom ? .again : .overflow
                        }
                    #expect(verdict == expected)
                    // A place is taken by asking: only who would have it may ask.
                    #expect(asked == (expected == .again || expected == .overflow ? 1 : 0))
                }
            }
        }
    }

    @Test func whatAPolicySaysIsKeptWithinBounds() {
        let rules = RetryRules(
            RetryPolicy(on: [], most: 1000, reselections: 0, bodyLimit: .max), place: 3)
        #expect(rules.most == 100 && rules.reselections == 1 && rules.place == 3)
        #expect(rules.bodyLimit == 64 * 1024)
        var statuses = StatusSet([100, 611])
        for status in [-1, 0, 99, 612, .max, .min] { statuses.insert(status) }
        #expect((-5...700).filter { statuses.contains($0) } == [100, 611])
    }
}

@Suite struct BackoffTests {
    @Test func theBoundsAreThoseOfTheReference() {
        let backoff = Backoff(RetryPolicy.Backoff())
        let bounds = (1...6).map { backoff.bound(before: $0) }
        #expect(bounds == [25, 75, 175, 250, 250, 250].map { Duration.milliseconds($0) })
        let long = Backoff(.init(base: .seconds(3600), most: .seconds(7200)))
        for n in [1, 2, 39, 40, 41, 63, 64, 100, 255] {
            #expect(long.bound(before: n) <= .seconds(7200))
        }
        // Whatever a file could not say.
        #expect(Backoff(.init(base: .zero, most: .zero)).bound(before: 1) == .milliseconds(1))
    }

    /// Kolmogorov and Smirnov: 1.63/√n is exceeded once in a hundred uniform samples.
    @Test(arguments: [1, 2, 3, 4, 9]) func waitsAreUniform(_ n: Int) {
        let backoff = Backoff(RetryPolicy.Backoff())
        var random = SeededRandom(seed: UInt64(n))
        let count = 4000
        let most = Double(backoff.bound(before: n).nanoseconds)
        let waits = (0..<count)
            .map { _ in Double(backoff.wait(before: n, &random).nanoseconds) / most }.sorted()
        var distance = 0.0
        for (i, wait) in waits.enumerated() {
            distance = max(distance, abs(wait - Double(i) / Double(count)))
            distance = max(distance, abs(wait - Double(i + 1) / Double(count)))
        }
        #expect(distance < 1.63 / Double(count).squareRoot())
    }

    @Test(
        arguments: [
            ("1", 1), ("0", 0), ("300", 300), ("301", nil), ("", nil), ("-1", nil), ("1.5", nil),
            (" 1", nil), ("99999999999", nil), ("18446744073709551616", nil), ("1s", nil),
            ("9223372037", nil), ("9999999999", nil),
        ] as [(String, Int64?)])
    func adviceInSeconds(_ text: String, _ seconds: Int64?) {
        let wait = Array(text.utf8).withBytes {
            WaitAdvice.wait($0, .seconds, wallSeconds: nil, most: .seconds(300))
        }
        #expect(wait == seconds.map { .seconds($0) })
    }

    @Test func adviceByTheClock() {
        func wait(_ text: String, _ wall: Int64?) -> Duration? {
            Array(text.utf8).withBytes {
                WaitAdvice.wait($0, .unix, wallSeconds: wall, most: .seconds(300))
            }
        }
        #expect(wait("1000007", 1_000_000) == .seconds(7))
        #expect(wait("1000301", 1_000_000) == nil && wait("1000000", 1_000_000) == nil)
        #expect(wait("999999", 1_000_000) == nil && wait("1000007", nil) == nil)
        var random = SeededRandom(seed: 1)
        let waits = (0..<1000).map { _ in WaitAdvice.jittered(.seconds(2), &random) }
        #expect(waits.allSatisfy { $0 >= .seconds(2) && $0 <= .seconds(3) })
        #expect(Set(waits).count > 900)
    }
}
