import Base
import ControlCore
import Posix

/// The log that commits go to.
struct StoreLogFile<File> {
    var file: File
    /// Where its last frame ends.
    var end: Int
}

extension Store {
    /// How long after a failure to replace the log it is tried again: a snapshot is much to write
    /// in vain.
    private static var patience: Duration { .seconds(1) }

    /// Brings the plan's records to the disk.
    /// - Throws: where they are not there.
    func append(_ plan: StorePlan, _ now: Instant) throws(StoreFault) {
        try resume(now)
        guard let log else { preconditionFailure("a store without a log") }
        let frame = StoreLog.frame(plan, at: log.end)
        do throws(SystemError) {
            try write(frame, to: log.file, at: log.end)
        } catch {
            do throws(SystemError) {
                // Recovery would cut off part of a frame, but not a whole one whose write was
                // only reported as failed.
                try folder.cut(log.file, to: log.end)
                try folder.sync(log.file)
            } catch let second {
                try abandonLog(second, now)
            }
            throw .notWritten(error)
        }
        do throws(SystemError) {
            try folder.sync(log.file)
        } catch {
            try abandonLog(error, now)
            throw .notWritten(error)
        }
        self.log?.end = log.end + frame.count
    }

    /// Replaces a log that can no longer be trusted.
    private func abandonLog(_ cause: SystemError, _ now: Instant) throws(StoreFault) {
        isTrusted = false
        failure = cause
        do throws(SystemError) { try replaceLog(now) } catch { throw .undecided(cause) }
    }

    /// Tries to end a suspension, if there is one.
    private func resume(_ now: Instant) throws(StoreFault) {
        guard case .suspended(let cause) = condition else { return }
        guard now >= nextAttempt else { throw .suspended(cause) }
        do throws(SystemError) { try replaceLog(now) } catch { throw .suspended(error) }
    }

    /// Replaces the log where that is due; a failure is in `condition`.
    ///
    /// It then has a commit in it, because the emptiest snapshot is longer than an empty log: the
    /// new log has another name, and the old one still counts if the snapshot fails.
    func replaceLogIfLong(_ now: Instant) {
        guard isTrusted, let log, log.end > max(limits.logBytes, snapshotSize), now >= nextAttempt
        else { return }
        do throws(SystemError) { try replaceLog(now) } catch {}
    }

    /// Writes an empty log and a snapshot, and goes on with them.
    /// - Throws: what failed; the old log then still counts if it is still trusted.
    func replaceLog(_ now: Instant) throws(SystemError) {
        let revision = state.revision
        let contents = state.contents
        let header = StoreLog.header(base: revision)
        do throws(SystemError) {
            let file = try prepare(StoreFile.log.name(revision)) {
                (write: Sink) throws(SystemError) in try write(header)
            }
            try publish(StoreFile.log.name(revision))
            var size = 0
            _ = try prepare(StoreFile.snapshot.name(revision)) {
                (write: Sink) throws(SystemError) in
                try StoreSnapshot.encode(contents) { (piece: [UInt8]) throws(SystemError) in
                    size += piece.count
                    try write(piece)
                }
            }
            // From here on a crash may find the new snapshot, with which the old log is nothing.
            isTrusted = false
            try publish(StoreFile.snapshot.name(revision))
            log = StoreLogFile(file: file, end: header.count)
            isTrusted = true
            snapshotSize = size
            failure = nil
        } catch {
            failure = error
            nextAttempt = now + Self.patience
            throw error
        }
        removeOthers(than: revision)
    }

    private typealias Sink = ([UInt8]) throws(SystemError) -> Void

    /// Writes and syncs a file under its unfinished name.
    private func prepare(
        _ name: String, _ body: (Sink) throws(SystemError) -> Void
    ) throws(SystemError) -> Folder.File {
        let unfinished = name + StoreFile.unfinished
        let file = try folder.create(unfinished)
        var end = 0
        do throws(SystemError) {
            try body { (piece: [UInt8]) throws(SystemError) in
                try write(piece, to: file, at: end)
                end += piece.count
            }
            try folder.sync(file)
        } catch {
            // What is left of it takes room on a disk that may be full.
            do throws(SystemError) { try folder.remove(unfinished) } catch {}
            throw error
        }
        return file
    }

    /// Gives a prepared file its name, for good.
    private func publish(_ name: String) throws(SystemError) {
        try folder.rename(name + StoreFile.unfinished, to: name)
        try folder.syncFolder()
    }

    private func write(
        _ bytes: [UInt8], to file: Folder.File, at offset: Int
    ) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            done += try folder.write(bytes[done...], to: file, at: offset + done)
        }
    }

    /// Goes on with the log that was found, once it is certain to be on the disk.
    ///
    /// After a failed sync the system may show bytes that the disk does not have, and call them
    /// safe. So the log is written over itself, which makes the next sync mean something.
    func goOn(with found: StoreFile.Found) throws(SystemError) {
        let revision = found.recovery.snapshotRevision
        let file = try folder.open(StoreFile.log.name(revision))
        try write(found.log, to: file, at: 0)
        try folder.cut(file, to: found.log.count)
        try folder.sync(file)
        try folder.syncFolder()
        log = StoreLogFile(file: file, end: found.log.count)
        isTrusted = true
        removeOthers(than: revision)
    }

    /// Removes the files of other revisions and what was not finished. What cannot be removed takes
    /// room, no more: the newest snapshot counts.
    func removeOthers(than revision: UInt64) {
        do throws(SystemError) {
            for name in try folder.names() {
                let isUnfinished = name.hasSuffix(StoreFile.unfinished)
                let stem =
                    isUnfinished ? String(name.dropLast(StoreFile.unfinished.utf8.count)) : name
                guard
                    let found = StoreFile.log.revision(of: stem)
                        ?? StoreFile.snapshot.revision(of: stem),
                    isUnfinished || found != revision
                else { continue }
                try folder.remove(name)
            }
        } catch {}
    }
}
