import Base
import LoadCore
import Testing

@Suite struct WaitPolicyTests {
    let now = Instant(nanoseconds: 1_000_000_000)

    @Test("Sleeps until the stretch before the instant, then spins")
    func waits() {
        let policy = WaitPolicy(limit: .microseconds(50))
        #expect(policy.wait(for: now, now: now) == .none)
        #expect(policy.wait(for: now - .seconds(1), now: now) == .none)
        #expect(policy.wait(for: now + .microseconds(50), now: now) == .spin)
        let due = now + .microseconds(51)
        #expect(policy.wait(for: due, now: now) == .sleep(until: now + .microseconds(1)))
        #expect(policy.wait(for: nil, now: now) == .sleep(until: .distantFuture))
    }

    @Test("Never spins where it may not")
    func noSpin() {
        var policy = WaitPolicy(limit: .zero)
        policy.woke(at: now + .milliseconds(1), requested: now)
        let due = now + .nanoseconds(1)
        #expect(policy.wait(for: due, now: now) == .sleep(until: due))
    }

    @Test("Spins no longer than this machine's wake-ups are late, and never past the limit")
    func learns() {
        var policy = WaitPolicy(limit: .microseconds(100))
        for _ in 0..<2000 { policy.woke(at: now + .microseconds(8), requested: now) }
        #expect(abs((policy.stretch - .microseconds(8)).nanoseconds) < 200)
        for _ in 0..<50 { policy.woke(at: now + .milliseconds(3), requested: now) }
        #expect(policy.stretch == .microseconds(100))
        for _ in 0..<5000 { policy.woke(at: now, requested: now) }
        #expect(policy.stretch == .microseconds(2))
    }

    @Test("One late wake-up in ten keeps the stretch up; one in a hundred does not")
    func quantile() {
        func settled(oneIn period: Int) -> Duration {
            var policy = WaitPolicy(limit: .milliseconds(1))
            var sum = Duration.zero
            for i in 0..<20_000 {
                let late: Duration = i % period == 0 ? .microseconds(80) : .microseconds(5)
                policy.woke(at: now + late, requested: now)
                if i >= 10_000 { sum = sum + policy.stretch }
            }
            return sum / 10_000
        }
        #expect(settled(oneIn: 10) > .microseconds(45))
        #expect(settled(oneIn: 100) < .microseconds(25))
    }
}
