// Faults of requests are held by the processes that act, as leases that end by themselves: who
// wants them has to say so again and again. This is done by a thread of its own, as the rig's first
// one follows the phases and must not wait for answers. When the rig is killed, the leases end.

import Base
import FoundationEssentials
import Model
import Posix
import Runtime
import Synchronization

/// What tells a process of faults.
protocol FaultDoor: Sendable {
    /// Holds a fault for so long, or longer.
    func hold(_ name: String, _ order: FaultOrder) throws(DeskError)
    /// Lets go of it.
    func drop(_ name: String) throws(DeskError)
    func report() throws(DeskError) -> FaultReport
}

/// A rule that a process is to hold for a while.
struct Lease: Sendable {
    /// The place of its fault among those of the arm.
    var place: Int
    var process: String
    var rule: FaultRule
    var begin: Instant
    var end: Instant
    var door: any FaultDoor
}

/// Holds the leases of one turn. For the thread that made it.
final class LeaseKeeper {
    private let work: LeaseWork
    private let thread: JoinableThread?

    init(_ leases: [Lease]) throws(RigError) {
        let work = LeaseWork(leases)
        self.work = work
        guard !leases.isEmpty else {
            thread = nil
            return
        }
        do throws(SystemError) {
            thread = JoinableThread(try Thread(name: "faults") { work.keep() })
        } catch {
            throw RigError(.start, "no thread for faults: \(error)")
        }
    }

    /// What has become of them so far.
    var records: [LeaseRecord] { work.records }

    /// Ends it, with all leases, and tells what has become of them.
    func finish() -> [LeaseRecord] {
        stop()
        return work.records
    }

    /// Ends it; does nothing where it has ended.
    func stop() {
        work.stop()
        thread?.join()
    }
}

/// What became of one lease.
struct LeaseRecord: Sendable {
    var lease: Lease
    /// When the process said that it holds it, and that it is gone.
    var begun: Instant?
    var ended: Instant?
    /// What it says that it has done, right before the end.
    var report: FaultReport.Entry?
    var ledger: FaultReport.Ledger?
    /// Since when it holds it, as it said soon after.
    var since: Int64?
    var problem: String?
    /// When it is to be asked for again.
    var renewal = Instant.distantFuture
}

/// What the thread does, one step after the other.
private final class LeaseWork: Sendable {
    /// A rig that is killed leaves faults for no longer.
    private static let life = Duration.seconds(3)
    /// Two of three renewals may fail.
    private static let renewEvery = Duration.milliseconds(900)
    private static let retry = Duration.milliseconds(20)
    /// A fault that is held anew is so by a renewal; two readings of one instant by the wall's
    /// clock lie nearer to each other.
    private static let anew = Duration.milliseconds(300)
    /// How long it sleeps at most: whoever ends it waits for that.
    private static let nap = Duration.milliseconds(50)
    /// From when on a beginning is so late that the phase is not what it says.
    private static let lateness = Duration.milliseconds(250)

    private let state: Mutex<[LeaseRecord]>
    private let isStopped = Atomic(false)

    init(_ leases: [Lease]) {
        state = Mutex(leases.map { LeaseRecord(lease: $0) })
    }

    var records: [LeaseRecord] { state.withLock { $0 } }

    func stop() { isStopped.store(true, ordering: .relaxed) }

    // MARK: On its thread

    func keep() {
        while !isStopped.load(ordering: .relaxed) {
            let records = self.records
            if records.allSatisfy({ $0.ended != nil }) { return }
            for index in records.indices { step(index, records[index], at: Clock.now()) }
            let next = self.records.map(\.due).min() ?? .distantFuture
            Clock.sleep(until: min(next, Clock.now() + Self.nap))
        }
        for (index, record) in records.enumerated() where record.ended == nil {
            if record.begun != nil { end(index, record) }
        }
    }

    /// Does what is due of one lease.
    private func step(_ index: Int, _ record: LeaseRecord, at now: Instant) {
        guard record.ended == nil, record.due <= now else { return }
        if now >= record.lease.end {
            if record.begun == nil {
                change(index) {
                    $0.problem = $0.problem ?? "it could not be held"
                    $0.ended = now
                }
            } else {
                end(index, record)
            }
            return
        }
        hold(index, record)
    }

