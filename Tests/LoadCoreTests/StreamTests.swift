// HTTP/2 and gRPC between a generator and a server of the test's, without sockets. Programs of
// others are asked in IntegrationTests.

import Base
import Model
import Stats
import Testing

@testable import LoadCore
@testable import Wire

/// A server that does with each request what a test says, when it says it.
private final class StreamServer: HTTP2Session {
    struct Request {
        var fields: [String: String] = [:]
        var body = 0
        var hasEnded = false
        var code: HTTP2Code?
    }

    var out: [UInt8] = []
    var requests: [Int32: Request] = [:]
    /// In the order in which they came.
    var streams: [Int32] = []
    var consumes = true
    private let fields = FieldList(capacity: 8, made: 256)

    init(streams: Int) {
        var settings = HTTP2Settings()
        settings.streams = streams
        super.init(server: true, settings)
    }

    override func hasRoom() -> Bool { true }
    override func write(_ bytes: Bytes) { unsafe out.append(contentsOf: bytes.raw) }

    override func headBegan(_ stream: Int32, tag: Int) {
        requests[stream] = Request()
        streams.append(stream)
        self.tag(stream, Int(stream))
    }

    override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        requests[stream]?.fields[name.text] = value.text
        return true
    }

    override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) {
        requests[stream]?.body += bytes.count
        if consumes { consume(stream, bytes.count) }
    }

    override func streamEnded(_ stream: Int32, tag: Int) { requests[stream]?.hasEnded = true }

    override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
        requests[stream]?.code = code
    }

    /// Answers in one head.
    func answer(_ stream: Int32, _ lines: (StaticString, StaticString)...) {
        fields.removeAll()
        for (name, value) in lines { fields.add(name, value) }
        #expect(submitResponse(stream, fields, hasBody: false))
    }

    private var trailers: [Int: StaticString] = [:]

    /// Answers with a head, and a status of gRPC behind an empty body.
    func answer(_ stream: Int32, trailer status: StaticString) {
        trailers[Int(stream)] = status
        fields.removeAll()
        fields.add(":status", "200")
        #expect(submitResponse(stream, fields, hasBody: true))
    }

    override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
        fields.removeAll()
        fields.add("grpc-status", trailers[tag] ?? "")
        return submitTrailers(stream, fields) ? .trailers(0) : .failed
    }
}

/// One connection between a generator and a server.
private final class Link {
    var generator: Generator
    let server: StreamServer
    var now = Instant(nanoseconds: 1_000_000_000)
    /// What was asked for other than to write.
    var asked: [LoadAction] = []
    private let start: Instant
    /// The job's.
    let seed: UInt64

    /// A generator that has begun, with a request each millisecond.
    init(
        _ speech: LoadPlan.Speech = .http2, streams: Int = 8, serverStreams: Int = 100,
        bodySize: Int = 0, headers: [RequestPlan.Header] = []
    ) {
        var plan = testPlan(
            connections: 1, timeout: .milliseconds(100),
            request: RequestPlan(path: "/", headers: headers, bodySize: bodySize))
        plan.speech = speech
        plan.streams = streams
        let job = testJob(plan)
        seed = job.seed
        generator = Generator(job: job, thread: 0, messages: LoadMessages(job))
        server = StreamServer(streams: serverStreams)
        start = now
        generator.prepare(at: now)
        generator.begin(at: now)
    }

    /// Whether what the server says arrives.
    var isConnected = false

    /// The socket is open, and whatever is to be said is.
    func open() {
        isConnected = true
        generator.opened(0, at: now)
        pump()
    }

    /// Takes up what is due after so many milliseconds.
    func advance(to milliseconds: Int64) {
        now = start + .milliseconds(milliseconds)
        generator.advance(to: now, heard: now)
        pump()
    }

    /// Takes up what is due after so many milliseconds; nobody says anything yet.
    func take(to milliseconds: Int64) {
        now = start + .milliseconds(milliseconds)
        generator.advance(to: now, heard: now)
    }

