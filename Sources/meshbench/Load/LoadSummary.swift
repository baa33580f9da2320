import Base
import LoadCore
import Model
import Stats

/// What a load run showed, for people: response and service latency beside the lag.
struct LoadSummary {
    private let job: LoadJob
    private let url: String
    private let result: LoadResult
    /// The measured phases, added up.
    private let tally: LoadResult.PhaseTally
    /// Their time, seconds.
    private let seconds: Double
    /// Signs that the generator itself was the bottleneck.
    let saturation: [String]
    /// What to know when reading the figures.
    private let cautions: [String]

    /// The quantiles and the part of the samples that lie beyond each: one in so many.
    private static let quantiles: [(Double, oneIn: UInt64)] = [
        (0.5, 2), (0.9, 10), (0.99, 100), (0.999, 1000), (0.9999, 10_000),
    ]
    /// Fewer samples than this beyond a quantile do not tell it.
    private static let tail: UInt64 = 10

    init(job: LoadJob, url: String, result: LoadResult) {
        self.job = job
        self.url = url
        self.result = result
        let measured = job.phases.indices.filter { job.phases[$0].measure }
        var sum = result.phases[measured.first ?? 0]
        for i in measured.dropFirst() { sum.merge(result.phases[i]) }
        tally = sum
        seconds = measured.reduce(0) {
            $0 + (result.phases[$1].end - result.phases[$1].start).seconds
        }
        let closed = job.plan.arrivals == .closed
        saturation = result.saturation(measured: measured, closed: closed)
        cautions = result.cautions(measured: measured, closed: closed)
    }

    private var isClosed: Bool { job.plan.arrivals == .closed }

    var text: String {
        var lines = [heading, ""]
        lines += table
        lines.append("")
        lines.append(rates)
        lines.append("outcomes   \(counts(tally.outcomes, of: tally.planned))")
        let isPlain = tally.grpc.isEmpty ? tally.count(.error) == 0 : tally.statuses["200"] != nil
        if tally.statuses.count > 1 || !isPlain {
            lines.append("statuses   \(counts(tally.statuses, of: tally.completed))")
        }
        if !tally.grpc.isEmpty {
            lines.append("grpc       \(counts(tally.grpc, of: tally.completed))")
        }
        if !tally.flags.isEmpty {
            lines.append("flags      \(counts(tally.flags, of: tally.count(.error)))")
        }
        lines.append("generator  \(generator)")
        if !result.openFailures.isEmpty {
            let failures = result.openFailures.map { "\($0.count) \($0.reason)" }
            lines.append("unopened   \(failures.joined(separator: ", "))")
        }
        let hash = result.scheduleHash.isEmpty ? "not made to its end" : result.scheduleHash
        lines.append(
            "schedule   \(hash), seed \(job.seed)"
                + (isClosed ? " (closed arrivals have none)" : ""))
        if result.partial { lines += ["", "Stopped before the end: the figures are partial."] }
        if !saturation.isEmpty { lines += [""] + saturation }
        if !cautions.isEmpty { lines += [""] + cautions }
        if isClosed { lines += ["", Self.closedNote] }
        return lines.joined(separator: "\n") + "\n"
    }

    private static let closedNote =
        "Closed arrivals wait for each answer before the next request: a stall is met by as many "
        + "requests as there are connections, so these latencies say little of what users would "
        + "see."

    private var heading: String {
        let plan = job.plan
        let what =
            switch (plan.arrivals, plan.rate) {
            case (.closed, _): "closed loop"
            case (let arrivals, .constant(let rate)): "\(figure(rate))/s \(arrivals.rawValue)"
            case (let arrivals, .ramp(let start, let end)):
                "\(figure(start))/s to \(figure(end))/s \(arrivals.rawValue)"
            case (let arrivals, .steps(let rates)):
                rates.map { "\(figure($0))/s" }.joined(separator: ", ") + " \(arrivals.rawValue)"
            }
        let streams = plan.streams > 1 ? " of \(plan.streams) streams" : ""
        let method = plan.speech == .http1 ? "" : "\(plan.speech.rawValue) "
        return "\(method)\(plan.request.method) \(url): \(what), "
            + "\(plan.connections) connections\(streams), "
            + "\(result.threads.count) threads, \(figure(seconds)) s measured"
    }

