// What the run is worth as a proof: the same again without what it is about.

import Model

extension RunResult {
    var controlSection: Section? {
        guard let controls, !controls.isEmpty else { return nil }
        var table = Table([
            .init(title: "Control"), .init(title: "Different in it"),
            .init(title: "Expectation"), .init(title: "In the rerun"),
            .init(title: "Expected"), .init(title: "Observed", isNumber: true),
        ])
        for control in controls {
            for (place, expectation) in control.expectations.enumerated() {
                let changes = control.changes.joined(separator: ", ")
                let verdict =
                    place == 0 ? control.verdict.markup + Markup(" ") : Markup.none
                table.append([
                    .init(place == 0 ? verdict + looks[control.arm].markup : .none),
                    .init(Markup(place == 0 ? "\(control.of.rawValue) \(changes)" : "")),
                    .init(
                        element("span", ["class": "source"], Markup(expectation.titledSource))),
                    .init(Markup(expectation.verdict.teeth)),
                    .init(Markup(expectation.expected)),
                    .init(
                        Markup(
                            expectation.verdict == .invalid ? "not judged" : expectation.observed)),
                ])
            }
        }
        let note = element(
            "p", ["class": "note"],
            """
            Each control is an arm that is run again, with the same requests at the same instants \
            and the same faults, without what the expectations are about. They must fail there: \
            what holds with and without a protection says nothing of it.
            """)
        return Section(id: "control", title: "Controls", content: note + table.markup)
    }
}
