// Whether the generator itself was what limited the run. A generator that is late or out of CPU
// measures itself; its figures are no statement about the system under test.

import Base
import Stats

extension LoadResult {
    /// Signs that the generator was the bottleneck, each a sentence with the figure and the limit;
    /// empty where there is none. Over the phases in `measured` (indices), or all.
    ///
    /// Lateness is judged by lag alone: the time that requests wait for a connection is the
    /// system's. Lag up to `tolerableLag` is what the kernel's own wake-ups cost and is not
    /// complained about.
    /// - Parameter closed: closed arrivals have no lag; there the CPU alone tells.
    public func saturation(measured: [Int]? = nil, closed: Bool = false) -> [String] {
        var complaints: [String] = []
        let busiest = threads.map(\.busy).max() ?? 0
        if busiest > Self.tolerableBusy {
            complaints.append(
                "The generator was the bottleneck: its busiest thread worked "
                    + "\(percent(busiest)) of the time (limit \(percent(Self.tolerableBusy))); "
                    + "give it more threads.")
        }
        if closed { return complaints }
        for i in measured ?? Array(phases.indices) where phases[i].lag.count > 0 {
            let lag = phases[i].lag.value(atQuantile: 0.99)
            let response = phases[i].response.value(atQuantile: 0.99)
            let limit = max(Self.tolerableLag, Self.tolerableShare * Double(response))
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

    /// The most of its time that the busiest thread may work.
    public static let tolerableBusy = 0.9
    /// The 99th percentile of lag that is never complained about, nanoseconds.
    public static let tolerableLag = 500_000.0
    /// The share of the response latency, both at the 99th percentile, that lag may be beyond that.
    public static let tolerableShare = 0.1

    private func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
}
