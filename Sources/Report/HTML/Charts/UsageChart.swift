// CPU by process: what each used on average over the measured window, user and system time apart,
// the proxies first, since they are what the mesh adds.

import Model

/// The processes of all arms in one phase.
struct UsageChart {
    let id: String
    let phase: String
    let arms: [RunResult.PhaseResult]
    /// The most that any process of the run used, so that phases can be compared.
    let most: Double
    /// In units of the drawing, which are about pixels: 580 for half of the page, 1140 for all of
    /// it.
    var width = 580.0

    /// The chart; nil where no process was measured.
    var chart: Chart? {
        let drawn = arms.filter { !$0.processes.isEmpty }
        guard !drawn.isEmpty else { return nil }
        let barHeight = 24.0
        let rowCount = drawn.map { $0.processes.count }.reduce(0, +)
        let height = Double(rowCount) * barHeight + Double(drawn.count) * 26 + 54
        let plot = Plot(
            x: .fromZero(to: [most]), y: Scale(.linear, lower: 0, upper: 1), left: 146, top: 6,
            width: width - 146 - 104, height: height - 6 - 46)
        var drawing = plot.horizontalAxis(
            plot.x.ticks(about: 4).map(Quantity.cores.tick),
            title: "cores in use on average (1000 mCPU = one core)", grid: true)
        var y = plot.top
        for arm in drawn {
            drawing += label(
                arm.arm.rawValue + " arm", 4, y + 17, anchor: "start", class: "group")
            y += 26
            for process in arm.processes.sorted(by: { $0.group.rank < $1.group.rank }) {
                drawing += bar(process, plot, y, barHeight - 7)
                y += barHeight
            }
        }
        return Chart(
            id: id, title: "CPU by process, " + phase, description: description(drawn),
            key: key(of: drawn), width: width, height: height, drawing: drawing)
    }

    /// The groups that are there; a control plane mostly is not.
    private func key(of drawn: [RunResult.PhaseResult]) -> [Chart.KeyEntry] {
        let isControlled = drawn.contains { $0.processes.contains { $0.group == .control } }
        let control = Chart.KeyEntry(sign: .box, style: "user control", text: "control plane")
        return [
            .init(sign: .box, style: "user proxies", text: "proxies"),
            .init(sign: .box, style: "user apps", text: "services"),
        ] + (isControlled ? [control] : []) + [
            .init(sign: .box, style: "user load", text: "load generator"),
            .init(sign: .box, style: "system load", text: "hatched: system time"),
        ]
    }

    private func bar(
        _ process: RunResult.ProcessUsage, _ plot: Plot, _ y: Double, _ height: Double
    ) -> Markup {
        let start = plot.placeX(0)
        let middle = plot.placeX(process.userCores)
        let end = plot.placeX(process.cores)
        let group = process.group.rawValue
        var tip = "\(process.name): \(Quantity.cores.text(process.userCores)) user + "
        tip += "\(Quantity.cores.text(process.systemCores)) system"
        if let cost = process.cpuPer1000rpsCores {
            tip += "; \(Quantity.cores.text(cost)) per 1000 rps"
        }
        let cost = process.cpuPer1000rpsCores.map { Quantity.cores.value(of: $0) + "/krps" }
        let shown = process.name.count > 22 ? process.name.prefix(21) + "…" : process.name
        return element(
            "g", ["class": "pt bar"], element("title", [:], Markup(tip)),
            label(shown, plot.left - 8, y + 13, anchor: "end", class: "name"),
            box("user " + group, start, y, middle - start, height),
            box("system " + group, middle, y, end - middle, height),
            label(
                cost ?? Quantity.cores.text(process.cores), end + 6, y + 13, anchor: "start",
                class: "value"))
    }

    private func description(_ drawn: [RunResult.PhaseResult]) -> String {
        drawn.map { arm in
            arm.arm.rawValue + ": "
                + arm.processes.map { "\($0.name) \(Quantity.cores.text($0.cores))" }
                .joined(separator: ", ")
        }.joined(separator: ". ") + "."
    }
}

extension ProcessGroup {
    /// The order in which groups are shown.
    var rank: Int {
        switch self {
        case .proxies: 0
        case .apps: 1
        case .control: 2
        case .load: 3
        case .all: 4
        }
    }
}
