// The book of one turn's faults: what was asked for, what processes say that they have done, and
// what others have seen of it. What does not agree is a problem, and a run with one is invalid: a
// fault that was not what it should be proves nothing.

import Base
import FoundationEssentials
import Model
import Posix
import Report
import Stats

/// One line of `ledger.jsonl`: one thing that was done.
struct LedgerEntry: Encodable, Equatable {
    var arm: ArmName
    var round: Int
    /// Who did it, or whom it was done to.
    var process: String
    var fault: String
    var point: String
    /// Of a process: `kill`, and when; from the start of the arm's first phase.
    var action: String?
    var begunNs: Int64?
    var endedNs: Int64?
    /// Of a request; see `FaultLedgerLine`.
    var timeNs: Int64?
    var request: String?
    var attempt: Int?
    var delayNs: Int64?
    var abortHttp: Int?
    var abortGrpc: Int?
    var rate: Int?
    var hangs: Bool?
}

struct FaultBook {
    let arm: ArmName
    /// From 1.
    let round: Int
    /// Of the first phase, by both clocks.
    let start: Instant
    private let wallStart: Int64
    private(set) var faults: [RunResult.Fault] = []
    private(set) var spans: [Span] = []
    private(set) var entries: [LedgerEntry] = []
    /// Bound: what a turn leaves in the ledger. More is counted, and told.
    static let mostEntries = 500_000
    private(set) var left = 0

    /// One fault of requests while it is there.
    struct Span {
        /// Its place in `faults`.
        var place: Int
        var name: String
        var chance: Double
        var point: FaultPlan.Point
        var processes: [String]
        /// CLOCK_REALTIME.
        var begun: Int64
        /// Whom the requests are for, and what proxies that send them there call it; nil: whoever,
        /// or it is not met where they are sent.
        var service: String?
        var cluster: String?
        /// The requests that each process says to have done something to.
        var requests: [String: [String: FaultLedgerLine]] = [:]
        /// Of aborts: how often each request was met.
        var aborts: [String: Int] = [:]
        /// Whether whatever is met is written down, whatever other faults do: a delay is, while of
        /// several aborts only the first is done.
        var isAlwaysDone: Bool
        /// By process, what was met.
        var meetings: [String: Set<Meeting>] = [:]
    }

    /// A request at one attempt, which is what is drawn for.
    struct Meeting: Hashable {
        var request: String
        var attempt: Int
    }

    /// Processes that were harmed: what they have not written down proves nothing.
    private(set) var harmed: Set<String> = []

    init(arm: ArmName, round: Int, start: Instant) {
        self.arm = arm
        self.round = round
        self.start = start
        wallStart = Clock.wallNanoseconds() - (Clock.now() - start).nanoseconds
    }

    // MARK: What was done

    /// Takes in a fault that was done to processes.
    mutating func add(_ record: FaultRecord, served: Instant?) {
        var fault = blank(record.fault)
        fault.begunSeconds = record.begun.map { ($0 - start).seconds }
        fault.endedSeconds = record.ended.map { ($0 - start).seconds }
        fault.servedSeconds = served.map { ($0 - start).seconds }
        fault.problems = record.problems
        if record.begun == nil { fault.problems.append("it never was") }
        harmed.formUnion(record.fault.processes)
        for process in record.fault.processes {
            append(
                LedgerEntry(
                    arm: arm, round: round, process: process, fault: fault.name,
                    point: fault.point, action: fault.what,
                    begunNs: record.begun.map { ($0 - start).nanoseconds },
                    endedNs: record.ended.map { ($0 - start).nanoseconds }))
        }
        faults.append(fault)
    }

    /// Takes in a fault of requests, with what became of its leases.
    mutating func add(_ armFault: ArmFault, _ leases: [LeaseRecord]) {
        var fault = blank(armFault)
        let begun = leases.compactMap(\.begun).max()
        fault.begunSeconds = begun.map { ($0 - start).seconds }
        fault.endedSeconds = leases.compactMap(\.ended).max().map { ($0 - start).seconds }
        fault.problems = leases.compactMap { lease in
            lease.problem.map { "\(lease.lease.process): \($0)" }
        }
        for lease in leases {
            if let lost = lease.ledger?.lost, lost > 0 {
                fault.problems.append(
                    "\(lease.lease.process): \(lost) lines of its ledger are lost")
            }
        }
        fault.requests = requests(armFault.plan, leases.compactMap(\.report), &fault.problems)
        spans.append(
            Span(
                place: faults.count, name: fault.name, chance: armFault.plan.chance,
                point: armFault.plan.point, processes: armFault.processes,
                begun: wallStart
                    + ((leases.compactMap(\.begun).min() ?? start) - start).nanoseconds,
                service: armFault.plan.service, cluster: leases.first?.lease.rule.cluster,
                isAlwaysDone: armFault.plan.isDelay))
        faults.append(fault)
    }

