// What the run says: its expectations, and what the mesh costs.

import Model

extension RunResult {
    var expectationSection: Section? {
        guard !expectations.isEmpty else { return nil }
        var table = Table([
            .init(title: "Expectation"), .init(title: "Verdict"), .init(title: "Expected"),
            .init(title: "Observed", isNumber: true), .init(title: intervalTitle),
            .init(title: "Samples", isNumber: true),
        ])
        for expectation in expectations {
            let isJudged = validity.valid && expectation.verdict != .invalid
            let source = element("span", ["class": "source"], Markup(expectation.source))
            let verdict = validity.valid ? expectation.verdict : .invalid
            let reason =
                expectation.reason.isEmpty
                ? Markup.none : element("small", [:], Markup(expectation.reason))
            table.append([
                .init(source), .init(verdict.markup + reason), .init(Markup(expectation.expected)),
                .init(
                    Markup(isJudged ? expectation.observed : "not judged"),
                    style: isJudged ? "main" : "weak"),
                .init(Markup(isJudged ? expectation.interval ?? "none" : "")),
                .init(Markup(grouped(expectation.samples))),
            ])
        }
        return Section(id: "expectations", title: "Expectations", content: table.markup)
    }

    var overheadSection: Section? {
        guard !overheads.isEmpty else { return nil }
        guard validity.valid else {
            return Section(
                id: "overhead", title: "What the mesh adds",
                content: element(
                    "p", [:],
                    """
                    No overhead is stated, as the measurement is invalid. result.json has the raw \
                    figures of both arms.
                    """))
        }
        var table = Table([
            .init(title: "Metric"), .init(title: "direct", isNumber: true),
            .init(title: "mesh", isNumber: true), .init(title: "Overhead", isNumber: true),
            .init(title: intervalTitle, isNumber: true), .init(title: "Relative", isNumber: true),
            .init(title: "From zero, on one scale for each unit"),
            .init(title: "Rounds", isNumber: true),
        ])
        var phase = overheads[0].phase
        for overhead in overheads {
            table.append(row(overhead), isClose: overhead.phase == phase)
            phase = overhead.phase
        }
        return Section(
            id: "overhead", title: "What the mesh adds",
            content: element(
                "p", ["class": "note"],
                """
                Mesh arm less direct arm, at the same offered schedule. The bar is the interval of \
                the difference over rounds; the tick is zero.
                """) + table.markup)
    }

    private func row(_ overhead: Overhead) -> [Table.Cell] {
        let quantity = Quantity(unit: overhead.unit)
        let peers = overheads.filter { $0.unit == overhead.unit }.map(\.difference)
        let strip = IntervalStrip(
            estimate: overhead.difference, range: IntervalStrip.range(of: peers),
            text: quantity.text(overhead.difference, signed: true))
        let ratio =
            overhead.direct.value > 0
            ? relative(overhead.difference.value / overhead.direct.value) : "none"
        let phase = phaseNames.count > 1 ? "\(overhead.phase): " : ""
        return [
            .init(Markup(phase + overhead.metric)),
            .init(Markup(quantity.value(of: overhead.direct))),
            .init(Markup(quantity.value(of: overhead.mesh))),
            .init(Markup(quantity.value(of: overhead.difference, signed: true)), style: "main"),
            .init(Markup(quantity.interval(of: overhead.difference) ?? "none")),
            .init(Markup(ratio)), .init(strip.markup, style: "strip-cell"),
            .init(Markup(String(overhead.rounds))),
        ]
    }

    /// `+72 %`; as a factor where percent become unreadable.
    private func relative(_ share: Double) -> String {
        if share >= 9.995 { return "× " + fixed(share + 1, 0) }
        return (share > 0 ? "+" : "") + fixed(share * 100, share.magnitude < 0.0995 ? 1 : 0) + " %"
    }

    var fitSection: Section? {
        guard !fits.isEmpty else { return nil }
        var table = Table([
            .init(title: "Process"), .init(title: "Arm"), .init(title: "Idle", isNumber: true),
            .init(title: intervalTitle, isNumber: true),
            .init(title: "Marginal, per 1000 rps", isNumber: true),
            .init(title: intervalTitle, isNumber: true), .init(title: "Points", isNumber: true),
        ])
        for fit in fits {
            table.append([
                .init(Markup(fit.process)), .init(armName(fit.arm.rawValue)),
                .init(Markup(Quantity.cores.value(of: fit.idleCores)), style: "main"),
                .init(Markup(Quantity.cores.interval(of: fit.idleCores) ?? "none")),
                .init(Markup(Quantity.cores.value(of: fit.marginalPer1000rpsCores)), style: "main"),
                .init(Markup(Quantity.cores.interval(of: fit.marginalPer1000rpsCores) ?? "none")),
                .init(Markup(String(fit.points.count))),
            ])
        }
        let note = element(
            "p", ["class": "note"],
            """
            Where the line meets the axis is what a process costs at no load; its slope is what \
            each further thousand requests per second cost. Both are of the line: where requests \
            get cheaper the more there are, it starts above what an idle process uses. Where a \
            phase without requests was measured, CPU by process shows that itself.
            """)
        return Section(
            id: "fit", title: "Cost against rate",
            content: note + quotable((FitChart(fits: fits).chart?.markup ?? .none) + table.markup))
    }
}
