// The store on the disk, and what its files look like after each kind of trouble.

import Base
import ControlCore
import Glibc
import Posix
import Runtime
import Testing

/// A folder of the test's own, removed with everything in it.
private final class Place {
    let path: String

    init() throws {
        var template = Array("/tmp/meshbench-store-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw SystemError("mkdtemp") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in names { unsafe unlink(path + "/" + name) }
        unsafe rmdir(path)
    }

    var names: [String] {
        guard let stream = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    func mode(_ name: String = "") -> mode_t {
        var status = stat()
        _ = unsafe stat(path + "/" + name, &status)
        return status.st_mode & 0o7777
    }

    func change(_ name: String, _ body: (inout [UInt8]) -> Void) throws {
        guard let file = unsafe fopen(path + "/" + name, "r+") else { throw SystemError("fopen") }
        defer { unsafe fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = unsafe fread(&bytes, 1, bytes.count, file)
        bytes.removeLast(bytes.count - count)
        body(&bytes)
        unsafe rewind(file)
        unsafe fwrite(bytes, 1, bytes.count, file)
        unsafe fflush(file)
        let number = unsafe fileno(file)
        try #require(ftruncate(number, bytes.count) == 0)
    }
}

private func put(_ key: String, _ value: String) -> StoreRequest {
    .transaction(.init(changes: [.put(StoreKey(key), value: Array(value.utf8))]))
}

private func fault(_ body: () throws(StoreFault) -> Void) -> StoreFault? {
    do throws(StoreFault) {
        try body()
        return nil
    } catch {
        return error
    }
}

@Suite struct StoreFilesTests {
    typealias DiskStore = Store<DiskFolder>

    @Test func whatIsCommittedIsThereAfterAStart() throws {
        let place = try Place()
        var limits = StoreLimits()
        limits.logBytes = 500
        let now = Instant(nanoseconds: 0)
        for round in 0..<5 {
            let store = try DiskStore(in: DiskFolder(place.path), limits: limits, now: now)
            #expect(store.opening.revision == UInt64(20 * round))
            #expect(store.opening.tornBytes == 0)
            for step in 0..<20 {
                #expect(
                    try store.commit(put("k\(step)", "\(round)"), now: now + .seconds(1))
                        == .committed(revision: UInt64(20 * round + step + 1)))
            }
            #expect(store.condition == .sound)
            #expect(store.state.entries(prefix: StoreKey("k")).count == 20)
        }
        // One snapshot, its log and the lock; nobody else's to read.
        let names = place.names
        #expect(names.count == 3)
        #expect(names.contains("lock"))
        #expect(Set(names.dropLast().map { $0.suffix(16) }.suffix(1)).count == 1)
        for name in names { #expect(place.mode(name) == 0o600) }
    }

    @Test func theFolderIsMadeForItsOwnerAlone() throws {
        let place = try Place()
        let inner = place.path + "/inner"
        defer {
            for name in ["lock", "log-0000000000000000", "snapshot-0000000000000000"] {
                unsafe unlink(inner + "/" + name)
            }
            unsafe rmdir(inner)
        }
        _ = try DiskStore(in: DiskFolder(inner), now: .zero)
        #expect(place.mode("inner") == 0o700)
        #expect(unsafe chmod(inner, 0o770) == 0)
        #expect(
            fault { () throws(StoreFault) in _ = try DiskFolder(inner) } == .exposed(mode: 0o770))
        guard
            case .folder(let error)? = fault({ () throws(StoreFault) in
                _ = try DiskFolder(place.path + "/no/such")
            })
        else {
            Issue.record("a folder without a parent")
            return
        }
        #expect(error.code == ENOENT)
    }

    @Test func oneProcessHasTheStore() throws {
        let place = try Place()
        let second = { () throws(StoreFault) in _ = try DiskFolder(place.path) }
        do {
            let store = try DiskStore(in: DiskFolder(place.path), now: .zero)
            #expect(fault(second) == .locked(holder: getpid()))
            withExtendedLifetime(store) {}
        }
        #expect(fault(second) == nil)
    }

    @Test func damageNamesTheFileAndThePlace() throws {
        let place = try Place()
        let open = { () throws(StoreFault) -> DiskStore in
            try DiskStore(in: DiskFolder(place.path), now: .zero)
        }
        do {
            let store = try open()
            for step in 0..<3 { _ = try store.commit(put("k\(step)", "v"), now: .zero) }
        }
        let log = "log-0000000000000000"
        let snapshot = "snapshot-0000000000000000"
        // Three frames of 24 + 4 + 15 + 2 + 1 bytes after 20.
        try place.change(log) { $0[70] ^= 1 }
        #expect(
            fault { () throws(StoreFault) in _ = try open() }
                == .damaged(name: log, StoreDamage(.log, at: 66, .sum)))
        try place.change(log) {
            $0[70] ^= 1
            $0.removeLast(5)
        }
        do {
            let store = try open()
            #expect(store.opening.revision == 2)
            #expect(store.opening.tornBytes == 41)
            _ = try store.commit(put("k2", "w"), now: .zero)
        }
        #expect(try open().opening.revision == 3)
        try place.change(snapshot) { $0[9] ^= 1 }
        #expect(
            fault { () throws(StoreFault) in _ = try open() }
                == .damaged(name: snapshot, StoreDamage(.snapshot, at: 0, .sum)))
        unsafe unlink(place.path + "/" + snapshot)
        #expect(fault { () throws(StoreFault) in _ = try open() } == .missing(name: "snapshot"))
    }

    @Test func aSnapshotWithoutItsLogIsNotTaken() throws {
        let place = try Place()
        _ = try DiskStore(in: DiskFolder(place.path), now: .zero)
        unsafe unlink(place.path + "/log-0000000000000000")
        #expect(
            fault { () throws(StoreFault) in
                _ = try DiskStore(in: DiskFolder(place.path), now: .zero)
            } == .missing(name: "log-0000000000000000"))
    }

    /// A disk of 256 KiB, for real. Needs the right to mount.
    @Test func aFullDiskRefusesAndTheStoreGoesOn() throws {
        let place = try Place()
        let flags = UInt(MS_NOSUID | MS_NODEV)
        guard unsafe mount("none", place.path, "tmpfs", flags, "size=256k,mode=700") == 0 else {
            return
        }
        defer { unsafe umount2(place.path, Int32(MNT_DETACH)) }
        var acknowledged: [String] = []
        var limits = StoreLimits()
        limits.logBytes = 32 << 10
        do {
            let store = try DiskStore(in: DiskFolder(place.path), limits: limits, now: .zero)
            let value = String(repeating: "v", count: 3000)
            var refusals = 0
            for step in 0..<200 {
                do throws(StoreFault) {
                    let now = Instant.zero + .seconds(Int64(step))
                    _ = try store.commit(put("k\(step)", value), now: now)
                    acknowledged.append("k\(step)")
                } catch {
                    refusals += 1
                    guard case .notWritten(let reason) = error else {
                        Issue.record("\(error)")
                        return
                    }
                    #expect(reason.code == ENOSPC)
                }
            }
            #expect(refusals > 10)
            #expect(acknowledged.count > 20)
            // Small changes may still fit; and nothing is lost meanwhile.
            #expect(store.state.entries(prefix: StoreKey("k")).count == acknowledged.count)
        }
        let store = try DiskStore(in: DiskFolder(place.path), limits: limits, now: .zero)
        #expect(
            store.state.entries(prefix: StoreKey("k")).map(\.key.description)
                == acknowledged.sorted())
    }
}