    private func blank(_ fault: ArmFault) -> RunResult.Fault {
        RunResult.Fault(
            arm: arm, round: round, name: fault.name, what: fault.plan.action.title,
            point: fault.plan.point.rawValue, processes: fault.processes,
            beginSeconds: fault.span.begin.seconds, endSeconds: fault.span.end.seconds)
    }

    /// Of ten thousand shares that are as asked for, one lies outside by chance.
    static let confidence = 0.9999

    private func requests(
        _ plan: FaultPlan, _ reports: [FaultReport.Entry], _ problems: inout [String]
    ) -> RunResult.Fault.Requests {
        let seen = reports.reduce(0) { $0 + $1.seen }
        let hit = reports.reduce(0) { $0 + $1.hit }
        var requests = RunResult.Fault.Requests(
            requested: plan.chance, seen: seen, hit: hit, low: 0, high: 1,
            delayed: reports.reduce(0) { $0 + $1.delayed },
            aborted: reports.reduce(0) { $0 + $1.aborted },
            throttled: reports.reduce(0) { $0 + $1.throttled },
            hung: reports.reduce(0) { $0 + $1.hung })
        // A capacity is of a process, and counts nothing.
        if case .requests(let effect) = plan.action, effect.capacity != nil { return requests }
        guard seen > 0, hit <= seen else {
            problems.append("it has met no request")
            return requests
        }
        let interval = Proportion.clopperPearson(
            successes: hit, trials: seen, confidence: Self.confidence)
        requests.low = interval.low
        requests.high = interval.high
        let isShare = plan.chance < 1 ? interval.contains(plan.chance) : hit == seen
        if !isShare {
            problems.append(
                "\(figure(plan.chance, unit: "share")) of the requests were to be met, and "
                    + "\(hit) of \(seen) were: between \(figure(interval.low, unit: "share")) and "
                    + figure(interval.high, unit: "share"))
        }
        return requests
    }

    // MARK: What is written down of it

    /// Takes in a line of a process's ledger.
    mutating func add(_ line: FaultLedgerLine, of process: String) {
        let own = spans.indices.filter {
            spans[$0].name == line.fault && spans[$0].processes.contains(process)
        }
        // What was held back before the end is aborted after it; a millisecond is for the clocks.
        let index = own.last { spans[$0].begun <= line.timeNs + 1_000_000 } ?? own.first
        guard let index else {
            if let place = faults.firstIndex(where: { $0.name == line.fault }) {
                faults[place].problems.append("\(process) has it in its ledger, unasked")
            }
            return
        }
        faults[spans[index].place].requests?.lines += 1
        spans[index].requests[process, default: [:]][line.request] =
            spans[index].requests[process]?[line.request].map { $0.joined(line) } ?? line
        if spans[index].chance < 1 {
            spans[index].meetings[process, default: []].insert(
                Meeting(request: line.request, attempt: line.attempt))
        }
        if line.abortHTTP != nil || line.abortGRPC != nil {
            spans[index].aborts[line.request, default: 0] += 1
        }
        append(
            LedgerEntry(
                arm: arm, round: round, process: process, fault: line.fault,
                point: line.point.rawValue, timeNs: line.timeNs, request: line.request,
                attempt: line.attempt, delayNs: line.delayNs, abortHttp: line.abortHTTP,
                abortGrpc: line.abortGRPC, rate: line.rate, hangs: line.hangs))
    }

    private mutating func append(_ entry: LedgerEntry) {
        guard entries.count < Self.mostEntries else { return left += 1 }
        entries.append(entry)
    }

    /// Holds the counts of processes against their ledgers. Between the last count and the end a
    /// few more are met, and what waits then is aborted later.
    mutating func balance() {
        for span in spans {
            guard let requests = faults[span.place].requests else { continue }
            let counted =
                requests.delayed + requests.aborted + requests.throttled + requests.hung
            let slack = max(20, counted / 50)
            if requests.lines < counted || requests.lines > counted + slack {
                faults[span.place].problems.append(
                    "\(counted) things were done by the processes' counts and \(requests.lines) by "
                        + "their ledgers")
            }
        }
        if left > 0 {
            for span in spans {
                faults[span.place].problems.append(
                    "the ledger is full: \(left) lines had no room")
            }
        }
    }

