import FoundationEssentials
import Glibc
public import Posix

/// `meshbench ratelimit` as a child process of a test. Ended when let go.
public final class RunningRateLimit {
    public let process: Process
    public let address: SocketAddress
    private let folder: Scratch

    /// Starts one with the rules of a domain and waits until it says that it is ready.
    public init(_ rules: String) throws {
        folder = try Scratch()
        let file = folder.path("rules.yaml")
        try Data(rules.utf8).write(to: URL(filePath: file))
        process = try Process(
            ProcessCommand(
                name: "ratelimit", program: Program.meshbench(),
                arguments: ["ratelimit", file, "--listen", "127.0.0.1:0"], output: .pipe))
        guard let bytes = try Program.nextLine(of: process) else { throw WireFailure.timedOut }
        let line = String(decoding: bytes, as: UTF8.self)
        guard line.hasPrefix("{\"event\":\"ready\",\"role\":\"ratelimit\""),
            let address = line.split(separator: "\"").compactMap({ SocketAddress($0) }).first
        else { throw WireFailure.unexpected(line) }
        self.address = address
    }

    deinit { if process.poll() == nil { process.send(SIGKILL) } }

    /// The answer to a GET of `target`, over HTTP/1.1.
    public func get(_ target: String) throws -> RawMessage {
        let connection = try RawConnection(to: address)
        try connection.send("GET \(target) HTTP/1.1\r\nhost: test\r\n\r\n")
        return try connection.readAnswer()
    }
}
