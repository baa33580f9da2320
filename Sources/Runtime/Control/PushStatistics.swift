import Base
import ControlCore
import Model

/// What the control plane counts of its pushes.
struct PushStatistics {
    var snapshots: UInt64 = 0
    var deltas: UInt64 = 0
    /// Of lines, as often as they were sent.
    var bytes: UInt64 = 0
    var refusals: UInt64 = 0
    /// Watches that were ended because their proxy did not read.
    var slow: UInt64 = 0
    /// From push to acknowledgement, by the first of `bounds` that it was within; last, the others.
    private var latencies = [UInt64](repeating: 0, count: Self.bounds.count + 1)
    private var latencySum = Duration.zero

    /// Prometheus' own for latencies, and two above.
    private static let bounds = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    mutating func record(_ push: MeshPush, bytes: Int, count: Int) {
        if push.isSnapshot { snapshots += UInt64(count) } else { deltas += UInt64(count) }
        self.bytes += UInt64(bytes * count)
    }

    mutating func record(latency: Duration) {
        let place = Self.bounds.firstIndex { latency.seconds <= $0 } ?? Self.bounds.count
        latencies[place] += 1
        latencySum = latencySum + latency
    }

    /// Prometheus' text format, version 0.0.4.
    func prometheus(connected: Int) -> String {
        var text = ""
        func type(_ name: String, _ type: String) {
            text += "# TYPE meshbench_control_\(name) \(type)\n"
        }
        func value(_ name: String, _ value: some CustomStringConvertible) {
            text += "meshbench_control_\(name) \(value)\n"
        }
        type("proxies", "gauge")
        value("proxies", connected)
        type("pushes_total", "counter")
        value("pushes_total{kind=\"delta\"}", deltas)
        value("pushes_total{kind=\"snapshot\"}", snapshots)
        for (name, count) in [
            ("push_bytes_total", bytes), ("push_refusals_total", refusals),
            ("push_slow_total", slow),
        ] {
            type(name, "counter")
            value(name, count)
        }
        type("push_seconds", "histogram")
        var sum: UInt64 = 0
        for (bound, count) in zip(Self.bounds, latencies) {
            sum += count
            value("push_seconds_bucket{le=\"\(bound)\"}", sum)
        }
        sum += latencies[Self.bounds.count]
        value("push_seconds_bucket{le=\"+Inf\"}", sum)
        value("push_seconds_sum", latencySum.seconds)
        value("push_seconds_count", sum)
        return text
    }
}