    /// Faults that draw by themselves meet the same attempt as often as both shares say.
    mutating func checkJoint() {
        for (index, a) in spans.enumerated() {
            for b in spans[(index + 1)...] where isJoint(a, b) {
                let seen = min(
                    faults[a.place].requests?.seen ?? 0, faults[b.place].requests?.seen ?? 0)
                let both = UInt64(
                    a.meetings.reduce(0) { sum, part in
                        sum + part.value.count { b.meetings[part.key]?.contains($0) ?? false }
                    })
                guard seen > 0, both <= seen else { continue }
                let expected = a.chance * b.chance
                let interval = Proportion.clopperPearson(
                    successes: both, trials: seen, confidence: Self.confidence)
                guard !interval.contains(expected) else { continue }
                faults[b.place].problems.append(
                    "together with '\(a.name)' it was to meet "
                        + "\(figure(expected, unit: "share")) of the requests, and met \(both) of "
                        + "\(seen)")
            }
        }
    }

    private func isJoint(_ a: Span, _ b: Span) -> Bool {
        a.point == b.point && a.processes == b.processes && a.chance < 1 && b.chance < 1
            && faults[a.place].beginSeconds == faults[b.place].beginSeconds
            && faults[a.place].endSeconds == faults[b.place].endSeconds && a.name != b.name
            // One that is answered before retries meets no other.
            && a.point != .perAttempt
            && isDone(a, beside: b) && isDone(b, beside: a)
    }

    /// Whether a fault is done to whatever it meets, though others are there.
    private func isDone(_ span: Span, beside other: Span) -> Bool {
        span.isAlwaysDone
            || other.isAlwaysDone
                && spans.allSatisfy {
                    $0.name == span.name || $0.isAlwaysDone || $0.point != span.point
                        || Set($0.processes).isDisjoint(with: span.processes)
                }
    }

    // MARK: What others have seen

    /// Holds what a process says to have done to requests against what is known of these
    /// otherwise.
    /// - Parameter seen: whether a request, by its id, shows what a line says; nil: nobody knows
    ///   it.
    /// - Parameter counts: whether those that agree count as found again.
    /// - Parameter isWhole: whether the witness was heard to the end; else nothing is missing.
    mutating func match(
        _ process: String, against witness: String, counts: Bool = true, isWhole: Bool = true,
        _ seen: (String, FaultLedgerLine) -> Bool?
    ) {
        for span in spans {
            guard let requests = span.requests[process] else { continue }
            var matched: UInt64 = 0
            var missing = 0
            var wrong: [String] = []
            // Who has no id, such as a check of the control plane's, cannot be found again.
            for (id, line) in requests where !id.isEmpty {
                switch seen(id, line) {
                case true?: matched += 1
                case false?: wrong.append(id)
                case nil: missing += isWhole ? 1 : 0
                }
            }
            if counts {
                let before = faults[span.place].requests?.matched ?? 0
                faults[span.place].requests?.matched = before + matched
            }
            if let first = wrong.min() {
                faults[span.place].problems.append(
                    "\(wrong.count) requests of \(process)'s ledger look otherwise in \(witness): "
                        + "'\(first)' for one")
            }
            if missing > 0 {
                faults[span.place].problems.append(
                    "\(missing) requests of \(process)'s ledger are not in \(witness)")
            }
        }
    }

    /// The ids of all requests to which something was done.
    var requests: Set<String> {
        spans.reduce(into: []) { ids, span in
            for lines in span.requests.values { ids.formUnion(lines.keys) }
        }
    }

    /// Whether a process says to have done something to a request.
    func hasLine(_ process: String, _ request: String) -> Bool {
        spans.contains { $0.requests[process]?[request] != nil }
    }

    /// Notes what a witness has seen of faults that no ledger has.
    mutating func accuse(_ process: String, _ count: Int, _ example: String) {
        guard let span = spans.first(where: { $0.processes.contains(process) }) else { return }
        accuse(
            span,
            "\(count) requests show a fault of \(process) that its ledger does not have: "
                + "'\(example)' for one")
    }

    mutating func accuse(_ span: Span, _ problem: String) {
        faults[span.place].problems.append(problem)
    }
}

extension FaultPlan {
    /// Whether it holds requests back.
    fileprivate var isDelay: Bool {
        if case .requests(let effect) = action { effect.delay != nil } else { false }
    }
}

extension FaultLedgerLine {
    /// With what another line says of the same request.
    func joined(_ other: FaultLedgerLine) -> FaultLedgerLine {
        var line = self
        line.delayNs = line.delayNs ?? other.delayNs
        line.abortHTTP = line.abortHTTP ?? other.abortHTTP
        line.abortGRPC = line.abortGRPC ?? other.abortGRPC
        line.rate = line.rate ?? other.rate
        line.hangs = line.hangs ?? other.hangs
        return line
    }
}
