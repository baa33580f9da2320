// What was measured: latency over the distribution, over time, over rounds; CPU and memory by
// process; how the requests ended.

import Model

extension RunResult {
    var latencySection: Section? {
        let names = phaseNames
        guard !names.isEmpty else { return nil }
        let scale = PercentileChart.scale(of: phases.map(\.response))
        let charts = names.enumerated().compactMap { index, name in
            PercentileChart(
                id: "latency-\(index)", title: "Response latency by percentile, \(name)",
                curves: arms(of: name).map {
                    .init(
                        name: $0.arm.rawValue, arm: looks[$0.arm], dash: looks[$0.arm].dash,
                        latency: $0.response)
                }, width: names.count == 1 ? 1140 : 580, height: names.count == 1 ? 420 : 340,
                values: scale
            ).chart
        }
        let drawings =
            names.count == 1
            ? charts.map(\.markup).joined()
            : element("div", ["class": "grid"], charts.map(\.markup))
        let tables = names.enumerated().map { index, name in
            element(
                "details", index == 0 ? ["open": "open"] : [:],
                element("summary", [:], Markup("All clocks and percentiles, \(name)")),
                latencyTable(name))
        }.joined()
        let note = element(
            "p", ["class": "note"],
            """
            From the instant at which each request was due. Thin lines go beyond what the samples \
            support.
            """)
        let nothing =
            charts.isEmpty ? element("p", [:], "No request was answered: nothing to draw.") : .none
        return Section(
            id: "latency", title: "Latency",
            content: note + quotable(drawings + nothing + tables))
    }

    private func latencyTable(_ name: String) -> Markup {
        let quantiles = [0.5, 0.9, 0.99, 0.999, 0.9999]
        var table = Table(
            [.init(title: "Clock"), .init(title: "Arm")]
                + quantiles.map { .init(title: percentileName($0), isNumber: true) }
                + ["mean", "max", "samples"].map { .init(title: $0, isNumber: true) },
            caption:
                "Percentiles with their 95 % intervals. In italics: fewer samples beyond than it "
                + "takes to state it.")
        // Connections are mostly opened before anything is measured, and few meshes change: no rows
        // of nothing.
        let kinds = LatencyKind.allCases.filter { kind in
            !kind.isOccasional || arms(of: name).contains { $0.latency(kind).count > 0 }
        }
        for kind in kinds {
            for (index, phase) in arms(of: name).enumerated() {
                let latency = phase.latency(kind)
                var cells: [Table.Cell] = [
                    .init(index == 0 ? Markup(kind.title) : .none),
                    .init(looks[phase.arm].markup),
                ]
                cells += quantiles.map { cell(latency[$0]) }
                let hasSamples = latency.count > 0
                cells.append(
                    .init(Markup(hasSamples ? Quantity.time.text(latency.meanNs) : "none")))
                cells.append(
                    .init(Markup(hasSamples ? Quantity.time.text(Double(latency.maxNs)) : "none")))
                cells.append(.init(Markup(grouped(latency.count))))
                table.append(cells, isClose: index > 0)
            }
        }
        return table.markup
    }

    private func cell(_ percentile: Latency.Percentile?) -> Table.Cell {
        guard let percentile else { return .init("none", style: "weak") }
        guard percentile.supported else {
            return .init(Markup(Quantity.time.text(percentile.valueNs)), style: "weak")
        }
        let estimate = Estimate(
            percentile.valueNs, low: percentile.lowNs, high: percentile.highNs)
        return .figure(Quantity.time.value(of: estimate), Quantity.time.interval(of: estimate))
    }

    var timelineSection: Section? {
        let data = arms.compactMap { TimelineData(arm: looks[$0.name], timelines: timelines) }
        let chart = TimelineChart(
            arms: data, measured: Set(phaseNames), changes: changeInstants,
            faults: faultBands
        ).chart
        guard let chart else { return nil }
        return Section(
            id: "time", title: "Over time",
            content: quotable(chart.markup + faultsTable + changesTable))
    }

