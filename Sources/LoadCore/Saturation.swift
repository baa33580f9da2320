// Whether the generator itself was what limited the run. A generator that is late or out of CPU
// measures itself; its figures are no statement about the system under test.

import Base
import Stats

extension LoadResult {
    /// Signs that the generator was the bottleneck, each a sentence with the figure and the limit;
    /// empty where there is none. Over the phases in `measured` (indices), or all. Any of them
    /// makes the measurement invalid.
    ///
    /// Lateness is judged by lag alone: the time that requests wait for a connection is the
    /// system's. Lag up to `tolerableLag` is what the kernel's own wake-ups cost and is not
    /// complained about.
    /// - Parameter closed: closed arrivals have no lag, and a busy thread there only means that the
    ///   rate found may be the generator's: a caution.
    public func saturation(measured: [Int]? = nil, closed: Bool = false) -> [String] {
        var complaints = openFailures.filter(\.isLocal).map { failure in
            "The generator was the bottleneck: it could not open a connection \(failure.count) "
                + "times (\(failure.reason)), which is no fault of the target."
        }
        if closed { return complaints }
        if let busy { complaints.append(busy) }
        for i in measured ?? Array(phases.indices) where phases[i].lag.count > 0 {
            let (lag, limit) = lagAndLimit(phases[i])
            if Double(lag) > limit {
                complaints.append(
                    "The generator was the bottleneck in phase \(phases[i].name): it took up 1 % "
                        + "of the requests \(lag / 1000) µs late or more "
                        + "(limit \(UInt64(limit / 1000)) µs), which is part of their response "
                        + "latency.")
            }
        }
        return complaints
    }

    /// What to know when reading the figures, each a sentence; empty where there is nothing. Unlike
    /// `saturation` none of it makes the measurement invalid.
    ///
    /// Lag that is too small to complain about is still a part of every response latency, so it is
    /// named as soon as it is not small beside it.
    public func cautions(measured: [Int]? = nil, closed: Bool = false) -> [String] {
        let phases = (measured ?? Array(phases.indices)).map { self.phases[$0] }
        var cautions = phases.filter { $0.response.clipped > 0 }.map {
            "\($0.response.clipped) response latencies in phase \($0.name) were above an hour; "
                + "they are counted as 1.2 hours."
        }
        if closed { return cautions + (busy.map { [$0] } ?? []) }
        for phase in phases where phase.lag.count > 0 {
            let (lag, limit) = lagAndLimit(phase)
            let response = phase.response.value(atQuantile: 0.99)
            if Double(lag) > Self.tolerableShare * Double(response), Double(lag) <= limit {
                cautions.append(
                    "Lag is a large part of response latency in phase \(phase.name): "
                        + "its p99 is \(lag / 1000) µs beside \(response / 1000) µs. Response "
                        + "latency there is in part the generator's own wake-up; service latency "
                        + "is without it.")
            }
        }
        return cautions
    }

    private var busy: String? {
        let busiest = threads.map(\.busy).max() ?? 0
        if busiest <= Self.tolerableBusy { return nil }
        return "The generator was the bottleneck: its busiest thread worked "
            + "\(percent(busiest)) of the time (limit \(percent(Self.tolerableBusy))); "
            + "give it more threads."
    }

    /// The 99th percentile of a phase's lag and the most that it may be, nanoseconds.
    private func lagAndLimit(_ phase: PhaseTally) -> (lag: UInt64, limit: Double) {
        let response = phase.response.value(atQuantile: 0.99)
        return (
            phase.lag.value(atQuantile: 0.99),
            max(Self.tolerableLag, Self.tolerableShare * Double(response))
        )
    }

    /// The most of its time that the busiest thread may work.
    public static let tolerableBusy = 0.9
    /// The 99th percentile of lag that is never complained about, nanoseconds.
    public static let tolerableLag = 500_000.0
    /// The share of the response latency, both at the 99th percentile, that lag may be beyond that.
    public static let tolerableShare = 0.1

    private func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
}
