// The faults on the axis of time: a band through all panels, with its name at the top.

import Model

extension RunResult {
    /// A fault over all rounds and arms that had it at the same time.
    struct FaultBand: Equatable {
        var name: String
        var what: String
        var begin: Double
        var end: Double
        var arms: [ArmName]
    }

    var faultBands: [FaultBand] {
        var bands: [FaultBand] = []
        for fault in faults ?? [] {
            let place = bands.firstIndex {
                $0.name == fault.name && $0.begin == fault.beginSeconds
                    && $0.end == fault.endSeconds
            }
            guard let place else {
                bands.append(
                    FaultBand(
                        name: fault.name, what: fault.what, begin: fault.beginSeconds,
                        end: fault.endSeconds, arms: [fault.arm]))
                continue
            }
            if !bands[place].arms.contains(fault.arm) { bands[place].arms.append(fault.arm) }
        }
        return bands
    }
}

extension TimelineChart {
    /// Bound: more names could not be told apart.
    private static let mostFaults = 60
    private static let rowHeight = 15.0

    /// Of those that overlap each has a row of its own for its name.
    private var rows: [(band: RunResult.FaultBand, row: Int)] {
        var ends: [Double] = []
        return faults.prefix(Self.mostFaults).map { band in
            if let free = ends.firstIndex(where: { $0 <= band.begin }) {
                ends[free] = band.end
                return (band, free)
            }
            ends.append(band.end)
            return (band, ends.count - 1)
        }
    }

    func faultBands(_ plot: Plot, through bottom: Double) -> Markup {
        rows.reduce(into: Markup.none) { drawing, entry in
            let start = plot.placeX(entry.band.begin)
            let end = min(plot.placeX(entry.band.end), plot.right)
            drawing += box("fault-band", start, plot.top, end - start, bottom - plot.top)
        }
    }

    /// The names, in front of everything, and what each is for whoever points at it.
    func faultNames(_ plot: Plot) -> Markup {
        rows.reduce(into: Markup.none) { drawing, entry in
            let start = plot.placeX(entry.band.begin)
            let end = min(plot.placeX(entry.band.end), plot.right)
            let y = plot.top + 2 + Double(entry.row) * Self.rowHeight
            let says =
                "\(entry.band.name): \(entry.band.what), \(fixed(entry.band.begin, 1)) to "
                + "\(fixed(entry.band.end, 1)) s, on "
                + entry.band.arms.map(\.rawValue).joined(separator: ", ")
            drawing += element(
                "rect",
                [
                    "class": "fault-bar", "x": coordinate(start), "y": coordinate(y),
                    "width": coordinate(max(end - start, 2)),
                    "height": coordinate(Self.rowHeight - 2),
                ], element("title", [:], Markup(says)))
            // About seven units a letter.
            let room = Int((end - start - 8) / 7)
            guard room >= 3 else { return }
            let name = entry.band.name
            let shown = name.count > room ? name.prefix(room - 1) + "…" : name[...]
            drawing += label(
                String(shown), start + 4, y + Self.rowHeight - 5, anchor: "start", class: "fault")
        }
    }
}
