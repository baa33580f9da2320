import ControlCore
import Wire

/// What a DNS server counts.
struct DNSStatistics {
    /// Messages that are no questions (answers, fewer than 12 bytes) or could not be answered as
    /// the socket took no more.
    var dropped: UInt64 = 0
    var queries: [DNSZone.Transport: UInt64] = [:]
    /// Answers of the zone's, and errors.
    var answers: [DNSCode: UInt64] = [:]
    /// Of these, how many said that more did not fit.
    var truncated: UInt64 = 0
    var forwards = DNSForwardStatistics()

    /// Prometheus' text format.
    func prometheus(pending: Int) -> String {
        var text = ""
        func type(_ name: String, _ type: String) {
            text += "# TYPE meshbench_control_dns_\(name) \(type)\n"
        }
        func value(_ name: String, _ value: some CustomStringConvertible) {
            text += "meshbench_control_dns_\(name) \(value)\n"
        }
        type("queries_total", "counter")
        for transport in DNSZone.Transport.allCases {
            value("queries_total{transport=\"\(transport.rawValue)\"}", queries[transport] ?? 0)
        }
        type("answers_total", "counter")
        for (code, count) in answers.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            value("answers_total{code=\"\(code)\"}", count)
        }
        let counters = [
            ("truncated_total", truncated), ("dropped_total", dropped),
            ("forwarded_total", forwards.sent), ("forward_failures_total", forwards.failures),
            ("forward_refusals_total", forwards.refusals),
            ("forward_strangers_total", forwards.strangers),
        ]
        for (name, count) in counters {
            type(name, "counter")
            value(name, count)
        }
        type("forwards", "gauge")
        value("forwards", pending)
        return text
    }
}

/// What becomes of questions that are asked elsewhere.
struct DNSForwardStatistics {
    var sent: UInt64 = 0
    /// No answer came.
    var failures: UInt64 = 0
    /// Too many were under way already.
    var refusals: UInt64 = 0
    /// Datagrams that answered another question, or with another id.
    var strangers: UInt64 = 0
}
