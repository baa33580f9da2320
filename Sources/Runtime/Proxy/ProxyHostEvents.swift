import Base
import Posix
import ProxyCore

/// What the workers have found out about endpoints, as the admin listener tells it.
struct ProxyHostEvents: Encodable {
    struct Event: Encodable {
        let number: Int
        let atNanoseconds: Int64
        let cluster: String
        let upstream: String
        let action: String
        let reason: String
        let enforced: Bool
        let ejections: Int
        let secondsSinceLast: Double?

        enum CodingKeys: String, CodingKey {
            case number
            case atNanoseconds = "at_ns"
            case cluster
            case upstream
            case action
            case reason
            case enforced
            case ejections
            case secondsSinceLast = "since_last_s"
        }
    }

    let events: [Event]

    init(_ boards: [HostBoard]) {
        // Instants are told as times of day, by the clocks as they stand now.
        let offset = Clock.wallNanoseconds() - Clock.now().nanoseconds
        let all = boards.flatMap(\.events).sorted {
            ($0.at, $0.cluster, $0.number) < ($1.at, $1.cluster, $1.number)
        }
        events = all.map { event in
            Event(
                number: event.number, atNanoseconds: event.at.nanoseconds + offset,
                cluster: event.cluster, upstream: event.upstream, action: event.action.rawValue,
                reason: event.reason.name, enforced: event.isEnforced, ejections: event.ejections,
                secondsSinceLast: event.sinceLast?.seconds)
        }
    }
}

extension ProxyStatistics {
    /// What is counted of the endpoints of clusters that judge them.
    static func hosts(_ boards: [HostBoard]) -> String {
        let found = boards.filter(\.judges).map { ($0.cluster, $0.tallies) }
        guard !found.isEmpty else { return "" }
        var text = ""
        func add(_ name: String, _ kind: String, _ lines: [(labels: String, value: Int)]) {
            text += "# TYPE meshbench_proxy_\(name) \(kind)\n"
            for line in lines { text += "meshbench_proxy_\(name){\(line.labels)} \(line.value)\n" }
        }
        func all(_ value: (HostTallies) -> Int) -> [(labels: String, value: Int)] {
            found.map { ("cluster=\"\($0.0)\"", value($0.1)) }
        }
        func byReason(_ value: (HostTallies) -> [Int]) -> [(labels: String, value: Int)] {
            found.flatMap { cluster, tallies in
                EjectionReason.allCases.map { reason in
                    let labels = "cluster=\"\(cluster)\",reason=\"\(reason.name)\""
                    return (labels, value(tallies)[reason.rawValue])
                }
            }
        }
        add("outlier_hosts", "gauge", all(\.hosts))
        add("outlier_ejections_active", "gauge", all(\.active))
        add("outlier_ejections_detected_total", "counter", byReason(\.detected))
        add("outlier_ejections_enforced_total", "counter", byReason(\.enforced))
        add("outlier_ejections_overflow_total", "counter", all(\.overflow))
        add("outlier_returns_total", "counter", all(\.returned))
        add("outlier_probes_total", "counter", all(\.probes))
        return text
    }
}
