// What one arm gave in one measured phase of one round: the atom from which all results are made.
// Samples are pooled, never averaged: counts are added up, histograms merged.

import Base
import LoadCore
import Model
import Posix
import Report
import Stats

/// One arm in one measured phase of one round.
struct Sample: Sendable {
    var round: Int
    /// Place in the round's order of arms, from 0.
    var position: Int
    var arm: ArmName
    var phase: String
    /// All loads together.
    var tally: Tally
    /// Each load by itself, where there are several.
    var tallies: [String: Tally] = [:]
    var processes: [ProcessSample]
    /// Nil where it could not be read.
    var machine: MachineUsage.Shares?
    /// How long the phase was planned to take.
    var span: Duration
    /// The window of CPU accounting: the same, but as the readings were really taken.
    var window: Duration
    /// Each load by itself: one that is late must not hide behind one that is not.
    var loads: [LoadSample]
    /// Wall clock against monotonic clock over the window, beyond what slewing explains.
    var clockStepped: Bool
    /// Workers of `command` services that were there at the start of the window and not at its end.
    var lostWorkers: [String]
    /// What the processes counted; empty where no expectation asks for it.
    var evidence: [Evidence] = []
    /// Of the offered schedules of all loads.
    var scheduleHash: String

    /// As if there were no other load.
    func of(load: String) -> Sample {
        var sample = self
        if let tally = tallies[load] { sample.tally = tally }
        return sample
    }

    /// Whether nothing was to be asked: then nothing can be missed, and what the processes use is
    /// their idle cost.
    var isIdle: Bool { tally.planned == 0 && loads.allSatisfy(\.isOpen) }
}

/// What one load generator did in one window: what tells whether it can be trusted.
struct LoadSample: Sendable, Equatable {
    var name: String
    /// Whether it has a schedule that can be missed.
    var isOpen: Bool
    var planned: UInt64
    var sent: UInt64
    /// The 99th percentile; nil where nothing was sent.
    var lagP99: Duration?
    /// Its busiest thread in this window, spinning apart, 0 to 1.
    var busy: Double
    /// Connections that it could not open for want of its own (descriptors, ports), in all of the
    /// turn: requests that waited for them say nothing of the system.
    var localFailures: UInt64 = 0
}

/// What one process used in one window.
struct ProcessSample: Sendable, Equatable {
    var name: String
    var group: ProcessGroup
    var usage: Usage.Window
    /// Nil where it could not be read.
    var memory: MemoryUse?
}

/// Counts and histograms of one phase: `LoadResult.PhaseTally` without what belongs to one
/// generator.
struct Tally: Sendable {
    var planned: UInt64 = 0
    var sent: UInt64 = 0
    var completed: UInt64 = 0
    var outcomes: [String: UInt64] = [:]
    var statuses: [String: UInt64] = [:]
    var flags: [String: UInt64] = [:]
    var grpc: [String: UInt64] = [:]
    var connections = 0
    var response = Histogram()
    var service = Histogram()
    var lag = Histogram()
    var connect = Histogram()
    var firstByte = Histogram()
    /// Of changes of the mesh, not of requests.
    var configPush = Histogram()

    init() {}

    init(_ phase: LoadResult.PhaseTally) {
        planned = phase.planned
        sent = phase.sent
        completed = phase.completed
        outcomes = phase.outcomes
        statuses = phase.statuses
        flags = phase.flags
        grpc = phase.grpc
        response = phase.response
        service = phase.service
        lag = phase.lag
        connect = phase.connect
        firstByte = phase.firstByte
    }

    mutating func merge(_ other: Tally) {
        planned += other.planned
        sent += other.sent
        completed += other.completed
        outcomes.merge(other.outcomes, uniquingKeysWith: +)
        statuses.merge(other.statuses, uniquingKeysWith: +)
        flags.merge(other.flags, uniquingKeysWith: +)
        grpc.merge(other.grpc, uniquingKeysWith: +)
        response.merge(other.response)
        service.merge(other.service)
        lag.merge(other.lag)
        connect.merge(other.connect)
        firstByte.merge(other.firstByte)
        configPush.merge(other.configPush)
    }

    /// The histograms in the form that takes little memory: samples are kept for the whole run.
    mutating func compact() {
        response = response.compacted()
        service = service.compacted()
        lag = lag.compacted()
        connect = connect.compacted()
        firstByte = firstByte.compacted()
        configPush = configPush.compacted()
    }

    func histogram(_ kind: LatencyKind) -> Histogram {
        switch kind {
        case .response: response
        case .service: service
        case .lag: lag
        case .connect: connect
        case .firstByte: firstByte
        case .configPush: configPush
        }
    }

    /// Requests that did not end in `ok`.
    var errors: UInt64 { planned - min(planned, outcomes[Outcome.ok.rawValue] ?? 0) }
}

/// One arm in one round: all its measured phases, and its course second by second.
struct ArmRecord: Sendable {
    var round: Int
    var position: Int
    var arm: ArmName
    var samples: [Sample]
    var seconds: [Second]
    /// What was changed in the mesh, in the order in which it was due.
    var changes: [RunResult.Change] = []
    /// What was done to it on purpose, in the order of the beginnings.
    var faults: [RunResult.Fault] = []

    /// One second of all loads together.
    struct Second: Sendable {
        var phase: String
        /// From the start of the arm's first phase.
        var offset: Double
        var planned: UInt64
        var completed: UInt64
        var errors: UInt64
        var response: Histogram
        /// Answers that came in it and are no errors.
        var good: UInt64 = 0
        /// What became of the requests that were due in it.
        var due = LoadResult.DueTally()
    }
}
