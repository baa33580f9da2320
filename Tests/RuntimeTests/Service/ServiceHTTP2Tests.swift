import Base
import Support
import Testing
import Wire

@testable import Runtime

/// A client of HTTP/2 beside a bench; the library is the same, the side is the other.
private final class BenchClient: HTTP2Session {
    struct Answer: Equatable {
        var fields: [String: String] = [:]
        var body: [UInt8] = []
        var hasEnded = false
        var code: HTTP2Code?

        var status: String? { fields[":status"] }
        var text: String { String(decoding: body, as: UTF8.self) }
    }

    let bench: ServiceBench
    var answers: [Int32: Answer] = [:]
    /// Of request bodies, what is still to be sent, by stream.
    var bodies: [Int: [UInt8]] = [:]
    var goaway: HTTP2Code?
    /// Whether windows are given back.
    var reads = true
    /// Whether bodies are held back.
    var stalls = false
    private var out: [UInt8] = []
    private let list = FieldList(capacity: 20, made: 100_000)

    init(_ limits: ServiceLimits = ServiceLimits()) {
        bench = ServiceBench(limits, agreed: "h2")
        super.init(server: false, HTTP2Settings())
    }

    @discardableResult
    func ask(_ path: String, _ method: String = "GET", body: [UInt8]? = nil, more: String? = nil)
        -> Int32
    {
        list.removeAll()
        func add(_ name: String, _ value: String) {
            Array(name.utf8).withBytes { name in
                Array(value.utf8).withBytes { list.add(copying: name, $0) }
            }
        }
        add(":method", method)
        add(":scheme", "http")
        add(":path", path)
        add(":authority", "a")
        if let more { add("x-more", more) }
        let tag = bodies.count
        bodies[tag] = body ?? []
        let stream = submitRequest(list, tag: tag, hasBody: body != nil) ?? -1
        answers[stream] = Answer()
        return stream
    }

    /// Carries bytes both ways until nothing moves.
    func run() {
        for _ in 0..<1000 {
            _ = pull()
            let given = out
            out = []
            if !given.isEmpty { bench.say(given) }
            bench.step()
            let taken = bench.sent
            bench.sent = []
            if !taken.isEmpty { _ = taken.withBytes { receive($0) } }
            if given.isEmpty, taken.isEmpty { return }
        }
    }

    override func hasRoom() -> Bool { out.count < 1 << 20 }
    override func write(_ bytes: Bytes) { unsafe out.append(contentsOf: bytes.raw) }
    override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
        if stalls { return .nothing }
        let left = bodies[tag]?.count ?? 0
        return .bytes(min(left, limit), isLast: left <= limit)
    }
    override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
        unsafe out.append(contentsOf: header.raw)
        out += bodies[tag]?.prefix(count) ?? []
        bodies[tag]?.removeFirst(count)
        return true
    }
    override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        answers[stream]?.fields[name.text] = value.text
        return true
    }
    override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) {
        unsafe answers[stream]?.body.append(contentsOf: bytes.raw)
        if reads { consume(stream, bytes.count) }
    }
    override func streamEnded(_ stream: Int32, tag: Int) { answers[stream]?.hasEnded = true }
    override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
        answers[stream]?.code = code
    }
    override func goawayReceived(last: Int32, _ code: HTTP2Code) { goaway = code }
}

@Suite struct ServiceHTTP2Tests {
    @Test func requestsAreAnsweredSideBySide() {
        let client = BenchClient()
        let echo = client.ask("/echo?x=1", "POST", body: Array("hello".utf8))
        let big = client.ask("/big?size=300000")
        let head = client.ask("/big?size=300000", "HEAD")
        let none = client.ask("/nowhere")
        let bad = client.ask("/%zz")
        client.run()
        #expect(client.answers[echo]?.status == "200")
        #expect(client.answers[echo]?.text == "hello")
        #expect(client.answers[echo]?.fields["x-method"] == "POST")
        #expect(client.answers[echo]?.fields["date"] == "Thu, 01 Jan 1970 00:16:40 GMT")
        #expect(client.answers[big]?.body.count == 300_000)
        #expect(client.answers[head]?.fields["content-length"] == "300000")
        #expect(client.answers[head]?.body == [])
        #expect(client.answers[none]?.status == "404")
        #expect(client.answers[bad]?.status == "400")
        #expect(client.answers.values.allSatisfy { $0.hasEnded && $0.code == .noError })
        #expect(client.bench.handler.requests.allSatisfy { $0.speech == .http2 })
        #expect(client.bench.handler.requests[0]["host"] == "a")
        #expect(client.bench.leaves())
    }

