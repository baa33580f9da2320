import Base
import Model
import Testing

@testable import ProxyCore

/// Budgets, breakers and admission as machines of their own.
@Suite struct BudgetTests {
    @Test(
        arguments: [
            (20, 3, 0, 0, 3), (20, 3, 15, 0, 3), (20, 3, 20, 0, 4), (20, 3, 19, 1, 4),
            (20, 0, 4, 0, 0),
            (100, 3, 2, 2, 4), (0, 0, 1000, 1000, 0), (12.5, 0, 8, 0, 1),
        ] as [(Double, Int, Int, Int, Int)])
    func retriesInFlight(_ c: (percent: Double, least: Int, active: Int, pending: Int, most: Int)) {
        #expect(
            ConcurrencyBudget.most(
                percent: c.percent, least: c.least, active: c.active, pending: c.pending) == c.most)
    }

    /// A rate of requests that all fail, each asking for three retries: what gets through a second.
    private func retries(perSecond rate: Int, _ budget: RateBudget, seconds: Int) -> [Int] {
        var budget = budget
        var counts: [Int] = []
        for second in 0..<seconds {
            var count = 0
            for i in 0..<rate {
                let now = Instant(
                    nanoseconds: Int64(second + 100) * 1_000_000_000 + Int64(i) * 1_000_000_000
                        / Int64(rate))
                budget.noteRequest(now: now)
                for _ in 0..<3 where budget.hasRoom(now: now) {
                    budget.noteRetry(now: now)
                    count += 1
                }
            }
            counts.append(count)
        }
        return counts
    }

    /// Linkerd's numbers: 20 % and 10/s at 200/s come to 50/s over any window, at 5/s to 11/s.
    @Test func retriesByTime() {
        let budget = RateBudget(percent: 20, window: .seconds(10), leastPerSecond: 10)
        let busy = retries(perSecond: 200, budget, seconds: 60)
        // What the window still owes from its beginning is gone after the first.
        for start in 20..<50 {
            #expect(busy[start..<start + 10].reduce(0, +) <= 500 + 50)
        }
        let sum = busy[20...].reduce(0, +)
        #expect(sum >= 40 * 45 && sum <= 40 * 51)
        let idle = retries(perSecond: 5, budget, seconds: 60)[20...].reduce(0, +)
        #expect(idle >= 40 * 10 && idle <= 40 * 12)
        let none = RateBudget(percent: 0, window: .seconds(10), leastPerSecond: 0)
        #expect(retries(perSecond: 100, none, seconds: 20).allSatisfy { $0 == 0 })
    }

    @Test func workersShareTheFloor() {
        var half = RateBudget(percent: 0, window: .seconds(10), leastPerSecond: 10, workers: 2)
        var count = 0
        while half.hasRoom(now: .zero) {
            half.noteRetry(now: .zero)
            count += 1
        }
        #expect(count == 50)
    }

    /// However small a worker's part of it is, a floor lets each retry at least once in a window.
    @Test(arguments: [(1, true), (0.01, true), (0, false)] as [(Double, Bool)])
    func aFloorIsAtLeastOneRetry(_ leastPerSecond: Double, _ expected: Bool) {
        var budget = RateBudget(
            percent: 20, window: .seconds(1), leastPerSecond: leastPerSecond, workers: 2)
        let before = budget.hasRoom(now: .zero)
        budget.noteRetry(now: .zero)
        let after = budget.hasRoom(now: .zero)
        #expect(before == expected && !after)
    }

    /// A retry that is given back can be had again, as long as the window remembers it.
    @Test(arguments: [0, 5, 9, 10, 500] as [Int64]) func retriesAreGivenBack(_ later: Int64) {
        var budget = RateBudget(percent: 0, window: .seconds(10), leastPerSecond: 0.1)
        let start = Instant(nanoseconds: 50_000_000_000)
        budget.noteRetry(now: start)
        budget.giveBack(now: start + .seconds(later))
        let before = budget.hasRoom(now: start + .seconds(later))
        budget.noteRetry(now: start + .seconds(later))
        let after = budget.hasRoom(now: start + .seconds(later))
        #expect(before && !after)
    }

    @Test func aWindowForgets() {
        var budget = RateBudget(percent: 100, window: .seconds(10), leastPerSecond: 0)
        let start = Instant(nanoseconds: 50_000_000_000)
        budget.noteRequest(now: start)
        func hasRoom(_ seconds: Int64) -> Bool { budget.hasRoom(now: start + .seconds(seconds)) }
        let before = [hasRoom(9), hasRoom(10)]
        #expect(before == [true, false])
        budget.noteRetry(now: start + .seconds(11))
        let spent = hasRoom(12)
        budget.noteRequest(now: start + .seconds(500))
        let anew = hasRoom(500)
        #expect(!spent && anew)
    }

    // MARK: Breakers

    /// Every way in which a proxy takes and gives all eight places, to a depth of five: one is had
    /// exactly where the limit lets it, and what is full is full for one priority alone.
    @Test(arguments: [false, true]) func everyWayOfTakingAndGiving(_ strict: Bool) {
        var configuration = Scene.configuration()
        let policy = BreakerPolicy(
            standard: .init(connections: 1, pending: 0, requests: 2, retries: 3),
            high: .init(connections: 2, pending: 1, requests: 1, retries: 0), isStrict: strict)
        configuration.clusters[0].breaker = policy
        let proxy = Proxy(configuration, random: SeededRandom(seed: 1))
        let limits = [1, 0, 2, 3, 2, 1, 1, 0]
        var held = Array(repeating: 0, count: 8)
        var wrong = 0
        func check() {
            for place in 0..<8 {
                let resource = Resource.allCases[place % 4]
                let priority = UInt8(place / 4)
                if proxy.breakers[0].count(resource, priority) != held[place] { wrong += 1 }
                let hasRoom = proxy.hasRoom(resource, 0, priority)
                if hasRoom != (held[place] < limits[place]) { wrong += 1 }
            }
        }
        func walk(_ depth: Int) {
            check()
            guard depth > 0 else { return }
            for place in 0..<8 {
                let resource = Resource.allCases[place % 4]
                let priority = UInt8(place / 4)
                let isTaken = proxy.take(resource, 0, priority)
                if isTaken != (held[place] < limits[place]) { wrong += 1 }
                if isTaken {
                    held[place] += 1
                    walk(depth - 1)
                    proxy.give(resource, 0, priority)
                    held[place] -= 1
                }
                guard held[place] > 0 else { continue }
                proxy.give(resource, 0, priority)
                held[place] -= 1
                walk(depth - 1)
                // What was given back can be had again.
                if !proxy.take(resource, 0, priority) { wrong += 1 }
                held[place] += 1
            }
        }
        walk(5)
        #expect(wrong == 0)
    }

    @Test func sharedPlacesAreTakenOnce() async {
        let shared = SharedBreaker()
        let taken = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    (0..<1000).reduce(0) { count, _ in
                        count + (shared.take(.requests, 1, limit: 777) ? 1 : 0)
                    }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(taken == 777 && shared.count(.requests, 1) == 777)
        #expect(shared.count(.requests, 0) == 0)
        shared.add(.requests, 1, -1)
        let isTaken = shared.take(.requests, 1, limit: 777)
        let isFull = !shared.take(.requests, 1, limit: 777)
        #expect(isTaken && isFull)
    }

    // MARK: Admission

    @Test func theFormulaOfAdmission() {
        let terms = AdmissionWindow.Terms(AdmissionPolicy())
        // (100 − 50/0.95)/101.
        #expect(abs(terms.rejection(requests: 100, successes: 50) - 0.468_994) < 1e-5)
        #expect(terms.rejection(requests: 100, successes: 0) == 0.8)
        #expect(terms.rejection(requests: 100, successes: 95) == 0)
        #expect(terms.rejection(requests: 100, successes: 100) == 0)
        let steep = AdmissionWindow.Terms(AdmissionPolicy(aggression: 2))
        #expect(abs(steep.rejection(requests: 100, successes: 50) - 0.684_832) < 1e-5)
    }

    /// A cluster that fails every other request: of those that come, as many are turned away as
    /// the formula says of what was let in.
    @Test func rejectionsSettle() {
        var window = AdmissionWindow(AdmissionPolicy())
        var random = SeededRandom(seed: 9)
        var rejected = 0
        for i in 0..<60_000 {
            let now = Instant(nanoseconds: 1_000_000_000_000 + Int64(i) * 1_000_000)
            if window.rejects(now: now, &random) {
                if i >= 30_000 { rejected += 1 }
            } else {
                window.note(success: random.below(2) == 0, now: now)
            }
        }
        #expect(abs(Double(rejected) / 30_000 - 0.4737) < 0.02)
        // All is forgotten after the window.
        let later = Instant(nanoseconds: 1_000_000_000_000 + 91 * 1_000_000_000)
        let rejects = window.rejects(now: later, &random)
        #expect(!rejects && window.requests == 0)
    }

    @Test func belowALeastRateNothingIsRejected() {
        var window = AdmissionWindow(AdmissionPolicy(leastRate: 10))
        var random = SeededRandom(seed: 9)
        let now = Instant(nanoseconds: 77_000_000_000)
        for _ in 0..<299 { window.note(success: false, now: now) }
        let below = (0..<100).contains { _ in window.rejects(now: now, &random) }
        window.note(success: false, now: now)
        let above = (0..<100).contains { _ in window.rejects(now: now, &random) }
        #expect(!below && above)
    }
}
