// Counts what happens, by phase and by second, without allocating for a request. A phase's figures
// go by the intended instant of the request, a second's by the instant at which something happened,
// and `due` by the second of the intended instant.

import Base
import Model
import Stats
import Wire

/// The figures of one generator thread.
struct Recorder: ~Copyable {
    /// The figures of one phase.
    private struct Phase {
        var planned: UInt64 = 0
        var sent: UInt64 = 0
        var bytesReceived: UInt64 = 0
        var connectionsOpened: UInt64 = 0
        let response = HistogramRecorder()
        let service = HistogramRecorder()
        let lag = HistogramRecorder()
        let wait = HistogramRecorder()
        let connect = HistogramRecorder()
        let firstByte = HistogramRecorder()
    }

    /// Counters of one phase in `counters`: outcomes, statuses 100 to 599, flags with one for the
    /// unknown, statuses of gRPC.
    private enum Row {
        static let statuses = Outcome.allCases.count
        static let flags = statuses + 500
        static let calls = flags + ResponseFlag.allCases.count + 1
        static let width = calls + GRPCStatus.allCases.count
    }

    private let names: [String]
    /// Ends of the phases, from the start of the job.
    private let ends: [Duration]
    private var phases: [Phase]
    private let counters: Slab<UInt64>
    /// Of each second of the job; 24 bytes for each, as long as a job may be.
    private let due: Slab<LoadResult.DueTally>
    private var start = Instant.distantFuture
    private var second: LoadResult.SecondTally
    private let secondResponse = HistogramRecorder()
    private var secondNumber = 0
    private var secondEnd = Instant.distantFuture
    private var secondUsed = false
    private var closedSeconds: [LoadResult.SecondTally] = []
    /// The phase in which the second under way began.
    private var secondPhase = 0

    init(phases plan: [PhasePlan]) {
        names = plan.map(\.name)
        var end = Duration.zero
        ends = plan.map {
            end = end + $0.duration
            return end
        }
        phases = plan.map { _ in Phase() }
        counters = Slab(count: plan.count * Row.width, repeating: 0)
        due = Slab(zeroed: max(1, Int(end.seconds.rounded(.up))))
        second = LoadResult.SecondTally(phase: plan[0].name, offset: 0)
    }

    deinit {
        counters.deallocate()
        due.deallocate()
    }

    /// The job begins at `start`.
    mutating func begin(at start: Instant) {
        self.start = start
        secondEnd = start + .seconds(1)
    }

    /// When the second that is counted now is over.
    var nextBoundary: Instant { secondEnd }

    /// Moves on to `now`: closes the seconds that are over.
    @inline(__always)
    mutating func roll(to now: Instant) {
        if now >= secondEnd { closeSeconds(before: now) }
    }

    @inline(never)
    private mutating func closeSeconds(before now: Instant) {
        while now >= secondEnd {
            closeSecond()
            secondEnd = secondEnd + .seconds(1)
        }
    }

    private mutating func closeSecond() {
        var closed = second
        closed.response = secondResponse.take()
        closedSeconds.append(closed)
        secondNumber += 1
        let offset = Duration.seconds(Int64(secondNumber))
        while secondPhase + 1 < ends.count, ends[secondPhase] <= offset { secondPhase += 1 }
        second.phase = names[secondPhase]
        second.offset = offset.seconds
        second.planned = 0
        second.completed = 0
        second.errors = 0
        second.good = 0
        secondUsed = false
    }

    /// Closes the second under way, unless it lies after the job and nothing happened in it.
    mutating func finish() {
        let begun = Duration.seconds(Int64(secondNumber))
        if secondUsed || begun < (ends.last ?? .zero) && start != .distantFuture { closeSecond() }
    }

    var hasClosedSeconds: Bool { !closedSeconds.isEmpty }

    /// The seconds closed since the last call.
    mutating func takeSeconds() -> [LoadResult.SecondTally] {
        let taken = closedSeconds
        closedSeconds.removeAll(keepingCapacity: true)
        return taken
    }

    /// - Parameter due: its intended instant.
    @inline(__always)
    mutating func planned(phase: Int, due instant: Instant) {
        phases[phase].planned &+= 1
        second.planned &+= 1
        due[dueSecond(instant)].planned &+= 1
        secondUsed = true
    }

    /// Which second of the job an intended instant is in.
    @inline(__always)
    private func dueSecond(_ instant: Instant) -> Int {
        min(max(0, Int((instant - start).nanoseconds / 1_000_000_000)), due.count &- 1)
    }

    @inline(__always)
    mutating func sent(phase: Int) { phases[phase].sent &+= 1 }

    @inline(__always)
    mutating func lag(_ lag: Duration, phase: Int) { phases[phase].lag.record(lag.recordable) }

