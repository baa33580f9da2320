// The program whose roles are started. It is opened once, so that a build while a run goes on does
// not change what later rounds run.

import Glibc
public import Posix

/// This very program, as it was when it was started.
public struct Program: Sendable {
    /// Where it was found: for people, and for telling its commit.
    public let path: String
    /// What is started: the same file also where another has taken its place meanwhile.
    public let image: String
    /// Open as long as this process lives.
    private let file: Int32

    /// Opens this process's own program.
    public init() throws(SystemError) {
        var target = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = unsafe readlink("/proc/self/exe", &target, target.count)
        try self.init(
            file: "/proc/self/exe",
            path: length > 0
                ? String(decoding: target[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
                : CommandLine.arguments[0])
    }

    /// - Parameters:
    ///   - source: what is opened.
    ///   - path: where that was found.
    init(file source: String, path: String) throws(SystemError) {
        file = unsafe open(source, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw SystemError("open \(source)") }
        image = "/proc/\(getpid())/fd/\(file)"
        self.path = path
    }

    /// Writes a copy that can be started.
    ///
    /// Processes of one file share the pages of its code, and proportional memory divides those
    /// among them. Who is started from a copy shares them only with others started from it.
    /// - Parameter path: of the copy; nothing may be there.
    func copy(to path: String) throws(RigError) {
        let copy = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o755)
        guard copy >= 0 else { throw RigError(.file, "\(SystemError("create \(path)"))") }
        defer { close(copy) }
        var offset: off_t = 0
        // Bound: each turn copies at least one byte, up to the end of the file.
        while true {
            let count = unsafe sendfile(copy, file, &offset, 1 << 30)
            if count == 0 { return }
            if count < 0 && errno != EINTR {
                throw RigError(.file, "\(SystemError("copy the program to \(path)"))")
            }
        }
    }
}
