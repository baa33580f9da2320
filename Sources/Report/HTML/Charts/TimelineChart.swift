// Latency, rate and errors on one clock, with the phases as bands: what happened when. Three panels
// share the axis of time, each with a scale of its own, as an error a second is invisible beside a
// thousand requests.

import Model

/// The timeline of all arms.
struct TimelineChart {
    let arms: [TimelineData]
    /// Names of the phases that were measured.
    let measured: Set<String>
    /// What was changed in the mesh meanwhile.
    var changes: [RunResult.ChangeSummary] = []
    /// What was done on purpose.
    var faults: [RunResult.FaultBand] = []

    private static let width = 1140.0
    private static let left = 70.0
    private static let right = 110.0

    /// The chart; nil where there is nothing to draw.
    var chart: Chart? {
        guard let last = arms.flatMap(\.points).map(\.seconds).max() else { return nil }
        let step = Double(arms.map(\.step).max() ?? 1)
        let x = Scale(.linear, lower: 0, upper: last + step)
        let latencies = arms.flatMap(\.points).flatMap { [$0.p50Ns, $0.p99Ns] }.compactMap { $0 }
        let each = arms.flatMap(\.rounds).joined().compactMap(\.p99Ns)
        let top = panel(x, .logarithmic(around: latencies + each), top: 46, height: 230)
        let rates = arms.flatMap(\.points).flatMap { [$0.offered, $0.achieved] }
        let middle = panel(x, .fromZero(to: rates), top: 320, height: 116)
        let errors = arms.flatMap(\.points).map(\.errors)
        let bottom = panel(x, .fromZero(to: errors), top: 476, height: 56)
        var drawing = bands(top, through: bottom.bottom)
        drawing += faultBands(top, through: bottom.bottom)
        drawing += changeLines(top, through: bottom.bottom)
        drawing +=
            latencies.isEmpty
            ? label(
                "no answers in any second", top.left + top.width / 2, top.top + top.height / 2,
                anchor: "middle", class: "tick")
            : latency(top)
        drawing += faultNames(top)
        drawing += rate(middle)
        drawing += changeMarks(top)
        drawing += errorBars(bottom, step: step, none: errors.allSatisfy { $0 == 0 })
        drawing += bottom.horizontalAxis(
            // A second is the finest that there is, so its parts have no tick.
            x.ticks(about: 10).filter { $0 == $0.rounded() }
                .map { .init(value: $0, label: fixed($0, 0) + " s") },
            title: "seconds since the arm's first phase began")
        return Chart(
            id: "timeline", title: "Latency, rate and errors over time",
            description: description, caption: caption(step), key: key, width: Self.width,
            height: 582, leastWidth: 760, drawing: drawing)
    }

    private func panel(_ x: Scale, _ y: Scale, top: Double, height: Double) -> Plot {
        Plot(
            x: x, y: y, left: Self.left, top: top, width: Self.width - Self.left - Self.right,
            height: height)
    }

    /// Of more than two arms only the bold lines are drawn: the rest would hide them.
    private var showsMedians: Bool { arms.count <= 2 }
    private var showsEachRound: Bool {
        arms.count <= 2 && arms.contains { $0.rounds.count > 1 }
    }

    /// The phases, behind everything.
    private func bands(_ plot: Plot, through bottom: Double) -> Markup {
        guard let points = arms.max(by: { $0.points.count < $1.points.count })?.points else {
            return .none
        }
        var spans: [(phase: String, start: Double)] = []
        for point in points where spans.last?.phase != point.phase {
            spans.append((point.phase, point.seconds))
        }
        var drawing = Markup.none
        for (index, span) in spans.enumerated() {
            let start = plot.placeX(span.start)
            let end =
                index + 1 < spans.count ? plot.placeX(spans[index + 1].start) : plot.right
            let isMeasured = measured.contains(span.phase)
            drawing += box(
                isMeasured ? "band-\(index % 2)" : "band-unmeasured", start, plot.top - 26,
                end - start, bottom - plot.top + 26)
            drawing += line("band-edge", start, plot.top - 26, start, bottom)
            // About eight units a letter: what does not fit would run into its neighbour.
            let room = Int((end - start - 8) / 8)
            if room >= 3 {
                let shown =
                    span.phase.count > room ? span.phase.prefix(room - 1) + "…" : span.phase
                drawing += label(
                    String(shown), start + 6, plot.top - 11, anchor: "start", class: "phase")
            }
        }
        return drawing
    }

