import Base
import Glibc
import Model
import Testing

@testable import ProxyCore

/// Failure accrual by the share of successes, against what Linkerd's breaker does.
@Suite struct AccrualRateTests {
    /// Linkerd's `OpenState` and `should_trip`, word by word.
    private struct LinkerdBreaker {
        let policy: AccrualPolicy
        let rule: AccrualPolicy.SuccessRate
        var consecutive = 0
        var value = 1.0
        var stamp: Instant
        var count = 0
        var lastSeen: Instant

        init(_ policy: AccrualPolicy, now: Instant) {
            self.policy = policy
            rule = policy.successRate ?? .init()
            stamp = now
            lastSeen = now
        }

        /// - Returns: why it trips; nil: it does not.
        mutating func hear(_ status: Int, _ now: Instant) -> EjectionReason? {
            if now - lastSeen > rule.window * 3 { count = 0 }
            count += 1
            lastSeen = now
            consecutive = status >= 500 ? consecutive + 1 : 0
            if now > stamp {
                let alpha = 1 - exp(-(now - stamp).seconds / rule.window.seconds)
                value = value * (1 - alpha) + (status >= 500 || status == 429 ? 0 : alpha)
                stamp = now
            }
            if consecutive >= policy.failures { return .accrual }
            return count >= rule.requests && value < rule.threshold / 100 ? .accrualRate : nil
        }
    }

    /// One endpoint and the board that it is on.
    private struct Place {
        let board: HostBoard
        let marks: HostMarks
        let rules: HostRules
        var random = SeededRandom(seed: 1)

        init(_ policy: AccrualPolicy, now: Instant = .zero) {
            var plan = ProxyConfiguration.Cluster(name: "c", endpoints: [])
            plan.accrual = policy
            rules = HostRules(plan)
            board = HostBoard(cluster: "c", outlier: nil, accrual: policy)
            marks = board.join("host", isHealthy: true, now: now)
        }

        mutating func hear(_ status: Int, _ now: Instant) {
            let found = marks.count(status: status, rules, now: now)
            if !found.isEmpty { board.act(on: found, marks, now: now, &random) }
        }

        /// What has shut it last; nil: it is open.
        var shut: EjectionReason? { marks.isDoubted ? board.events.last?.reason : nil }
    }

    private static func policy(
        failures: Int = 3, threshold: Double = 60, requests: Int = 2
    ) -> AccrualPolicy {
        AccrualPolicy(
            failures: failures, leastWait: .seconds(60), mostWait: .seconds(60), jitter: 0,
            successRate: .init(threshold: threshold, window: .seconds(10), requests: requests))
    }

    /// All short stories of answers and pauses.
    @Test func boardsFollowLinkerd() {
        let statuses = [200, 429, 500]
        let pauses = [Duration.zero, .seconds(4), .seconds(31)]
        let length = 5
        var count = 1
        for _ in 0..<length { count *= statuses.count * pauses.count }
        for code in 0..<count {
            var rest = code
            var now = Instant.zero
            var place = Place(Self.policy())
            var model = LinkerdBreaker(Self.policy(), now: now)
            for step in 0..<length {
                now = now + pauses[rest % 3]
                let status = statuses[rest / 3 % 3]
                rest /= 9
                place.hear(status, now)
                let expected = model.hear(status, now)
                guard place.shut == expected else {
                    Issue.record("\(code), step \(step): \(String(describing: place.shut))")
                    return
                }
                if expected != nil { break }
            }
        }
    }

