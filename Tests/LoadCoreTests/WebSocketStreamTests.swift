import Base
import Model
import Stats
import Testing
import Wire

@testable import LoadCore

/// A server of WebSockets over HTTP/2 that says on each what a test has it say.
private final class WebSocketServer: HTTP2Session {
    var out: [UInt8] = []
    /// By stream, in the order in which they came.
    var streams: [Int32] = []
    var heads: [Int32: [String: String]] = [:]
    var received: [Int32: [UInt8]] = [:]
    var ended: Set<Int32> = []
    var closed: [Int32: HTTP2Code] = [:]
    private var sending: [Int32: [UInt8]] = [:]
    private var ends: Set<Int32> = []
    private let fields = FieldList(capacity: 2, made: 16)

    init(streams: Int = 100, window: Int = 65_535, allows: Bool = true) {
        var settings = HTTP2Settings()
        settings.streams = streams
        settings.streamWindow = window
        settings.extendedConnect = allows
        super.init(server: true, settings)
    }

    override func hasRoom() -> Bool { true }
    override func write(_ bytes: Bytes) { unsafe out.append(contentsOf: bytes.raw) }

    override func headBegan(_ stream: Int32, tag: Int) {
        streams.append(stream)
        heads[stream] = [:]
        self.tag(stream, Int(stream))
    }

    override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        heads[stream]?[name.text] = value.text
        return true
    }

    override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) {
        unsafe received[stream, default: []].append(contentsOf: bytes.raw)
    }

    override func streamEnded(_ stream: Int32, tag: Int) { ended.insert(stream) }
    override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
        closed[stream] = code
    }

    func answer(_ stream: Int32, status: StaticString = "200", hasBody: Bool = true) {
        fields.removeAll()
        fields.add(":status", status)
        #expect(submitResponse(stream, fields, hasBody: hasBody))
    }

    func say(_ stream: Int32, _ bytes: [UInt8], ends: Bool = false) {
        sending[stream, default: []] += bytes
        if ends { self.ends.insert(stream) }
        resume(stream)
    }

    /// Gives back windows, so that as many bytes more may come.
    func use(_ stream: Int32, _ count: Int) { consume(stream, count) }

    override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
        let count = min(sending[stream]?.count ?? 0, limit)
        let isLast = ends.contains(stream)
        return count > 0 || isLast ? .bytes(count, isLast: isLast) : .nothing
    }

    override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
        write(header)
        out += sending[Int32(tag)]?.prefix(count) ?? []
        sending[Int32(tag)]?.removeFirst(count)
        return true
    }
}

/// One connection between a generator and that server.
private final class Link {
    var generator: Generator
    let server: WebSocketServer
    var now = Instant(nanoseconds: 1_000_000_000)
    var asked: [LoadAction] = []
    private var isConnected = false
    private let start: Instant

    /// A generator that has begun, with a message each millisecond.
    init(_ server: WebSocketServer = WebSocketServer(), streams: Int = 2, bodySize: Int = 3) {
        self.server = server
        let job = testJob(
            testPlan(
                connections: 1, timeout: .milliseconds(100),
                request: RequestPlan(bodySize: bodySize), speech: .websocketHTTP2,
                streams: streams))
        generator = Generator(job: job, thread: 0, messages: LoadMessages(job))
        start = now
        generator.prepare(at: now)
        generator.begin(at: now)
    }

    /// The socket is open, and the server grants what it was asked for.
    func open(granting: Bool = true) {
        isConnected = true
        generator.opened(0, at: now)
        pump()
        if granting { server.streams.forEach { server.answer($0) } }
        pump()
    }

    func advance(to milliseconds: Int64) {
        now = start + .milliseconds(milliseconds)
        generator.advance(to: now, heard: now)
        pump()
    }

    func say(_ stream: Int32, _ bytes: [UInt8], ends: Bool = false) {
        server.say(stream, bytes, ends: ends)
        pump()
    }

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
            let count = bytes.count > 1 ? bytes.count / 2 : 1
            _ = server.receive(bytes[0..<count])
            guard generator.wrote(0, count) else { return }
        }
    }

    var isSettled: Bool { generator.isSettled }
    var tally: LoadResult.PhaseTally { generator.tallies()[0] }
}

@Suite struct WebSocketStreamTests {
    private let echo: [UInt8] = [0x82, 0x03, 1, 2, 3]

    /// A masked frame's opcode and what it says.
    private func frame(_ bytes: [UInt8]) -> (opcode: UInt8, payload: [UInt8]) {
        guard bytes.count >= 6 else { return (0, []) }
        return (bytes[0], bytes[6...].enumerated().map { i, byte in byte ^ bytes[2 + i & 3] })
    }

