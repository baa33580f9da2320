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
            let source = element("span", ["class": "source"], Markup(expectation.titledSource))
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
                .init(Markup(fit.process)), .init(looks[fit.arm].markup),
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
            content: note
                + quotable(
                    (FitChart(fits: fits, subject: arms.map(\.name).subject).chart?.markup ?? .none)
                        + table.markup))
    }
}
