// The faults of a turn: which rules are held where, and what became of all of them.

import Base
import LoadCore
import Model
import Posix
import Report

extension Turn {
    /// The rules that processes are to hold, with who tells them.
    func leases(from start: Instant) throws(RigError) -> [Lease] {
        var leases: [Lease] = []
        for (place, fault) in roster.topology.faults.enumerated() {
            guard
                let rule = fault.rule(seed: experiment.seed, isJoined: roster.topology.isJoined)
            else { continue }
            for process in fault.processes {
                guard let admin = roster.role(process)?.admin else {
                    throw RigError(.speech, "\(process) does not say where it is told of faults")
                }
                do throws(DeskError) {
                    leases.append(
                        Lease(
                            place: place, process: process, rule: rule,
                            begin: start + fault.span.begin, end: start + fault.span.end,
                            door: try ProcessDoor(admin)))
                } catch {
                    throw RigError(.start, "\(process): \(error)")
                }
            }
        }
        return leases
    }

    /// What became of every fault of the arm, in their order, held against what all have seen.
    func settle(
        _ processes: [FaultRecord], _ leases: [LeaseRecord], _ results: [LoadResult],
        from start: Instant
    ) throws(RigError) -> [RunResult.Fault] {
        let faults = roster.topology.faults
        guard !faults.isEmpty else { return [] }
        var book = FaultBook(arm: arm, round: round + 1, start: start)
        for (place, fault) in faults.enumerated() {
            let own = leases.filter { $0.lease.place == place }
            if let record = processes.first(where: { $0.fault == fault }) {
                let served = fault.processes.compactMap { roster.role($0)?.servedAgain }.max()
                book.add(record, served: fault.plan.action.endsProcess ? served : nil)
            } else {
                note(fault, own)
                book.add(fault, own)
            }
        }
        var ends: [String] = []
        for load in roster.topology.loads {
            guard let file = try outcomesFile(of: load) else { continue }
            ends += (0..<(threads[load.name] ?? load.threads)).map { "\(file).\($0)" }
        }
        book.read(
            roster.traces, outcomes: ends,
            mirrored: Set(experiment.routes.flatMap { $0.mirrors.map(\.target.name) }))
        try book.write(to: place.folder)
        try place.folder.keepAccessLogs(roster.traces[.access] ?? [:], arm: arm)
        return book.faults
    }

    /// Where a generator writes what became of each request; nil where no fault is about requests.
    func outcomesFile(of load: LoadPlan) throws(RigError) -> String? {
        guard experiment.hasRequestFaults else { return nil }
        let folder = absolutePath(try place.folder.folder("scratch/outcomes"))
        return "\(folder)/\(arm.rawValue)-\(fileName(load.name))"
    }

    /// Leases are held by another thread: their instants are known once it has ended.
    private func note(_ fault: ArmFault, _ leases: [LeaseRecord]) {
        if let begun = leases.compactMap(\.begun).max() {
            place.journal.note("fault begins", fault.facts, at: begun)
        }
        if let ended = leases.compactMap(\.ended).max() {
            place.journal.note("fault ends", fault.facts, at: ended)
        }
    }
}
