import Base
import Glibc
import Model
import Posix
import Report
import Stats
import Support
import Testing

/// `meshbench load` as people start it: words, output, files and how it ends.
@Suite(.serialized) struct LoadCommandTests {
    private static let plain = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    private static func server() throws -> TestServer { try TestServer.answering { _ in plain } }

    /// Runs `meshbench load WORDS`; both streams as lines.
    private static func load(_ words: String..., limit: Int? = nil) throws
        -> (end: ProcessEnd?, text: String)
    {
        let ulimit = limit.map { "ulimit -n \($0); " } ?? ""
        let run = try Program.run(
            "/bin/sh",
            ["-c", "\(ulimit)exec \"$0\" load \"$@\" 2>&1", Program.meshbench()] + words)
        return (run.end, run.lines.joined(separator: "\n"))
    }

    private static func start(_ words: String...) throws -> Process {
        try Process(
            ProcessCommand(
                name: "load", program: Program.meshbench(), arguments: ["load"] + words,
                output: .pipe))
    }

    /// Waits until the server has seen a request; its process must then end by itself.
    private static func end(
        of process: Process, after server: TestServer, _ act: () throws -> Void
    ) throws -> (end: ProcessEnd?, text: String) {
        let deadline = Clock.now() + RawConnection.patience
        while server.requests.all.isEmpty, Clock.now() < deadline { sched_yield() }
        try act()
        var lines: [String] = []
        while let line = try Program.nextLine(of: process) {
            lines.append(String(decoding: line, as: UTF8.self))
        }
        return (process.wait(until: deadline), lines.joined(separator: "\n"))
    }

    @Test func aShortRun() throws {
        let server = try Self.server()
        let run = try Self.load(
            "http://\(server.address)/x", "--rate", "100/s", "--duration", "500ms")
        // 4: a machine that is busy with other tests may well be late.
        #expect(run.end == .exited(0) || run.end == .exited(4), "\(run.text)")
        #expect(run.text.contains("outcomes   ok 50 (100 %)"))
        #expect(server.requests.all.count == 50)
        #expect(server.requests.all.allSatisfy { $0.startLine == "GET /x HTTP/1.1" })
    }