    @Test("A connection is ready when every WebSocket on it is granted; each has one message")
    func messages() {
        let link = Link()
        link.open(granting: false)
        #expect(link.server.streams == [1, 3] && !link.isSettled)
        #expect(
            link.server.heads[1] == [
                ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http",
                ":authority": "echo", ":path": "/", "user-agent": "meshbench",
                "sec-websocket-version": "13",
            ])
        link.server.answer(1)
        link.pump()
        #expect(!link.isSettled)
        link.server.answer(3)
        link.pump()
        #expect(link.isSettled)
        for milliseconds in 0...2 { link.advance(to: Int64(milliseconds)) }
        // The third waits for a place.
        #expect(frame(link.server.received[1] ?? []) == (0x82, Array("abc".utf8)))
        #expect(link.server.received[1]?.count == 9 && link.server.received[3]?.count == 9)
        link.say(3, [0x89, 0x01, 0x21] + echo)
        let second = Array((link.server.received[3] ?? []).dropFirst(9))
        #expect(second.count == 7 + 9)
        // The pong, and the third message in the place that became free.
        #expect(frame(Array(second.prefix(7))) == (0x8A, [0x21]))
        #expect(frame(Array(second.dropFirst(7))) == (0x82, Array("abc".utf8)))
        let tally = link.tally
        #expect(tally.outcomes == ["ok": 1] && tally.statuses.isEmpty)
        #expect(tally.sent == 3 && tally.firstByte.count == 1 && tally.wait.count == 1)
        link.say(1, echo)
        link.say(3, echo)
        #expect(link.tally.outcomes == ["ok": 3])
        #expect(link.asked == [.open(connection: 0, target: 0)])
    }

    @Test("Without leave in the peer's SETTINGS nothing is asked for")
    func notAllowed() {
        let link = Link(WebSocketServer(allows: false))
        link.advance(to: 0)
        link.open()
        #expect(link.server.streams.isEmpty)
        #expect(
            link.asked == [
                .open(connection: 0, target: 0), .refuse(connection: 0, .extendedConnect),
            ])
        #expect(link.tally.outcomes == ["refused": 1])
    }

    @Test("One that is not granted refuses the connection")
    func refused() {
        let link = Link()
        link.advance(to: 0)
        link.open(granting: false)
        link.server.answer(1)
        link.server.answer(3, status: "403", hasBody: false)
        link.pump()
        #expect(link.asked.last == .refuse(connection: 0, .status(403)))
        #expect(link.tally.outcomes == ["refused": 1])
    }

    @Test("The server's bound of streams is kept")
    func bound() {
        let link = Link(WebSocketServer(streams: 3), streams: 8)
        link.open()
        #expect(link.server.streams == [1, 3, 5])
        for milliseconds in 0...9 { link.advance(to: Int64(milliseconds)) }
        #expect(link.tally.sent == 3)
    }

    @Test("A WebSocket that ends is replaced with its connection, behind what is under way")
    func ends() {
        let closing: [UInt8] = [0x88, 0x02, 0x03, 0xE9]
        for (bytes, ends, outcome) in [
            (closing, false, "reset"), (closing, true, "reset"), ([], true, "reset"),
            ([0xFF], false, "malformed"),
        ] as [([UInt8], Bool, String)] {
            let link = Link()
            link.open()
            link.advance(to: 0)
            link.advance(to: 1)
            link.say(1, bytes, ends: ends)
            #expect(link.tally.outcomes == [outcome: 1])
            #expect(link.asked.count == 1, "the other goes on")
            if outcome == "reset", !bytes.isEmpty {
                let said = frame(Array((link.server.received[1] ?? []).dropFirst(9)))
                #expect(said == (0x88, [0x03, 0xE9]) && link.server.ended.contains(1))
            } else {
                #expect(link.server.closed[1] != nil)
            }
            link.say(3, echo)
            #expect(link.tally.outcomes == [outcome: 1, "ok": 1])
            #expect(link.asked.contains(.close(connection: 0)))
        }
    }

    @Test("A message that was given up ends its connection behind what is under way on it")
    func blocked() {
        let link = Link()
        link.open()
        link.advance(to: 0)
        link.advance(to: 1)
        link.advance(to: 100)
        #expect(link.tally.outcomes == ["timeout": 1])
        #expect(!link.asked.contains(.close(connection: 0)))
        link.say(3, echo)
        #expect(link.tally.outcomes == ["timeout": 1, "ok": 1])
        #expect(link.asked.contains(.close(connection: 0)))
    }

    @Test(
        "A window that is closed holds up its own message alone, and counts as sent when it begins")
    func windows() {
        let link = Link(WebSocketServer(window: 20), bodySize: 14)
        link.open()
        // Twenty bytes each: the second on a stream finds the window closed.
        link.advance(to: 0)
        link.advance(to: 1)
        link.server.use(3, 20)
        link.say(1, echo)
        link.say(3, echo)
        for milliseconds in 2...4 { link.advance(to: Int64(milliseconds)) }
        #expect(link.server.received[1]?.count == 20 && link.server.received[3]?.count == 40)
        #expect(link.tally.outcomes == ["ok": 2] && link.tally.sent == 3)
        link.server.use(1, 20)
        link.pump()
        #expect(link.server.received[1]?.count == 40 && link.tally.sent == 4)
    }

    @Test("An answer that nobody asked for breaks the protocol")
    func unasked() {
        let link = Link()
        link.open()
        link.say(1, echo)
        #expect(link.server.closed[1] == .protocolError || link.asked.count > 1)
        #expect(link.tally.outcomes.isEmpty)
    }
}
