import FoundationEssentials
import Model
import Testing

@testable import Report

@Suite("report.html")
struct ReportPageTests {
    @Test("Well-formed, and nothing is fetched", arguments: SampleVariant.allCases)
    func wellFormed(variant: SampleVariant) throws {
        let page = variant.result.reportHTML()
        // For whoever works on the page: MESHBENCH_KEEP_REPORTS=DIR leaves each sample there to
        // look at.
        if let folder = ProcessInfo.processInfo.environment["MESHBENCH_KEEP_REPORTS"] {
            try Data(page.utf8).write(to: URL(filePath: "\(folder)/\(variant.rawValue).html"))
        }
        let elements = try readXML(page)
        #expect(elements.first?.name == "html")
        for element in elements {
            for key in ["src", "srcset", "xlink:href", "action", "data", "poster"] {
                #expect(element.attributes[key] == nil)
            }
            if let target = element.attributes["href"] {
                #expect(target.hasPrefix("#") || target == "data:,", "\(target)")
            }
            #expect(!["iframe", "img", "object", "embed", "base", "form"].contains(element.name))
            for name in element.attributes.keys { #expect(!name.hasPrefix("on")) }
        }
        let style = Markup.styleSheet.text
        #expect(!style.contains("@import") && !style.contains("http"))
        #expect(style.ranges(of: "url(").count == style.ranges(of: "url(#hatch-").count)
        #expect(!Markup.script.text.contains("fetch") && !Markup.script.text.contains("http"))
    }

    @Test(
        "Identifiers are unique, links and labels lead somewhere", arguments: SampleVariant.allCases
    )
    func identifiers(variant: SampleVariant) throws {
        let elements = try readXML(variant.result.reportHTML())
        let names = elements.compactMap { $0.attributes["id"] }
        #expect(Set(names).count == names.count)
        for element in elements {
            if let target = element.attributes["href"], target.hasPrefix("#") {
                #expect(names.contains(String(target.dropFirst())))
            }
            for label in element.attributes["aria-labelledby"]?.split(separator: " ") ?? [] {
                #expect(names.contains(String(label)))
            }
        }
    }

    @Test("Every chart has a title and a description", arguments: SampleVariant.allCases)
    func accessible(variant: SampleVariant) throws {
        let elements = try readXML(variant.result.reportHTML())
        for (index, element) in elements.enumerated()
        where element.name == "svg" && element.attributes["class"] == "chart" {
            #expect(elements[index + 1].name == "title")
            #expect(elements[index + 2].name == "desc")
        }
    }

    @Test("The user's words stay words")
    func escaping() throws {
        let page = SampleVariant.hostile.result.reportHTML()
        #expect(!page.contains("alert(1)</script>"))
        #expect(!page.contains("<b "))
        #expect(page.contains("&lt;script&gt;alert(1)"))
        #expect(try readXML(page).filter { $0.name == "script" }.count == 1)
    }

    @Test(
        "The banner says what happened",
        arguments: [
            (SampleVariant.whole, "Fail"), (.oneRound, "Pass"), (.invalid, "Invalid"),
            (.partial, "Inconclusive"), (.inconclusive, "Inconclusive"),
        ])
    func banner(variant: SampleVariant, word: String) {
        let result = variant.result
        let banner = result.banner.text
        #expect(banner.contains(" \(word)"))
        #expect(banner.contains("class=\"partial\"") == result.partial)
        for reason in result.validity.reasons + result.exit.reasons {
            #expect(banner.contains(escaped(reason)))
        }
    }

    @Test("An invalid run claims no overhead and stamps its latencies")
    func invalid() throws {
        let result = SampleVariant.invalid.result
        let page = result.reportHTML()
        for overhead in result.overheads {
            let quantity = Quantity(unit: overhead.unit)
            let claim = quantity.value(of: overhead.difference, signed: true)
            #expect(!page.contains(escaped(claim)))
        }
        #expect(!page.contains("class=\"card\""))
        for section in [result.latencySection, result.timelineSection, result.roundsSection] {
            #expect(section?.content.text.contains("Not to be quoted") == true)
        }
        #expect(!SampleVariant.whole.result.reportHTML().contains("Not to be quoted"))
    }

    @Test("The page has all that it promises")
    func complete() {
        let result = SampleVariant.whole.result
        let page = result.reportHTML()
        for id in [
            "expectations", "overhead", "latency", "time", "cpu", "fit", "rounds", "validity",
            "outcomes", "environment", "configuration", "again",
        ] {
            #expect(page.contains("<section id=\"\(id)\""))
        }
        for fact in result.environment + result.configuration {
            #expect(page.contains(escaped(fact.value)))
        }
        #expect(page.contains("scripts/meshbench run scenarios/istio-reference-point.yaml"))
        #expect(page.utf8.count < 600_000)
    }

    @Test("Checks stand side by side where there are few, else what did not hold comes first")
    func checks() throws {
        var result = SampleVariant.oneRound.result
        func check(_ phase: Int, held: Bool) -> RunResult.Validity.Check {
            .init(
                name: "lag p99, mesh, p\(phase)", observed: "\(phase) ms", limit: "at most 2 ms",
                held: held)
        }
        result.validity.checks = (1...2).map { check($0, held: $0 != 2) }
        let few = try #require(result.validitySection).content.text
        #expect(few.contains(">mesh, p1</th>") && few.contains(">mesh, p2</th>"))
        #expect(few.ranges(of: ">lag p99</").count == 1)
        #expect(few.contains("✗") && few.contains("✓"))
        result.validity.checks = (1...9).map { check($0, held: true) }
        let many = try #require(result.validitySection).content.text
        #expect(many.contains("All 9 checks held."))
        #expect(many.contains("<details>"))
    }

    @Test("The figures at the top are of a phase in which something was asked")
    func cards() {
        var result = SampleVariant.whole.result
        for index in result.phases.indices where result.phases[index].phase == "base" {
            result.phases[index].planned = 0
        }
        #expect(SampleVariant.whole.result.cards.text.contains("response p50 · base"))
        #expect(result.cards.text.contains("response p50 · surge"))
    }

    @Test("What could not be read is a dash, not nothing")
    func unread() throws {
        var result = SampleVariant.oneRound.result
        for process in result.phases[0].processes.indices {
            result.phases[0].processes[process].proportionalBytes = nil
            result.phases[0].processes[process].residentBytes = nil
        }
        let usage = try #require(result.usageSection).content.text
        #expect(usage.contains(">–</td>"))
        #expect(!usage.contains("0 B"))
        #expect(!result.json().isEmpty)
    }

    @Test("A long run is thinned out, and no spike is lost")
    func longRun() throws {
        var result = SampleVariant.oneArm.result
        let points = (0..<36_000).map { second in
            RunResult.Timeline.Point(
                seconds: Double(second), phase: "base", offeredPerSecond: 100,
                achievedPerSecond: 100, errorsPerSecond: 0, p50Ns: 1e6,
                p99Ns: second == 20_001 ? 9e9 : 2e6)
        }
        result.timelines = [.init(arm: .mesh, round: 0, points: points)]
        let data = try #require(
            TimelineData(arm: ArmLooks([.direct, .mesh])[.mesh], timelines: result.timelines))
        #expect(data.points.count <= TimelineData.pointLimit)
        #expect(data.points.compactMap(\.p99Ns).max() == 9e9)
        #expect(result.reportHTML().utf8.count < 600_000)
    }

