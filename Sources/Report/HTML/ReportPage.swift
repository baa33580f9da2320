// `report.html`: one file, no network, nothing to install. The order of its sections is that of a
// reader's questions: does it hold, what does it cost, where in the distribution, when, who spends
// it, can I believe it, on what did it run, how do I do it again.

import Model

extension RunResult {
    /// The text of `report.html`.
    ///
    /// Well-formed XML as well as HTML. Fetches nothing: its content security policy forbids it.
    public func reportHTML() -> String {
        let sections: [Section?] = [
            expectationSection, controlSection, overheadSection, stepSection, latencySection,
            timelineSection,
            usageSection,
            fitSection, roundsSection, validitySection, outcomeSection, environmentSection,
            configurationSection, commandSection,
        ]
        let shown = sections.compactMap { $0 }
        let links = shown.map { element("a", ["href": "#" + $0.id], Markup($0.title)) }
        let page = element(
            "html", ["lang": "en"], head,
            element(
                "body", [:], pageHeader,
                element(
                    "main", ["class": validity.valid ? "" : "invalid-run"],
                    [
                        banner, cards, element("nav", ["aria-label": "Sections"], links),
                    ] + shown.map(\.markup)),
                pageFooter, hatches, element("script", [:], .script)))
        return "<!DOCTYPE html>\n" + page.text + "\n"
    }

    /// A part of the page under a heading.
    struct Section {
        let id: String
        let title: String
        let content: Markup

        var markup: Markup {
            element(
                "section", ["id": id, "aria-labelledby": id + "-h"],
                element("h2", ["id": id + "-h"], Markup(title)), content)
        }
    }

    /// Measured phases in their order.
    var phaseNames: [String] {
        var names: [String] = []
        for phase in phases where !names.contains(phase.phase) { names.append(phase.phase) }
        return names
    }

    /// The arms of one phase.
    func arms(of phase: String) -> [PhaseResult] { phases.filter { $0.phase == phase } }

    /// Latency figures as they may be shown: as they are, or greyed and stamped where they are not
    /// to be quoted.
    func quotable(_ content: Markup) -> Markup {
        if validity.valid { return content }
        return element(
            "p", ["class": "stamp"], "Not to be quoted: the measurement is invalid")
            + element("div", ["class": "doubtful"], content)
    }

    private var head: Markup {
        element(
            "head", [:], element("meta", ["charset": "utf-8"]),
            element(
                "meta",
                [
                    "http-equiv": "Content-Security-Policy",
                    "content": "default-src 'none'; style-src 'unsafe-inline'; "
                        + "script-src 'unsafe-inline'; img-src data:",
                ]),
            element(
                "meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"]),
            element("meta", ["name": "color-scheme", "content": "light dark"]),
            element("link", ["rel": "icon", "href": "data:,"]),
            element("title", [:], Markup("\(scenario.name): \(verdict.rawValue), meshbench")),
            element("style", [:], .styleSheet))
    }

    private var pageHeader: Markup {
        var facts = [
            startedAt, span(seconds: durationSeconds), counted(UInt64(roundCount), "round"),
            "seed \(scenario.seed)",
        ]
        if !scenario.file.isEmpty { facts.append(scenario.file) }
        return element(
            "header", [:], element("p", ["class": "brand"], "meshbench report"),
            element("h1", [:], Markup(scenario.name)),
            scenario.about.isEmpty
                ? .none : element("p", ["class": "about"], Markup(scenario.about)),
            element("p", ["class": "meta"], Markup(facts.joined(separator: " · "))))
    }

    private var pageFooter: Markup {
        element(
            "footer", [:],
            element(
                "p", [:],
                """
                Response latency counts from the instant at which a request was due, service \
                latency from the instant at which it was sent; lag is how late the load generator \
                took a request up. Percentiles \
                come from merged histograms, intervals from rounds. The overhead at a percentile \
                is the difference of the arms' percentiles, not the percentile of differences. \
                Every figure here is in result.json with all its digits.
                """))
    }

    /// The patterns that charts fill with, defined once.
    private var hatches: Markup {
        let patterns = ["proxies", "apps", "control", "load", "none"].map { name in
            element(
                "pattern",
                [
                    "id": "hatch-" + name, "width": "5", "height": "5",
                    "patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)",
                ],
                element(
                    "line",
                    [
                        "class": "hatch-" + name, "x1": "1", "y1": "0", "x2": "1", "y2": "5",
                        "stroke-width": name == "none" ? "1" : "2.2",
                    ]))
        }
        return element(
            "svg",
            [
                "width": "0", "height": "0", "aria-hidden": "true", "focusable": "false",
                "style": "position:absolute",
            ], element("defs", [:], patterns))
    }
}
