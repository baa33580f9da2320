// What one arm costs more than another: each against the baseline, and each against the one before
// it where the arms are a ladder.

import Model

extension RunResult {
    var overheadSection: Section? {
        guard let first = overheads.first else { return nil }
        let isPair = arms.count == 2
        let title =
            isPair && first.arm == .mesh
            ? "What the mesh adds" : "Overhead over \(first.baseline.rawValue)"
        guard validity.valid else { return invalid(id: "overhead", title: title) }
        let note = element(
            "p", ["class": "note"],
            Markup(
                "\(isPair ? first.arm.rawValue : "Each arm") less \(first.baseline.rawValue), at "
                    + "the same offered schedule. The bar is the interval of the difference over "
                    + "rounds; the tick is zero."))
        return Section(
            id: "overhead", title: title,
            content: note + (isPair ? .none : armTable) + table(of: overheads, isPair: isPair))
    }

    var stepSection: Section? {
        guard !steps.isEmpty else { return nil }
        let title = "What each step adds"
        guard validity.valid else { return invalid(id: "steps", title: title) }
        let note = element(
            "p", ["class": "note"],
            """
            Each arm less the arm before it, at the same offered schedule, paired by round. CPU is \
            of proxies, and of proxies and services together; that of the load generator is left \
            out, as it spins while it waits.
            """)
        let charts = phaseNames.enumerated().compactMap { index, name in
            StepChart(
                id: "steps-\(index)", phase: name, steps: steps.filter { $0.phase == name },
                looks: looks
            ).chart?.markup
        }
        return Section(
            id: "steps", title: title,
            content: note + charts.joined() + table(of: steps, isPair: false))
    }

    private func invalid(id: String, title: String) -> Section {
        Section(
            id: id, title: title,
            content: element(
                "p", [:],
                """
                No overhead is stated, as the measurement is invalid. result.json has the raw \
                figures of all arms.
                """))
    }

    /// What each arm is: its name alone does not say.
    private var armTable: Markup {
        var table = Table([
            .init(title: "Arm"), .init(title: "Way"), .init(title: "What is spoken"),
        ])
        for arm in arms {
            let way = arm.via == .direct ? "straight to the service" : "through the mesh"
            table.append([
                .init(looks[arm.name].markup), .init(Markup(way)), .init(Markup(arm.speech)),
            ])
        }
        return table.markup
    }

    /// - Parameter isPair: whether all rows are of the same two arms, which then head two columns.
    private func table(of differences: [Overhead], isPair: Bool) -> Markup {
        let first = differences[0]
        var columns: [Table.Column] = [.init(title: "Metric")]
        columns += isPair ? [] : [.init(title: "Arm")]
        columns += [
            .init(title: isPair ? first.baseline.rawValue : "Before", isNumber: true),
            .init(title: isPair ? first.arm.rawValue : "After", isNumber: true),
            .init(title: isPair ? "Overhead" : "Adds", isNumber: true),
            .init(title: intervalTitle, isNumber: true), .init(title: "Relative", isNumber: true),
            .init(title: "From zero, on one scale for each \(isPair ? "unit" : "metric")"),
            .init(title: "Rounds", isNumber: true),
        ]
        var table = Table(columns)
        var last: Overhead?
        for difference in differences {
            let isClose =
                last.map {
                    isPair ? difference.phase == $0.phase : difference.hasName(of: $0)
                } ?? false
            table.append(
                row(difference, among: differences, isPair: isPair, isNamed: !isClose),
                isClose: isClose)
            last = difference
        }
        return table.markup
    }

    private func row(
        _ overhead: Overhead, among all: [Overhead], isPair: Bool, isNamed: Bool
    ) -> [Table.Cell] {
        let quantity = Quantity(unit: overhead.unit)
        let peers = all.filter {
            isPair ? $0.unit == overhead.unit : $0.metric == overhead.metric
        }.map(\.difference)
        let strip = IntervalStrip(
            estimate: overhead.difference, range: IntervalStrip.range(of: peers),
            text: quantity.text(overhead.difference, signed: true))
        let ratio =
            overhead.baselineValue.value > 0
            ? relative(overhead.difference.value / overhead.baselineValue.value) : "none"
        let phase = phaseNames.count > 1 ? "\(overhead.phase): " : ""
        var cells: [Table.Cell] = [
            .init(isPair || isNamed ? Markup(phase + overhead.metric) : .none)
        ]
        if !isPair { cells.append(.init(looks[overhead.arm].markup)) }
        return cells + [
            .init(Markup(quantity.value(of: overhead.baselineValue))),
            .init(Markup(quantity.value(of: overhead.value))),
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
}

extension RunResult.Overhead {
    /// Whether both are of the same metric in the same phase.
    fileprivate func hasName(of other: RunResult.Overhead) -> Bool {
        phase == other.phase && metric == other.metric
    }
}
