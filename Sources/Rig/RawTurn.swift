// What a turn measured, before anything is concluded from it. It is written when the turn ends:
// what goes wrong in judging loses nothing.

import Base
import LoadCore
import Model
import Posix

/// One line of `raw.jsonl`: one arm in one round.
struct RawTurn: Encodable {
    struct Process: Encodable {
        var name: String
        var group: ProcessGroup
        var userNs: Int64
        var systemNs: Int64
        var residentBytes: Int64?
        var proportionalBytes: Int64?
        var voluntarySwitches: Int64
        var involuntarySwitches: Int64

        init(_ sample: ProcessSample) {
            name = sample.name
            group = sample.group
            userNs = sample.usage.user.nanoseconds
            systemNs = sample.usage.system.nanoseconds
            residentBytes = sample.memory?.resident
            proportionalBytes = sample.memory?.proportional
            voluntarySwitches = sample.usage.voluntarySwitches
            involuntarySwitches = sample.usage.involuntarySwitches
        }
    }

    struct Window: Encodable {
        var phase: String
        var windowNs: Int64
        var machineBusy: Double?
        var machineSteal: Double?
        var machineThrottled: Double?
        var processes: [Process]
        /// Nil where nobody asked.
        var evidence: [Evidence]?

        init(_ sample: Sample) {
            evidence = sample.evidence.isEmpty ? nil : sample.evidence.map(\.brief)
            phase = sample.phase
            windowNs = sample.window.nanoseconds
            machineBusy = sample.machine?.busy
            machineSteal = sample.machine?.stolen
            machineThrottled = sample.machine?.throttled
            processes = sample.processes.map(Process.init)
        }
    }

    /// From 1.
    var round: Int
    /// Place in the round's order of arms, from 0.
    var position: Int
    var arm: ArmName
    /// What each generator said, in the order of the scenario's loads.
    var loads: [LoadResult]
    /// What the processes used in each measured phase.
    var windows: [Window]
    /// Nil where nothing was changed.
    var changes: [RawChange]?

    init(
        _ record: ArmRecord, _ results: [LoadResult], _ changes: [ChangeRecord],
        from start: Instant
    ) {
        self.changes = changes.isEmpty ? nil : changes.map { RawChange($0, from: start) }
        round = record.round + 1
        position = record.position
        arm = record.arm
        loads = results
        windows = record.samples.map(Window.init)
    }
}

/// One change of the mesh; instants are from the start of the first phase.
struct RawChange: Encodable {
    var what: String
    var dueNs: Int64
    /// When the control plane had done it, and when the last proxy; nil: not by the end.
    var answeredNs: Int64?
    var inForceNs: Int64?
    var complaint: String?

    init(_ record: ChangeRecord, from start: Instant) {
        what = record.plan.title
        dueNs = (record.due - start).nanoseconds
        answeredNs = record.answered.map { ($0 - start).nanoseconds }
        inForceNs = record.inForce.map { ($0 - start).nanoseconds }
        complaint = record.complaint
    }
}