    /// Reference, row 28: who fails 30 % of its requests hardly ever fails seven in a row, and yet
    /// falls below 80 %: after 1.1 windows, as 1 − 0.3·(1 − e⁻ᵗ) is 0.8 where t is ln 3.
    @Test(arguments: [(nil, nil), (.init(), 10.99)] as [(AccrualPolicy.SuccessRate?, Double?)])
    func aThirdIsNoRow(_ rate: AccrualPolicy.SuccessRate?, _ seconds: Double?) {
        var place = Place(AccrualPolicy(successRate: rate))
        var now = Instant.zero
        // Three of each ten, never two in a row.
        for request in 0..<30_000 {
            now = now + .milliseconds(1)
            place.hear([1, 4, 7].contains(request % 10) ? 500 : 200, now)
            if place.shut != nil { break }
        }
        #expect(place.shut == (rate == nil ? nil : .accrualRate))
        if let seconds { #expect(abs((now - Instant.zero).seconds - seconds) < 0.05, "\(now)") }
    }

    /// Half a million answers in a window add half a millionth each: nothing of them is lost.
    @Test func manyAnswersAreAllCounted() {
        var place = Place(Self.policy(failures: 9, threshold: 50, requests: 2))
        var now = Instant.zero + .milliseconds(200)
        place.hear(500, now)
        for _ in 0..<500_000 {
            now = now + .microseconds(20)
            place.hear(200, now)
        }
        // A fiftieth of a window failed, and one window has passed since.
        let expected = 1 - (1 - exp(-0.02)) * exp(-1)
        #expect(abs(place.marks.accrualRate.seen.rate - expected) < 1e-4)
    }

    /// What limits rates is no failure in a row, and no success: neither of a request that tries
    /// the endpoint again. Without the rule about shares it is a success, as ever.
    @Test(arguments: [true, false]) func tooManyRequestsAreNoSuccess(_ hasRate: Bool) {
        var policy = Self.policy(failures: 2)
        if !hasRate { policy.successRate = nil }
        var place = Place(policy)
        var now = Instant.zero
        for status in [500, 429, 500] { place.hear(status, now) }
        #expect(place.shut == nil, "the row is broken")
        place.hear(500, now)
        #expect(place.shut == .accrual)
        now = now + .seconds(60)
        place.board.expire(now: now, &place.random)
        #expect(place.board.took(place.marks, now: now) > 0)
        place.hear(429, now)
        #expect(place.marks.isAvailable == !hasRate)
    }

    /// Who is back begins anew: what it did before is forgotten, and it must be seen often enough.
    @Test func whoIsBackBeginsAnew() {
        var place = Place(Self.policy(failures: 9, requests: 3))
        var now = Instant.zero
        for _ in 0..<3 {
            now = now + .seconds(5)
            place.hear(500, now)
        }
        #expect(place.shut == .accrualRate)
        now = now + .seconds(60)
        place.board.expire(now: now, &place.random)
        #expect(place.board.took(place.marks, now: now) > 0)
        place.hear(200, now)
        #expect(place.marks.isAvailable)
        for isLast in [false, false, true] {
            now = now + .seconds(20)
            place.hear(500, now)
            #expect((place.shut != nil) == isLast)
        }
        #expect(place.board.tallies.enforced[EjectionReason.accrualRate.rawValue] == 2)
    }

    /// A rule that asks for more answers than can be counted asks for so many; no file may.
    @Test func noRuleAsksForMoreThanIsCounted() {
        #expect(TrafficLimits.failures.upperBound < Int(AccrualRate.most))
        #expect(AccrualRateRule(.init(requests: .max)).requests == AccrualRate.most)
        #expect(AccrualRateRule(.init(requests: 5)).requests == 5)
    }

    /// Workers that write at once lose no answer, and the average is one of all.
    @Test func workersShareTheAverage() async throws {
        let place = Place(Self.policy(failures: .max, threshold: 0.1))
        let rule = try #require(place.rules.accrualRate)
        let (average, board) = (place.marks.accrualRate, place.board)
        let (workers, answers) = (4, 20_000)
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<workers {
                group.addTask {
                    var random = SeededRandom(seed: UInt64(worker))
                    for i in 0..<answers {
                        let now = Instant.zero + .milliseconds(Int64(i))
                        _ = average.note(isGood: random.unit() < 0.5, rule, now: now)
                    }
                }
            }
        }
        let (rate, count) = withExtendedLifetime(board) { average.seen }
        #expect(count == UInt32(workers * answers))
        // Two windows of 10 s from 1 towards a half; 2,000 answers count, so 1 % is a deviation.
        #expect(abs(rate - (0.5 + 0.5 * exp(-2))) < 0.06, "\(rate)")
    }
}
