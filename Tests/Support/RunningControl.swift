import Base
import FoundationEssentials
import Glibc
public import Posix

/// What a control plane lists of a proxy.
public struct ListedProxy: Decodable {
    /// What the proxy would not take.
    public struct Refused: Decodable {
        public var version: UInt64
        public var error: String
    }

    public var proxy: String
    public var service: String
    public var dataplane: String?
    public var sent: UInt64
    public var acknowledged: UInt64
    public var refused: Refused?
    public var refusals: Int
}

/// `meshbench control` as a child process of a test. Ended when let go.
public final class RunningControl {
    public let process: Process
    public let address: SocketAddress
    /// Where proxies connect, where it was told to listen for them.
    public let proxies: SocketAddress?
    /// Where it answers DNS; nil: nowhere.
    public let dns: SocketAddress?
    /// Its folder, which may have been another's before.
    public let data: String
    /// What is shown to it.
    public let token: String

    /// Starts one and waits until it says that it is ready.
    public convenience init(data: String, _ words: [String] = []) throws {
        try self.init(try Self.start(data, words), data: data)
    }

    /// Starts one in each of the folders, all at once, and waits until all are ready.
    public static func several(_ folders: [String], _ words: [String]) throws -> [RunningControl] {
        let processes = try folders.map { try start($0, words) }
        return try zip(processes, folders).map { try RunningControl($0, data: $1) }
    }

    private static func start(_ data: String, _ words: [String]) throws -> Process {
        try Process(
            ProcessCommand(
                name: "control", program: Program.meshbench(),
                arguments: ["control", "--data", data, "--listen", "127.0.0.1:0"] + words,
                output: .pipe))
    }

    private init(_ process: Process, data: String) throws {
        self.process = process
        self.data = data
        guard let bytes = try Program.nextLine(of: process) else { throw WireFailure.timedOut }
        let line = String(decoding: bytes, as: UTF8.self)
        let parts = line.split(separator: "\"")
        let addresses = parts.compactMap { SocketAddress($0) }
        guard line.hasPrefix("{\"event\":\"ready\",\"role\":\"control\""),
            let address = addresses.first
        else { throw WireFailure.unexpected(line) }
        self.address = address
        proxies = parts.firstIndex(of: "proxies").flatMap { SocketAddress(parts[$0 + 2]) }
        dns = parts.firstIndex(of: "dns").flatMap { SocketAddress(parts[$0 + 2]) }
        let text = try String(contentsOfFile: "\(data)/token", encoding: .utf8)
        token = String(text.prefix { $0 != "\n" })
    }

    deinit { if process.poll() == nil { process.send(SIGKILL) } }

    /// Ends it at once, as a power cut ends a process.
    public func kill() {
        process.send(SIGKILL)
        _ = process.wait(until: Clock.now() + RawConnection.patience)
    }

    /// The bytes of a request with the token.
    public func request(_ method: String, _ target: String, _ body: String = "") -> String {
        "\(method) \(target) HTTP/1.1\r\nhost: control\r\nauthorization: Bearer \(token)\r\n"
            + "content-length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    /// Asks on a connection of its own.
    public func ask(
        _ method: String, _ target: String, _ body: String = ""
    ) throws(WireFailure) -> RawMessage {
        let connection = try RawConnection(to: address)
        try connection.send(request(method, target, body))
        return try connection.readAnswer()
    }

    /// What it lists of the proxies that watch it.
    public func proxyList() throws -> [ListedProxy] {
        struct Answer: Decodable {
            var proxies: [ListedProxy]
        }
        let text = try ask("GET", "/v1/proxies").text
        return try JSONDecoder().decode(Answer.self, from: Data(text.utf8)).proxies
    }
}