    mutating func waited(_ wait: Duration, phase: Int) {
        phases[phase].wait.record(wait.recordable)
    }

    @inline(__always)
    mutating func firstByte(_ delay: Duration, phase: Int) {
        phases[phase].firstByte.record(delay.recordable)
    }

    @inline(__always)
    mutating func received(_ bytes: Int, phase: Int) {
        phases[phase].bytesReceived &+= UInt64(bytes)
    }

    mutating func opened(after delay: Duration, phase: Int) {
        phases[phase].connectionsOpened &+= 1
        phases[phase].connect.record(delay.recordable)
    }

    @inline(__always)
    mutating func answered(
        _ answer: Answer, due instant: Instant, response: Duration, service: Duration, phase: Int
    ) {
        let row = phase &* Row.width
        counters[row &+ (answer.isError ? Outcome.error : .ok).index] &+= 1
        if answer.status > 0 { counters[row &+ Row.statuses &+ (answer.status &- 100)] &+= 1 }
        if let call = answer.call { counters[row &+ Row.calls &+ Int(call.rawValue)] &+= 1 }
        if answer.flags != 0 { countFlags(answer.flags, row: row) }
        phases[phase].response.record(response.recordable)
        phases[phase].service.record(service.recordable)
        second.completed &+= 1
        if answer.isError {
            second.errors &+= 1
            due[dueSecond(instant)].errors &+= 1
        } else {
            second.good &+= 1
            due[dueSecond(instant)].good &+= 1
        }
        secondResponse.record(response.recordable)
        secondUsed = true
    }

    private func countFlags(_ flags: UInt32, row: Int) {
        var left = flags
        while left != 0 {
            counters[row + Row.flags + left.trailingZeroBitCount] &+= 1
            left &= left &- 1
        }
    }

    /// The end of a request without a complete answer.
    /// - Parameters:
    ///   - response: what the request's latency has at least reached; nil: the end came early and
    ///     says
    ///     nothing about latency.
    ///   - service: the same from the instant of sending; nil also where it was never sent.
    mutating func failed(_ outcome: Outcome, response: Duration?, service: Duration?, phase: Int) {
        counters[phase * Row.width + outcome.index] &+= 1
        second.errors &+= 1
        if let response {
            phases[phase].response.record(response.recordable)
            secondResponse.record(response.recordable)
        }
        if let service { phases[phase].service.record(service.recordable) }
        secondUsed = true
    }

    /// What became of the requests of each second of the job.
    var dueTallies: [LoadResult.DueTally] { (0..<due.count).map { due[$0] } }

    /// The figures of every phase.
    /// - Parameter stopped: the instant at which the run was cut short; nil: it was not.
    func tallies(stopped: Instant?) -> [LoadResult.PhaseTally] {
        let last = stopped ?? .distantFuture
        var begin = start
        return phases.indices.map { i in
            let end = start + ends[i]
            var tally = LoadResult.PhaseTally(
                name: names[i], start: min(begin, last), end: min(end, last))
            begin = end
            tally.planned = phases[i].planned
            tally.sent = phases[i].sent
            tally.bytesReceived = phases[i].bytesReceived
            tally.connectionsOpened = phases[i].connectionsOpened
            tally.response = phases[i].response.histogram()
            tally.service = phases[i].service.histogram()
            tally.lag = phases[i].lag.histogram()
            tally.wait = phases[i].wait.histogram()
            tally.connect = phases[i].connect.histogram()
            tally.firstByte = phases[i].firstByte.histogram()
            copyCounters(phase: i, to: &tally)
            return tally
        }
    }

    private func copyCounters(phase: Int, to tally: inout LoadResult.PhaseTally) {
        let row = phase * Row.width
        for outcome in Outcome.allCases where counters[row + outcome.index] > 0 {
            tally.outcomes[outcome.rawValue] = counters[row + outcome.index]
        }
        for status in 0..<500 where counters[row + Row.statuses + status] > 0 {
            tally.statuses["\(status + 100)"] = counters[row + Row.statuses + status]
        }
        for flag in 0...ResponseFlag.allCases.count where counters[row + Row.flags + flag] > 0 {
            let name =
                flag == AnswerReader.unknownFlag ? "other" : ResponseFlag.allCases[flag].rawValue
            tally.flags[name] = counters[row + Row.flags + flag]
        }
        for status in GRPCStatus.allCases {
            let count = counters[row + Row.calls + Int(status.rawValue)]
            if count > 0 { tally.grpc["\(status.name)"] = count }
        }
    }
}

extension Duration {
    /// For a histogram: whole nanoseconds, none below zero (two clock readings of one instant may
    /// be equal, never reversed; a request sent before its instant does not exist).
    @inline(__always)
    fileprivate var recordable: UInt64 { UInt64(max(0, nanoseconds)) }
}