    @Test func bodiesAreBounded() {
        var limits = ServiceLimits()
        limits.bodyBytes = 100_000
        limits.bodiesBytes = 250_000
        let client = BenchClient(limits)
        let fits = client.ask("/echo", "PUT", body: [UInt8](repeating: 1, count: 100_000))
        client.run()
        let large = client.ask("/echo", "PUT", body: [UInt8](repeating: 1, count: 400_000))
        client.run()
        #expect(client.answers[fits]?.body.count == 100_000)
        #expect(client.answers[large]?.status == "413")
        // The rest of it is let come.
        #expect(client.answers[large]?.code == .noError)
        #expect(client.bench.scope.bodiesBytes == 0)
        #expect(client.answers[client.ask("/empty")]?.code == nil)
        client.run()
        #expect(client.answers.values.contains { $0.status == "204" })
    }

    @Test func requestsThatDoNotComeAreGivenUp() {
        let client = BenchClient()
        // A client that promises a body and never sends it.
        let list = FieldList(capacity: 4, made: 10)
        list.add(":method", "POST")
        list.add(":scheme", "http")
        list.add(":path", "/echo")
        list.add(":authority", "a")
        let stream = client.submitRequest(list, tag: 77, hasBody: true) ?? -1
        client.answers[stream] = .init()
        client.bodies[77] = nil
        client.stalls = true
        client.run()
        client.bench.pass(.seconds(30))
        client.run()
        #expect(client.answers[stream]?.status == "408")
        client.bench.pass(.seconds(30))
        client.run()
        #expect(client.answers[stream]?.code == .noError)
        #expect(client.bench.ending == nil)
    }

    @Test func watchesGoOnBesideOtherRequests() {
        let client = BenchClient()
        let watch = client.ask("/watch")
        client.run()
        #expect(client.answers[watch]?.status == "200")
        client.bench.handler.watches[0].send(Array("one".utf8))
        client.run()
        let other = client.ask("/empty")
        client.run()
        #expect(client.answers[other]?.status == "204")
        #expect(client.answers[watch]?.text == "one\n")
        client.bench.pass(.seconds(15))
        client.run()
        #expect(client.answers[watch]?.text == "one\n\n")
        client.bench.handler.watches[0].send(Array("two".utf8))
        client.bench.handler.watches[0].end()
        client.run()
        client.bench.turn()
        #expect(client.answers[watch]?.text == "one\n\ntwo\n")
        #expect(client.answers[watch]?.hasEnded == true)
        #expect(client.bench.handler.endings == [.finished])
        #expect(client.bench.leaves())
    }

    /// A stalled stream ends alone: the connection serves on.
    @Test func aStreamThatStallsIsCutOff() {
        let client = BenchClient()
        client.reads = false
        client.bench.handler.backlog = 20_000
        let watch = client.ask("/watch")
        client.run()
        let line = [UInt8](repeating: 7, count: 9_999)
        var lines = 0
        while lines < 100, client.bench.handler.watches[0].send(line) {
            lines += 1
            client.run()
        }
        // A window of 65,535 bytes, and the backlog.
        #expect(lines == 8)
        client.run()
        client.bench.turn()
        #expect(client.answers[watch]?.code == .enhanceYourCalm)
        #expect(client.bench.handler.endings == [.slow])
        let other = client.ask("/empty")
        client.run()
        #expect(client.answers[other]?.status == "204")
        #expect(client.bench.leaves())
    }