    /// What was changed, and how soon that was in force; nothing where nothing was.
    private var changesTable: Markup {
        let changes = changeSummaries
        guard !changes.isEmpty else { return .none }
        let shown = 40
        let isOne = Set(changes.map(\.arm)).count == 1
        var table = Table(
            (isOne ? [] : [.init(title: "Arm")]) + [
                .init(title: "Change of the mesh"), .init(title: "due at", isNumber: true),
                .init(title: "in force after", isNumber: true),
                .init(title: "longest", isNumber: true),
            ],
            caption: "From the instant at which it was due until the last proxy had it in force: "
                + "the median over all times and rounds, and the longest. A dash: that is not "
                + "measured.")
        for change in changes.prefix(shown) {
            let most = change.pushes.max().map { Quantity.time.text($0) } ?? "–"
            table.append(
                (isOne ? [] : [.init(Markup(change.arm.rawValue))]) + [
                    .init(Markup(change.what)), .init(Markup(times(change.dues))),
                    .init(Markup(median(change.pushes).map { Quantity.time.text($0) } ?? "–")),
                    .init(
                        Markup(change.complaint ?? most),
                        style: change.complaint == nil ? "" : "bad"),
                ], isClose: true)
        }
        guard changes.count > shown else { return table.markup }
        let rest = "and \(changes.count - shown) more, which are in result.json"
        return table.markup + element("p", ["class": "note"], Markup(rest))
    }

    private func times(_ dues: [Double]) -> String {
        guard let first = dues.first, let last = dues.last, dues.count > 1 else {
            return dues.first.map { fixed($0, 1) + " s" } ?? "–"
        }
        return "\(dues.count) times, \(fixed(first, 1)) to \(fixed(last, 1)) s"
    }

    var usageSection: Section? {
        let most = phases.flatMap(\.processes).map(\.cores).max() ?? 0
        let charts = phaseNames.enumerated().compactMap { index, name in
            UsageChart(
                id: "cpu-\(index)", phase: name, arms: arms(of: name), most: most,
                width: phaseNames.count == 1 ? 1140 : 580
            ).chart
        }
        guard !charts.isEmpty else { return nil }
        let note = element(
            "p", ["class": "note"],
            """
            From the kernel's own accounts, over exactly the measured windows; the split into user \
            and system time is by clock ticks, an estimate. Beside each bar: CPU per 1000 \
            completed requests per second of the whole arm, whichever process handled them.
            """)
        return Section(
            id: "cpu", title: "CPU and memory by process",
            content: note
                + quotable(
                    (charts.count == 1
                        ? charts[0].markup
                        : element("div", ["class": "grid"], charts.map(\.markup))) + usageTable))
    }

    private var usageTable: Markup {
        var table = Table([
            .init(title: "Process"), .init(title: "Arm"), .init(title: "Phase"),
            .init(title: "user", isNumber: true), .init(title: "system", isNumber: true),
            .init(title: "per 1000 rps", isNumber: true),
            .init(title: intervalTitle, isNumber: true),
            .init(title: "PSS", isNumber: true), .init(title: "RSS", isNumber: true),
            .init(title: "waits", isNumber: true), .init(title: "preempted", isNumber: true),
        ])
        for phase in phases {
            let processes = phase.processes.sorted { $0.group.rank < $1.group.rank }
            for (index, process) in processes.enumerated() {
                let cost = process.cpuPer1000rpsCores
                let seconds = max(Double(process.windowNs) / 1e9, 1e-9)
                let waits = Double(process.voluntarySwitches) / seconds
                let preempted = Double(process.involuntarySwitches) / seconds
                table.append(
                    [
                        .init(Markup(process.name)), .init(looks[phase.arm].markup),
                        .init(Markup(phase.phase)),
                        .init(Markup(Quantity.cores.text(process.userCores))),
                        .init(Markup(Quantity.cores.text(process.systemCores))),
                        .init(
                            Markup(cost.map { Quantity.cores.value(of: $0) } ?? "none"),
                            style: "main"),
                        .init(Markup(cost.flatMap { Quantity.cores.interval(of: $0) } ?? "none")),
                        .init(bytes(process.proportionalBytes)),
                        .init(bytes(process.residentBytes)),
                        .init(Markup(Quantity.rate.text(waits))),
                        .init(Markup(Quantity.rate.text(preempted))),
                    ], isClose: index > 0)
            }
        }
        return table.markup
    }

