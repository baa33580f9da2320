// Latency against percentile, up to the last nine that the samples reach. Both axes are
// logarithmic: the one across in 1/(1−q), because the tail is where proxies differ.

import Model

/// Percentile curves on one pair of axes.
struct PercentileChart {
    /// One curve.
    struct Curve {
        var name: String
        var arm: ArmLook
        /// The style of its line besides its arm's colour: `solid`, `dashed`, `dotted`.
        var dash: String
        var latency: RunResult.Latency
    }

    let id: String
    let title: String
    let curves: [Curve]
    var width = 580.0
    var height = 340.0
    var caption: Markup = .none
    /// The vertical axis; where several charts stand side by side they share it.
    var values: Scale?

    /// An axis that holds all of these.
    static func scale(of latencies: [RunResult.Latency]) -> Scale {
        .logarithmic(around: latencies.flatMap { $0.curve.map(\.valueNs) })
    }

    /// The chart; nil where nothing was recorded.
    var chart: Chart? {
        let drawn = curves.filter { $0.latency.count > 0 && !$0.latency.curve.isEmpty }
        guard !drawn.isEmpty else { return nil }
        let most = drawn.map(\.latency.count).max() ?? 0
        let plot = Plot(
            x: .tail(samples: most), y: values ?? Self.scale(of: drawn.map(\.latency)), left: 62,
            top: 34, width: width - 62 - 128, height: height - 34 - 48)
        var drawing = plot.verticalAxis(
            plot.y.ticks(about: 6).map(Quantity.time.tick), title: "latency (log scale)")
        drawing += plot.horizontalAxis(
            plot.x.ticks(about: 8).map { .init(value: $0, label: percentileName($0)) },
            title: "percentile: each further nine takes the same space", grid: true)
        for curve in drawn { drawing += lines(of: curve, plot) }
        for curve in drawn { drawing += marks(of: curve, plot) }
        drawing += plot.endLabels(
            drawn.compactMap { curve in
                curve.latency.curve.last.map { (curve.name, $0.valueNs, curve.arm.style) }
            })
        return Chart(
            id: id, title: title, description: description(drawn), caption: caption,
            width: width, height: height, drawing: drawing)
    }

    /// Full strength as far as the samples carry it, faint beyond.
    private func lines(of curve: Curve, _ plot: Plot) -> Markup {
        let limit = curve.latency.supportedQuantile
        let points = curve.latency.curve.filter { $0.quantile <= plot.x.upper }
        let firm = points.filter { $0.quantile <= limit }
        let faint = points.filter { $0.quantile > limit }
        let style = "curve \(curve.arm.style) \(curve.dash)"
        return plot.curve((firm.suffix(1) + faint).map(xy), class: style + " faint")
            + plot.curve(firm.map(xy), class: style)
    }

    private func xy(_ point: RunResult.Latency.Point) -> (x: Double, y: Double?) {
        (point.quantile, point.valueNs)
    }

    private func marks(of curve: Curve, _ plot: Plot) -> Markup {
        curve.latency.percentiles.filter { $0.quantile <= plot.x.upper && $0.supported }.map {
            percentile in
            var tip = "\(curve.name), \(percentileName(percentile.quantile)): "
            tip += Quantity.time.text(
                RunResult.Estimate(
                    percentile.valueNs, low: percentile.lowNs, high: percentile.highNs))
            tip += ", \(counted(percentile.beyond, "sample")) beyond"
            return mark(
                curve.arm.shape(4), plot.placeX(percentile.quantile),
                plot.placeY(percentile.valueNs), class: "dot " + curve.arm.style, says: tip)
        }.joined()
    }

    private func description(_ drawn: [Curve]) -> String {
        drawn.map { curve in
            let values = curve.latency.percentiles.filter(\.supported).map {
                "\(percentileName($0.quantile)) \(Quantity.time.text($0.valueNs))"
            }
            return curve.name + ": " + values.joined(separator: ", ")
        }.joined(separator: ". ") + "."
    }
}

extension RunResult.Latency {
    /// The furthest percentile beyond which enough samples lie; 0 where there is none.
    var supportedQuantile: Double { percentiles.filter(\.supported).map(\.quantile).max() ?? 0 }
}
