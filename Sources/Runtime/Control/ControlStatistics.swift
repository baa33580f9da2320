import Base
import ControlCore
import FoundationEssentials
import Model

/// What the control plane counts, and how it shows itself.
struct ControlStatistics {
    let version: String
    /// CLOCK_REALTIME, nanoseconds.
    let started: Int64
    /// Answers by status.
    var answers: [Int: UInt64] = [:]
    /// Transactions that were written down, and what it took.
    var commits: UInt64 = 0
    var commitTime = Duration.zero
    /// Transactions that could not be written down.
    var failures: UInt64 = 0
    /// Answers of the proxies' listener by status.
    var proxyAnswers: [Int: UInt64] = [:]
    /// Certificates that were issued, by what for: `join`, `renewal`, `control`.
    var certificates: [String: UInt64] = [:]
    /// Answers with a status that the API's description does not have, which are mistakes of ours.
    var undescribed: UInt64 = 0
    /// Requests to join that were refused.
    var joinRefusals: UInt64 = 0
    /// Steps of the authority, and renewals of the listener's certificate, that failed.
    var identityFailures: UInt64 = 0

    init(version: String, started: Int64) {
        self.version = version
        self.started = started
    }

    /// Prometheus' text format, version 0.0.4.
    func prometheus(_ facts: ControlFacts) -> String {
        var text = ""
        func type(_ name: String, _ type: String) {
            text += "# TYPE meshbench_control_\(name) \(type)\n"
        }
        func value(_ name: String, _ value: some CustomStringConvertible) {
            text += "meshbench_control_\(name) \(value)\n"
        }
        func single(_ name: String, _ kind: String, _ number: some CustomStringConvertible) {
            type(name, kind)
            value(name, number)
        }
        single("revision", "gauge", facts.revision)
        type("declarations", "gauge")
        for (kind, count) in facts.counts {
            value("declarations{kind=\"\(kind.rawValue)\"}", count)
        }
        single("declarations_damaged", "gauge", facts.damaged)
        single("watches", "gauge", facts.watches)
        single("store_bytes", "gauge", facts.bytes)
        single("store_writable", "gauge", facts.isWritable ? 1 : 0)
        single("commits_total", "counter", commits)
        single("commit_failures_total", "counter", failures)
        single("commit_seconds_total", "counter", commitTime.seconds)
        type("answers_total", "counter")
        for (status, count) in answers.sorted(by: { $0.key < $1.key }) {
            value("answers_total{status=\"\(status)\"}", count)
        }
        type("proxy_answers_total", "counter")
        for (status, count) in proxyAnswers.sorted(by: { $0.key < $1.key }) {
            value("proxy_answers_total{status=\"\(status)\"}", count)
        }
        single("undescribed_answers_total", "counter", undescribed)
        type("certificates_issued_total", "counter")
        for (reason, count) in certificates.sorted(by: { $0.key < $1.key }) {
            value("certificates_issued_total{for=\"\(reason)\"}", count)
        }
        single("join_refusals_total", "counter", joinRefusals)
        single("identity_failures_total", "counter", identityFailures)
        return text
    }

    /// The answer to a question for the status.
    func json(_ facts: ControlFacts) -> String {
        let counts = facts.counts.map { "\"\($0.kind.plural)\":\($0.count)" }
        let start = Date(timeIntervalSince1970: Double(started) / 1e9).formatted(.iso8601)
        var store = "\"condition\":\"\(facts.condition)\",\"keys\":\(facts.keys)"
        store += ",\"bytes\":\(facts.bytes)"
        if let failure = facts.failure { store += ",\"failure\":\(ControlText.quoted(failure))" }
        return "{\"version\":\(ControlText.quoted(version)),\"revision\":\(facts.revision),"
            + "\"declarations\":{\(counts.joined(separator: ","))},\"store\":{\(store)},"
            + "\"started\":\"\(start)\",\"watches\":\(facts.watches)}"
    }
}

/// How a control plane is at one moment.
struct ControlFacts {
    var revision: UInt64
    var counts: [(kind: MeshKind, count: Int)]
    /// Values of the store that should be declarations and cannot be read.
    var damaged: Int
    var watches: Int
    var keys: Int
    /// Of keys and values.
    var bytes: Int
    /// `sound`, `growing` or `suspended`.
    var condition: String
    /// What the store could not do.
    var failure: String?
    var isWritable: Bool
}
