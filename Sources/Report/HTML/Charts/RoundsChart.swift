// Every round as a dot: whether the arms are apart in each of them, whether the machine drifted,
// whether it mattered which arm came first. Within a round the dots stand in the order in which the
// arms ran.

import Model

/// One metric of one phase over the rounds.
struct RoundsChart {
    let id: String
    let phase: String
    let metric: String
    let quantity: Quantity
    let rounds: [RunResult.RoundResult]
    let arms: [ArmName]
    let value: (RunResult.RoundResult) -> Double?

    private var looks: ArmLooks { ArmLooks(arms) }

    /// The chart; nil where nothing was recorded.
    var chart: Chart? {
        let drawn = rounds.compactMap { round in value(round).map { (round: round, value: $0) } }
        guard let first = rounds.map(\.round).min(), let last = rounds.map(\.round).max(),
            !drawn.isEmpty
        else { return nil }
        let plot = Plot(
            x: Scale(.linear, lower: Double(first) - 0.5, upper: Double(last) + 0.5),
            y: .around(drawn.map(\.value)), left: 76, top: 30, width: 290 - 76 - 10,
            height: 200 - 30 - 44)
        let places = max((rounds.map(\.position).max() ?? 0) + 1, 1)
        var drawing = plot.verticalAxis(plot.y.ticks(about: 4).map(quantity.tick), title: "")
        let step = max(1, (last - first + 6) / 6)
        drawing += plot.horizontalAxis(
            stride(from: first, through: last, by: step).map {
                .init(value: Double($0), label: String($0))
            }, title: "round, arms in order of running")
        let width = plot.width / Double(last - first + 1)
        drawing += stride(from: first, through: last, by: 2).map { round in
            box("slot", plot.placeX(Double(round)) - width / 2, plot.top, width, plot.height)
        }.joined()
        for item in drawn {
            // Places within the middle 60 % of the round's slot.
            let offset = (Double(item.round.position) + 0.5) / Double(places) - 0.5
            let x = plot.placeX(Double(item.round.round)) + offset * width * 0.6
            let isValid = item.round.invalid.isEmpty
            let look = looks[item.round.arm]
            drawing += mark(
                look.shape(4), x, plot.placeY(item.value),
                class: (isValid ? "dot " : "dot hollow ") + look.style,
                says: tip(item.round, item.value))
        }
        return Chart(
            id: id, title: metric, description: description(drawn), width: 290, height: 200,
            leastWidth: 250, drawing: drawing)
    }

    private func tip(_ round: RunResult.RoundResult, _ value: Double) -> String {
        var text = "round \(round.round), \(round.arm.rawValue), ran "
        text +=
            ["first", "second", "third"].indices.contains(round.position)
            ? ["first", "second", "third"][round.position] : "as number \(round.position + 1)"
        text += ": " + quantity.text(value)
        if !round.invalid.isEmpty { text += "; invalid: " + round.invalid.joined(separator: "; ") }
        return text
    }

    private func description(
        _ drawn: [(round: RunResult.RoundResult, value: Double)]
    ) -> String {
        let parts = arms.compactMap { arm -> String? in
            let values = drawn.filter { $0.round.arm == arm }.map(\.value)
            guard let least = values.min(), let most = values.max() else { return nil }
            return "\(arm.rawValue): \(quantity.text(least)) to \(quantity.text(most)) over "
                + counted(UInt64(values.count), "round")
        }
        return "\(metric), \(phase). " + parts.joined(separator: "; ") + "."
    }
}
