// What a snapshot and the log after it come to.
//
// A crash can leave only the last frame of a log in pieces, because a frame is synced before the
// next is written. So what is wrong at the end of the log, and looks like a write that was
// interrupted, was never acknowledged and is cut off. Whatever else is wrong was acknowledged and
// has changed since: that is damage, and no store is made of it.
//
// An interrupted write leaves a shorter file, or a file of full length in which sectors that did
// not reach the disk read as zeros (ext4 and XFS show no stale data). A last frame of full length,
// whose sum is wrong and in which no sector is blank, is damage.

import Base

/// Why a snapshot or a log is not taken.
public struct StoreDamage: Error, Equatable, Sendable, CustomStringConvertible {
    public enum File: String, Sendable {
        case snapshot, log
    }

    public enum What: Equatable, Sendable {
        /// The file does not begin as one of its kind does.
        case beginning
        /// The sum does not agree with the bytes.
        case sum
        /// The sum agrees, but the bytes are not of this form, or contradict each other or what
        /// stands before: written by another version, or by a defect.
        case form
        /// The log goes on from another revision than the snapshot's.
        case base(UInt64, snapshot: UInt64)
        /// A frame begins with another revision than the one that is due.
        case revision(UInt64, due: UInt64)
    }

    public var file: File
    /// Bytes from the beginning of the file, all of which are sound.
    public var offset: Int
    public var what: What

    public init(_ file: File, at offset: Int, _ what: What) {
        self.file = file
        self.offset = offset
        self.what = what
    }

    public var description: String {
        let place = "\(file.rawValue), byte \(offset)"
        return switch what {
        case .beginning: "\(place): this is no \(file.rawValue) of a store"
        case .sum: "\(place): damaged, the checksum does not agree"
        case .form: "\(place): the checksum agrees, but the contents make no sense"
        case .base(let base, let snapshot):
            "\(place): goes on from revision \(base), the snapshot is of \(snapshot)"
        case .revision(let found, let due): "\(place): revision \(found) where \(due) is due"
        }
    }
}

/// What was recovered.
public struct StoreRecovery: Sendable {
    public internal(set) var contents: StoreContents
    /// The revision of the snapshot; the log holds those after it.
    public internal(set) var snapshotRevision: UInt64
    /// What the log did.
    var commits: [StoreCommit] = []
    /// How far the log is sound: it is to be cut there before it is written to.
    public internal(set) var logEnd: Int
    /// Bytes after that: a write that was interrupted.
    public internal(set) var tornBytes: Int

    /// Bytes that reach a disk together, or not.
    private static let sectorSize = 512

    /// Reads a snapshot and the log that goes on from it. Pure, and safe for any bytes.
    public init(snapshot: [UInt8], log: [UInt8]) throws(StoreDamage) {
        self = try snapshot.withBytes { snapshot in
            log.withBytes { log in
                Result { () throws(StoreDamage) in try StoreRecovery(snapshot, log) }
            }
        }.get()
    }

    private init(_ snapshot: Bytes, _ log: Bytes) throws(StoreDamage) {
        contents = try StoreSnapshot.decode(snapshot)
        snapshotRevision = contents.revision
        guard let base = StoreLog.base(log) else { throw StoreDamage(.log, at: 0, .beginning) }
        guard base == contents.revision else {
            throw StoreDamage(.log, at: 0, .base(base, snapshot: contents.revision))
        }
        logEnd = StoreLog.headerSize
        tornBytes = 0
        while logEnd < log.count {
            guard let frame = StoreLog.frameHeader(at: logEnd, in: log) else {
                try cut(log, unless: Self.isDamaged(headerAt: logEnd, in: log))
                return
            }
            guard frame.payload.upperBound <= log.count else {
                try cut(log, unless: false)
                return
            }
            guard Checksum.of(log[frame.payload]) == frame.sum else {
                try cut(log, unless: Self.isDamaged(frame, at: logEnd, in: log))
                return
            }
            try apply(frame, of: log)
            logEnd = frame.payload.upperBound
        }
    }

    private mutating func apply(_ frame: StoreLog.FrameHeader, of log: Bytes) throws(StoreDamage) {
        let due = contents.revision + 1
        guard frame.revision == due else {
            throw StoreDamage(.log, at: logEnd, .revision(frame.revision, due: due))
        }
        guard let records = StoreLog.records(log[frame.payload], from: due) else {
            throw StoreDamage(.log, at: logEnd, .form)
        }
        for record in records {
            do throws(StoreRefusal) {
                let changes = try contents.apply(record)
                commits.append(StoreCommit(revision: record.revision, changes: changes))
            } catch {
                throw StoreDamage(.log, at: logEnd, .form)
            }
        }
    }

    private mutating func cut(_ log: Bytes, unless isDamaged: Bool) throws(StoreDamage) {
        if isDamaged { throw StoreDamage(.log, at: logEnd, .sum) }
        tornBytes = log.count - logEnd
    }

    /// Whether no interrupted write explains that there is no sound frame header at `offset`.
    private static func isDamaged(headerAt offset: Int, in log: Bytes) -> Bool {
        let end = offset + StoreLog.frameHeaderSize
        if log.count < end { return false }
        if log.count - offset > StoreLog.frameHeaderSize + StoreLimits.frameBytes { return true }
        guard hasBlankSector(offset..<end, of: log, frameEnd: log.count) else {
            return true
        }
        // A frame further on was written after this one was synced.
        return (offset + 1..<log.count).contains {
            log[$0] == UInt8(truncatingIfNeeded: StoreLog.frameMagic)
                && StoreLog.frameHeader(at: $0, in: log) != nil
        }
    }

    /// Whether no interrupted write explains that the payload of `frame` has another sum.
    private static func isDamaged(
        _ frame: StoreLog.FrameHeader, at offset: Int, in log: Bytes
    ) -> Bool {
        frame.payload.upperBound < log.count
            || !hasBlankSector(
                offset..<log.count, of: log, frameEnd: frame.payload.upperBound)
    }

    /// Whether all that a frame has in one of the sectors that `range` touches is zeros.
    /// - Parameter range: begins where the frame does.
    private static func hasBlankSector(_ range: Range<Int>, of log: Bytes, frameEnd: Int) -> Bool {
        var start = range.lowerBound
        while start < range.upperBound {
            let end = min(frameEnd, (start / sectorSize + 1) * sectorSize)
            if (start..<end).allSatisfy({ log[$0] == 0 }) { return true }
            start = end
        }
        return false
    }
}
