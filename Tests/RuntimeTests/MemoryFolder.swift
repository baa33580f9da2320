// A folder in memory that fails as disks do: what is not synced may be lost, in parts and out of
// order; a write may stop halfway or report a failure after it was done; a failed sync loses what
// it should have saved, and the next one does not say so.

import Base
import Glibc
import Posix
import Runtime

final class MemoryFolder: StoreFolder {
    /// A file, and what of it has reached the disk.
    final class File {
        enum Change {
            case write([UInt8], at: Int)
            case cut(Int)
        }

        /// What a reader sees.
        var bytes: [UInt8] = []
        /// What is on the disk.
        var safe: [UInt8] = []
        /// What is on its way there.
        var pending: [Change] = []
    }

    private enum NameChange {
        case name(String, File)
        case rename(String, String, File)
        case remove(String)
    }

    private(set) var files: [String: File] = [:]
    private var safeFiles: [String: File] = [:]
    private var pendingNames: [NameChange] = []
    private var random: SeededRandom
    private(set) var hasPower = true
    /// How many of a thousand operations fail: of the kind `faultyKind`, or of all if it is nil.
    var faults = 0
    var faultyKind: String?
    /// Operations that fail without having done anything, after the first `spared` of them.
    var failing: Set<String> = []
    var spared = 0
    /// How many operations were asked for.
    private(set) var operations = 0
    /// How many operations are done before the power fails, in the middle of the next.
    var power = Int.max
    /// Bytes that all files together may have.
    var room = Int.max

    init(random: SeededRandom) { self.random = random }

    /// Whether the operation that begins now fails; if so, whether it is done all the same.
    private func fate(_ what: String) throws(SystemError) -> (fails: Bool, isDone: Bool) {
        operations += 1
        guard hasPower else { throw SystemError("no power", code: ESHUTDOWN) }
        power -= 1
        if power <= 0 {
            hasPower = false
            return (true, random.below(2) == 0)
        }
        if failing.contains(what) {
            if spared == 0 { return (true, false) }
            spared -= 1
        }
        let fails =
            faults > 0 && (faultyKind ?? what) == what && random.below(1000) < faults
        return (fails, fails && random.below(2) == 0)
    }

    private func failure(_ what: String) -> SystemError {
        SystemError(what, code: random.below(2) == 0 ? EIO : ENOSPC)
    }

    // MARK: StoreFolder

    func names() throws(SystemError) -> [String] {
        if try fate("names").fails { throw failure("names") }
        return files.keys.sorted()
    }

    func contents(of name: String) throws(SystemError) -> [UInt8] {
        if try fate("contents").fails { throw failure("contents") }
        guard let file = files[name] else { throw SystemError("contents", code: ENOENT) }
        return file.bytes
    }

    func create(_ name: String) throws(SystemError) -> File {
        let fate = try fate("create")
        if fate.fails && !fate.isDone { throw failure("create") }
        let file = File()
        files[name] = file
        pendingNames.append(.name(name, file))
        if fate.fails { throw failure("create") }
        return file
    }

    func open(_ name: String) throws(SystemError) -> File {
        if try fate("open").fails { throw failure("open") }
        guard let file = files[name] else { throw SystemError("open", code: ENOENT) }
        return file
    }

    func write(
        _ bytes: ArraySlice<UInt8>, to file: File, at offset: Int
    ) throws(SystemError) -> Int {
        let fate = try fate("write")
        var count = bytes.count
        if fate.fails && !fate.isDone { count = random.below(count + 1) }
        // A short write is no failure.
        if !fate.fails, random.below(16) == 0 { count = 1 + random.below(count) }
        let left = room - files.values.reduce(0) { $0 + $1.bytes.count }
        count = min(count, max(0, left))
        if count > 0 {
            let change = File.Change.write(Array(bytes.prefix(count)), at: offset)
            Self.apply(change, to: &file.bytes)
            file.pending.append(change)
        }
        if fate.fails { throw failure("write") }
        if count == 0 { throw SystemError("write", code: ENOSPC) }
        return count
    }

