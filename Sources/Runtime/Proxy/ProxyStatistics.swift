import Model
import ProxyCore
import Secure

/// The workers' counters added up.
struct ProxyStatistics {
    private let counters: [Counters]

    init(_ counters: [Counters]) { self.counters = counters }

    /// Prometheus' text format, version 0.0.4.
    var prometheus: String {
        var text = ""
        for counter in Counter.allCases {
            let name = "meshbench_proxy_\(counter.name)"
            text += "# TYPE \(name) counter\n\(name) \(sum { $0[counter] })\n"
        }
        for statusClass in StatusClass.allCases {
            let name = "meshbench_proxy_responses_\(statusClass.name)_total"
            text += "# TYPE \(name) counter\n\(name) \(sum { $0[statusClass] })\n"
        }
        let active =
            sum { $0[.downstreamConnectionsTotal] } &- sum { $0[.downstreamConnectionsClosed] }
        text += "# TYPE meshbench_proxy_downstream_connections gauge\n"
        text += "meshbench_proxy_downstream_connections \(active)\n"
        let upstream =
            sum { $0[.upstreamConnectionsTotal] } &- sum { $0[.upstreamConnectionsClosed] }
        text += "# TYPE meshbench_proxy_upstream_connections gauge\n"
        text += "meshbench_proxy_upstream_connections \(upstream)\n"
        text += "# TYPE meshbench_proxy_response_flags_total counter\n"
        for flag in ResponseFlag.allCases {
            text +=
                "meshbench_proxy_response_flags_total{flag=\"\(flag.rawValue)\"} "
                + "\(sum { $0[flag] })\n"
        }
        text += "# TYPE meshbench_proxy_tls_failures_total counter\n"
        for side in Side.allCases {
            for failure in TLSFailure.allCases where !failure.isOfFiles {
                let labels = "side=\"\(side)\",reason=\"\(failure.word)\""
                text += "meshbench_proxy_tls_failures_total{\(labels)} "
                text += "\(sum { $0[failure, side] })\n"
            }
        }
        return text
    }

    private func sum(_ value: (Counters) -> UInt64) -> UInt64 {
        counters.reduce(0) { $0 &+ value($1) }
    }
}
