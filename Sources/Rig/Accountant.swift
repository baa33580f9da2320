// Reads what every process uses at the boundaries of measured phases. The reading itself costs some
// microseconds a process (one clock, three small files), memory some hundred: it is read right
// after the CPU of all processes has been.

import Base
import Model
import Posix

/// Everything that is read at one boundary.
struct Reading {
    var taken: Instant
    var usage: [String: Usage]
    /// Without those that could not be looked at.
    var memory: [String: MemoryUse]
    var endedWorkers: [String: Int]
    var machine: MachineUsage?
    var clocks: ClockPair
    /// What the processes counted by then, by their names; empty where nobody asks.
    var evidence: [String: EvidenceReading] = [:]
}

/// The processes whose use is charged to an arm, and how they are read.
struct Accountant {
    struct Account {
        var name: String
        var group: ProcessGroup
        var meter: UsageMeter
    }

    private(set) var accounts: [Account]

    init(_ accounts: [Account]) { self.accounts = accounts }

    /// Looks for new workers of `command` services. Slow: not right at a boundary.
    mutating func refresh() {
        for index in accounts.indices where accounts[index].meter.scope == .descendants {
            accounts[index].meter.refresh()
        }
    }

    /// Lets go of a process that is about to be ended on purpose.
    mutating func release(_ name: String) {
        for index in accounts.indices where accounts[index].name == name {
            accounts[index].meter.release()
        }
    }

    /// Goes on with the process that took its place.
    mutating func succeed(_ name: String, _ pid: Int32) {
        for index in accounts.indices where accounts[index].name == name {
            accounts[index].meter.succeed(pid)
        }
    }

    /// Everything at this instant.
    /// - Throws: `.died` where a process is gone: what it used would be missing from its arm.
    mutating func read() throws(RigError) -> Reading {
        var usage: [String: Usage] = [:]
        var ended: [String: Int] = [:]
        let taken = Clock.now()
        for index in accounts.indices {
            guard let read = accounts[index].meter.read() else {
                throw RigError(.died, "\(accounts[index].name) ended before its CPU was read")
            }
            usage[accounts[index].name] = read
            ended[accounts[index].name] = accounts[index].meter.endedCount
        }
        let machine = MachineUsage()
        let clocks = ClockPair.now()
        var memory: [String: MemoryUse] = [:]
        for account in accounts { memory[account.name] = account.meter.memory() }
        return Reading(
            taken: taken, usage: usage, memory: memory, endedWorkers: ended, machine: machine,
            clocks: clocks)
    }

    /// What each process used between two readings.
    func processes(from start: Reading, to end: Reading) -> [ProcessSample] {
        accounts.map { account in
            ProcessSample(
                name: account.name, group: account.group,
                usage: Usage.window(
                    from: start.usage[account.name] ?? Usage(),
                    to: end.usage[account.name] ?? Usage()),
                memory: end.memory[account.name])
        }
    }

    /// Services of whose workers some ended between two readings.
    func lostWorkers(from start: Reading, to end: Reading) -> [String] {
        accounts.map(\.name).filter { (end.endedWorkers[$0] ?? 0) > (start.endedWorkers[$0] ?? 0) }
    }
}