    /// What the server has to say arrives.
    func hear() {
        _ = server.pull()
        let bytes = server.out
        server.out = []
        bytes.withBytes { generator.received(0, $0, at: now) }
    }

    /// Lets both say all they have to say.
    func pump() {
        var goesOn = true
        while goesOn {
            goesOn = false
            while let action = generator.nextAction() {
                guard case .write = action else {
                    asked.append(action)
                    continue
                }
                goesOn = true
                write()
            }
            if isConnected { _ = server.pull() }
            guard !server.out.isEmpty else { continue }
            goesOn = true
            let bytes = server.out
            server.out = []
            bytes.withBytes { generator.received(0, $0, at: now) }
        }
    }

    private func write() {
        while true {
            let bytes = generator.output(0, at: now)
            guard bytes.count > 0 else { return }
            // In two parts, as a socket may take them.
            let count = bytes.count > 1 ? bytes.count / 2 : 1
            _ = server.receive(bytes[0..<count])
            guard generator.wrote(0, count) else { return }
        }
    }

    var tally: LoadResult.PhaseTally { generator.tallies()[0] }
}

@Suite struct StreamTests {
    @Test("Requests wait for the server's settings, and keep to its limit")
    func limits() {
        let link = Link(serverStreams: 2)
        for milliseconds in 0...4 { link.advance(to: Int64(milliseconds)) }
        #expect(link.server.streams.isEmpty)
        link.open()
        #expect(link.server.streams == [1, 3])
        #expect(link.server.requests[1]?.hasEnded == true)
        #expect(
            link.server.requests[1]?.fields == [
                ":method": "GET", ":scheme": "http", ":authority": "echo", ":path": "/",
                "user-agent": "meshbench",
                "x-request-id": RequestIdentity.text(seed: link.seed, number: 0),
            ])
        link.server.answer(3, (":status", "204"))
        link.server.answer(1, (":status", "503"), ("x-response-flags", "UH"))
        link.pump()
        #expect(link.server.streams == [1, 3, 5, 7])
        let tally = link.tally
        #expect(tally.outcomes == ["ok": 1, "error": 1])
        #expect(tally.statuses == ["204": 1, "503": 1])
        #expect(tally.flags == ["UH": 1])
        #expect(tally.grpc.isEmpty)
        // All four found no free place: their delay is no lateness of the generator's.
        #expect(tally.wait.count == 4 && tally.lag.max == 0)
        #expect(tally.sent == 4 && tally.firstByte.count == 2)
    }

    @Test("A limit that the server lowers or raises holds from then on")
    func limitsChange() {
        let link = Link(streams: 4, serverStreams: 3)
        link.open()
        for milliseconds in 0...2 { link.advance(to: Int64(milliseconds)) }
        #expect(link.server.streams == [1, 3, 5])
        link.server.submitLimit(streams: 1)
        link.pump()
        for milliseconds in 3...5 { link.advance(to: Int64(milliseconds)) }
        link.server.answer(1, (":status", "200"))
        link.server.answer(3, (":status", "200"))
        link.pump()
        #expect(link.server.streams == [1, 3, 5], "one is as many as there may be")
        link.server.answer(5, (":status", "200"))
        link.pump()
        #expect(link.server.streams == [1, 3, 5, 7])
        link.server.submitLimit(streams: 2)
        link.pump()
        #expect(link.server.streams == [1, 3, 5, 7, 9])
        link.server.submitLimit(streams: 100)
        link.pump()
        #expect(link.server.streams == [1, 3, 5, 7, 9, 11], "three were due behind the third")
        for milliseconds in 6...9 { link.advance(to: Int64(milliseconds)) }
        // There are no more than four places, whatever the server lets be.
        #expect(link.server.streams == [1, 3, 5, 7, 9, 11, 13])
        // Whoever had to wait says so; the generator was never late.
        #expect(link.tally.lag.max == 0 && link.tally.wait.count == 3)
        #expect(link.tally.sent == 7)
    }

    @Test("A server may let no stream be open for a while")
    func noStreams() {
        let link = Link(streams: 2, serverStreams: 2)
        link.open()
        link.advance(to: 0)
        link.server.submitLimit(streams: 0)
        link.pump()
        link.server.answer(1, (":status", "200"))
        link.pump()
        for milliseconds in 1...3 { link.advance(to: Int64(milliseconds)) }
        #expect(link.server.streams == [1])
        link.server.submitLimit(streams: 2)
        link.pump()
        #expect(link.server.streams == [1, 3, 5])
        #expect(link.tally.wait.count == 2 && link.tally.lag.max == 0)
    }

    @Test("A request that the session holds back when the limit falls has waited for its slot")
    func limitsOvertake() {
        let link = Link(streams: 2, serverStreams: 2)
        link.open()
        link.advance(to: 0)
        link.server.submitLimit(streams: 1)
        // The second is put on the connection before the news is heard, and cannot be written.
        link.take(to: 1)
        link.hear()
        link.pump()
        #expect(link.server.streams == [1])
        link.now = link.now + .milliseconds(20)
        link.server.answer(1, (":status", "200"))
        link.pump()
        #expect(link.server.streams == [1, 3])
        link.now = link.now + .milliseconds(5)
        link.server.answer(3, (":status", "200"))
        link.pump()
        #expect(link.tally.lag.max == 0 && link.tally.wait.count == 1)
        #expect(link.tally.wait.max >= 19_000_000, "nanoseconds")
    }

    @Test("What a GOAWAY has not looked at is refused, and not tried again")
    func refusals() {
        let link = Link()
        link.open()
        link.advance(to: 2)
        #expect(link.server.streams == [1, 3, 5])
        let frame: [UInt8] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
        frame.withBytes { link.generator.received(0, $0, at: link.now) }
        link.server.answer(1, (":status", "200"))
        link.pump()
        #expect(link.tally.outcomes == ["ok": 1, "refused": 2])
        #expect(link.tally.sent == 3 && link.server.streams == [1, 3, 5])
    }

    @Test("A call says how long it waits, and counts by its status")
    func calls() throws {
        let link = Link(.grpc, bodySize: 300, headers: [.init(name: "X-A", value: "b")])
        link.open()
        link.advance(to: 4)
        #expect(link.server.streams == [1, 3, 5, 7, 9])
        let request = try #require(link.server.requests[1])
        #expect(
            request.fields == [
                ":method": "POST", ":scheme": "http", ":authority": "echo",
                ":path": "/meshbench.Echo/Unary", "user-agent": "meshbench", "te": "trailers",
                "content-type": "application/grpc", "grpc-timeout": "100000u", "x-a": "b",
                "x-request-id": RequestIdentity.text(seed: link.seed, number: 0),
            ])
        // Five bytes of prefix; key and length of the payload.
        #expect(request.body == 5 + 3 + 300 && request.hasEnded)
        link.server.answer(1, trailer: "0")
        link.server.answer(3, trailer: "5")
        link.server.answer(5, (":status", "200"), ("grpc-status", "14"))
        link.server.answer(7, (":status", "403"))
        link.server.answer(9, trailer: "nonsense")
        link.pump()
        #expect(link.tally.outcomes == ["ok": 1, "error": 4])
        #expect(
            link.tally.grpc == [
                "OK": 1, "NOT_FOUND": 1, "UNAVAILABLE": 1, "PERMISSION_DENIED": 1, "UNKNOWN": 1,
            ])
        #expect(link.tally.statuses == ["200": 4, "403": 1])
    }

    @Test("A stream that is reset is one request's end, and no other's")
    func resets() {
        let link = Link()
        link.open()
        link.advance(to: 2)
        #expect(link.server.streams == [1, 3, 5])
        link.server.reset(1, .internalError)
        link.server.reset(5, .refusedStream)
        link.pump()
        link.server.answer(3, (":status", "200"))
        link.pump()
        #expect(link.tally.outcomes == ["ok": 1, "reset": 1, "refused": 1])
        #expect(link.asked == [.open(connection: 0, target: 0)])
    }

    @Test("A connection that is to end carries what is on it, and is replaced")
    func goaway() {
        let link = Link(streams: 2)
        link.open()
        link.advance(to: 2)
        #expect(link.server.streams == [1, 3])
        link.server.submitGoaway(.noError)
        link.pump()
        link.server.answer(1, (":status", "200"))
        link.pump()
        // Its place is free, and nobody is put there though one waits.
        #expect(link.server.streams == [1, 3])
        link.server.answer(3, (":status", "200"))
        link.pump()
        #expect(link.tally.outcomes == ["ok": 2])
        #expect(
            link.asked == [
                .open(connection: 0, target: 0), .close(connection: 0),
                .open(connection: 0, target: 0),
            ])
    }

    @Test("A request that is given up is cancelled, and its place serves the next")
    func timeouts() {
        let link = Link(streams: 1)
        link.open()
        link.advance(to: 1)
        #expect(link.server.streams == [1])
        link.advance(to: 100)
        #expect(link.server.requests[1]?.code == .cancel)
        #expect(link.server.streams == [1, 3])
        // An answer that crossed the reset is nobody's.
        link.server.answer(3, (":status", "200"))
        link.pump()
        #expect(link.tally.count(.timeout) == 1 && link.tally.count(.ok) == 1)
    }

    @Test("A body goes as far as the server's window lets it")
    func windows() {
        let link = Link(streams: 1, bodySize: 200_000)
        link.server.consumes = false
        link.open()
        link.advance(to: 0)
        #expect(link.server.requests[1]?.body == 65_535)
        link.server.consume(1, 65_535)
        link.pump()
        #expect(link.server.requests[1]?.body == 131_070)
        link.server.consumes = true
        link.server.consume(1, 65_535)
        link.pump()
        #expect(link.server.requests[1]?.body == 200_000)
        #expect(link.server.requests[1]?.fields["content-length"] == "200000")
        link.server.answer(1, (":status", "200"))
        link.pump()
        #expect(link.tally.outcomes == ["ok": 1])
    }

    @Test("An answer before the end of the request ends it")
    func earlyAnswers() {
        let link = Link(streams: 1, bodySize: 200_000)
        link.server.consumes = false
        link.open()
        link.advance(to: 1)
        link.server.answer(1, (":status", "413"))
        link.pump()
        #expect(link.tally.statuses == ["413": 1])
        #expect(link.server.requests[1]?.code == .cancel)
        #expect(link.server.streams == [1, 3])
    }

    @Test(
        "A server that breaks the protocol loses its connection",
        arguments: [
            // A frame that is too long; DATA on a stream that was never opened; a head of nonsense.
            [0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0, 0, 0, 9, 0],
            [0, 0, 3, 1, 5, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF],
        ] as [[UInt8]])
    func brokenFrames(bytes: [UInt8]) {
        let link = Link()
        link.open()
        link.advance(to: 0)
        bytes.withBytes { link.generator.received(0, $0, at: link.now) }
        #expect(link.tally.outcomes == ["malformed": 1])
        link.pump()
        #expect(link.asked == [.open(connection: 0, target: 0), .close(connection: 0)])
    }

    @Test("An answer that is no answer is its request's end alone")
    func malformedHeads() {
        let link = Link()
        link.open()
        link.advance(to: 1)
        link.server.answer(1, (":status", "999"))
        link.server.answer(3, (":status", "200"))
        link.pump()
        #expect(link.tally.outcomes == ["malformed": 1, "ok": 1])
    }

    @Test("A server that does not speak HTTP/2 is one that could not be opened")
    func otherProtocols() {
        let link = Link()
        link.advance(to: 0)
        link.generator.opened(0, at: link.now)
        let answer = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        Array(answer.utf8).withBytes { link.generator.received(0, $0, at: link.now) }
        link.pump()
        #expect(
            link.asked == [.open(connection: 0, target: 0), .refuse(connection: 0, .unanswered)])
        #expect(link.tally.outcomes == ["refused": 1])
    }
}
