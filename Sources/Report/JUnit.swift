// `junit.xml`: the verdict for whoever reads no other: one case for whether the measurement can be
// believed, one for each expectation, and one for each that must fail in a control.
//
// Source: the schema of the JUnit task of Apache Ant, as Jenkins, GitLab and others read it.

import Model

extension RunResult {
    /// The text of `junit.xml`.
    public func junitXML() -> String {
        var cases = [validityCase]
        cases += expectations.map { testCase(for: $0, of: "expectations") }
        for control in controls ?? [] {
            cases += control.expectations.map { testCase(for: $0, of: control) }
        }
        let attributes: KeyValuePairs = [
            "name": scenario.name, "tests": "\(cases.count)",
            "failures": "\(cases.count { $0.kind == .failure })",
            "errors": "\(cases.count { $0.kind == .error })",
            "skipped": "\(cases.count { $0.kind == .skipped })",
            "time": fixed(durationSeconds, 3), "timestamp": startedAt,
        ]
        let suite = element("testsuite", attributes, cases.map(\.markup))
        return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            + element("testsuites", [:], suite).text + "\n"
    }

    private struct Case {
        enum Kind: String {
            case passed
            case failure
            case error
            case skipped
        }

        var suite: String
        var name: String
        var kind: Kind
        var message: String

        var markup: Markup {
            let attributes: KeyValuePairs = ["classname": suite, "name": name]
            guard kind != .passed else { return element("testcase", attributes) }
            return element(
                "testcase", attributes, element(kind.rawValue, ["message": message]))
        }
    }

    private var validityCase: Case {
        let problem = failure.map { "the run failed: \($0)" }
        let reasons = validity.reasons.joined(separator: "; ")
        return Case(
            suite: scenario.name, name: "the measurement can be believed",
            kind: validity.valid && failure == nil ? .passed : .error, message: problem ?? reasons)
    }

    private func testCase(for expectation: ExpectationResult, of part: String) -> Case {
        let kind: Case.Kind =
            switch expectation.verdict {
            case .pass: .passed
            case .fail: .failure
            case .inconclusive: .skipped
            case .invalid: .error
            }
        return Case(
            suite: "\(scenario.name).\(part)", name: expectation.titledSource, kind: kind,
            message: finding(expectation))
    }

    private func testCase(for expectation: ExpectationResult, of control: Control) -> Case {
        var inverted = expectation
        inverted.verdict = .init(ofControl: [expectation.verdict])
        var result = testCase(for: inverted, of: control.arm.rawValue)
        result.name =
            "fails \(control.changes.joined(separator: ", ")): \(expectation.titledSource)"
        if result.kind != .passed {
            result.message = "\(expectation.verdict.teeth): \(finding(expectation))"
        }
        return result
    }

    private func finding(_ expectation: ExpectationResult) -> String {
        var text = "observed \(expectation.observed), expected \(expectation.expected)"
        if !expectation.reason.isEmpty { text += ": \(expectation.reason)" }
        return text
    }
}
