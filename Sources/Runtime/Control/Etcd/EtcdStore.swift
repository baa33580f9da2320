// A store that several control planes share: an etcd, of which this one holds a copy for reading.
//
// Whatever is committed goes to etcd under the conditions of whoever commits, and is answered when
// the copy has it as well, so that who changes something reads it afterwards. The service's thread
// waits for each commit, and everybody with it: for `patience` and `copyPatience` together at the
// most, which is less than proxies take for the silence of one that has died (1.5 s); for what is
// large, longer. Whoever commits twice waits twice, and a change that others come before is tried
// for another second (`ControlCenter`). After one that has failed no other waits for four times as
// long, nor before etcd has been heard of again: so an etcd that does not answer, or only those who
// read, or whose watch lags, takes a fifth of the time at most, and reads go on.

import Base
import ControlCore
import Posix

/// An etcd as a control plane's store. For one thread, which waits for each commit.
final class EtcdStore: MeshStore {
    private(set) var state: StoreState
    private let link: any EtcdLink
    private var writer: EtcdWriter
    private var isLoaded = false
    /// When etcd was last heard of by the one who watches it.
    private var heard = Instant(nanoseconds: .min)
    /// Why it has not been since; nil: it has.
    private var trouble: String?
    /// What a commit has failed of, when, and until when none is tried in any case.
    private var failure: (reason: String, at: Instant, until: Instant)?
    /// What nobody else may have meanwhile.
    private let held: DiskFolder?

    /// How long a commit waits for etcd's answer.
    static let patience = Duration.seconds(1)
    /// How much longer it waits for the copy.
    static let copyPatience = Duration.milliseconds(250)
    /// For each mebibyte that is sent, of either.
    private static let sizePatience = Duration.milliseconds(250)
    /// Before it is asked again what could not be done just now.
    private static let pause = Duration.milliseconds(50)

    /// Waits for the first copy.
    /// - Parameter patience: how long.
    /// - Throws: where there is none by then.
    init(
        _ link: any EtcdLink, writer: EtcdWriter, limits: StoreLimits = StoreLimits(),
        patience: Duration = .seconds(10), holding folder: DiskFolder? = nil
    ) throws(StoreFault) {
        self.link = link
        self.writer = writer
        held = folder
        state = StoreState(limits: limits)
        let deadline = link.now + patience
        advance()
        while !isLoaded {
            guard link.now < deadline else {
                throw .unreachable(trouble ?? "etcd has not answered in time")
            }
            link.waitForNews(until: deadline)
            advance()
        }
    }

    // MARK: What etcd tells

    var health: StoreHealth { suspension.map { .suspended($0) } ?? .sound }

    private var suspension: String? {
        if let trouble { return trouble }
        if let failure, failure.at >= heard || link.now < failure.until { return failure.reason }
        return nil
    }

    func advance() {
        for news in link.takeNews() {
            switch news {
            case .update(.contents(let entries, let revision, let goesOn)):
                if isLoaded, goesOn {
                    state.catchUp(entries, revision: revision)
                } else {
                    state.replace(entries, revision: revision)
                }
                isLoaded = true
            case .update(.commits(let commits)):
                for commit in commits where commit.revision > state.revision {
                    state.follow(commit)
                }
            case .ended(let lease): state.forget(lease: lease)
            case .well(let instant):
                heard = instant
                trouble = nil
            case .trouble(let reason): trouble = reason
            }
        }
    }

    /// Waits until the copy is as it should be by now.
    private func waitForCopy(
        until deadline: Instant, _ isThere: (StoreState) -> Bool
    ) -> Bool {
        advance()
        while !isThere(state) {
            guard link.now < deadline else { return false }
            link.waitForNews(until: deadline)
            advance()
        }
        return true
    }

    // MARK: Commits

    func commit(_ request: StoreRequest, now: Instant) throws(StoreFault) -> StoreAnswer {
        // Whether etcd can be asked or not: it ends by itself where nobody refreshes it any more.
        defer { if case .revoke(let lease) = request { state.forget(lease: lease) } }
        advance()
        if let suspension { throw .unreachable(suspension) }
        switch request {
        case .transaction(let transaction): return try commit(transaction)
        case .grant(let life):
            guard StoreLimits.leaseLife.contains(life) else { return .refused(.leaseLife(life)) }
            return try ask({ .grant(life: life) }) { answer throws(EtcdFault) in
                let lease = try EtcdLease(answer)
                guard lease.id > 0, let life = lease.life else {
                    throw .malformed("a lease without a life")
                }
                state.follow(lease: lease.id, life: life)
                return .granted(lease: lease.id)
            }
        case .revoke(let lease):
            let hadKeys = state.holdsKeys(lease: lease)
            let deadline = link.now + Self.patience + Self.copyPatience
            let answer = try ask({ .revoke(lease: lease) }, lease: lease) {
                answer throws(EtcdFault) in .committed(revision: try answer.revision())
            }
            if hadKeys { _ = waitForCopy(until: deadline) { !$0.holdsKeys(lease: lease) } }
            return answer
        }
    }