    @Test func anAnswerThatIsNotTakenIsGivenUp() {
        let client = BenchClient()
        client.reads = false
        let big = client.ask("/big?size=100000")
        client.run()
        client.bench.pass(.seconds(29))
        client.run()
        #expect(client.answers[big]?.code == nil)
        client.bench.pass(.seconds(1))
        client.run()
        #expect(client.answers[big]?.code == .enhanceYourCalm)
        #expect(client.bench.ending == nil)
    }

    @Test func whoGivesUpAgainAndAgainIsCutOff() {
        let client = BenchClient()
        client.run()
        for _ in 0..<400 {
            let stream = client.ask("/watch")
            client.run()
            client.reset(stream, .cancel)
            client.run()
            client.bench.turn()
        }
        #expect(client.goaway == .enhanceYourCalm)
        #expect(client.bench.ending == .inOrder)
        #expect(client.bench.handler.requests.count < 300)
        #expect(client.bench.leaves())
    }

    @Test func headsAreBounded() {
        let client = BenchClient()
        let long = client.ask("/echo", more: String(repeating: "x", count: 40_000))
        client.run()
        #expect(client.answers[long]?.status == "431")
        #expect(client.bench.ending == nil)
    }

    @Test func streamsAreBounded() {
        var limits = ServiceLimits()
        limits.streams = 3
        let client = BenchClient(limits)
        client.run()
        for _ in 0..<5 { client.ask("/watch") }
        client.run()
        #expect(client.bench.handler.watches.count == 3)
        client.bench.handler.watches[0].end()
        client.run()
        #expect(client.bench.handler.watches.count == 4)
        #expect(client.bench.leaves())
    }

    @Test func idleConnectionsAreToldAndEnd() {
        let client = BenchClient()
        client.ask("/empty")
        client.run()
        client.bench.pass(.seconds(59))
        client.run()
        #expect(client.goaway == nil)
        client.bench.pass(.seconds(1))
        client.run()
        #expect(client.goaway == .noError)
        #expect(client.bench.ending == .inOrder)
    }

    @Test func watchesEndInOrderWhenTheServiceStops() {
        let client = BenchClient()
        let watch = client.ask("/watch")
        client.run()
        client.bench.scope.isDraining = true
        client.bench.connection.speech.drain()
        client.run()
        client.bench.turn()
        #expect(client.answers[watch]?.hasEnded == true)
        #expect(client.bench.handler.endings == [.stopped])
        #expect(client.goaway == .noError)
        #expect(client.bench.ending == .inOrder)
    }

    // MARK: Held answers

    @Test func whatIsHeldIsAnsweredWhole() {
        let client = BenchClient()
        let held = client.ask("/held")
        client.run()
        client.bench.pass(.seconds(20))
        client.run()
        #expect(client.answers[held]?.status == nil)
        let other = client.ask("/empty")
        client.run()
        #expect(client.answers[other]?.status == "204")
        client.bench.handler.watches[0].answer(200, body: Array("late".utf8))
        client.run()
        client.bench.turn()
        #expect(client.answers[held]?.status == "200")
        #expect(client.answers[held]?.text == "late")
        #expect(client.answers[held]?.hasEnded == true)
        #expect(client.bench.handler.endings == [.finished])
        #expect(client.bench.leaves())
    }

    @Test func whatIsHeldEndsWithItsService() {
        let client = BenchClient()
        client.bench.handler.onWatch = {
            if client.bench.handler.watches.count == 1 { $0.answer(304) }
        }
        let first = client.ask("/held")
        let second = client.ask("/held")
        client.run()
        #expect(client.answers[first]?.status == "304")
        client.bench.scope.isDraining = true
        client.bench.connection.speech.drain()
        client.run()
        client.bench.turn()
        #expect(client.answers[second]?.status == "503")
        #expect(client.bench.handler.endings == [.finished, .stopped])
    }
}
