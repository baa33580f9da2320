import Glibc
public import Posix

/// A folder of the disk, held by one process at a time.
///
/// The folder is made with mode 0700 and its files with 0600: what a control plane stores is
/// nobody else's to read.
public final class DiskFolder: StoreFolder {
    /// An open file.
    public final class File {
        fileprivate let descriptor: Descriptor

        fileprivate init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
    }

    private static let lockName = "lock"
    /// Bound: a log or snapshot of the largest store that the limits allow is a tenth of this.
    private static let fileSize = 4 << 30

    private let path: String
    private let folder: Descriptor
    /// Held until the process ends or lets go of the folder.
    private let lock: File

    /// Takes the folder at `path`, which is made if its parent is there.
    /// - Throws: `locked` where another process has it.
    public init(_ path: String) throws(StoreFault) {
        do throws(SystemError) {
            if unsafe mkdir(path, 0o700) < 0, errno != EEXIST { throw SystemError("mkdir \(path)") }
            let number = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard number >= 0 else { throw SystemError("open \(path)") }
            folder = Descriptor(owning: number)
            self.path = path
            lock = try Self.open(
                Self.lockName, O_RDWR | O_CREAT, in: folder.number, of: path)
        } catch {
            throw .folder(error)
        }
        var status = stat()
        guard unsafe fstat(folder.number, &status) == 0 else {
            throw .folder(SystemError("stat \(path)"))
        }
        guard status.st_mode & 0o022 == 0 else {
            throw .exposed(mode: UInt32(status.st_mode & 0o7777))
        }
        guard flock(lock.descriptor.number, LOCK_EX | LOCK_NB) == 0 else {
            if errno == EWOULDBLOCK { throw .locked(holder: holder()) }
            throw .folder(SystemError("lock \(path)/\(Self.lockName)"))
        }
        sign()
    }

    public func names() throws(SystemError) -> [String] {
        // Opened anew: a directory stream takes its descriptor with it.
        guard let stream = unsafe opendir(path) else { throw SystemError("open \(path)") }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        errno = 0
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            names.append(name)
            errno = 0
        }
        guard errno == 0 else { throw SystemError("read \(path)") }
        return names
    }

    public func contents(of name: String) throws(SystemError) -> [UInt8] {
        let file = try open(name, O_RDONLY)
        var status = stat()
        guard unsafe fstat(file.descriptor.number, &status) == 0 else {
            throw failure("stat", name)
        }
        guard status.st_size <= Self.fileSize else { throw failure("read", name, code: EFBIG) }
        let size = Int(status.st_size)
        var code: Int32 = 0
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let n = unsafe pread(
                    file.descriptor.number, buffer.baseAddress.map { unsafe $0 + count },
                    size - count, count)
                if n > 0 {
                    count += n
                } else if n == 0 || errno != EINTR {
                    code = n == 0 ? 0 : errno
                    return
                }
            }
        }
        guard code == 0 else { throw failure("read", name, code: code) }
        return bytes
    }

    public func create(_ name: String) throws(SystemError) -> File {
        // A file that is there already may be open to others.
        if unsafe unlinkat(folder.number, name, 0) < 0, errno != ENOENT {
            throw failure("remove", name)
        }
        return try open(name, O_WRONLY | O_CREAT | O_EXCL)
    }

    public func open(_ name: String) throws(SystemError) -> File { try open(name, O_WRONLY) }

    public func write(
        _ bytes: ArraySlice<UInt8>, to file: File, at offset: Int
    ) throws(SystemError) -> Int {
        while true {
            let n = unsafe bytes.withUnsafeBytes {
                unsafe pwrite(file.descriptor.number, $0.baseAddress, $0.count, offset)
            }
            if n > 0 { return n }
            // Nothing written and no reason given: taken for a full disk, rather than tried for
            // ever.
            guard n < 0, errno == EINTR else {
                throw SystemError("write to \(path)", code: n == 0 ? ENOSPC : errno)
            }
        }
    }

    public func cut(_ file: File, to size: Int) throws(SystemError) {
        guard ftruncate(file.descriptor.number, size) == 0 else {
            throw SystemError("truncate in \(path)")
        }
    }

    public func sync(_ file: File) throws(SystemError) {
        // The size counts as data that is needed to read the file; the times do not.
        guard fdatasync(file.descriptor.number) == 0 else { throw SystemError("sync in \(path)") }
    }

    public func rename(_ name: String, to newName: String) throws(SystemError) {
        guard unsafe renameat(folder.number, name, folder.number, newName) == 0 else {
            throw failure("rename", name)
        }
    }

    public func remove(_ name: String) throws(SystemError) {
        guard unsafe unlinkat(folder.number, name, 0) == 0 else { throw failure("remove", name) }
    }

    public func syncFolder() throws(SystemError) {
        guard fsync(folder.number) == 0 else { throw SystemError("sync \(path)") }
    }

    private func open(_ name: String, _ flags: Int32) throws(SystemError) -> File {
        try Self.open(name, flags, in: folder.number, of: path)
    }

    private static func open(
        _ name: String, _ flags: Int32, in folder: Int32, of path: String
    ) throws(SystemError) -> File {
        let number = unsafe openat(folder, name, flags | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw SystemError("open \(path)/\(name)") }
        return File(Descriptor(owning: number))
    }

    private func failure(_ what: String, _ name: String, code: Int32 = errno) -> SystemError {
        SystemError("\(what) \(path)/\(name)", code: code)
    }

    /// Writes down who holds the lock, for whoever finds it taken. That it may fail (a full disk)
    /// is no reason not to open.
    private func sign() {
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(lock.descriptor.number, 0)
        _ = unsafe pwrite(lock.descriptor.number, text, text.count, 0)
    }

    /// The process that holds the lock; nil if it has not said yet.
    private func holder() -> Int32? {
        var text = [UInt8](repeating: 0, count: 16)
        let count = unsafe pread(lock.descriptor.number, &text, text.count, 0)
        return Int32(
            String(decoding: text.prefix(max(0, count)), as: UTF8.self).prefix { $0.isNumber })
    }
}
