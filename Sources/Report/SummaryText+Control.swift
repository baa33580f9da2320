import Model

extension RunResult {
    func writeControls(to page: inout TextPage) {
        guard let controls, !controls.isEmpty else { return }
        page.section("Controls: what must fail without what it is about")
        for control in controls {
            page.item(
                TextPage.mark(control.verdict),
                "\(control.arm.rawValue): \(control.of.rawValue) "
                    + control.changes.joined(separator: ", "),
                verdict: control.verdict)
            for expectation in control.expectations {
                var line = "\(expectation.titledSource): \(expectation.verdict.teeth)"
                if expectation.verdict != .invalid { line += " (\(expectation.observed))" }
                page.paragraph(line, indent: 6)
            }
        }
    }
}

extension RunResult.ExpectationResult {
    /// Whether what was expected does not stand in the line.
    var isByTheory: Bool { expected.contains(" by theory") }

    /// The line behind its name.
    var titledSource: String { name.map { "\($0): \(source)" } ?? source }
}