    /// A dash for what could not be read.
    private func bytes(_ count: Int64?) -> Markup {
        Markup(count.map { Quantity.bytes.text(Double($0)) } ?? "–")
    }

    var roundsSection: Section? {
        guard !rounds.isEmpty else { return nil }
        let metrics: [(String, Quantity, (RoundResult) -> Double?)] = [
            ("response p50", .time, \.responseP50Ns), ("response p99", .time, \.responseP99Ns),
            ("proxy CPU per 1000 rps", .cores, { $0.cpuPer1000rpsCores["proxies"] }),
            ("achieved rate", .rate, \.achievedPerSecond),
        ]
        let drawings = phaseNames.enumerated().map { index, name in
            let mine = rounds.filter { $0.phase == name }
            let charts = metrics.enumerated().compactMap { number, metric in
                RoundsChart(
                    id: "round-\(index)-\(number)", phase: name, metric: metric.0,
                    quantity: metric.1, rounds: mine, arms: arms.map(\.name), value: metric.2
                ).chart?.markup
            }
            return element("h3", [:], Markup(name))
                + element("div", ["class": "grid four"], charts)
        }
        let note = element(
            "p", ["class": "note"],
            arms.map { looks[$0.name].markup + " " }.joined(),
            """
            in the order in which they ran within each round. Hollow: a round that does not \
            count. The axes need not begin at zero.
            """)
        return Section(
            id: "rounds", title: "Rounds", content: note + quotable(drawings.joined()))
    }

    var outcomeSection: Section? {
        guard !phases.isEmpty else { return nil }
        let known = Outcome.allCases.map(\.rawValue)
        let others = Set(phases.flatMap(\.outcomes.keys)).subtracting(known).sorted()
        let names = known + others
        var table = Table(
            [.init(title: "Phase"), .init(title: "Arm")]
                + (["planned", "sent"] + names).map { .init(title: $0, isNumber: true) }
                + [.init(title: "Statuses"), .init(title: "Flags")])
        for phase in phases {
            var cells: [Table.Cell] = [
                .init(Markup(phase.phase)), .init(looks[phase.arm].markup),
                .init(Markup(grouped(phase.planned))), .init(Markup(grouped(phase.sent))),
            ]
            cells += names.map { name in
                let count = phase.outcomes[name] ?? 0
                let isBad = count > 0 && name != Outcome.ok.rawValue
                return .init(Markup(grouped(count)), style: isBad ? "bad" : "")
            }
            // A status of gRPC has a name, one of HTTP a number.
            let statuses = phase.statuses.merging(phase.grpc ?? [:]) { $0 + $1 }
            table.append(cells + [.init(tally(statuses)), .init(tally(phase.flags))])
        }
        let note = element(
            "p", ["class": "note"],
            "Every planned request ends in exactly one outcome, also one that "
                + "was never sent.")
        return Section(id: "outcomes", title: "Outcomes", content: note + table.markup)
    }

    private func tally(_ counts: [String: UInt64]) -> Markup {
        if counts.isEmpty { return "none" }
        return Markup(
            counts.sorted { $0.key < $1.key }.map { "\($0.key): \(grouped($0.value))" }
                .joined(separator: ", "))
    }
}

extension LatencyKind {
    var title: String {
        switch self {
        case .response: "response"
        case .service: "service"
        case .lag: "lag"
        case .connect: "connect"
        case .firstByte: "first byte"
        case .configPush: "config push"
        }
    }

    /// Whether there is none in most measurements.
    fileprivate var isOccasional: Bool { self == .connect || self == .configPush }
}
