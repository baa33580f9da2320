// The matrix of `meshbench conform` as text, Markdown and JSON.

import FoundationEssentials
import Model

extension Conformance {
    /// For a terminal, at most 100 columns, its last line ended.
    public func text(colour: Bool) -> String {
        var page = TextPage(colour: colour)
        page.paragraph("Data plane '\(printable(dataPlane))': \(counted)", indent: 0)
        page.section("Features")
        page.table(
            header: ["", "feature", "semantics", "verdict", "without it"],
            rows: rows.map { row in
                [
                    "\(row.feature.number)", row.feature.title, row.feature.semantics,
                    row.verdict.rawValue, Self.word(ofControl: row.control),
                ]
            }, textColumns: 5)
        page.section("Scenarios")
        page.table(
            header: ["scenario", "verdict", "without it", "took"],
            rows: scenarios.map {
                [
                    $0.name, $0.verdict.rawValue, Self.word(ofControl: $0.control),
                    fixed($0.durationSeconds, 1) + " s",
                ]
            }, textColumns: 3)
        if !exit.reasons.isEmpty {
            page.section("Why not all of it passes")
            for scenario in scenarios where !scenario.isPlainPass {
                let reasons = scenario.reasons.joined(separator: "; ")
                page.item(
                    TextPage.mark(scenario.verdict), "\(scenario.name): \(reasons)",
                    verdict: scenario.verdict)
            }
        }
        let open = MeshFeature.all.count - rows.count
        guard open > 0 else { return page.text }
        page.line("")
        page.paragraph(
            "\(open) of \(MeshFeature.all.count) features have no scenario among these: "
                + "docs/SEMANTICS.md says what else proves them.",
            indent: 0)
        return page.text
    }

    /// For a page of a repository.
    public var markdown: String {
        func cell(_ text: String) -> String { printable(text).replacing("|", with: "\\|") }
        var lines = [
            "# Conformance of `\(cell(dataPlane))`", "", "\(counted). Started \(startedAt).", "",
            "| # | feature | semantics | scenarios | verdict | without it |",
            "|---|---|---|---|---|---|",
        ]
        lines += rows.map { row in
            let names = row.scenarios.map { "`\(cell($0))`" }.joined(separator: ", ")
            return "| \(row.feature.number) | \(cell(row.feature.title)) "
                + "| \(cell(row.feature.semantics)) | \(names) | \(row.verdict.rawValue) "
                + "| \(Self.word(ofControl: row.control)) |"
        }
        let failing = scenarios.filter { !$0.isPlainPass }
        if !failing.isEmpty { lines += ["", "## Why not all of it passes", ""] }
        lines += failing.map { scenario in
            let reasons = scenario.reasons.map(cell).joined(separator: "; ")
            return "- `\(cell(scenario.name))`: \(scenario.verdict.rawValue): \(reasons)"
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The bytes of `conform.json`: keys in snake case and sorted.
    public func json() -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .custom { path in ResultKey(snake: path.last) }
        do {
            return [UInt8](try encoder.encode(self)) + [UInt8(ascii: "\n")]
        } catch {
            // Only a number that JSON has no text for could fail, and none of these can be one.
            preconditionFailure("a matrix that JSON cannot hold: \(error)")
        }
    }

    private var counted: String {
        let passed = scenarios.count(where: \.isPlainPass)
        let all = scenarios.count + notBegun.count
        let rest =
            notBegun.isEmpty
            ? "" : "; not begun: \(notBegun.map(printable).joined(separator: ", "))"
        return "\(passed) of \(all) scenarios passed, in \(span(seconds: durationSeconds))\(rest)"
    }

    /// What the expectations do in the control, where they must fail.
    private static func word(ofControl verdict: RunResult.Verdict?) -> String {
        switch verdict {
        case nil: "not run"
        case .pass: "fails"
        case .fail: "holds"
        case .inconclusive: "open"
        case .invalid: "invalid"
        }
    }
}
