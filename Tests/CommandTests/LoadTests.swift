import Base
import LoadCore
import Model
import Stats
import Testing

@testable import meshbench

@Suite struct LoadURLTests {
    @Test(
        "A URL is taken apart",
        arguments: [
            ("http://127.0.0.1:8080/", "127.0.0.1:8080", "127.0.0.1:8080", "/"),
            ("http://localhost", "localhost:80", "localhost", "/"),
            ("HTTP://Example.org/a?b=c#d", "Example.org:80", "Example.org", "/a?b=c"),
            ("http://[::1]:81?q", "[::1]:81", "[::1]:81", "/?q"),
            ("hTTp://[::1]", "[::1]:80", "[::1]", "/"),
            ("http://a:/x", "a:80", "a:", "/x"), ("HTTPS://a/x", "a:443", "a", "/x"),
        ])
    func parts(text: String, address: String, host: String, path: String) throws {
        let url = try LoadURL(text)
        #expect(url.address == address)
        #expect(url.host == host)
        #expect(url.path == path)
        #expect(url.isSecured == text.hasPrefix("HTTPS"))
        #expect(url.speech == .http1)
    }

    @Test(
        "What is wrong with a URL is said",
        arguments: [
            ("http://me@a/", .userInfo),
            ("http://me:word@a/", .userInfo), ("127.0.0.1:80", .form), ("http:/a", .form),
            ("ftp://a", .form), ("http://", .form), ("http://:80/", .form), ("", .form),
            ("http://a:0/", .port("0")), ("http://a:65536/", .port("65536")),
            ("http://a:x/", .port("x")), ("tcp://a", .port("")),
            ("tcp://a:1/b", .form),
        ] as [(String, LoadURL.Flaw)])
    func flaws(text: String, flaw: LoadURL.Flaw) {
        #expect(throws: flaw) { _ = try LoadURL(text) }
        #expect(!flaw.description.isEmpty)
    }
}

@Suite struct LoadArgumentsTests {
    private func parse(_ words: String...) throws(CommandFailure) -> LoadArguments {
        try LoadArguments(try Arguments(parsing: words, for: .load))
    }

    @Test func standards() throws {
        let job = try parse("http://127.0.0.1:81/a").job
        #expect(job.plan.rate == .constant(1000))
        #expect(job.plan.arrivals == .constant)
        #expect(job.plan.request == RequestPlan(method: "GET", path: "/a"))
        #expect(job.targets == [.init(address: "127.0.0.1:81", host: "127.0.0.1:81")])
        #expect(job.phases.map(\.name) == ["base"])
        try job.validate()
    }

    @Test func security() throws {
        let words = ["--cacert", "a", "--cert", "b", "--key", "c"]
        let request = try LoadArguments(
            try Arguments(parsing: ["https://a/"] + words, for: .load))
        #expect(request.job.tls == ClientTLS(authorities: "a", certificate: "b", key: "c"))
        #expect(try parse("https://a/").job.tls == ClientTLS())
        #expect(try parse("http://a/").job.tls == nil)
    }

    @Test(
        arguments: [
            ("ws://a/x?y", "a:80", LoadPlan.Speech.websocket, "/x?y"),
            ("TCP://127.0.0.1:9", "127.0.0.1:9", .tcp, "/"),
        ] as [(String, String, LoadPlan.Speech, String)])
    func schemes(url: String, address: String, speech: LoadPlan.Speech, path: String) throws {
        let job = try parse(url, "--streams", "3").job
        #expect(job.targets[0].address == address)
        #expect(job.plan.speech == speech && job.plan.streams == 3)
        #expect(job.plan.request.path == path)
        try job.validate()
    }

    @Test func webSocketsOverHTTP2() throws {
        let job = try parse("wss://a/", "--protocol", "websocket-http2", "--streams", "3").job
        #expect(job.plan.speech == .websocketHTTP2 && job.plan.streams == 3 && job.tls != nil)
        #expect(throws: CommandFailure.self) {
            try parse("http://a/", "--protocol", "websocket-http2")
        }
        #expect(throws: CommandFailure.self) { try parse("ws://a/", "--protocol", "http2") }
    }

    @Test func everythingSaid() throws {
        let job = try parse(
            "http://localhost/a?b=1", "--target", "http://[::1]:81/a?b=1=3", "--ramp",
            "1.5/s..2000/s", "--arrivals", "poisson", "--warmup", "2s", "--duration", "1m",
            "--connections", "8", "--threads", "2", "--timeout", "250ms", "--method", "POST",
            "--header", "x-a:  b: c", "--body-size", "2KiB", "--requests-per-connection", "5",
            "--seed", "9", "--spin", "0s"
        ).job
        #expect(job.targets.map(\.weight) == [1, 3])
        #expect(job.plan.rate == .ramp(start: 1.5, end: 2000))
        #expect(job.phases.map(\.duration) == [.seconds(2), .seconds(60)])
        #expect(job.phases.map(\.rate) == [1.5, nil])
        #expect(job.phases.map(\.measure) == [false, true])
        #expect(job.plan.request.headers == [.init(name: "x-a", value: "b: c")])
        #expect(job.plan.request.bodySize == 2048)
        #expect(job.spin == .zero)
        #expect(job.seed == 9)
        try job.validate()
    }

    @Test(arguments: [
        [], ["http://a/", "--rate", "10/s", "--ramp", "1/s..2/s"], ["http://a/", "--cacert", "f"],
        ["https://a/", "--cert", "f"], ["https://a/", "--target", "http://b/=1"],
        ["http://a/", "--closed", "--rate", "1/s"], ["http://a/", "--target", "http://a/b=1"],
        ["http://a/", "--target", "http://a/"], ["http://a/", "--target", "ws://a/=1"],
        ["http://a/", "--rate", "1000"],
        ["http://a/", "--ramp", "1/s.2/s"], ["http://a/", "--closed", "--arrivals", "poisson"],
        ["http://a/", "--arrivals", "sometimes"], ["http://a/", "--header", "nothing"],
        ["http://a/", "--connections", "0"], ["http://a/", "http://b/"],
    ])
    func refused(words: [String]) {
        let failure = #expect(throws: CommandFailure.self) {
            _ = try LoadArguments(try Arguments(parsing: words, for: .load))
        }
        #expect(failure?.code == .usage)
    }
}

