// A difference with its interval, drawn small enough to stand in a table's row: is it clear of
// zero, and how sure is it.

/// The drawing for one row; rows of one unit share the axis.
struct IntervalStrip {
    let estimate: RunResult.Estimate
    /// The least and the most of all rows of this unit; zero lies within.
    let range: ClosedRange<Double>
    let text: String

    var markup: Markup {
        let width = 180.0
        let span = max(range.upperBound - range.lowerBound, 1e-12)
        func place(_ value: Double) -> Double {
            5 + (min(max(value, range.lowerBound), range.upperBound) - range.lowerBound) / span
                * (width - 10)
        }
        var drawing = line("zero", place(0), 1, place(0), 19)
        drawing += line("reach", place(0), 10, place(estimate.value), 10)
        if let low = estimate.low, let high = estimate.high {
            drawing += line("interval", place(low), 10, place(high), 10)
            drawing += line("interval-end", place(low), 5, place(low), 15)
            drawing += line("interval-end", place(high), 5, place(high), 15)
        }
        drawing += element(
            "circle",
            ["class": "estimate", "cx": coordinate(place(estimate.value)), "cy": "10", "r": "3.5"])
        return element(
            "svg",
            [
                "class": "strip", "viewBox": "0 0 180 20", "width": "180", "height": "20",
                "role": "img", "aria-label": text,
            ], drawing)
    }

    /// The range that holds every one of these and zero.
    static func range(of estimates: [RunResult.Estimate]) -> ClosedRange<Double> {
        let values = estimates.flatMap { [$0.value, $0.low ?? $0.value, $0.high ?? $0.value] }
        return min(0, values.min() ?? 0)...max(0, values.max() ?? 0)
    }
}
