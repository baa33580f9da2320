import Base
import Model
import Testing

@testable import ProxyCore

/// When one endpoint is ejected, for how long, and which stand out among all.
@Suite struct OutlierTests {
    private static func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: Int64(seconds * 1e9))
    }

    // MARK: How many

    /// Reference, row 18: of 3 none, of 10 one; with 50 % one of 3.
    @Test(arguments: [
        (10.0, 3, 0), (10, 9, 0), (10, 10, 1), (10, 19, 1), (10, 20, 2), (50, 3, 1), (50, 2, 1),
        (50, 1, 0), (100, 4, 4), (0, 100, 0), (33.4, 3, 1), (150, 4, 4),
    ])
    func shareIsLimited(_ percent: Double, _ hosts: Int, _ most: Int) {
        var policy = OutlierPolicy(mostPercent: percent)
        var ejected = 0
        while ejected < hosts, policy.admitsEjection(ejected: ejected, hosts: hosts) {
            ejected += 1
        }
        #expect(ejected == most)
        policy.alwaysEjectsOne = true
        #expect(policy.admitsEjection(ejected: 0, hosts: hosts))
        #expect(policy.admitsEjection(ejected: 1, hosts: hosts) == (most > 1))
    }

    // MARK: How long

    /// Reference, row 17: 30, 60, 90, … seconds up to 300, then no more.
    @Test func ejectionsGrow() {
        let policy = OutlierPolicy()
        var record = OutlierRecord()
        var now = Instant.zero
        var spans: [Int] = []
        for _ in 0..<13 {
            record.eject(policy, chance: 0.999, now: now)
            let span = record.span(policy)
            spans.append(Int(span.seconds))
            #expect(!record.isDue(policy, now: now + span - .nanoseconds(1)))
            #expect(record.isDue(policy, now: now + span))
            now = now + span
            record.takeBack(now: now)
        }
        #expect(spans == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300, 300])
        #expect(record.times == 11)
        #expect(record.ejections == 13)
        // An interval after its return the first is forgiven, and one more with each.
        record.calm(policy, now: now + .seconds(9))
        #expect(record.times == 11)
        for left in stride(from: 10, through: 0, by: -1) {
            now = now + .seconds(10)
            record.calm(policy, now: now)
            #expect(record.times == left)
        }
        record.calm(policy, now: now + .seconds(10))
        #expect(record.times == 0)
        record.eject(policy, chance: 0, now: now)
        #expect(record.span(policy) == .seconds(30))
        record.calm(policy, now: now + .seconds(60))
        #expect(record.times == 1, "an ejected endpoint is not calm")
    }

    /// Envoy: the longest is the greater of the two; past it ejections do not grow.
    @Test func aBaseThatIsLongerThanTheLongestHolds() {
        let policy = OutlierPolicy(baseEjection: .seconds(600), mostEjection: .seconds(300))
        var record = OutlierRecord()
        for _ in 0..<3 {
            record.eject(policy, chance: 0, now: .zero)
            #expect(record.span(policy) == .seconds(600))
            record.takeBack(now: .zero + .seconds(600))
        }
    }

    @Test func jitterIsAdded() {
        let policy = OutlierPolicy(jitter: .seconds(10))
        var spans = Set<Int64>()
        var random = SeededRandom(seed: 1)
        for _ in 0..<200 {
            var record = OutlierRecord()
            record.eject(policy, chance: random.unit(), now: .zero)
            let span = record.span(policy)
            #expect(span >= .seconds(30) && span < .seconds(40))
            spans.insert(span.nanoseconds / 1_000_000_000)
        }
        #expect(spans.count == 10)
    }

    // MARK: Who stands out

    /// Reference, row 20: k that fail of n are ejected if and only if n > 4.61·k, however badly
    /// they fail.
    @Test func successRatesHaveABoundary() {
        let policy = OutlierPolicy()
        for failing in 1...8 {
            for hosts in max(5, failing)...40 {
                for success in [0, 50, 99] {
                    let counts = (0..<hosts).map {
                        AnswerCount(all: 100, good: $0 < failing ? success : 100)
                    }
                    let found = OutlierRates(counts, policy).belowMean
                    // √((n − k)/k) > 1.9, of which neither side is ever equal.
                    let stands = Double(hosts - failing) / Double(failing) > 1.9 * 1.9
                    #expect(found == (stands ? Array(0..<failing) : []), "\(failing) of \(hosts)")
                    #expect(stands == (Double(hosts) > 4.61 * Double(failing)))
                }
            }
        }
    }

    /// Envoy's example: 50, 100, 100, 100, 100 make a threshold of 52.
    @Test func thresholdIsEnvoys() {
        let counts = [50, 100, 100, 100, 100].map { AnswerCount(all: 100, good: $0) }
        let rates = OutlierRates(counts, OutlierPolicy())
        #expect(rates.mean == 90 && rates.threshold == 52 && rates.belowMean == [0])
    }

    @Test(arguments: [(99, false), (100, true)]) func ratesNeedAnswers(
        _ volume: Int, _ judged: Bool
    ) {
        let counts = (0..<6).map { AnswerCount(all: volume, good: $0 == 0 ? 0 : volume) }
        #expect(OutlierRates(counts, OutlierPolicy()).belowMean == (judged ? [0] : []))
    }

    @Test(arguments: [(4, false), (5, true)]) func ratesNeedEndpoints(_ hosts: Int, _ judged: Bool)
    {
        // An ejected one is there, and counts for nothing.
        let counts =
            (0..<hosts).map { AnswerCount(all: 100, good: $0 == 0 ? 0 : 100) as AnswerCount? } + [
                nil
            ]
        #expect(OutlierRates(counts, OutlierPolicy()).belowMean == (judged ? [0] : []))
    }

    /// Reference, row 21: 85 % are too many, 84 % are not, from 50 answers on.
    @Test(arguments: [
        (84, 100, false), (85, 100, true), (86, 100, true), (50, 50, true), (49, 49, false),
    ])
    func failureSharesHaveAThreshold(_ bad: Int, _ all: Int, _ judged: Bool) {
        let counts = (0..<5).map { AnswerCount(all: all, good: $0 == 2 ? all - bad : all) }
        #expect(OutlierRates(counts, OutlierPolicy()).aboveFailures == (judged ? [2] : []))
    }

    // MARK: Failure accrual

    /// All sequences of what can happen to a gate, against a model that has the whole story.
    @Test func gatesFollowTheirModel() {
        enum Step: CaseIterable { case trip, good, bad, time, taken, gaveUp }
        let policy = AccrualPolicy(failures: 3, mostWait: .seconds(4), jitter: 0.5)
        for code in 0..<6 * 6 * 6 * 6 * 6 * 6 {
            var (gate, model) = (AccrualGate(), GateModel())
            var now = Instant.zero
            var rest = code
            for _ in 0..<6 {
                let step = Step.allCases[rest % 6]
                rest /= 6
                switch step {
                case .trip: gate.trip(policy, chance: 1, now: now)
                case .good: gate.heard(isSuccess: true, policy, chance: 1, now: now)
                case .bad: gate.heard(isSuccess: false, policy, chance: 1, now: now)
                case .time:
                    now = now + .milliseconds(1500)
                    gate.expire(now: now)
                case .taken: gate.took()
                case .gaveUp: gate.gaveUp()
                }
                switch (step, model.state) {
                case (.trip, "open"): model.shut(times: 0)
                case (.good, "try"), (.good, "taken"): model = GateModel()
                case (.bad, "try"), (.bad, "taken"): model.shut(times: model.times + 1)
                case (.time, "shut"):
                    model.left -= 1.5
                    if model.left <= 0 { model.state = "try" }
                case (.taken, "try"): model.state = "taken"
                case (.gaveUp, "taken"): model.state = "try"
                default: break
                }
                #expect(Self.name(gate.stage) == model.state, "\(code)")
                #expect((gate.due == nil) == (model.state != "shut"))
                if let due = gate.due { #expect((due - now).seconds == model.left, "\(code)") }
            }
        }
    }

    private struct GateModel {
        var state = "open"
        var times = 0
        var left = 0.0

        /// 1, 2, 4 seconds and no more, each half as long again but for the last.
        mutating func shut(times: Int) {
            self.times = times
            state = "shut"
            left = [1.5, 3, 4][min(times, 2)]
        }
    }

    private static func name(_ stage: AccrualGate.Stage) -> String {
        switch stage {
        case .open: "open"
        case .shut: "shut"
        case .probation(let isTaken): isTaken ? "taken" : "try"
        }
    }
}
