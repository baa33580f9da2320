import Base
import Scenario
import Support
import Testing

// Random damage to the shipped scenarios. Whatever comes out, it is read or refused with at least
// one error, at places that exist, within bounds; what is read gives the same experiment when its
// resolved form is read again.

/// Reads so many damaged scenarios, all from one seed.
func fuzzScenarios(_ budget: FuzzBudget, corpus: [String]) throws {
    var random = SeededRandom(seed: budget.seed)
    for step in 0..<budget.steps {
        let text = damaged(corpus, &random)
        let overrides = damagedOverrides(&random)
        func fail(_ why: String) {
            Issue.record(
                """
                \(why) at step \(step). Again: \(budget.rerun("ScenarioFuzz"))
                --set \(overrides)
                \(text)
                """)
        }
        do throws(ScenarioError) {
            let file = try ScenarioFile(text: text, file: "f", overrides: overrides)
            _ = file.plan
            _ = file.explanation
            let again = try ScenarioFile(text: file.resolved, file: "resolved")
            if again.experiment != file.experiment { fail("the resolved scenario differs") }
        } catch .invalid("f", _, let diagnostics) {
            if diagnostics.isEmpty { fail("refused without a reason") }
            if diagnostics.count > Limits.diagnostics { fail("too many errors") }
            let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
            for diagnostic in diagnostics
            where diagnostic.place.source == .file && diagnostic.place.line > lines.count + 1 {
                fail("an error past the end: \(diagnostic)")
            }
            if diagnostics.contains(where: { $0.place.source == .standard }) {
                fail("an error in a default: \(diagnostics)")
            }
        } catch {
            fail("the resolved scenario is refused: \(error.description)")
        }
        _ = try? ProxyFile.parse(text, file: "f")
    }
}

private func damaged(_ corpus: [String], _ random: inout SeededRandom) -> String {
    var bytes = Array(corpus[random.below(corpus.count)].utf8)
    for _ in 0...random.below(6) {
        let at = random.below(bytes.count + 1)
        switch random.below(6) {
        case 0: bytes.removeSubrange(at..<min(at + random.below(20), bytes.count))
        case 1: bytes.insert(UInt8(random.below(128)), at: at)
        case 2:
            let word = dictionary[random.below(dictionary.count)]
            bytes.insert(contentsOf: word.utf8, at: at)
        case 3 where at < bytes.count: bytes[at] = UInt8(random.below(256))
        case 4:
            let from = random.below(bytes.count + 1)
            let piece = bytes[from..<min(from + random.below(200), bytes.count)]
            bytes.insert(contentsOf: Array(piece), at: at)
        default:
            // A whole line goes, or stands twice.
            let line = bytes.split(separator: 10, omittingEmptySubsequences: false).randomElement(
                using: &random)
            bytes.insert(contentsOf: Array(line ?? []) + [10], at: at)
        }
        if bytes.isEmpty { bytes = [10] }
    }
    return String(decoding: bytes, as: UTF8.self)
}

private func damagedOverrides(_ random: inout SeededRandom) -> [String] {
    (0..<random.below(3)).map { _ in
        let paths = [
            "rate", "load.0", "load.main.rate", "vars.x", "expect.0", "phases", "mesh.mode",
        ]
        let word = dictionary[random.below(dictionary.count)]
        return paths[random.below(paths.count)] + "=" + word
    }
}

private let dictionary = [
    "${rate}", "$${", "${", "}", "{", "[", "]", ": ", "- ", "&a ", "*a", "|\n", ">-\n", "\"", "'",
    "\n", "\t", "null", "~", "!!int", "---\n", "%", "1000/s", "{from: 1/s, to: 2/s}", "5ms", "0s",
    "99999999999999999h", "1e999", "-1", "p99(response)", " < ", " = ", "± 5%", "during base",
    "overhead(", "erlang_b(servers = 1, load = 2)", "((((((((", "\u{FEFF}", "é", "🙂", "\u{0}",
    "closed", "none", "command: [x]\n", "calls: [echo]", "steps: []", "true", "#",
]

@Suite struct ScenarioFuzzTests {
    @Test func damagedScenarios() throws {
        let budget = FuzzBudget.current(steps: 1000)
        try fuzzScenarios(budget, corpus: try shipped.map(packageText))
    }
}