    /// Two rounds in which the same was changed.
    private static var changed: RunResult {
        var result = SampleVariant.whole.result
        result.changes = [1, 2].flatMap { round -> [RunResult.Change] in
            [
                .init(arm: .mesh, round: round, what: "kill control", dueSeconds: 4, done: true),
                .init(
                    arm: .mesh, round: round, what: "drain echo/1", dueSeconds: 4,
                    configPushNs: Int64(round) * 10_000_000, inForce: true),
                .init(
                    arm: .mesh, round: round, what: "apply policy default/a", dueSeconds: 6,
                    configPushNs: 2_000_000_000, inForce: round == 1),
            ]
        }
        return result
    }

    @Test("Changes of the mesh stand on the timeline and in a table")
    func changesOfTheMesh() throws {
        let section = try #require(Self.changed.timelineSection).content.text
        #expect(section.ranges(of: "class=\"change-line\"").count == 3, "two instants and the key")
        #expect(
            section.contains("4.0 s: kill control; drain echo/1, in force after 15.0 ms, longest"))
        #expect(section.contains("longest more than 2.00 s"))
        #expect(section.contains(">drain echo/1</th>") && section.contains(">20.0 ms</td>"))
        #expect(section.contains(">not in force by the end, 1 of 2</td>"))
        let still = try #require(SampleVariant.whole.result.timelineSection).content.text
        #expect(!still.contains("change"))
        let json = Self.changed.json()
        #expect(try RunResult(json: json).changes == Self.changed.changes)
    }

    @Test("Changes of several arms are told apart")
    func changesOfSeveralArms() throws {
        var result = Self.changed
        result.changes = [ArmName.mesh, .direct].map {
            .init(arm: $0, round: 1, what: "drain echo/1", dueSeconds: 4, configPushNs: 1_000_000)
        }
        let section = try #require(result.timelineSection).content.text
        #expect(section.ranges(of: ">drain echo/1</td>").count == 2)
        #expect(section.contains("4.0 s: mesh: drain echo/1, in force after 1.00 ms; direct: "))
    }

    @Test("The chart does not grow with the changes")
    func theChartHasABound() throws {
        var result = Self.changed
        result.changes = (0..<2000).map {
            .init(arm: .mesh, round: 1, what: "drain echo/1", dueSeconds: Double($0) / 100)
        }
        let section = try #require(result.timelineSection).content.text
        #expect(section.ranges(of: "class=\"change-line\"").count == 201)
    }

    @Test("What is changed again and again is one row")
    func changesThatComeAgain() throws {
        var result = Self.changed
        result.changes = [1, 2].flatMap { round in
            (0..<12).map {
                .init(
                    arm: .mesh, round: round, what: "drain echo/1", dueSeconds: 2 + Double($0) / 2,
                    configPushNs: Int64($0 + round) * 1_000_000, inForce: true)
            }
        }
        let section = try #require(result.timelineSection).content.text
        #expect(section.ranges(of: ">drain echo/1</th>").count == 1)
        #expect(section.contains(">12 times, 2.0 to 7.5 s</td>"), "\(section)")
        #expect(section.contains(">7.00 ms</td>") && section.contains(">13.0 ms</td>"))
    }

    @Test("A change that was never made is told everywhere")
    func changesThatWereNotMade() throws {
        var result = Self.changed
        result.changes = [1, 2].map {
            .init(
                arm: .mesh, round: $0, what: "rotate authority", dueSeconds: 4, done: $0 == 1)
        }
        let words = "not made by the end, 1 of 2"
        let section = try #require(result.timelineSection).content.text
        #expect(section.contains(">\(words)</td>"))
        #expect(section.contains("4.0 s: rotate authority, \(words)"))
        #expect(result.summaryText(colour: false).contains("rotate authority: \(words)"))
    }

    @Test("Names of changes stand on the chart where there is room")
    func namesOfChanges() throws {
        let section = try #require(Self.changed.timelineSection).content.text
        #expect(section.contains(">kill contr") && section.contains("…</text>"))
        var result = Self.changed
        result.changes = (0..<100).map {
            .init(arm: .mesh, round: 1, what: "drain echo/1", dueSeconds: Double($0) / 20)
        }
        let narrow = try #require(result.timelineSection).content.text
        #expect(narrow.ranges(of: ">drain echo/1</text>").count == 1, "the last has the margin")
    }

    @Test("Of one arm a card says how soon changes were in force")
    func cardOfChanges() {
        var result = Self.changed
        result.overheads = []
        #expect(result.cards.text.contains("&gt; 2.00 s"))
        #expect(result.cards.text.contains("1 of 4 changes not by the end"))
        result.changes = nil
        #expect(!result.cards.text.contains("changes"))
    }

    @Test("Of many changes the table shows some and says so")
    func manyChanges() throws {
        var result = Self.changed
        result.changes = (0..<50).map {
            .init(arm: .mesh, round: 1, what: "drain echo/\($0)", dueSeconds: Double($0) / 10)
        }
        let section = try #require(result.timelineSection).content.text
        #expect(section.contains("and 10 more, which are in result.json"))
    }

    @Test("The summary says how long changes took")
    func changesInTheSummary() {
        var result = Self.changed
        for index in result.phases.indices where result.phases[index].arm == .mesh {
            result.phases[index].configPush = .init(
                count: 2, minNs: 10_000_000, maxNs: 20_000_000, meanNs: 15e6, percentiles: [],
                curve: [])
        }
        let text = result.summaryText(colour: false)
        #expect(text.contains("Changes of the mesh, until the last proxy had them in force"))
        #expect(text.contains("15.0 ms  20.0 ms"), "\(text)")
        #expect(
            !SampleVariant.whole.result.summaryText(colour: false).contains("Changes of the mesh"))
    }

    @Test(
        "Words of a command read back as they were",
        arguments: [
            ("plain-word_1.yaml", "plain-word_1.yaml"), ("", "''"), ("two words", "'two words'"),
            ("it's", "'it'\\''s'"), ("$HOME", "'$HOME'"), ("ümlaut", "'ümlaut'"), ("a;b", "'a;b'"),
        ])
    func quoting(word: String, expected: String) { #expect(shellQuoted(word) == expected) }
}
