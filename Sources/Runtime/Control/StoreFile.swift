import ControlCore
import Posix

/// The files of a store, by kind and revision.
enum StoreFile: String {
    case snapshot, log

    static let unfinished = ".tmp"

    /// Of 16 digits, so that names sort as revisions do.
    func name(_ revision: UInt64) -> String {
        let digits = String(revision, radix: 16)
        return rawValue + "-" + String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The revision of a file of this kind; nil for any other name.
    func revision(of name: String) -> UInt64? {
        guard name.hasPrefix(rawValue + "-"),
            let revision = UInt64(name.dropFirst(rawValue.utf8.count + 1), radix: 16),
            self.name(revision) == name
        else { return nil }
        return revision
    }

    /// What a folder holds.
    struct Found {
        var recovery: StoreRecovery
        /// As far as it is sound.
        var log: [UInt8]
        /// Bytes.
        var snapshotSize: Int
    }

    /// Reads the newest snapshot and its log; nil where there never was a store.
    static func read<Folder: StoreFolder>(_ folder: Folder) throws(StoreFault) -> Found? {
        let names: [String]
        do throws(SystemError) { names = try folder.names() } catch { throw .folder(error) }
        guard let revision = names.compactMap({ snapshot.revision(of: $0) }).max() else {
            // The first snapshot is there before the first commit, so nothing was acknowledged; at
            // most the first start was interrupted when it had made the empty log.
            let logs = names.filter { log.revision(of: $0) != nil }
            guard logs.isEmpty || logs == [log.name(0)] else {
                throw .missing(name: snapshot.rawValue)
            }
            if !logs.isEmpty, try contents(of: log.name(0), folder) != StoreLog.header(base: 0) {
                throw .missing(name: snapshot.rawValue)
            }
            return nil
        }
        let logName = log.name(revision)
        guard names.contains(logName) else { throw .missing(name: logName) }
        let snapshotBytes = try contents(of: snapshot.name(revision), folder)
        let logBytes = try contents(of: logName, folder)
        do throws(StoreDamage) {
            let recovery = try StoreRecovery(snapshot: snapshotBytes, log: logBytes)
            return Found(
                recovery: recovery, log: Array(logBytes[..<recovery.logEnd]),
                snapshotSize: snapshotBytes.count)
        } catch {
            let kind: StoreFile = error.file == .log ? .log : .snapshot
            throw .damaged(name: kind.name(revision), error)
        }
    }

    private static func contents<Folder: StoreFolder>(
        of name: String, _ folder: Folder
    ) throws(StoreFault) -> [UInt8] {
        do throws(SystemError) { return try folder.contents(of: name) } catch {
            throw .folder(error)
        }
    }
}