    /// Bound: more lines could not be told apart, and every one is text of the page.
    private static let shownInstants = 200

    /// What was changed, by instant, in their order: the first ones.
    private var instants: [(at: Double, changes: [RunResult.ChangeSummary])] {
        var found: [(at: Double, changes: [RunResult.ChangeSummary])] = []
        for change in changes {
            if found.last?.at == change.dues[0] {
                found[found.count - 1].changes.append(change)
            } else if found.count < Self.shownInstants {
                found.append((change.dues[0], [change]))
            } else {
                break
            }
        }
        return found
    }

    private func changeLines(_ plot: Plot, through bottom: Double) -> Markup {
        instants.reduce(into: Markup.none) { drawing, instant in
            let x = plot.placeX(instant.at)
            drawing += line("change-line", x, plot.top, x, bottom)
        }
    }

    /// Below the latencies: what was changed, where there is room for it, and all of it for whoever
    /// points at the mark.
    private func changeMarks(_ plot: Plot) -> Markup {
        let isOne = Set(changes.map(\.arm)).count == 1
        let instants = instants
        var drawing = Markup.none
        for (index, instant) in instants.enumerated() {
            let here = instant.changes.map { change in
                (isOne ? "" : "\(change.arm.rawValue): ") + change.what
                    + (change.push.map { ", in force after \($0)" } ?? "")
                    + (change.complaint.map { ", \($0)" } ?? "")
            }
            let x = plot.placeX(instant.at)
            let end =
                index + 1 < instants.count
                ? plot.placeX(instants[index + 1].at) : plot.right + Self.right
            // About seven units a letter, beside the marks.
            let room = Int((end - x - 18) / 7)
            let name = distinct(instant.changes.map(\.what)).joined(separator: ", ")
            if room >= Self.leastName || name.count <= room {
                let shown = name.count > room ? name.prefix(room - 1) + "…" : name[...]
                drawing += label(
                    String(shown), x + 8, plot.bottom + 13, anchor: "start", class: "tick")
            }
            drawing += Report.mark(
                .diamond(5), x, plot.bottom + 9, class: "change",
                says: "\(fixed(instant.at, 1)) s: " + here.joined(separator: "; "))
        }
        return drawing
    }

    /// Of fewer letters nobody could tell what is meant.
    private static let leastName = 8

    private func latency(_ plot: Plot) -> Markup {
        var drawing = plot.verticalAxis(
            plot.y.ticks(about: 6).map(Quantity.time.tick), title: "")
        drawing += label(
            "response", 4, plot.top - 11, anchor: "start", class: "axis-title")
        for arm in arms {
            for round in arm.rounds where showsEachRound {
                drawing += plot.curve(
                    round.map { ($0.seconds + half, $0.p99Ns) },
                    class: "curve round \(arm.arm.style)")
            }
        }
        var ends: [(String, Double, String)] = []
        for arm in arms {
            let style = arm.arm.style
            let name = arm.arm.name.rawValue
            if showsMedians {
                drawing += plot.curve(
                    arm.points.map { ($0.seconds + half, $0.p50Ns) },
                    class: "curve dashed \(style)")
            }
            drawing += plot.curve(
                arm.points.map { ($0.seconds + half, $0.p99Ns) }, class: "curve solid \(style)")
            if let p99 = arm.points.last(where: { $0.p99Ns != nil })?.p99Ns {
                ends.append(("\(name) p99", p99, style))
            }
            if showsMedians, let p50 = arm.points.last(where: { $0.p50Ns != nil })?.p50Ns {
                ends.append(("\(name) p50", p50, style))
            }
            for point in arm.points { drawing += mark(of: point, arm.arm, plot) }
        }
        return drawing + plot.endLabels(ends.map { (text: $0.0, y: $0.1, class: $0.2) })
    }

    /// Points stand in the middle of the second that they sum up.
    private var half: Double { Double(arms.map(\.step).max() ?? 1) / 2 }

