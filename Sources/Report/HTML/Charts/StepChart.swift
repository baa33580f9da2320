// What each step of a ladder adds: for each metric a panel, in it one line for each step with its
// interval about the value, and zero where nothing was added. Each panel has an axis of its own: a
// median that is sure to a microsecond would be a dot beside a tail that is sure to a millisecond.

import Model

/// The steps of one phase.
struct StepChart {
    let id: String
    let phase: String
    let steps: [RunResult.Overhead]
    let looks: ArmLooks

    /// What has a panel: the rest is in the table.
    private static let metrics = [
        "response p50", "response p90", "response p99", "service p50", "service p99",
        "proxy cpu per 1000 rps",
    ]
    private static let columns = 3
    private static let panelWidth = 380.0
    private static let rowHeight = 26.0
    private static let left = 130.0

    /// The chart; nil where there are no steps.
    var chart: Chart? {
        let panels = Self.metrics.map { metric in steps.filter { $0.metric == metric } }
            .filter { !$0.isEmpty }
        guard let rows = panels.map(\.count).max() else { return nil }
        let panelHeight = Double(rows) * Self.rowHeight + 74
        var drawing = Markup.none
        for (index, panel) in panels.enumerated() {
            let left = Double(index % Self.columns) * Self.panelWidth
            let top = Double(index / Self.columns) * panelHeight
            drawing += self.panel(panel, left: left, top: top)
        }
        let rowCount = (panels.count + Self.columns - 1) / Self.columns
        return Chart(
            id: id, title: "What each step adds, \(phase)", description: description,
            caption:
                """
                Dot: the arm less the arm before it. Bar: the interval of that over rounds. A bar \
                that reaches over zero shows no cost.
                """, width: Self.panelWidth * Double(Self.columns),
            height: panelHeight * Double(rowCount), leastWidth: 760, drawing: drawing)
    }

    private func panel(_ panel: [RunResult.Overhead], left: Double, top: Double) -> Markup {
        let quantity = Quantity(unit: panel[0].unit)
        let range = IntervalStrip.range(of: panel.map(\.difference))
        // Room for the ends of intervals, and never an axis of no length.
        let reach = max(range.upperBound - range.lowerBound, 1e-12) * 0.06
        let plot = Plot(
            x: Scale(.linear, lower: range.lowerBound - reach, upper: range.upperBound + reach),
            y: Scale(.linear, lower: 0, upper: 1), left: left + Self.left, top: top + 30,
            width: Self.panelWidth - Self.left - 28, height: Double(panel.count) * Self.rowHeight)
        var drawing = label(
            panel[0].metric, left + 4, top + 16, anchor: "start", class: "group")
        drawing += plot.horizontalAxis(
            plot.x.ticks(about: 4).map(quantity.tick), title: "", grid: true)
        drawing += line("zero", plot.placeX(0), plot.top, plot.placeX(0), plot.bottom)
        for (row, step) in panel.enumerated() {
            let y = plot.top + (Double(row) + 0.5) * Self.rowHeight
            drawing += self.row(step, plot, y, quantity)
        }
        return drawing
    }

    private func row(
        _ step: RunResult.Overhead, _ plot: Plot, _ y: Double, _ quantity: Quantity
    ) -> Markup {
        let look = looks[step.arm]
        var drawing = label(
            "+ " + step.arm.rawValue, plot.left - 10, y + 4, anchor: "end", class: "name")
        if let low = step.difference.low, let high = step.difference.high {
            drawing += line(
                "step-interval \(look.style)", plot.placeX(low), y, plot.placeX(high), y)
        }
        let tip =
            "\(step.arm.rawValue) less \(step.baseline.rawValue), \(step.metric): "
            + quantity.text(step.difference, signed: true)
        return drawing
            + mark(
                look.shape(4.5), plot.placeX(step.difference.value), y,
                class: "dot " + look.style, says: tip)
    }

    private var description: String {
        steps.filter { Self.metrics.contains($0.metric) }.map {
            "\($0.arm.rawValue) less \($0.baseline.rawValue), \($0.metric): "
                + Quantity(unit: $0.unit).text($0.difference, signed: true)
        }.joined(separator: ". ") + "."
    }
}
