// CPU against rate, and the straight line through it: where it meets the axis is what a proxy costs
// when nothing happens, its slope what a thousand requests per second cost on top. A measurement at
// one rate mixes the two.

import Model

/// Fits on one pair of axes, at most `limit`; the table beside it has them all.
struct FitChart {
    /// As many as there are colours and shapes that can be told apart.
    static let limit = 6

    let fits: [RunResult.CostFit]
    /// The one whose processes go by their bare names; nil: none.
    let subject: ArmName?

    /// The chart; nil where nothing was fitted.
    var chart: Chart? {
        let drawn = fits.filter { !$0.points.isEmpty }.prefix(Self.limit)
        guard !drawn.isEmpty else { return nil }
        let points = drawn.flatMap(\.points)
        let plot = Plot(
            x: .fromZero(to: points.map(\.ratePerSecond)),
            y: .fromZero(to: points.map(\.cores)), left: 76, top: 34, width: 780 - 76 - 170,
            height: 360 - 34 - 48)
        var drawing = plot.verticalAxis(
            plot.y.ticks(about: 5).map(Quantity.cores.tick), title: "CPU")
        drawing += plot.horizontalAxis(
            plot.x.ticks(about: 6).map(Quantity.rate.tick), title: "completed requests")
        for (index, fit) in drawn.enumerated() { drawing += series(fit, index, plot) }
        drawing += plot.endLabels(
            drawn.enumerated().map { index, fit in
                (name(fit), fit.cores(at: plot.x.upper), "series-\(index)")
            })
        return Chart(
            id: "fit", title: "CPU against rate", description: description(Array(drawn)),
            width: 780, height: 360, leastWidth: 520, drawing: drawing)
    }

    private func series(_ fit: RunResult.CostFit, _ index: Int, _ plot: Plot) -> Markup {
        let style = "series-\(index)"
        let ends = [plot.x.lower, plot.x.upper].map { (x: $0, y: Double?(fit.cores(at: $0))) }
        return plot.curve(ends, class: "fit \(style)")
            + fit.points.map { point in
                mark(
                    index % 2 == 0 ? .circle(3.5) : .square(3.2),
                    plot.placeX(point.ratePerSecond), plot.placeY(point.cores),
                    class: "dot " + style,
                    says: "\(name(fit)), round \(point.round): "
                        + "\(Quantity.cores.text(point.cores)) at "
                        + Quantity.rate.text(point.ratePerSecond))
            }.joined()
    }

    private func name(_ fit: RunResult.CostFit) -> String {
        fit.arm == subject ? fit.process : "\(fit.process), \(fit.arm.rawValue)"
    }

    private func description(_ drawn: [RunResult.CostFit]) -> String {
        drawn.map { fit in
            "\(name(fit)): idle \(Quantity.cores.text(fit.idleCores)), marginal "
                + "\(Quantity.cores.text(fit.marginalPer1000rpsCores)) per 1000 rps"
        }.joined(separator: ". ") + "."
    }
}

extension RunResult.CostFit {
    /// The fitted line at a rate, not below zero.
    func cores(at ratePerSecond: Double) -> Double {
        max(0, idleCores.value + marginalPer1000rpsCores.value * ratePerSecond / 1000)
    }
}