    private func mark(of point: TimelineData.Moment, _ arm: ArmLook, _ plot: Plot) -> Markup {
        guard let p99 = point.p99Ns, let p50 = point.p50Ns else { return .none }
        var tip = "\(arm.name.rawValue), \(fixed(point.seconds, 0)) s, \(point.phase): "
        tip += "p50 \(Quantity.time.text(p50)), p99 \(Quantity.time.text(p99)), "
        tip += "\(Quantity.rate.text(point.achieved)) of \(Quantity.rate.text(point.offered))"
        if point.errors > 0 { tip += ", \(Quantity.rate.text(point.errors)) errors" }
        return Report.mark(
            .circle(5), plot.placeX(point.seconds + half), plot.placeY(p99), class: "hit",
            says: tip)
    }

    private func rate(_ plot: Plot) -> Markup {
        var drawing = plot.verticalAxis(
            plot.y.ticks(about: 3).map(Quantity.rate.tick), title: "requests")
        if let offered = arms.first {
            drawing += plot.curve(
                offered.points.map { ($0.seconds + half, $0.offered) }, class: "curve offered")
        }
        var ends: [(text: String, y: Double, class: String)] = []
        for arm in arms {
            drawing += plot.curve(
                arm.points.map { ($0.seconds + half, $0.achieved) },
                class: "curve solid \(arm.arm.style)")
            if let last = arm.points.last {
                ends.append((arm.arm.name.rawValue, last.achieved, arm.arm.style))
            }
        }
        if let last = arms.first?.points.last { ends.append(("offered", last.offered, "offered")) }
        return drawing + plot.endLabels(ends)
    }

    private func errorBars(_ plot: Plot, step: Double, none: Bool) -> Markup {
        var drawing = label(
            "errors", 4, plot.top - 12, anchor: "start", class: "axis-title")
        if none {
            return drawing + line("axis", plot.left, plot.bottom, plot.right, plot.bottom)
                + label(
                    "no errors in any second", plot.left + plot.width / 2, plot.bottom - 22,
                    anchor: "middle", class: "tick")
        }
        drawing += plot.verticalAxis(plot.y.ticks(about: 2).map(Quantity.rate.tick), title: "")
        let slot = plot.placeX(step) - plot.placeX(0)
        let width = max(slot / Double(arms.count + 1), 1)
        for (index, arm) in arms.enumerated() {
            for point in arm.points where point.errors > 0 {
                let y = plot.placeY(point.errors)
                drawing += box(
                    "error-bar \(arm.arm.style)",
                    plot.placeX(point.seconds) + (Double(index) + 0.5) * width, y, width,
                    plot.bottom - y)
            }
        }
        return drawing
    }

    private var key: [Chart.KeyEntry] {
        let lines = arms.flatMap { arm in
            let name = arm.arm.name.rawValue
            let p99 = Chart.KeyEntry(
                sign: .line, style: "curve solid \(arm.arm.style)", text: "\(name) p99, achieved")
            let p50 = Chart.KeyEntry(
                sign: .line, style: "curve dashed \(arm.arm.style)", text: "\(name) p50")
            return showsMedians ? [p99, p50] : [p99]
        }
        let change = Chart.KeyEntry(
            sign: .line, style: "change-line", text: "a change of the mesh")
        return lines + [
            .init(sign: .line, style: "curve offered", text: "offered"),
            .init(sign: .box, style: "band-unmeasured", text: "not measured"),
        ] + (changes.isEmpty ? [] : [change])
            + (faults.isEmpty ? [] : [.init(sign: .box, style: "fault-bar", text: "a fault")])
    }

    private func caption(_ step: Double) -> Markup {
        let rounds = arms.map(\.rounds.count).max() ?? 1
        var words =
            rounds > 1
            ? "Bold: the median over \(rounds) rounds. "
                + (showsEachRound ? "Faint: the p99 of each round. " : "")
                + "Errors: the mean over rounds. " : "One round. "
        if step > 1 {
            words += "Each point spans \(fixed(step, 0)) s and shows the worst p99 within it."
        }
        return Markup(words)
    }

    private var description: String {
        arms.map { arm in
            let p99 = arm.points.compactMap(\.p99Ns)
            guard let least = p99.min(), let most = p99.max() else {
                return "\(arm.arm.name.rawValue): no answers"
            }
            return "\(arm.arm.name.rawValue): p99 between \(Quantity.time.text(least)) and "
                + Quantity.time.text(most)
        }.joined(separator: ". ") + "."
    }
}

private func distinct(_ names: [String]) -> [String] {
    var seen: Set<String> = []
    return names.filter { seen.insert($0).inserted }
}