@Suite struct LoadSummaryTests {
    private func summary(
        _ words: [String] = [], answered: UInt64 = 100_000, ends: Int64 = 1_000_000_000,
        change: (inout LoadResult) -> Void = { _ in }
    ) throws -> (text: String, saturation: [String]) {
        let request = try LoadArguments(
            try Arguments(parsing: ["http://127.0.0.1/"] + words, for: .load))
        var tally = LoadResult.PhaseTally(
            name: "base", start: .zero, end: Instant(nanoseconds: ends))
        tally.planned = answered
        tally.outcomes = answered == 0 ? [:] : ["ok": answered]
        tally.statuses = answered == 0 ? [:] : ["200": answered]
        tally.response.record(2_000_000, count: answered)
        tally.service.record(1_500_000, count: answered)
        if !words.contains("--closed") { tally.lag.record(5_000, count: answered) }
        var result = LoadResult(
            scheduleHash: "00ff", assignmentHash: "0fff", phases: [tally], seconds: [],
            threads: [.init(wallNs: 1000, cpuNs: 500, spinNs: 100)], partial: false)
        change(&result)
        let summary = LoadSummary(job: request.job, url: request.url, result: result)
        return (summary.text, summary.saturation)
    }

    private func row(_ name: String, of text: String) -> [Substring] {
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) } ?? ""
        return line.split(separator: " ")
    }

    @Test func figures() throws {
        let text = try summary().text
        #expect(text.contains("GET http://127.0.0.1/: 1000/s constant, 16 connections"))
        #expect(text.contains("offered 100000/s, answered 100000/s (100 %)"))
        #expect(text.contains("outcomes   ok 100000 (100 %)"))
        #expect(text.contains("schedule   00ff, seed 1"))
        #expect(!text.contains("unopened"))
    }

    /// Ten samples beyond a percentile are enough: of 100 000 exactly ten lie beyond p99.99.
    @Test func aPercentileNeedsTenSamplesBeyondIt() throws {
        #expect(!row("response", of: try summary().text).contains("-"))
        #expect(row("response", of: try summary(answered: 99_999).text).count { $0 == "-" } == 1)
        #expect(row("response", of: try summary(answered: 99).text).count { $0 == "-" } == 4)
    }

    /// Ctrl-C during the warm-up: the measured phase has no length and nothing in it.
    @Test(arguments: [[], ["--closed"]])
    func nothingMeasured(words: [String]) throws {
        let text = try summary(words, answered: 0, ends: 0) { $0.partial = true }.text
        #expect(text.contains("rate       -"))
        #expect(text.contains("outcomes   none"))
        #expect(text.contains("Stopped before the end"))
    }

    @Test func doubtsAreTold() throws {
        let late = try summary { $0.phases[0].lag.record(400_000, count: 2000) }
        #expect(late.text.contains("Lag is a large part of response latency"))
        #expect(late.saturation.isEmpty)
        let worse = try summary { $0.phases[0].lag.record(900_000, count: 2000) }
        #expect(worse.text.contains("The generator was the bottleneck"))
        #expect(worse.saturation.count == 1)
        let busy = try summary(["--closed"]) { $0.threads[0].cpuNs = 1100 }
        #expect(busy.text.contains("The generator was the bottleneck"))
        #expect(busy.saturation.isEmpty)
        let lacking = try summary(["--closed"]) {
            $0.openFailures = [
                .init(code: 24, reason: "Too many open files", isLocal: true, count: 3)
            ]
        }
        #expect(lacking.text.contains("unopened   3 Too many open files"))
        #expect(lacking.saturation.count == 1)
    }

    @Test func hashOfPartialRuns() throws {
        #expect(try summary { $0.scheduleHash = "" }.text.contains("not made to its end"))
    }

    @Test(
        arguments: [
            (0, "0"), (1, "1"), (1.234, "1.23"), (1.005, "1"), (9.99, "9.99"), (12.34, "12.3"),
            (123.4, "123"), (1e6, "1000000"), (-1.5, "-1.50"), (.nan, "-"), (.infinity, "-"),
            (-.infinity, "--"), (1e300, "1e+300"),
        ] as [(Double, String)])
    func numbers(value: Double, text: String) { #expect(figureText(value) == text) }

    @Test func latencies() {
        #expect(latencyText(999) == "999 ns")
        #expect(latencyText(1234) == "1.23 us")
        #expect(latencyText(2.5e9) == "2.50 s")
        #expect(latencyText(.nan) == "- ns")
    }
}

@Suite struct LatencyKindTests {
    @Test(
        arguments: [
            ("run.hgrm", "run.lag.hgrm"), ("a.b/run", "a.b/run.lag"),
            ("a.b/run.x.hgrm", "a.b/run.x.lag.hgrm"), (".hidden", ".hidden.lag"),
        ])
    func paths(path: String, lag: String) {
        #expect(LatencyKind.response.path(beside: path) == path)
        #expect(LatencyKind.lag.path(beside: path) == lag)
    }
}