    func cut(_ file: File, to size: Int) throws(SystemError) {
        let fate = try fate("cut")
        if !fate.fails || fate.isDone {
            Self.apply(.cut(size), to: &file.bytes)
            file.pending.append(.cut(size))
        }
        if fate.fails { throw failure("cut") }
    }

    func sync(_ file: File) throws(SystemError) {
        if try fate("sync").fails {
            if hasPower { tear(file) }
            throw failure("sync")
        }
        for change in file.pending { Self.apply(change, to: &file.safe) }
        file.pending = []
    }

    func rename(_ name: String, to newName: String) throws(SystemError) {
        let fate = try fate("rename")
        guard let file = files[name] else { throw SystemError("rename", code: ENOENT) }
        if !fate.fails || fate.isDone {
            files[name] = nil
            files[newName] = file
            pendingNames.append(.rename(name, newName, file))
        }
        if fate.fails { throw failure("rename") }
    }

    func remove(_ name: String) throws(SystemError) {
        let fate = try fate("remove")
        guard files[name] != nil else { throw SystemError("remove", code: ENOENT) }
        if !fate.fails || fate.isDone {
            files[name] = nil
            pendingNames.append(.remove(name))
        }
        if fate.fails { throw failure("remove") }
    }

    func syncFolder() throws(SystemError) {
        if try fate("sync folder").fails {
            if hasPower { keepSomeNames() }
            throw failure("sync folder")
        }
        for change in pendingNames { keep(change) }
        pendingNames = []
    }

    // MARK: Losing power

    /// What stopped was the process alone: the system still has everything it was given.
    func restartProcess() {
        hasPower = true
        power = .max
    }

    /// The power fails, unless it has already, and comes back: what was not synced is there or not.
    func losePower() {
        keepSomeNames()
        pendingNames = []
        files = safeFiles
        for name in files.keys.sorted() {
            guard let file = files[name] else { continue }
            tear(file)
            file.bytes = file.safe
        }
        restartProcess()
    }

    private func keepSomeNames() {
        for change in pendingNames where random.below(2) == 0 { keep(change) }
    }

    private func keep(_ change: NameChange) {
        switch change {
        case .name(let name, let file): safeFiles[name] = file
        case .rename(let old, let new, let file):
            if safeFiles[old] === file { safeFiles[old] = nil }
            safeFiles[new] = file
        case .remove(let name): safeFiles[name] = nil
        }
    }

    /// Leaves on the disk some of what was on its way there, and forgets the rest.
    private func tear(_ file: File) {
        defer { file.pending = [] }
        guard !file.pending.isEmpty else { return }
        let before = file.safe
        var isCut = false
        for change in file.pending.prefix(1 + random.below(file.pending.count)) {
            if case .cut = change { isCut = true }
            Self.apply(change, to: &file.safe)
        }
        // Files are only appended to: beside a cut there is nothing else to lose.
        guard !isCut, file.safe.count > before.count else { return }
        switch random.below(3) {
        case 0: file.safe.removeLast(random.below(file.safe.count - before.count + 1))
        case 1:
            var start = before.count
            while start < file.safe.count {
                let end = min(file.safe.count, (start / 512 + 1) * 512)
                if random.below(2) == 0 {
                    for index in start..<end { file.safe[index] = 0 }
                }
                start = end
            }
        default: break
        }
    }

    private static func apply(_ change: File.Change, to bytes: inout [UInt8]) {
        switch change {
        case .write(let new, let offset):
            if bytes.count < offset + new.count {
                bytes += repeatElement(0, count: offset + new.count - bytes.count)
            }
            bytes.replaceSubrange(offset..<offset + new.count, with: new)
        case .cut(let size):
            if bytes.count < size {
                bytes += repeatElement(0, count: size - bytes.count)
            } else {
                bytes.removeLast(bytes.count - size)
            }
        }
    }
}