    @Test func namesAndFamilies() throws {
        let listener = try Socket.listen(on: #require(SocketAddress("[::1]:0")), sharing: false)
        let port = try Socket.localAddress(of: listener.number).port
        // Nobody answers, but a connection was opened: at ::1, as nobody is at 127.0.0.1.
        let run = try Self.load(
            "HTTP://localhost:\(port)/", "--rate", "10/s", "--duration", "100ms", "--timeout",
            "100ms")
        #expect(run.text.contains("timeout 1 (100 %)"), "\(run.text)")
        let unknown = try Self.load("http://meshbench.invalid/")
        #expect(unknown.end == .exited(1))
        #expect(unknown.text.contains("cannot find meshbench.invalid:80"))
    }

    @Test(arguments: [
        (["http://a@127.0.0.1/"], "user's name"),
        (["http://192.0.2.1/"], "--allow-remote"),
        (["http://127.0.0.1/", "--rate", "2000001/s"], "2000000"),
        (["--job", "-", "--rate", "1/s"], "exclude each other"),
        (["--job", "-", "http://127.0.0.1/"], "exclude each other"),
        (["http://127.0.0.1/", "--rate", "1000"], "--rate"),
    ])
    func wrongWords(words: [String], message: String) throws {
        let run = try Program.run(
            "/bin/sh",
            ["-c", "exec \"$0\" load \"$@\" 2>&1 </dev/null", Program.meshbench()] + words)
        #expect(run.end == .exited(64))
        #expect(run.lines.joined().contains(message), "\(run.lines)")
    }

    @Test func moreConnectionsThanDescriptors() throws {
        let server = try Self.server()
        let run = try Self.load(
            "http://\(server.address)/", "--connections", "100", "--rate", "10/s", limit: 64)
        #expect(run.end == .exited(1))
        #expect(run.text.contains("of 100 connections could be opened"), "\(run.text)")
        #expect(run.text.contains("Too many open files"))
        #expect(server.requests.all.isEmpty)
    }

    /// A soft limit is no limit: the program takes what the hard one allows.
    @Test func theSoftLimitIsRaised() throws {
        let server = try Self.server()
        let run = try Program.run(
            "/bin/sh",
            [
                "-c", "ulimit -Sn 32; exec \"$0\" load \"$@\" 2>&1", Program.meshbench(),
                "http://\(server.address)/", "--connections", "64", "--rate", "100/s",
                "--duration", "100ms",
            ])
        #expect(run.lines.joined().contains("ok 10 (100 %)"), "\(run.lines)")
        #expect(server.connections.all.count == 64)
    }

    @Test func descriptorsThatRunOutMakeTheRunInvalid() throws {
        let server = try Self.server()
        let process = try Self.start(
            "http://\(server.address)/", "--closed", "--connections", "8", "--duration", "2s",
            "--requests-per-connection", "10")
        let run = try Self.end(of: process, after: server) {
            _ = try Program.run("prlimit", ["--pid", "\(process.pid)", "--nofile=4:4"])
        }
        #expect(run.end == .exited(4), "\(run.text)")
        #expect(run.text.contains("could not open a connection"))
        #expect(!run.text.contains("refused"))
    }

    @Test(arguments: [[], ["--closed"]])
    func anInterruptDuringTheWarmup(more: [String]) throws {
        let server = try Self.server()
        let process = try Process(
            ProcessCommand(
                name: "load", program: Program.meshbench(),
                arguments: ["load", "http://\(server.address)/", "--warmup", "10m"] + more,
                output: .pipe))
        let run = try Self.end(of: process, after: server) { process.send(SIGINT) }
        #expect(run.end == .exited(130))
        #expect(run.text.contains("rate       -"))
        #expect(run.text.contains("the figures are partial"))
    }

    @Test func filesAreWritten() throws {
        let server = try Self.server()
        let folder = try TemporaryFolder()
        let run = try Self.load(
            "http://\(server.address)/", "--rate", "100/s", "--duration", "1200ms", "--hgrm",
            folder.path("a.hgrm"), "--hlog", folder.path("a.hlog"), "--json", folder.path("a.json"))
        #expect(run.end == .exited(0) || run.end == .exited(4), "\(run.text)")
        for name in ["a.hgrm", "a.service.hgrm", "a.lag.hgrm"] {
            #expect(try folder.text(name).contains("#[Mean"))
        }
        #expect(try folder.text("a.json").contains("\"planned\" : 120"))
        let log = try HistogramLog(reading: folder.text("a.hlog"))
        #expect(log.intervals.map(\.tag) == ["base", "base", "base.service", "base.lag"])
        #expect(log.intervals.prefix(2).map(\.start) == [0, 1])
        #expect(log.intervals.prefix(2).reduce(0) { $0 + $1.histogram.count } == 120)
        #expect(log.intervals.suffix(2).allSatisfy { $0.histogram.count == 120 })
        let now = Double(Clock.wallNanoseconds()) / 1e9
        #expect(try abs(#require(log.startTime) + 1.2 - now) < 60)
    }

    @Test func jsonOnStandardOutputStandsAlone() throws {
        let server = try Self.server()
        let run = try Program.run(
            Program.meshbench(),
            [
                "load", "http://\(server.address)/", "--rate", "100/s", "--duration", "100ms",
                "--json", "-",
            ])
        #expect(run.lines.first == "{")
        #expect(run.lines.last == "}")
        #expect(run.lines.joined().contains("\"scheduleHash\""))
    }

    @Test func aFileThatCannotBeWrittenIsAFailureBeforeTheRun() throws {
        let server = try Self.server()
        let run = try Self.load("http://\(server.address)/", "--hlog", "/nonexistent/a.hlog")
        #expect(run.end == .exited(1))
        #expect(server.requests.all.isEmpty)
    }
}

/// A folder that is gone with the object, files and all.
private final class TemporaryFolder {
    private let folder: String

    init() throws {
        var template = Array("/tmp/meshbench-load-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw SystemError("mkdtemp") }
        folder = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in [
            "a.hgrm", "a.service.hgrm", "a.lag.hgrm", "a.hlog", "a.json", "app.json",
        ] { unsafe unlink(path(name)) }
        unsafe rmdir(folder)
    }

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    func text(_ name: String) throws -> String {
        let descriptor = unsafe open(path(name), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemError("open \(name)") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe read(descriptor, &piece, piece.count)
            if count <= 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += piece[..<count]
        }
    }
}
