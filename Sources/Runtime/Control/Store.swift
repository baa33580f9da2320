// The embedded store: `StoreState` with its log and snapshots in a folder.
//
//     snapshot-R   everything at revision R; the newest one counts
//     log-R        what followed it
//     *.tmp        what is not finished
//
// A commit is acknowledged when its frame is synced. When the log has grown long, it is replaced:
// log-R is made, empty, under a temporary name, synced, renamed, the folder synced; then snapshot-R
// in the same way; then older files are removed. The rename of the snapshot is the switch, and a
// crash on either side of it finds a snapshot with its log.
//
// After a failed write the log is cut back. After a failed sync nobody knows what the disk holds,
// and a second sync proves nothing (Rebello et al., "Can applications recover from fsync
// failures?", USENIX ATC 2020), so the log is replaced from memory. Where that fails as well, reads
// go on and commits are refused until it succeeds.

public import Base
public import ControlCore
public import Posix

/// A durable store. For one thread: a commit waits for the disk.
public final class Store<Folder: StoreFolder> {
    /// Whether the store takes changes.
    public enum Condition: Equatable, Sendable {
        case sound
        /// It takes changes, but the log could not be replaced when it was due, and grows.
        case growing(SystemError)
        /// It takes none: see `StoreFault.undecided`.
        case suspended(SystemError)
    }

    /// The store's contents, for reading.
    public private(set) var state: StoreState
    /// What was found when the store was opened.
    public let opening: StoreOpening

    let folder: Folder
    let limits: StoreLimits
    /// The log that commits go to; nil only before the first is made.
    var log: StoreLogFile<Folder.File>?
    /// Whether what is written to `log` and synced will be found again.
    var isTrusted = false
    /// Why the log could not be replaced, or may not be trusted; nil after the next success.
    var failure: SystemError?
    var snapshotSize = 0
    /// Before this, the log is not replaced.
    var nextAttempt = Instant(nanoseconds: .min)

    /// Opens the store of a folder, or makes one in a folder that has none.
    /// - Parameter now: from when on leases last anew.
    /// - Throws: where the store is damaged, or what is there cannot be made durable.
    public init(
        in folder: Folder, limits: StoreLimits = StoreLimits(), now: Instant
    ) throws(StoreFault) {
        self.folder = folder
        self.limits = limits
        guard let found = try StoreFile.read(folder) else {
            state = StoreState(limits: limits)
            opening = StoreOpening()
            do throws(SystemError) { try replaceLog(now) } catch { throw .folder(error) }
            return
        }
        let recovery = found.recovery
        state = StoreState(recovery, limits: limits, now: now)
        opening = StoreOpening(
            snapshotRevision: recovery.snapshotRevision, revision: recovery.contents.revision,
            tornBytes: recovery.tornBytes)
        snapshotSize = found.snapshotSize
        do throws(SystemError) { try goOn(with: found) } catch { throw .folder(error) }
    }

    public var condition: Condition {
        guard let failure else { return .sound }
        return isTrusted ? .growing(failure) : .suspended(failure)
    }

    /// Commits the requests, one after the other; what is answered is safe on the disk. Requests
    /// that are given together share the wait for the disk, and a fault.
    public func commit(
        _ requests: [StoreRequest], now: Instant
    ) -> [Result<StoreAnswer, StoreFault>] {
        var results: [Result<StoreAnswer, StoreFault>] = []
        results.reserveCapacity(requests.count)
        var rest = requests[...]
        while !rest.isEmpty {
            let plan = state.plan(rest)
            let answers = plan.answers
            do throws(StoreFault) {
                if !plan.records.isEmpty { try append(plan, now) }
                state.accept(plan, now: now)
                results += answers.map { .success($0) }
                replaceLogIfLong(now)
            } catch {
                results += answers.map { _ in .failure(error) }
            }
            rest = rest.dropFirst(answers.count)
        }
        return results
    }

    /// Commits one request.
    public func commit(_ request: StoreRequest, now: Instant) throws(StoreFault) -> StoreAnswer {
        try commit([request], now: now)[0].get()
    }

    /// Gives a lease its whole life again; false if there is none of that number. Not written down.
    public func refresh(lease: UInt64, now: Instant) -> Bool {
        state.refresh(lease: lease, now: now)
    }

    /// Ends the leases that were not refreshed in time, at most `limit` of them, with their keys.
    ///
    /// After a pause of the process, what clients sent in the meantime is to be read first: a
    /// refresh that comes before this call counts.
    /// - Returns: how many ended.
    public func expire(now: Instant, limit: Int = 1024) throws(StoreFault) -> Int {
        let leases = state.expiredLeases(now: now, limit: limit)
        for result in commit(leases.map { .revoke(lease: $0) }, now: now) { _ = try result.get() }
        return leases.count
    }
}

/// What was found when a store was opened.
public struct StoreOpening: Equatable, Sendable {
    /// The revision of the snapshot.
    public var snapshotRevision: UInt64 = 0
    /// The revision after the log.
    public var revision: UInt64 = 0
    /// Bytes of an interrupted write that were cut off; none of it was acknowledged.
    public var tornBytes = 0
}