    private func hold(_ index: Int, _ record: LeaseRecord) {
        let lease = record.lease
        let order = FaultOrder(rule: lease.rule, ttlMs: Int(Self.life.milliseconds))
        do throws(DeskError) {
            try lease.door.hold(lease.rule.name, order)
            let held = Clock.now()
            let entry =
                record.begun != nil && record.since == nil
                ? try lease.door.report().entry(lease.rule.name) : nil
            change(index) { record in
                if record.begun == nil {
                    record.begun = held
                    // What was tried before in vain is told by how late it is.
                    let late = held - lease.begin
                    record.problem =
                        late > Self.lateness
                        ? "it was held \(late.milliseconds) ms after the phase began" : nil
                }
                record.since = record.since ?? entry?.sinceNs
                record.renewal = held + Self.renewEvery
            }
        } catch {
            change(index) { record in
                record.renewal = Clock.now() + Self.retry
                if record.begun == nil { record.problem = "it could not be held: \(error)" }
            }
        }
    }

    private func end(_ index: Int, _ record: LeaseRecord) {
        let lease = record.lease
        var problem: String?
        var report: FaultReport?
        do throws(DeskError) {
            let told = try lease.door.report()
            report = told
            try lease.door.drop(lease.rule.name)
        } catch {
            problem = "its end was not heard: \(error)"
        }
        let entry = report?.entry(lease.rule.name)
        if report != nil {
            if entry == nil {
                problem = "the lease was lost before the end"
            } else if let since = record.since, let now = entry?.sinceNs,
                abs(now - since) > Self.anew.nanoseconds
            {
                problem = "the lease was lost and held anew"
            }
        }
        let ended = Clock.now()
        change(index) { record in
            record.ended = ended
            record.report = entry
            record.ledger = report?.ledger
            record.problem = record.problem ?? problem
        }
    }

    private func change(_ index: Int, _ body: (inout LeaseRecord) -> Void) {
        state.withLock { body(&$0[index]) }
    }
}

extension LeaseRecord {
    /// When something is to be done for it.
    fileprivate var due: Instant {
        if ended != nil { return .distantFuture }
        return begun == nil
            ? max(lease.begin, renewal == .distantFuture ? lease.begin : renewal)
            : min(renewal, lease.end)
    }
}

extension FaultReport {
    func entry(_ name: String) -> Entry? { faults.first { $0.name == name } }
}

/// A process that answers where it was announced.
struct ProcessDoor: FaultDoor {
    private let client: ServiceClient

    /// - Parameter address: `host:port`.
    init(_ address: String) throws(DeskError) {
        var limits = ServiceClientLimits()
        limits.connect = .seconds(1)
        limits.answer = .seconds(1)
        do throws(ServiceClientError) {
            client = try ServiceClient(address, limits: limits)
        } catch {
            throw .unreachable("\(error)")
        }
    }

    func hold(_ name: String, _ order: FaultOrder) throws(DeskError) {
        guard let body = try? JSONEncoder().encode(order) else {
            throw .refused("a rule that cannot be written")
        }
        _ = try ask(ServiceCall("PUT", "/faults/\(name)", body: [UInt8](body)))
    }

    func drop(_ name: String) throws(DeskError) {
        _ = try ask(ServiceCall("DELETE", "/faults/\(name)"))
    }

    func report() throws(DeskError) -> FaultReport {
        let reply = try ask(ServiceCall("GET", "/faults"))
        guard let report = try? JSONDecoder().decode(FaultReport.self, from: Data(reply.body))
        else { throw .refused("GET /faults: what nobody understands") }
        return report
    }

    private func ask(_ call: ServiceCall) throws(DeskError) -> ServiceReply {
        let reply: ServiceReply
        do throws(ServiceClientError) { reply = try client.ask(call) } catch {
            throw .unreachable("\(error)")
        }
        guard (200...299).contains(reply.status) else {
            let text = String(decoding: reply.body.prefix(300), as: UTF8.self)
            throw .refused("\(call.method) \(call.target): \(reply.status) \(text)")
        }
        return reply
    }
}