    // MARK: Latency

    private var table: [String] {
        let names = ["", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "count"]
        var rows = [names]
        func add(_ name: String, _ histogram: Histogram) {
            if histogram.count > 0 { rows.append([name] + latencies(histogram)) }
        }
        add("response", tally.response)
        add("service", tally.service)
        add("lag", tally.lag)
        add("wait", tally.wait)
        add("first byte", tally.firstByte)
        add("connect", tally.connect)
        return rows.map { row in
            row.enumerated().map { i, cell in
                i == 0 ? cell.padded(to: 11) : cell.padded(to: 10, left: true)
            }.joined()
        }
    }

    private func latencies(_ histogram: Histogram) -> [String] {
        let quantiles = Self.quantiles.map { quantile, oneIn in
            // In whole numbers: 100 000 × (1 − 0.9999) is less than 10 in floating point.
            oneIn > 2 && histogram.count / oneIn < Self.tail
                ? "-" : time(Double(histogram.value(atQuantile: quantile)))
        }
        return quantiles + [
            time(Double(histogram.max)), time(histogram.mean), "\(histogram.count)",
        ]
    }

    // MARK: Counts

    private var rates: String {
        var text = "rate       "
        // Stopped before the measured time began: there is no rate.
        guard seconds > 0 else { return text + "-" }
        let answered = Double(tally.completed) / seconds
        let bytes = Double(tally.bytesReceived) / seconds / 1e6
        if !isClosed {
            let share = Double(tally.completed) / Double(max(tally.planned, 1))
            text += "offered \(figure(Double(tally.planned) / seconds))/s, "
            text += "answered \(figure(answered))/s (\(figure(share * 100)) %)"
        } else {
            text += "answered \(figure(answered))/s"
        }
        return text + ", received \(figure(bytes)) MB/s, "
            + "\(tally.connectionsOpened) connections opened"
    }

    private func counts(_ counts: [String: UInt64], of all: UInt64) -> String {
        if counts.isEmpty { return "none" }
        return counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { name, count in
            let share = Double(count) / Double(max(all, 1)) * 100
            return "\(name) \(count) (\(figure(share)) %)"
        }.joined(separator: ", ")
    }

    private var generator: String {
        result.threads.map { thread in
            let spun = Double(thread.spinNs) / Double(max(thread.wallNs, 1))
            return
                "worked \(figure(thread.busy * 100)) % and spun \(figure(spun * 100)) % of the time"
        }.joined(separator: "; ")
    }

    private func time(_ nanoseconds: Double) -> String { latencyText(nanoseconds) }
    private func figure(_ value: Double) -> String { figureText(value) }
}

/// A latency with three significant digits and its unit: `1.23 ms`.
func latencyText(_ nanoseconds: Double) -> String {
    let units = [("s", 1e9), ("ms", 1e6), ("us", 1e3)]
    let (unit, worth) = units.first { nanoseconds >= $0.1 * 0.9995 } ?? ("ns", 1)
    return "\(figureText(nanoseconds / worth)) \(unit)"
}

/// A number with three significant digits, or all those before the point; `-` for what is none.
func figureText(_ value: Double) -> String {
    if value < 0 { return "-" + figureText(-value) }
    // Beyond 2⁵³ not every whole number is one of these anyway.
    guard value < 0x1p53 else { return value.isFinite ? "\(value)" : "-" }
    let decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0
    let scale = [1.0, 10, 100][decimals]
    let scaled = Int((value * scale).rounded())
    if decimals == 0 || scaled % Int(scale) == 0 { return "\(scaled / Int(scale))" }
    let fraction = "\(scaled % Int(scale))"
    let zeros = String(repeating: "0", count: decimals - fraction.count)
    return "\(scaled / Int(scale)).\(zeros)\(fraction)"
}

extension String {
    /// Filled up with blanks, on the right or on the left.
    fileprivate func padded(to width: Int, left: Bool = false) -> String {
        let blanks = String(repeating: " ", count: max(0, width - count))
        return left ? blanks + self : self + blanks
    }
}
