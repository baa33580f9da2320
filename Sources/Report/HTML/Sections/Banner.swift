// The first thing on the page: the verdict in a word, why, and, where the measurement may be
// believed, the four figures that most people come for.

import Model

extension RunResult {
    /// The verdict with its reasons.
    var banner: Markup {
        var lines: [Markup] = []
        if !validity.valid {
            lines.append(
                element(
                    "p", [:],
                    """
                    The measurement cannot be trusted, so no overhead is stated. The figures below \
                    are there to find out why.
                    """))
        }
        if partial {
            lines.append(
                element(
                    "p", [:],
                    failure == nil
                        ? "The user stopped the run: only what had ended by then is counted."
                        : "The run failed before its end: only whole rounds are counted."))
        }
        let reasons =
            validity.reasons + exit.reasons.filter { !validity.reasons.contains($0) }
        let items =
            reasons.map { element("li", [:], Markup($0)) }
            + validity.warnings.map { element("li", ["class": "warning"], Markup("Note: " + $0)) }
        if !items.isEmpty { lines.append(element("ul", [:], items)) }
        let word = element(
            "div", ["class": "word"],
            element("span", ["class": "sign", "aria-hidden": "true"], Markup(verdict.sign)),
            Markup(" " + verdict.word),
            partial ? element("span", ["class": "partial"], "partial") : .none)
        return element(
            "div", ["class": "banner " + verdict.rawValue, "role": "status"], [word] + lines)
    }

    /// Up to four figures of the first phase in which anything was asked; none where they would
    /// mislead.
    var cards: Markup {
        let asked = phaseNames.first { name in arms(of: name).contains { $0.planned > 0 } }
        guard validity.valid, let phase = asked ?? phaseNames.first else { return .none }
        let wanted = ["response p50", "response p99", "cpu per 1000 rps", "memory"]
        // Of several arms, of the last: a ladder ends with what it leads to.
        let compared = wanted.compactMap { metric in
            overheads.last { $0.phase == phase && $0.metric == metric }
        }.map { card($0) }
        let shown = compared.isEmpty ? loneCards(phase) : compared
        return shown.isEmpty ? .none : element("div", ["class": "cards"], shown)
    }

    private func card(_ overhead: Overhead) -> Markup {
        let quantity = Quantity(unit: overhead.unit)
        let interval = quantity.interval(of: overhead.difference).map {
            "\($0), \(intervalTitle)"
        }
        return card(
            "added \(overhead.metric) · "
                + (arms.count > 2 ? "\(overhead.arm.rawValue) · " : "") + overhead.phase,
            quantity.value(of: overhead.difference, signed: true),
            [
                interval ?? "no interval",
                quantity.value(of: overhead.baselineValue) + " → "
                    + quantity.value(of: overhead.value),
            ])
    }

    /// With one arm there is nothing to compare: what it did itself.
    private func loneCards(_ name: String) -> [Markup] {
        guard let phase = arms(of: name).first else { return [] }
        let place = "\(phase.arm.rawValue), \(name)"
        var cards: [Markup] = []
        for quantile in [0.5, 0.99] {
            guard let percentile = phase.response[quantile], percentile.supported else { continue }
            let estimate = Estimate(
                percentile.valueNs, low: percentile.lowNs, high: percentile.highNs)
            cards.append(
                card(
                    "response \(percentileName(quantile)), \(place)",
                    Quantity.time.value(of: estimate),
                    [Quantity.time.interval(of: estimate).map { "\($0), 95 % interval" } ?? ""]))
        }
        cards.append(
            card(
                "achieved, \(place)", Quantity.rate.text(phase.achievedPerSecond),
                ["of \(Quantity.rate.text(phase.offeredPerSecond)) offered"]))
        return cards + changeCards
    }

    /// How soon the mesh was what it was told to be; none where it was not changed.
    private var changeCards: [Markup] {
        let pushed = changeSummaries.filter { !$0.pushes.isEmpty }
        let pushes = pushed.flatMap(\.pushes)
        guard let most = pushes.max() else { return [] }
        let missing = pushed.reduce(0) { $0 + $1.missing }
        let count = pushes.count == 1 ? "1 change" : "\(grouped(UInt64(pushes.count))) changes"
        return [
            card(
                "in force at all proxies, longest",
                (missing > 0 ? "> " : "") + Quantity.time.text(most),
                [missing > 0 ? "\(missing) of \(count) not by the end" : "of \(count) of the mesh"])
        ]
    }

    private func card(_ what: String, _ big: String, _ sub: [String]) -> Markup {
        element(
            "div", ["class": "card"], element("div", ["class": "what"], Markup(what)),
            element("div", ["class": "big"], Markup(big)),
            sub.map { element("div", ["class": "sub"], Markup($0)) }.joined())
    }
}

extension RunResult.Verdict {
    /// A sign that needs no colour.
    var sign: String {
        switch self {
        case .pass: "✓"
        case .fail: "✗"
        case .inconclusive: "?"
        case .invalid: "⊘"
        }
    }

    var word: String {
        switch self {
        case .pass: "Pass"
        case .fail: "Fail"
        case .inconclusive: "Inconclusive"
        case .invalid: "Invalid"
        }
    }

    /// Sign and word in the verdict's colour.
    var markup: Markup {
        element("span", ["class": "verdict " + rawValue], Markup(sign + " " + word))
    }
}
