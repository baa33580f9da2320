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
    var memory: [String: MemoryUse]
    var endedWorkers: [String: Int]
    var machine: MachineUsage?
    var clocks: ClockPair
}

/// The processes whose use is charged to an arm, and how they are read.
struct Accountant {
    struct Account {
        var name: String
        var group: ProcessGroup
        var meter: UsageMeter
    }

    private(set) var accounts: [Account]
    /// Of generators, which may end the moment that the last phase does.
    private var lastMemory: [String: MemoryUse] = [:]

    init(_ accounts: [Account]) { self.accounts = accounts }

    /// Looks for new workers of `command` services, and at what may be gone at the next boundary.
    /// Slow: not right at a boundary.
    mutating func refresh() {
        for index in accounts.indices {
            let account = accounts[index]
            if account.meter.scope == .descendants { accounts[index].meter.refresh() }
            if account.group == .load { lastMemory[account.name] = account.meter.memory() }
        }
    }

    mutating func read() -> Reading {
        var usage: [String: Usage] = [:]
        var ended: [String: Int] = [:]
        let taken = Clock.now()
        for index in accounts.indices {
            usage[accounts[index].name] = accounts[index].meter.read()
            ended[accounts[index].name] = accounts[index].meter.endedCount
        }
        let machine = MachineUsage()
        let clocks = ClockPair.now()
        var memory: [String: MemoryUse] = [:]
        for account in accounts {
            memory[account.name] = lastMemory[account.name] ?? account.meter.memory()
        }
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
                memory: end.memory[account.name] ?? MemoryUse())
        }
    }

    /// Services of whose workers some ended between two readings.
    func lostWorkers(from start: Reading, to end: Reading) -> [String] {
        accounts.map(\.name).filter { (end.endedWorkers[$0] ?? 0) > (start.endedWorkers[$0] ?? 0) }
    }
}
