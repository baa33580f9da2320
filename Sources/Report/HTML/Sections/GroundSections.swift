// On what the figures rest: the checks that the measurement passed or failed, lag beside latency,
// the machine, the configuration, and how to do it again.

import Model

extension RunResult {
    var validitySection: Section? {
        var content = Markup.none
        let broken = validity.checks.filter { !$0.held }
        if let matrix = checkMatrix {
            content += matrix
        } else if !validity.checks.isEmpty {
            // Of many phases, what did not hold; the rest is there for who asks.
            content +=
                broken.isEmpty
                ? element("p", [:], Markup("All \(validity.checks.count) checks held."))
                : checkTable(broken)
            content += element(
                "details", [:], element("summary", [:], "All checks"), checkTable(validity.checks))
        }
        let charts = lagCharts
        if !charts.isEmpty {
            content += element("h3", [:], "Lag next to latency")
            content += element(
                "p", ["class": "note"],
                """
                Where lag comes near to latency, the load generator was what was measured. Service \
                latency leaves lag out; response latency, which a user would feel, holds it.
                """)
            content += quotable(element("div", ["class": "grid"], charts))
        }
        guard !content.isEmpty else { return nil }
        return Section(id: "validity", title: "Can it be believed?", content: content)
    }

    private func checkTable(_ checks: [Validity.Check]) -> Markup {
        var table = Table([
            .init(title: "Check"), .init(title: "Observed", isNumber: true),
            .init(title: "Limit"), .init(title: "Held"),
        ])
        for check in checks {
            table.append([
                .init(Markup(check.name)), .init(Markup(check.observed), style: "main"),
                .init(Markup(check.limit)), .init(held(check, check.held ? " yes" : " no")),
            ])
        }
        return table.markup
    }

    /// The checks by rule and by arm and phase; nil where there are too many of these for columns.
    private var checkMatrix: Markup? {
        var rules: [String] = []
        var places: [String] = []
        var cells: [String: [String: Validity.Check]] = [:]
        for check in validity.checks {
            // `lag p99, mesh, base`: neither a rule nor a name has a comma.
            let words = check.name.split(separator: ", ").map(String.init)
            guard words.count == 3 else { return nil }
            let place = "\(words[1]), \(words[2])"
            if !rules.contains(words[0]) { rules.append(words[0]) }
            if !places.contains(place) { places.append(place) }
            cells[words[0], default: [:]][place] = check
        }
        // Four columns of figures beside the limit are what a sheet of paper holds.
        guard !rules.isEmpty, places.count <= 4 else { return nil }
        var table = Table(
            [.init(title: "Check"), .init(title: "Limit")]
                + places.map { .init(title: $0, isNumber: true) })
        for rule in rules {
            let row = cells[rule] ?? [:]
            let limit = places.compactMap { row[$0]?.limit }.first ?? ""
            table.append(
                [.init(Markup(rule)), .init(Markup(limit))]
                    + places.map { place in
                        guard let check = row[place] else { return .init("–") }
                        return .init(Markup(check.observed + " ") + held(check, ""))
                    })
        }
        return table.markup
    }

    /// A sign, and words after it, in the colour that says whether a check held.
    private func held(_ check: Validity.Check, _ words: String) -> Markup {
        let verdict: Verdict = check.held ? .pass : .fail
        return element(
            "span", ["class": "verdict " + verdict.rawValue],
            Markup((check.held ? "✓" : "✗") + words))
    }

    private var lagCharts: [Markup] {
        let latencies = phases.flatMap { [$0.response, $0.service, $0.lag] }
        let scale = PercentileChart.scale(of: latencies.filter { $0.count > 0 })
        return phases.enumerated().compactMap { index, phase in
            PercentileChart(
                id: "lag-\(index)", title: "\(phase.arm.rawValue), \(phase.phase)",
                curves: [
                    .init(
                        name: "response", arm: looks[phase.arm], dash: "solid",
                        latency: phase.response),
                    .init(
                        name: "service", arm: looks[phase.arm], dash: "dashed",
                        latency: phase.service),
                    .init(name: "lag", arm: looks[phase.arm], dash: "dotted", latency: phase.lag),
                ], height: 300, values: scale
            ).chart?.markup
        }
    }

    var environmentSection: Section? {
        let hashes = [
            Fact(group: "run", name: "scenario hash", value: scenario.hash),
            Fact(group: "run", name: "schedule hash", value: scenario.scheduleHash),
            Fact(group: "run", name: "exit code", value: String(exit.code)),
        ]
        return Section(
            id: "environment", title: "Environment", content: facts(environment + hashes))
    }

    var configurationSection: Section? {
        configuration.isEmpty
            ? nil
            : Section(
                id: "configuration", title: "Configuration in force",
                content: facts(configuration))
    }

    var commandSection: Section? {
        guard !command.isEmpty else { return nil }
        let line = command.map(shellQuoted).joined(separator: " ")
        return Section(
            id: "again", title: "Run it again",
            content: element("pre", [:], element("code", [:], Markup(line)))
                + element(
                    "button", ["class": "copy", "type": "button", "hidden": "hidden"], "copy"))
    }

    private func facts(_ facts: [Fact]) -> Markup {
        var groups: [String] = []
        for fact in facts where !groups.contains(fact.group) { groups.append(fact.group) }
        let lists = groups.map { group in
            let items = facts.filter { $0.group == group }.flatMap { fact in
                [element("dt", [:], Markup(fact.name)), element("dd", [:], Markup(fact.value))]
            }
            return element(
                "div", [:], element("h3", [:], Markup(group)), element("dl", [:], items))
        }
        return element("div", ["class": "facts"], lists)
    }
}

/// `word` as a POSIX shell reads it back: bare where nothing in it is special, else in single
/// quotes.
func shellQuoted(_ word: String) -> String {
    let isPlain = word.unicodeScalars.allSatisfy { scalar in
        scalar.isASCII
            && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil
                || "-_./:=,@%+".unicodeScalars.contains(scalar))
    }
    if isPlain && !word.isEmpty { return word }
    return "'" + word.replacing("'", with: "'\\''") + "'"
}
