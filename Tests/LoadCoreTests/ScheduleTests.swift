import Base
import Glibc
import LoadCore
import Model
import Testing

@testable import struct LoadCore.RateCurve
@testable import struct LoadCore.ThreadSchedule
@testable import func LoadCore.naturalLogarithm

@Suite struct ScheduleTests {
    static func phase(
        _ name: String = "base", _ duration: Duration = .seconds(1), rate: Double? = nil
    ) -> PhasePlan {
        PhasePlan(name: name, duration: duration, measure: true, rate: rate)
    }

    static func schedule(
        _ arrivals: LoadPlan.Arrivals, _ rate: RateShape, phases: [PhasePlan] = [phase()],
        weights: [Int] = [1], seed: UInt64 = 42
    ) -> Schedule {
        Schedule(
            plan: testPlan(rate: rate, arrivals: arrivals), phases: phases,
            rotation: targetRotation(weights: weights), seed: seed)
    }

    static func all(_ schedule: Schedule) -> [PlannedRequest] {
        var schedule = schedule
        var requests: [PlannedRequest] = []
        while let request = schedule.next() { requests.append(request) }
        return requests
    }

    @Test(
        "Constant arrivals stand where the rate has them due",
        arguments: [
            (RateShape.constant(4), [0, 250, 500, 750]),
            (.constant(2.5), [0, 400, 800]),
            (.constant(0), []),
            (.steps([2, 4]), [0, 500, 750]),
            (.steps([0, 4, 0, 8]), [250, 750, 875]),
            // N(t) = 4t²: the k-th at √(k/4).
            (.ramp(start: 0, end: 8), [0, 500, 707, 866]),
            // N(t) = 8t − 4t²: the mirror image.
            (.ramp(start: 8, end: 0), [0, 134, 293, 500]),
            (.ramp(start: 4, end: 4), [0, 250, 500, 750]),
        ] as [(RateShape, [Int64])])
    func constantArrivals(rate: RateShape, milliseconds: [Int64]) {
        let requests = Self.all(Self.schedule(.constant, rate))
        #expect(
            requests.map { ($0.offset.nanoseconds + 500_000) / 1_000_000 } == milliseconds)
    }

    @Test("A long constant schedule neither gains nor loses a request, and does not drift")
    func noDrift() {
        var schedule = Self.schedule(
            .constant, .constant(3000), phases: [Self.phase("base", .seconds(600))])
        var last = Duration.zero
        var count = 0
        while let request = schedule.next() {
            last = request.offset
            count += 1
        }
        #expect(count == 1_800_000)
        #expect(last == .fractionalSeconds(1_799_999.0 / 3000))
    }

    @Test("Phases follow each other, each with its own rate; a rate of zero is idle")
    func phases() {
        let schedule = Self.schedule(
            .constant, .constant(2),
            phases: [
                Self.phase("warm", .seconds(1), rate: 1), Self.phase("idle", .seconds(5), rate: 0),
                Self.phase("base", .seconds(2)),
            ])
        let requests = Self.all(schedule)
        #expect(requests.map(\.phase) == [0, 2, 2, 2, 2])
        #expect(requests.map(\.offset.seconds) == [0, 6, 6.5, 7, 7.5])
        #expect(requests.map(\.number) == [0, 1, 2, 3, 4])
        #expect(schedule.duration == .seconds(8))
        #expect(schedule.peakRate == 2)
    }

    @Test(
        "Instants do not fall and lie within their phase",
        arguments: LoadPlan.Arrivals.allCases,
        [RateShape.constant(5000), .ramp(start: 0, end: 9000), .steps([100, 0, 9000])])
    func ordered(arrivals: LoadPlan.Arrivals, rate: RateShape) {
        let phases = [Self.phase("a", .milliseconds(700)), Self.phase("b", .milliseconds(900))]
        let requests = Self.all(Self.schedule(arrivals, rate, phases: phases))
        #expect(requests.isEmpty == (arrivals == .closed))
        var previous = Duration.zero
        for request in requests {
            #expect(request.offset >= previous)
            previous = request.offset
            let low: Duration = request.phase == 0 ? .zero : .milliseconds(700)
            let high: Duration = request.phase == 0 ? .milliseconds(700) : .milliseconds(1600)
            #expect(request.offset >= low && request.offset < high)
        }
    }

    @Test("Uniform arrivals: one in each slot, anywhere in it")
    func uniform() {
        let requests = Self.all(Self.schedule(.uniform, .constant(10_000)))
        #expect(requests.count == 10_000)
        var sum = 0.0
        for request in requests {
            let slot = request.offset.seconds * 10_000 - Double(request.number)
            #expect(slot >= -1e-4 && slot < 1.0001)
            sum += slot
        }
        // The mean of n uniforms: ½ ± 6·√(1/12n).
        #expect(abs(sum / 10_000 - 0.5) < 6 * (1 / (12.0 * 10_000)).squareRoot())
    }

    @Test("Poisson arrivals: count, gaps and independence", arguments: [1, 2, 3] as [UInt64])
    func poisson(seed: UInt64) {
        let rate = 5000.0
        let requests = Self.all(
            Self.schedule(
                .poisson, .constant(rate), phases: [Self.phase("base", .seconds(20))], seed: seed))
        let expected = rate * 20
        // Count: λ ± 5√λ, beyond which a Poisson variable lies once in 1.7 million.
        #expect(abs(Double(requests.count) - expected) < 5 * expected.squareRoot())
        var gaps: [Double] = []
        for (a, b) in zip(requests, requests.dropFirst()) {
            gaps.append((b.offset - a.offset).seconds * rate)
        }
        // Gaps against 1 − e⁻ˣ: Kolmogorov-Smirnov with the bound of Dvoretzky, Kiefer, Wolfowitz
        // and Massart (1990): P(D > ε) ≤ 2·exp(−2nε²), here 10⁻⁶.
        let sorted = gaps.sorted()
        let n = Double(sorted.count)
        var distance = 0.0
        for (i, gap) in sorted.enumerated() {
            let theory = 1 - exp(-gap)
            distance = max(distance, abs(Double(i + 1) / n - theory), abs(theory - Double(i) / n))
        }
        #expect(distance < (log(2 / 1e-6) / (2 * n)).squareRoot())
        // Neighbouring gaps are uncorrelated: |r₁| < 5/√n.
        var product = 0.0
        for (a, b) in zip(gaps, gaps.dropFirst()) { product += (a - 1) * (b - 1) }
        #expect(abs(product / n) < 5 / n.squareRoot())
    }

    @Test("A ramp of Poisson arrivals has the ramp's rate over time")
    func poissonRamp() {
        let requests = Self.all(Self.schedule(.poisson, .ramp(start: 0, end: 20_000)))
        // A quarter of the 10,000 expected lies in the first half.
        let early = Double(requests.count { $0.offset < .milliseconds(500) })
        #expect(abs(early - 2500) < 5 * 2500.0.squareRoot())
        #expect(abs(Double(requests.count) - 10_000) < 5 * 100)
    }

    @Test("The hash is of the offered schedule alone")
    func hash() {
        func hash(
            _ arrivals: LoadPlan.Arrivals = .poisson, rate: Double = 1000, weights: [Int] = [1],
            seed: UInt64 = 42, seconds: Int64 = 2
        ) -> ScheduleHashes {
            Self.schedule(
                arrivals, .constant(rate), phases: [Self.phase("base", .seconds(seconds))],
                weights: weights, seed: seed
            ).hashes()
        }
        let base = hash()
        #expect(hash() == base)
        #expect(hash(seed: 43).instants != base.instants)
        #expect(hash(rate: 1001).instants != base.instants)
        #expect(hash(seconds: 3).instants != base.instants)
        #expect(hash(.uniform).instants != base.instants)
        #expect(hash(.closed).instants != hash(.closed, seconds: 3).instants)
        #expect(hash(weights: [2, 1]).instants == base.instants)
        #expect(hash(weights: [2, 1]).assignment != hash(weights: [1, 2]).assignment)
        // Pinned: another machine, compiler or libm must offer the same.
        #expect(String(base.instants, radix: 16) == "5ff8b518cda243d0")
    }

    @Test("The hash does not depend on how much was taken")
    func hashOfRest() {
        let whole = Self.schedule(.poisson, .constant(1000))
        var partial = whole
        for _ in 0..<321 { _ = partial.next() }
        #expect(partial.hashes() == whole.hashes())
    }

    @Test("Threads share the schedule without gap or overlap", arguments: [1, 2, 3, 7])
    func threads(threads: Int) {
        let weights = [5, 1, 2]
        let whole = Self.schedule(.poisson, .constant(3000), weights: weights)
        var merged: [PlannedRequest] = []
        for thread in 0..<threads {
            var share = ThreadSchedule(whole, targets: 3, thread: thread, threads: threads)
            var counts = [0, 0, 0]
            while let request = share.next() {
                merged.append(request)
                counts[request.target] += 1
            }
            #expect(share.hashes() == whole.hashes())
            // Every thread serves its part of each target, but for one request.
            for target in weights.indices {
                let all = Self.all(whole).count { $0.target == target }
                #expect(abs(counts[target] * threads - all) <= threads)
            }
        }
        #expect(merged.sorted { $0.number < $1.number } == Self.all(whole))
    }

    @Test("Threads take turns at each target, however long the rotation is")
    func threadsTakeTurns() {
        let whole = Self.schedule(.constant, .constant(1000), weights: [997, 1, 2])
        let parts = (0..<4).map { thread in
            var share = ThreadSchedule(whole, targets: 3, thread: thread, threads: 4)
            var own: [PlannedRequest] = []
            while let request = share.next() { own.append(request) }
            return own
        }
        for target in 0..<3 {
            let owners = parts.enumerated().flatMap { thread, own in
                own.filter { $0.target == target }.map { ($0.number, thread) }
            }.sorted { $0.0 < $1.0 }.map(\.1)
            #expect(owners.enumerated().allSatisfy { $1 == ($0 + target) % 4 })
        }
    }

    @Test("Lengthening a phase does not move the arrivals of the next")
    func independentPhases() {
        func second(_ seconds: Int64) -> [Duration] {
            let first = Duration.seconds(seconds)
            let phases = [Self.phase("a", first), Self.phase("b", .seconds(1))]
            return Self.all(Self.schedule(.poisson, .constant(500), phases: phases))
                .filter { $0.phase == 1 }.map { $0.offset - first }
        }
        #expect(second(1) == second(4))
    }

    @Test("The logarithm of the schedule is the logarithm")
    func logarithm() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<20_000 {
            let x = 1 - random.unit()
            let exact = log(x)
            #expect(abs(naturalLogarithm(x) - exact) <= max(abs(exact), 0x1p-53) * 4e-16 + 1e-16)
        }
        #expect(naturalLogarithm(1) == 0)
        #expect(abs(naturalLogarithm(0x1p-53) + 36.7368005696771) < 1e-12)
    }
}
