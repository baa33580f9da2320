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
import Synchronization

/// Counters of one process at one instant, by name.
struct EvidenceReading: Equatable {
    /// Who has counted: of another process of the same name it is another count.
    var pid: Int32 = 0
    /// What only grows; a name may have labels behind it, as in Prometheus' format.
    var counts: [String: Double] = [:]
    /// The highest that something has been since it was asked before.
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
    /// In the phase.
    var peaks: [String: Double]
    /// Where a replica takes requests, itself or by the proxy beside it, and which it is.
    /// Nil: it is none.
    var inbound: String?
    var replica: Int?

    var isKnown: Bool { counts != nil }

    /// Without the counters by name that have not grown: there are many of these.
    var brief: Evidence {
        var brief = self
        brief.counts = counts?.filter { $0.value != 0 || !$0.key.contains("{") }
        return brief
    }

    /// The sum of all counters of a name, whatever their labels; nil where there is none.
    func count(_ name: String) -> Double? {
        let found = (counts ?? [:]).filter { $0.key == name || $0.key.hasPrefix(name + "{") }
        return found.isEmpty ? nil : found.values.reduce(0, +)
    }
}

/// A process that can be asked.
struct EvidenceSource: Sendable {
    /// Long for a process of this machine; what does not answer by then has none.
    private static let patience = Duration.milliseconds(500)

    let process: String
    let service: String
    let group: ProcessGroup
    private let pid: Int32
    private let address: String
    private let path: String
    private let read: @Sendable ([UInt8]) -> EvidenceReading?
    private var inbound: String?
    private var replica: Int?

    init(
        process: String, service: String, group: ProcessGroup, pid: Int32, address: String,
        path: String, read: @escaping @Sendable ([UInt8]) -> EvidenceReading?
    ) {
        (self.process, self.service, self.group, self.pid) = (process, service, group, pid)
        (self.address, self.path, self.read) = (address, path, read)
    }

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
            path = "/app/stats/next"
            read = { EvidenceReading(application: $0) }
            inbound = address
            replica = Self.replica(role.node.name)
        case .joined(let joined):
            guard let address = role.admin else { return nil }
            self.address = address
            service = joined.service.name
            path = "/stats"
            read = { EvidenceReading(proxy: $0) }
            if case .application(let process) = joined.application {
                inbound = role.addresses["inbound"]
                replica = Self.replica(process)
            }
        case .proxy, .agent, .envoy, .command, .control, .generator: return nil
        }
    }

    /// The number behind the name of its service.
    private static func replica(_ process: String) -> Int? {
        process.split(separator: "/").last.flatMap { Int($0) }
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
            counts: start.flatMap { end?.grown(since: $0) }, peaks: end?.peaks ?? [:],
            inbound: inbound, replica: replica)
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

extension [EvidenceSource] {
    /// Threads that ask, at most: as many as there are processes in most arms.
    private static var threads: Int { 32 }

    /// What all of them say, by process. They are asked at once: what one waits for, another that
    /// does not answer, is not waited for again.
    func readings() -> [String: EvidenceReading] {
        let found = FoundReadings()
        let threads = (0..<Swift.min(count, Self.threads)).compactMap { _ in
            try? JoinableThread(
                Thread(name: "evidence") {
                    while let place = found.next(below: count) {
                        if let reading = self[place].reading() {
                            found.add(reading, of: self[place].process)
                        }
                    }
                })
        }
        for thread in threads { thread.join() }
        return found.all
    }
}

/// What threads that ask have found.
private final class FoundReadings: Sendable {
    private let state = Mutex<(next: Int, readings: [String: EvidenceReading])>(
        (next: 0, readings: [:]))

    func next(below count: Int) -> Int? {
        state.withLock { state in
            guard state.next < count else { return nil }
            state.next += 1
            return state.next - 1
        }
    }

    func add(_ reading: EvidenceReading, of process: String) {
        state.withLock { $0.readings[process] = reading }
    }

    var all: [String: EvidenceReading] { state.withLock { $0.readings } }
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

    /// Attempts that the proxies of one service made at another; nil where there are none of such
    /// proxies, or what one of them has counted is not known.
    func sent(_ from: String, _ to: String) -> Double? {
        let own = evidence.filter { $0.group == .proxies && $0.service == from }
        guard !own.isEmpty, own.allSatisfy(\.isKnown) else { return nil }
        let name = "cluster_upstream_rq_total{cluster=\"\(MeshName(to).text)\"}"
        return own.reduce(0) { $0 + ($1.counts?[name] ?? 0) }
    }

    /// The sum of counters over the proxies of loads; nil where there are none, or what one of them
    /// has counted is not known.
    func ofLoadProxies(_ names: String...) -> Double? {
        let services = Set(loads.map { LoadPlan.identity(of: $0.name) })
        let own = evidence.filter { $0.group == .proxies && services.contains($0.service) }
        guard !own.isEmpty, own.allSatisfy(\.isKnown) else { return nil }
        return own.reduce(0) { sum, proxy in
            names.reduce(sum) { $0 + (proxy.count($1) ?? 0) }
        }
    }

    /// How often proxies have left out a service's replicas, or one of them. Those that leave out
    /// nobody have done so 0 times; nil where what one of them has counted is not known.
    func ejections(_ service: String, _ replica: Int?) -> Double? {
        let proxies = evidence.filter { $0.group == .proxies }
        guard !proxies.isEmpty, proxies.allSatisfy(\.isKnown) else { return nil }
        var labels = "cluster=\"\(MeshName(service).text)\""
        if let replica {
            let own = evidence.filter { $0.service == service && $0.replica == replica }
            // Where no proxy stands beside it, others ask the process itself.
            let asked = own.first { $0.group == .proxies } ?? own.first
            guard let inbound = asked?.inbound else { return nil }
            labels += ",upstream=\"\(inbound)\""
        }
        let name = replica == nil ? "outlier_ejections_enforced_total{" : "host_ejections_total{"
        return proxies.reduce(0) { sum, proxy in
            (proxy.counts ?? [:]).reduce(sum) {
                $1.key.hasPrefix(name + labels) ? $0 + $1.value : $0
            }
        }
    }

    /// The highest of the workloads of a service; nil where that of one of them is not known.
    func peak(_ name: String, _ service: String) -> Double? {
        let own = evidence.filter { $0.group == .apps && $0.service == service }
        return own.allSatisfy(\.isKnown) ? own.compactMap { $0.peaks[name] }.max() : nil
    }
}
