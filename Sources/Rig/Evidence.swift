// What the mesh and its workloads themselves say, beside what the load saw: counters of processes,
// read at the borders of measured phases. They are read only where an expectation asks for them, so
// that nothing is asked of a proxy whose cost is being measured.
//
// A source is a process, the path of its counters, and a reader of what it answers; whoever counts
// something new has to add nothing here.

import Base
import FoundationEssentials
import Model
import Posix
import Runtime

/// Counters of one process at one instant, by name.
struct EvidenceReading: Equatable {
    /// Who has counted: of another process of the same name it is another count.
    var pid: Int32 = 0
    /// What only grows; a name may have labels behind it, as in Prometheus' format.
    var counts: [String: Double] = [:]
    /// The highest that something has been since the start.
    var peaks: [String: Double] = [:]
}

/// What one process counted in one phase.
struct Evidence: Equatable, Encodable, Sendable {
    var process: String
    /// The service whose process or proxy it is; of a load's proxy that of the load.
    var service: String
    var group: ProcessGroup
    /// How much each has grown; nil where it is not known, since the process did not answer, or was
    /// another one in the end.
    var counts: [String: Double]?
    /// Since the start of the process, not of the phase.
    var peaks: [String: Double]

    var isKnown: Bool { counts != nil }

    /// The sum of all counters of a name, whatever their labels; nil where there is none.
    func count(_ name: String) -> Double? {
        let found = (counts ?? [:]).filter { $0.key == name || $0.key.hasPrefix(name + "{") }
        return found.isEmpty ? nil : found.values.reduce(0, +)
    }
}

/// A process that can be asked.
struct EvidenceSource {
    /// Long for a process of this machine; what does not answer by then has none.
    private static let patience = Duration.milliseconds(500)

    let process: String
    let service: String
    let group: ProcessGroup
    private let pid: Int32
    private let address: String
    private let path: String
    private let read: ([UInt8]) -> EvidenceReading?

    /// Nil of what has no counters, or says nowhere where they are.
    init?(_ role: Role) {
        process = role.node.name
        group = role.node.group
        pid = role.process.pid
        switch role.node.kind {
        case .application:
            guard let address = role.addresses[""] else { return nil }
            self.address = address
            service = String(role.node.name.split(separator: "/")[0])
            path = "/app/stats"
            read = EvidenceReading.init(application:)
        case .joined(let joined):
            guard let address = role.admin else { return nil }
            self.address = address
            service = joined.service.name
            path = "/stats"
            read = EvidenceReading.init(proxy:)
        case .proxy, .agent, .envoy, .command, .control, .generator: return nil
        }
    }

    /// Nil where it does not answer, or nothing that is understood.
    func reading() -> EvidenceReading? {
        // One that a fault has stopped would be waited for in vain, and what is due at that
        // instant, such as the fault's end, with it.
        guard let state = ProcessStat(pid: pid)?.state, state != UInt8(ascii: "T") else {
            return nil
        }
        var limits = ServiceClientLimits()
        limits.connect = Self.patience
        limits.answer = Self.patience
        guard let client = try? ServiceClient(address, limits: limits),
            let reply = try? client.ask(ServiceCall("GET", path)), reply.status == 200
        else { return nil }
        var reading = read(reply.body)
        reading?.pid = pid
        return reading
    }

    /// What it counted between two readings.
    func evidence(from start: EvidenceReading?, to end: EvidenceReading?) -> Evidence {
        Evidence(
            process: process, service: service, group: group,
            counts: start.flatMap { end?.grown(since: $0) }, peaks: end?.peaks ?? [:])
    }
}

extension EvidenceReading {
    /// How much each counter has grown; nil where it is not the same process.
    func grown(since start: EvidenceReading) -> [String: Double]? {
        guard pid == start.pid else { return nil }
        return counts.reduce(into: [:]) { $0[$1.key] = $1.value - (start.counts[$1.key] ?? 0) }
    }

    /// What the built-in workload says of itself.
    init?(application body: [UInt8]) {
        struct Answer: Decodable {
            struct Concurrency: Decodable { var max: Double }
            var requests: Double
            var concurrency: Concurrency
            var attempts: [String: Double]
            var status: [String: Double]
            var wasted: Double
            var deadlines: Double
            var deadlineMs: Double

            private enum CodingKeys: String, CodingKey {
                case requests, concurrency, attempts, status, wasted, deadlines
                case deadlineMs = "deadline_ms"
            }
        }
        guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(body)) else {
            return nil
        }
        counts["requests"] = answer.requests
        counts["retries"] = answer.attempts.reduce(0) { $0 + ($1.key == "1" ? 0 : $1.value) }
        counts[WorkloadCounter.wasted.rawValue] = answer.wasted
        counts[WorkloadCounter.deadlines.rawValue] = answer.deadlines
        counts[WorkloadCounter.deadlineMs.rawValue] = answer.deadlineMs
        for (status, count) in answer.status { counts["answers{status=\"\(status)\"}"] = count }
        peaks["concurrency"] = answer.concurrency.max
    }

    /// Prometheus' text format, of which counters are taken; without the prefix that all have.
    init?(proxy body: [UInt8]) {
        let prefix = "meshbench_proxy_"
        var isCounter = false
        for line in String(decoding: body, as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("#") {
                if line.hasPrefix("# TYPE") { isCounter = line.hasSuffix(" counter") }
                continue
            }
            guard isCounter, let blank = line.lastIndex(of: " "),
                let value = Double(line[line.index(after: blank)...]), value.isFinite
            else { continue }
            let name = line[..<blank]
            counts[String(name.hasPrefix(prefix) ? name.dropFirst(prefix.count) : name)] = value
        }
        if counts.isEmpty { return nil }
    }
}

extension Roster {
    /// Whoever can be asked, in the order of their names.
    var evidenceSources: [EvidenceSource] { roles.compactMap(EvidenceSource.init) }
}

extension Sample {
    /// The sum of a counter over the workloads of a service, or one replica of it; nil where the
    /// count of one of them is not known: the others' sum would look like that of all.
    func ofWorkloads(_ name: String, _ service: String, replica: Int? = nil) -> Double? {
        let own = evidence.filter { $0.group == .apps && $0.service == service }
        let chosen =
            replica.map { number in
                own.filter { $0.process == "\(service)/\(number)" }
            } ?? own
        guard !chosen.isEmpty, chosen.allSatisfy(\.isKnown) else { return nil }
        return chosen.reduce(0) { $0 + ($1.count(name) ?? 0) }
    }

    /// The sum of a counter over the proxies, or those of one service; nil where none has it, or
    /// what one of them has counted is not known.
    func ofProxies(_ name: String, _ service: String?) -> Double? {
        let own = evidence.filter {
            $0.group == .proxies && (service == nil || $0.service == service)
        }
        guard own.allSatisfy(\.isKnown) else { return nil }
        let counts = own.compactMap { $0.count(name) }
        return counts.isEmpty ? nil : counts.reduce(0, +)
    }

    /// The highest of the workloads of a service; nil where that of one of them is not known.
    func peak(_ name: String, _ service: String) -> Double? {
        let own = evidence.filter { $0.group == .apps && $0.service == service }
        return own.allSatisfy(\.isKnown) ? own.compactMap { $0.peaks[name] }.max() : nil
    }
}
