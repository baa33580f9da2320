// Changes an arm's mesh while it carries load. A thread of its own, as the rig's first one follows
// the phases and must not wait for answers. What ends and starts the control plane is not done here
// but there: processes die with the thread that started them.
//
// A change counts from the instant at which it was due, not from that at which the control plane
// took it: like a request, it is not to look quicker because it had to wait. While there is no
// control plane, changes are tried again and again, in their order.

import Base
import Model
import Posix
import Runtime
import Synchronization

/// What became of one change.
struct ChangeRecord: Equatable, Sendable {
    var plan: ChangePlan
    var due: Instant
    /// When the control plane said that it is done; nil: it has not.
    var answered: Instant?
    /// When the last proxy said so; nil: not all have, or no proxy is told.
    var inForce: Instant?
    /// Why it could not be made, or what a proxy had against it when it was last looked.
    var complaint: String?

    /// From due to in force, and where it is not, to `end`: as long as it took at least.
    func latency(until end: Instant) -> Duration? {
        plan.isPushed ? max(.zero, (inForce ?? end) - due) : nil
    }
}

/// Carries out the changes of one turn. For the thread that made it.
final class Conductor {
    private let work: ChangeWork
    private let thread: JoinableThread?

    /// Begins.
    /// - Parameters:
    ///   - changes: in the order in which they are due.
    ///   - start: of the first phase.
    init(_ desk: MeshDesk, _ changes: [ChangePlan], from start: Instant) throws(RigError) {
        let own = changes.filter { $0.isCalled }
        let work = ChangeWork(desk, own.map { .init(plan: $0, due: start + $0.offset) })
        self.work = work
        guard !own.isEmpty else {
            thread = nil
            return
        }
        do throws(SystemError) {
            thread = JoinableThread(try Thread(name: "changes") { work.conduct() })
        } catch {
            throw RigError(.start, "no thread for changes: \(error)")
        }
    }

    /// Ends it, and tells what has become of the changes.
    /// - Throws: where the control plane refused one: what was measured is then something else.
    func finish() throws(RigError) -> [ChangeRecord] {
        stop()
        let (records, failure) = work.outcome
        if let failure { throw RigError(.speech, "a change was refused: \(failure)") }
        return records
    }

    /// Ends it; does nothing where it has ended.
    func stop() {
        work.stop()
        thread?.join()
    }

    /// Whether nothing is left to do.
    var isOver: Bool { work.isOver }
}

/// What the thread of a conductor does, one step after the other.
private final class ChangeWork: Sendable {
    /// How often a control plane is asked that does not answer, or whose proxies are not all there.
    private static let pause = Duration.milliseconds(10)
    /// How long it sleeps at most while nothing is to be done: whoever ends it waits for that.
    private static let nap = Duration.milliseconds(100)

    private struct State {
        var records: [ChangeRecord]
        /// The revisions of those that are not yet in force everywhere, by their places.
        var pending: [Int: UInt64] = [:]
        var next = 0
        /// What was trusted before the rotation that is being tried.
        var rootsBefore: Set<String>?
        var failure: String?
    }

    private let desk: MeshDesk
    private let state: Mutex<State>
    private let isStopped = Atomic(false)

    init(_ desk: MeshDesk, _ records: [ChangeRecord]) {
        self.desk = desk
        state = Mutex(State(records: records))
    }

    var outcome: (records: [ChangeRecord], failure: String?) {
        state.withLock { ($0.records, $0.failure) }
    }

    func stop() { isStopped.store(true, ordering: .relaxed) }

    var isOver: Bool {
        state.withLock {
            $0.next == $0.records.count && $0.pending.isEmpty || $0.failure != nil
        }
    }

    // MARK: On its thread

    func conduct() {
        while !isStopped.load(ordering: .relaxed) {
            let now = Clock.now()
            perform(until: now)
            look()
            if isOver { return }
            let (next, isWaiting) = state.withLock { state in
                let next =
                    state.next < state.records.count
                    ? state.records[state.next].due : .distantFuture
                return (next, !state.pending.isEmpty || next <= now)
            }
            let limit = Clock.now() + (isWaiting ? Self.pause : Self.nap)
            Clock.sleep(until: isWaiting ? limit : min(limit, next))
        }
    }

    /// Does what is due, until something fails.
    private func perform(until now: Instant) {
        while !isStopped.load(ordering: .relaxed) {
            let due = state.withLock { state -> (place: Int, plan: ChangePlan)? in
                guard state.next < state.records.count, state.records[state.next].due <= now,
                    state.failure == nil
                else { return nil }
                return (state.next, state.records[state.next].plan)
            }
            guard let due else { return }
            do throws(DeskError) {
                let revision = try perform(due.plan.action)
                let answered = Clock.now()
                state.withLock { state in
                    state.records[due.place].answered = answered
                    state.records[due.place].complaint = nil
                    if due.plan.isPushed { state.pending[due.place] = revision }
                    state.next += 1
                    state.rootsBefore = nil
                }
            } catch {
                state.withLock { state in
                    // For the journal, should it never be made.
                    state.records[due.place].complaint = "\(error)"
                    guard case .refused(let message) = error else { return }
                    state.failure = "\(due.plan.title): \(message)"
                }
                return
            }
        }
    }

    private func perform(_ action: ChangePlan.Action) throws(DeskError) -> UInt64 {
        switch action {
        case .apply(let declarations): return try desk.apply(declarations)
        case .drain(let service, let replica):
            return try desk.declare(proxyName(service, replica), .draining)
        case .undrain(let service, let replica):
            return try desk.declare(proxyName(service, replica), .healthy)
        case .rotateAuthority:
            try desk.rotate(from: try rootsBefore())
            return 0
        case .killControl, .startControl: preconditionFailure("not the conductor's to do")
        }
    }

    private func rootsBefore() throws(DeskError) -> Set<String> {
        if let known = state.withLock(\.rootsBefore) { return known }
        let roots = try desk.roots()
        state.withLock { $0.rootsBefore = roots }
        return roots
    }

    /// Looks whether what was done is in force.
    private func look() {
        guard state.withLock({ !$0.pending.isEmpty }), let standing = try? desk.standing() else {
            return
        }
        state.withLock { state in
            for (place, revision) in state.pending {
                state.records[place].complaint = standing.complaint
                guard let answered = state.records[place].answered,
                    let instant = standing.inForce(
                        revision, proxies: desk.proxies, envoys: desk.envoys,
                        answered: answered)
                else { continue }
                state.records[place].inForce = instant
                state.pending[place] = nil
            }
        }
    }
}

extension ChangePlan {
    /// Whether a call of the API does it.
    var isCalled: Bool {
        switch action {
        case .apply, .drain, .undrain, .rotateAuthority: true
        case .killControl, .startControl: false
        }
    }
}

/// What the proxy beside a replica is called in the mesh, and so is its endpoint.
func proxyName(_ service: String, _ replica: Int) -> String { "\(service)-\(replica)" }
