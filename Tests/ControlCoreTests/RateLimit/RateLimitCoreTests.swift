import Base
import Model
import Support
import Testing
import Wire

@testable import ControlCore

@Suite struct RateLimitCoreTests {
    private typealias Rule = RateLimitRules.Descriptor

    private static func core(_ rules: [Rule], counters: Int = 100) -> RateLimitCore {
        RateLimitCore(RateLimitRules([.init("shop", rules)]), counters: counters)
    }

    private static func question(
        _ descriptors: [[(String, String)]], domain: String = "shop", hits: UInt32 = 0
    ) -> RateLimitRequest {
        RateLimitRequest(
            domain: domain,
            descriptors: descriptors.map { .init($0.map { .init($0.0, $0.1) }) }, hits: hits)
    }

    private static func ask(
        _ core: inout RateLimitCore, _ entries: [(String, String)], at seconds: Int64 = 0
    ) -> RateLimitResponse.Status {
        let answer = core.answer(question([entries]), seconds: seconds)
        #expect(answer.code == answer.statuses[0].code)
        return answer.statuses[0]
    }

    @Test func windowsAreFixed() {
        let limit = RateLimitRules.Limit(2, per: .minute)
        var core = Self.core([Rule("a", "b", limit: limit)])
        let told = RateLimitResponse.Limit(2, per: .minute)
        let entries = [("a", "b")]
        #expect(Self.ask(&core, entries, at: 59) == .init(.ok, limit: told, remaining: 1, reset: 1))
        #expect(Self.ask(&core, entries, at: 59) == .init(.ok, limit: told, remaining: 0, reset: 1))
        #expect(
            Self.ask(&core, entries, at: 59)
                == .init(.overLimit, limit: told, remaining: 0, reset: 1))
        // The next window begins at the full minute, whoever asked when.
        #expect(
            Self.ask(&core, entries, at: 60) == .init(.ok, limit: told, remaining: 1, reset: 60))
        #expect(core.counts.overLimit == 1 && core.counts.ok == 3)
    }

    @Test(
        arguments: [
            (RateLimitRules.Unit.second, 1), (.minute, 60), (.hour, 3600), (.day, 86_400),
            (.month, 2_592_000), (.year, 31_536_000),
        ] as [(RateLimitRules.Unit, Int64)])
    func unitsHaveTheirLengths(_ unit: RateLimitRules.Unit, _ length: Int64) {
        var core = Self.core([Rule("a", limit: .init(1, per: unit))])
        for begin in [0, 7 * length, -3 * length] {
            #expect(Self.ask(&core, [("a", "\(begin)")], at: begin).reset == length)
            #expect(Self.ask(&core, [("a", "\(begin)")], at: begin + length - 1).reset == 1)
            #expect(Self.ask(&core, [("a", "\(begin)")], at: begin + length).code == .ok)
        }
    }

    /// A value that is written goes before any, and each of any is counted by itself.
    @Test func theMostParticularEntryHolds() {
        var core = Self.core([
            Rule("user", limit: .init(1, per: .day)),
            Rule("user", "vip", limit: .init(2, per: .day)),
        ])
        let codes = ["mia", "mia", "tom", "vip", "vip", "vip"].map {
            Self.ask(&core, [("user", $0)]).code == .ok
        }
        #expect(codes == [true, false, true, true, true, false])
    }

    /// A limit is of questions whose descriptor ends at it.
    @Test func depthMatters() {
        var core = Self.core([
            Rule(
                "path", "/a", limit: .init(0, per: .day),
                [Rule("user", limit: .init(1, per: .day)), Rule("free", "yes")]),
            Rule("path", nil, [Rule("user", "mia", limit: .init(0, per: .day))]),
        ])
        #expect(Self.ask(&core, [("path", "/a")]).code == .overLimit)
        #expect(Self.ask(&core, [("path", "/a"), ("user", "mia")]).remaining == 0)
        #expect(Self.ask(&core, [("path", "/a"), ("user", "mia")]).code == .overLimit)
        // Another path leads down another way, and nothing leads back to the first.
        #expect(Self.ask(&core, [("path", "/b"), ("user", "mia")]).code == .overLimit)
        let free: [[(String, String)]] = [
            [("path", "/b")], [("path", "/b"), ("user", "tom")], [("user", "mia")],
            [("path", "/a"), ("free", "yes")], [("path", "/a"), ("user", "a"), ("x", "y")],
        ]
        for entries in free { #expect(Self.ask(&core, entries) == .init(.ok), "\(entries)") }
        #expect(
            core.answer(Self.question([[("path", "/a")]], domain: "other"), seconds: 0)
                == RateLimitResponse(.ok, [.init(.ok)]))
        #expect(core.counts.unlimited == 6)
    }

    /// All are counted, also where one says no.
    @Test func aQuestionAddsToAllOfItsCounters() {
        var core = Self.core([
            Rule("a", limit: .init(0, per: .day)), Rule("b", limit: .init(5, per: .day)),
        ])
        let question = Self.question([[("a", "1")], [("b", "1")]], hits: 2)
        for remaining in [3, 1, 0] as [UInt32] {
            let answer = core.answer(question, seconds: 0)
            #expect(answer.code == .overLimit)
            #expect(answer.statuses[1].remaining == remaining)
        }
        // Of six, one was too many: all of that question are over.
        #expect(core.answer(question, seconds: 0).statuses.map(\.code) == [.overLimit, .overLimit])
    }

    @Test func inTheShadowItIsOnlyCounted() {
        var core = Self.core([Rule("a", limit: .init(1, per: .day), isShadow: true)])
        for remaining in [0, 0] as [UInt32] {
            let status = Self.ask(&core, [("a", "1")])
            #expect(status.code == .ok && status.remaining == remaining)
        }
        #expect(core.counts.shadowed == 1 && core.counts.overLimit == 0)
    }

    @Test func aClockThatGoesBackOpensNoWindow() {
        var core = Self.core([Rule("a", limit: .init(1, per: .minute))])
        #expect(Self.ask(&core, [("a", "1")], at: 60).code == .ok)
        #expect(Self.ask(&core, [("a", "1")], at: 59).code == .overLimit)
    }

    @Test func theOneAskedForLongestAgoMakesRoom() {
        var core = Self.core([Rule("a", limit: .init(1, per: .minute))], counters: 2)
        for value in ["1", "2", "1", "3", "2"] { _ = Self.ask(&core, [("a", value)]) }
        // 2 made room for 3, and then 1 for 2.
        #expect(Self.ask(&core, [("a", "3")]).code == .overLimit)
        #expect(core.counterCount == 2 && core.counts.evictions == 2)
        // Of a window that is over nothing is lost.
        _ = Self.ask(&core, [("a", "4")], at: 60)
        #expect(core.counts.evictions == 2)
    }

    /// Against a table without a bound that is written down as one would think of it.
    @Test func countersFuzz() {
        let budget = FuzzBudget.current(steps: 5000)
        var random = SeededRandom(seed: budget.seed)
        // Values differ by their lengths, of which the sum has a bound too.
        var windows = RateLimitWindows(most: 16, bytes: 150)
        var counts: [String: (window: Int64, count: UInt64)] = [:]
        var order: [String] = []
        for step in 0..<budget.steps {
            let value = String(repeating: "v", count: random.below(24))
            let window = Int64(step / 100)
            let hits = UInt64(1 + random.below(3))
            if let place = order.firstIndex(of: value) {
                order.remove(at: place)
            }
            while order.count == 16 || order.reduce(value.count, { $0 + $1.count }) > 150 {
                counts[order.removeFirst()] = nil
            }
            order.append(value)
            let old = counts[value]
            let count = (old?.window == window ? old?.count ?? 0 : 0) + hits
            counts[value] = (window, count)
            let found = windows.add(hits, to: .init(rule: 0, values: [value]), window: window)
            windows.checkInvariants()
            guard found.count == count else {
                Issue.record("step \(step): \(budget.rerun("RateLimitCoreTests/countersFuzz"))")
                return
            }
        }
    }
}
