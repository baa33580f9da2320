import Base
import Glibc
public import Posix

/// `meshbench app` as a child process of a test. Ended when let go.
public final class RunningApp {
    public let process: Process
    public let address: SocketAddress
    /// Where faults are held; nil: nowhere.
    public let control: SocketAddress?

    /// Starts one and waits until it says that it is ready.
    public convenience init(_ words: String...) throws { try self.init(words) }

    public init(_ words: [String]) throws {
        process = try Process(
            ProcessCommand(
                name: "app", program: Program.meshbench(), arguments: ["app"] + words,
                output: .pipe))
        guard let bytes = try Program.nextLine(of: process) else { throw WireFailure.timedOut }
        let line = String(decoding: bytes, as: UTF8.self)
        let parts = line.split(separator: "\"")
        let addresses = parts.compactMap { SocketAddress($0) }
        guard line.hasPrefix("{\"event\":\"ready\",\"role\":\"app\""),
            let address = addresses.first
        else { throw WireFailure.unexpected(line) }
        self.address = address
        control = addresses.count > 1 ? addresses[1] : nil
    }

    deinit { if process.poll() == nil { process.send(SIGKILL) } }

    /// The answer to a GET of `target`, over HTTP/1.1.
    public func get(_ target: String) throws -> RawMessage {
        let connection = try RawConnection(to: address)
        try connection.send("GET \(target) HTTP/1.1\r\nhost: test\r\n\r\n")
        return try connection.readAnswer()
    }

    /// Waits until its counters hold `text`.
    public func wait(for text: String) throws {
        let deadline = Clock.now() + RawConnection.patience
        while true {
            let stats = try get("/app/stats").text
            if stats.contains(text) { return }
            guard Clock.now() < deadline else { throw WireFailure.unexpected(stats) }
            Clock.sleep(until: Clock.now() + .milliseconds(1))
        }
    }
}
