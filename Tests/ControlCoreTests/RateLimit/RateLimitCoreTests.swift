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

    /// Whoever asks with as many values as there is room for, and more, gains nothing.
    @Test func noCounterIsForgottenWhileItsWindowGoesOn() {
        var core = Self.core([Rule("a", limit: .init(1, per: .minute))], counters: 8)
        #expect(Self.ask(&core, [("a", "mine")]).code == .ok)
        #expect(Self.ask(&core, [("a", "mine")]).code == .overLimit)
        let others = (0..<100).count { Self.ask(&core, [("a", "\($0)")], at: 1).code == .ok }
        // Seven had room, and all others together have the limit of one.
        #expect(others == 7 + 1)
        #expect(core.counterCount == 8 && core.counts.evictions == 0 && core.counts.shared == 93)
        #expect(Self.ask(&core, [("a", "mine")], at: 59).code == .overLimit)
        core.checkInvariants()
    }

    @Test func windowsThatAreOverMakeRoom() {
        var core = Self.core([Rule("a", limit: .init(1, per: .minute))], counters: 8)
        for i in 0..<9 { _ = Self.ask(&core, [("a", "old\(i)")]) }
        // One of them goes on in the next window, and seven go.
        #expect(Self.ask(&core, [("a", "old0")], at: 60).code == .ok)
        let others = (0..<20).count { Self.ask(&core, [("a", "\($0)")], at: 61).code == .ok }
        #expect(others == 7 + 1)
        #expect(core.counterCount == 8 && core.counts.evictions == 7)
        #expect(Self.ask(&core, [("a", "old0")], at: 119).code == .overLimit)
        core.checkInvariants()
    }

    /// The counter that was opened last may be the first whose window is over.
    @Test func shortWindowsMakeRoomBeforeLongOnesEnd() {
        var core = Self.core(
            [
                Rule("long", limit: .init(1, per: .day)),
                Rule("short", limit: .init(1, per: .second)),
            ], counters: 3)
        for entry in [("long", "1"), ("short", "1"), ("short", "2")] {
            #expect(Self.ask(&core, [entry]).code == .ok)
        }
        #expect(Self.ask(&core, [("long", "2")], at: 1).code == .ok)
        #expect(Self.ask(&core, [("long", "3")], at: 1).code == .ok)
        #expect(core.counts.evictions == 2 && core.counts.shared == 0)
        for value in ["1", "2", "3"] {
            #expect(Self.ask(&core, [("long", value)], at: 2).code == .overLimit)
        }
        core.checkInvariants()
    }

    @Test func eachRuleHasASharedCounterOfItsOwn() {
        var core = Self.core(
            [
                Rule("a", limit: .init(1, per: .day)), Rule("b", limit: .init(1, per: .second)),
                Rule("c", "written", limit: .init(1, per: .day)),
            ], counters: 1)
        let asked: [(String, String, Int64)] = [
            ("a", "1", 0), ("a", "2", 0), ("a", "3", 0), ("b", "1", 0), ("b", "2", 0),
            ("b", "3", 1), ("b", "1", 1), ("c", "written", 1), ("c", "written", 1),
        ]
        let codes = asked.map { Self.ask(&core, [($0.0, $0.1)], at: $0.2).code == .ok }
        // It counts in windows too. What a rule writes down needs no room.
        #expect(codes == [true, true, false, true, false, true, false, true, false])
        #expect(core.counterCount == 1 && core.counts.shared == 6)
    }

    /// Ten values, each half as long as a question may be, do not take the room of others.
    @Test func longValuesTakeNoMoreRoomThanShortOnes() {
        var core = Self.core([Rule("a", limit: .init(1, per: .day))], counters: 12)
        let long = String(repeating: "v", count: 30_000)
        #expect(Self.ask(&core, [("a", "mine")]).code == .ok)
        for i in 0..<10 {
            #expect(Self.ask(&core, [("a", long + "\(i)")]).code == .ok)
            #expect(Self.ask(&core, [("a", long + "\(i)")]).code == .overLimit)
        }
        #expect(Self.ask(&core, [("a", "mine")]).code == .overLimit)
        #expect(core.counterCount == 11 && core.counts.evictions == 0 && core.counts.shared == 0)
    }

    @Test func setsOfValuesAreToldApart() {
        let limit = RateLimitRules.Limit(1, per: .day)
        var core = Self.core([
            Rule("a", nil, [Rule("b", limit: limit)]), Rule("c", "\u{E9}", limit: limit),
        ])
        for (a, b) in [("", "12"), ("1", "2"), ("12", ""), ("1", "2\0"), ("2", "1")] {
            #expect(Self.ask(&core, [("a", a), ("b", b)]).code == .ok)
        }
        #expect(Self.ask(&core, [("a", "1"), ("b", "2")]).code == .overLimit)
        // One text in two ways, which are one value of the rule.
        #expect(Self.ask(&core, [("c", "\u{E9}")]).code == .ok)
        #expect(Self.ask(&core, [("c", "e\u{301}")]).code == .overLimit)
        // And which are one where it writes none.
        #expect(Self.ask(&core, [("a", "\u{E9}"), ("b", "")]).code == .ok)
        #expect(Self.ask(&core, [("a", "e\u{301}"), ("b", "")]).code == .overLimit)
    }

    /// Against a table that forgets what is over, written down as one would think of it.
    @Test func countersFuzz() {
        let budget = FuzzBudget.current(steps: 5000)
        var random = SeededRandom(seed: budget.seed)
        let units: [RateLimitUnit] = [.second, .minute, .hour]
        var windows = RateLimitWindows(most: 16, rules: units.count)
        typealias Tally = (rule: Int, window: Int64, count: UInt64)
        var counts: [String: Tally] = [:]
        var shared: [Tally] = units.indices.map { ($0, -1, 0) }
        var seconds: Int64 = 0
        for step in 0..<budget.steps {
            // Hours in which there is room for all, and some in which there is not.
            let most = random.below(64) == 0 ? 3000 : 2
            seconds += Int64(random.below(most))
            let rule = random.below(units.count)
            let window = seconds / units[rule].seconds
            let value = "\(random.below(24))"
            let hits = UInt64(1 + random.below(3))
            counts = counts.filter { $0.value.window == seconds / units[$0.value.rule].seconds }
            let name = "\(rule) \(value)"
            let isShared = counts[name] == nil && counts.count == 16
            var tally: Tally = isShared ? shared[rule] : counts[name] ?? (rule, window, 0)
            if tally.window != window { tally = (rule, window, 0) }
            tally.count += hits
            if isShared { shared[rule] = tally } else { counts[name] = tally }
            let found = windows.add(
                hits, rule: rule, values: [value], unit: units[rule], seconds: seconds)
            windows.checkInvariants()
            guard found.count == tally.count, (found.place == .shared) == isShared else {
                Issue.record("step \(step): \(budget.rerun("RateLimitCoreTests/countersFuzz"))")
                return
            }
        }
    }
}