    private func commit(_ transaction: StoreTransaction) throws(StoreFault) -> StoreAnswer {
        // What nobody would do etcd is not asked for, and what has no effect neither.
        let plan = state.plan([.transaction(transaction)])
        guard case .committed = plan.answers[0], !plan.records.isEmpty else {
            return plan.answers[0]
        }
        writer.begin()
        var isSeen = false
        let lease = transaction.changes.lazy.compactMap { change in
            if case .put(_, _, let lease) = change, lease != 0 { lease } else { nil }
        }.first
        let size = StoreLog.byteCount(.transaction(transaction))
        let allowance = Self.sizePatience * Int64(size >> 20)
        let began = link.now
        let deadline = began + Self.patience + Self.copyPatience + allowance
        let answer = try ask(
            { .transaction(transaction, by: self.writer) }, lease: lease ?? 0,
            patience: Self.patience + allowance
        ) { answer throws(EtcdFault) in
            switch try EtcdOutcome.of(answer, transaction, by: writer) {
            case .committed(let revision, let hasEvents):
                writer.modRevision = revision
                isSeen = hasEvents
                return .committed(revision: revision)
            case .conflict(let key, let revision): return .conflict(key, modRevision: revision)
            case .writerMoved(let revision):
                // The transaction before was given up, and happened all the same.
                writer.modRevision = revision
                return nil
            }
        }
        switch answer {
        case .committed(let revision) where isSeen:
            // Where the copy is late the change has happened nevertheless.
            _ = waitForCopy(until: deadline) { $0.revision >= revision }
        case .conflict(let key, let revision):
            // So that whoever tries again does it on what there is now.
            let believed = transaction.conditions.first { $0.key == key }?.modRevision
            let isKnown = waitForCopy(until: deadline) { state in
                revision > 0
                    ? state.revision >= revision
                    : (state.entry(key)?.modRevision ?? 0) != believed
            }
            guard isKnown else {
                throw give(up: "the watch of etcd lags behind", since: began, isOpen: false)
            }
        default: break
        }
        return answer
    }

    /// Asks until there is an answer.
    /// - Parameters:
    ///   - lease: what the request speaks of.
    ///   - read: nil: to be asked again, as the request then is.
    private func ask(
        _ request: () -> EtcdRequest, lease: UInt64 = 0, patience: Duration = EtcdStore.patience,
        _ read: (EtcdAnswer) throws(EtcdFault) -> StoreAnswer?
    ) throws(StoreFault) -> StoreAnswer {
        let began = link.now
        let deadline = began + patience
        /// What is not known of an attempt.
        var open: String?
        while true {
            let reason: String
            switch link.ask(request(), until: deadline) {
            case .unsent(let cause): throw give(up: cause, since: began, isOpen: open != nil)
            case .unanswered(let cause):
                open = cause
                reason = cause
            case .answer(200, let body):
                do throws(EtcdFault) {
                    if let answer = try read(try EtcdAnswer(body)) { return answer }
                    reason = "another control plane writes under the same id"
                } catch {
                    throw give(up: "\(error)", since: began, isOpen: true)
                }
            case .answer(let status, let body):
                let fault = EtcdFault(status: status, body)
                if let refusal = StoreRefusal(fault, lease: lease) { return .refused(refusal) }
                guard fault.isPassing else {
                    throw give(up: "etcd: \(fault)", since: began, isOpen: open != nil)
                }
                open = "etcd: \(fault)"
                reason = "etcd: \(fault)"
                link.waitForNews(until: min(deadline, link.now + Self.pause))
            }
            guard link.now < deadline else {
                throw give(up: reason, since: began, isOpen: open != nil)
            }
        }
    }

    private func give(up reason: String, since began: Instant, isOpen: Bool) -> StoreFault {
        let now = link.now
        failure = (reason, now, until: now + (now - began) * 4)
        return isOpen ? .unanswered(reason) : .unreachable(reason)
    }

    // MARK: Leases

    func refresh(lease: UInt64, now: Instant) -> Bool {
        guard state.life(ofLease: lease) != nil else { return false }
        link.keepAlive(lease)
        return true
    }

    /// Etcd ends them by itself.
    func expire(now: Instant, limit: Int) throws(StoreFault) -> Int { 0 }
}

extension StoreRefusal {
    /// What etcd would never do; nil: something else.
    fileprivate init?(_ fault: EtcdFault, lease: UInt64) {
        guard case .refused(let code, let message) = fault else { return nil }
        // Codes of gRPC: https://grpc.io/docs/guides/status-codes/
        switch code {
        case 5 where lease != 0: self = .noSuchLease(lease)
        case 3:
            let isLong = message.contains("too many operations")
            self = .elsewhere(
                "etcd: \(message)" + (isLong ? " (its flag --max-txn-ops)" : ""))
        case 8 where message.contains("space"): self = .full("etcd: \(message)")
        case 8 where message.contains("larger than max"): self = .elsewhere("etcd: \(message)")
        default: return nil
        }
    }
}

extension EtcdFault {
    /// Whether it is worth another attempt: an election, or a member that has lost the others.
    fileprivate var isPassing: Bool {
        guard case .refused(let code, _) = self else { return false }
        // Cancelled, unknown, deadline exceeded, exhausted, aborted, unavailable.
        return [1, 2, 4, 8, 10, 14].contains(code)
    }
}
