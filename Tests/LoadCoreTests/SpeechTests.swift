import Base
import Model
import Stats
import Testing

@testable import LoadCore

/// What only connections with several requests, a greeting, or frames of their own show.
@Suite struct SpeechTests {
    private let start = Instant(nanoseconds: 1_000_000_000)

    private func generator(
        _ speech: LoadPlan.Speech, streams: Int = 1, bodySize: Int = 3,
        timeout: Duration = .milliseconds(100)
    ) -> Generator {
        let job = testJob(
            testPlan(
                connections: 1, timeout: timeout, request: RequestPlan(bodySize: bodySize),
                speech: speech, streams: streams))
        return Generator(job: job, thread: 0, messages: LoadMessages(job))
    }

    private func actions(_ generator: inout Generator) -> [LoadAction] {
        var all: [LoadAction] = []
        while let action = generator.nextAction() { all.append(action) }
        return all
    }

    /// Writes all that there is; returns it.
    private func write(_ generator: inout Generator, at now: Instant) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        while true {
            let bytes = generator.output(0, at: now)
            if bytes.count == 0 { return pieces }
            unsafe pieces.append(Array(bytes.raw))
            _ = generator.wrote(0, bytes.count)
        }
    }

    private func receive(_ generator: inout Generator, _ bytes: [UInt8], at now: Instant) {
        bytes.withBytes { generator.received(0, $0, at: now) }
    }

    @Test("TCP: a length and as many bytes, both ways, several requests at once in order")
    func tcp() {
        var generator = generator(.tcp, streams: 2)
        generator.prepare(at: start)
        generator.opened(0, at: start)
        generator.begin(at: start)
        _ = actions(&generator)
        var now = start
        for millisecond in 0..<3 {
            now = start + .milliseconds(Int64(millisecond))
            generator.advance(to: now, heard: now)
        }
        #expect(actions(&generator) == [.write(connection: 0)])
        let request: [UInt8] = [0, 0, 0, 3] + Array("abc".utf8)
        #expect(write(&generator, at: now) == [request, request])
        // One and a half answers; the third request goes out behind them.
        now = start + .milliseconds(3)
        receive(&generator, [0, 0, 0, 2, 1, 1, 0, 0], at: now)
        #expect(actions(&generator) == [.write(connection: 0)])
        #expect(write(&generator, at: now) == [request])
        receive(&generator, [0, 1, 9, 0, 0, 0, 0], at: now)
        let tally = generator.tallies()[0]
        #expect(tally.outcomes == ["ok": 3])
        #expect(tally.statuses.isEmpty)
        #expect(tally.sent == 3 && tally.wait.count == 1)
        // What nobody asked for.
        receive(&generator, [0], at: now)
        #expect(actions(&generator) == [.close(connection: 0)])
    }

    @Test("A request that was given up holds its place until its answer comes")
    func blockedPlaces() {
        var generator = generator(.tcp, streams: 2)
        generator.prepare(at: start)
        generator.opened(0, at: start)
        generator.begin(at: start)
        _ = actions(&generator)
        generator.advance(to: start, heard: start)
        _ = write(&generator, at: start)
        _ = actions(&generator)
        // The first times out, others wait in the second place and behind it.
        let late = start + .milliseconds(100)
        generator.advance(to: late, heard: late)
        _ = write(&generator, at: late)
        #expect(actions(&generator) == [.write(connection: 0)])
        let timedOut = generator.tallies()[0].count(.timeout)
        #expect(timedOut == 1)
        receive(&generator, [0, 0, 0, 0], at: late)
        #expect(generator.tallies()[0].count(.ok) == 0)
        receive(&generator, [0, 0, 0, 0], at: late)
        #expect(generator.tallies()[0].count(.ok) == 1)
        // When all places are held, the connection is of no use.
        _ = write(&generator, at: late)
        _ = actions(&generator)
        let later = late + .milliseconds(250)
        generator.advance(to: later, heard: later)
        #expect(actions(&generator).contains(.close(connection: 0)))
    }

    private func open(_ generator: inout Generator) -> String {
        generator.prepare(at: start)
        _ = actions(&generator)
        generator.opened(0, at: start)
        #expect(actions(&generator) == [.write(connection: 0)])
        let greeting = write(&generator, at: start)
        #expect(greeting.count == 1 && !generator.isSettled)
        return String(decoding: greeting.first ?? [], as: UTF8.self)
    }

    private func agreement(to greeting: String) -> [UInt8] {
        let accept = WebSocketOpening(seed: 42).accept
        return Array(
            ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Accept: \(accept)\r\n\r\n").utf8)
    }

    @Test("WebSocket: a handshake, then messages and their echoes; pings are answered")
    func webSocket() {
        var generator = generator(.websocket)
        let greeting = open(&generator)
        #expect(greeting.hasPrefix("GET / HTTP/1.1\r\n"))
        #expect(greeting.contains("sec-websocket-version: 13\r\n"))
        receive(&generator, agreement(to: greeting), at: start + .microseconds(30))
        #expect(generator.isSettled && generator.firstUnreachedTarget == nil)
        generator.begin(at: start)
        generator.advance(to: start, heard: start)
        #expect(actions(&generator) == [.write(connection: 0)])
        let message = write(&generator, at: start).first ?? []
        #expect(message.count == 2 + 4 + 3 && message[0] == 0x82 && message[1] == 0x83)
        let now = start + .microseconds(500)
        receive(&generator, [0x89, 0x02, 0x68, 0x69], at: now)
        #expect(actions(&generator) == [.write(connection: 0)])
        let pong = write(&generator, at: now).first ?? []
        #expect(pong.count == 2 + 4 + 2 && pong[0] == 0x8A && pong[1] == 0x82)
        #expect(pong[6] ^ pong[2] == 0x68 && pong[7] ^ pong[3] == 0x69)
        receive(&generator, [0x02, 0x01, 0x61, 0x80, 0x02, 0x62, 0x63], at: now)
        #expect(generator.tallies()[0].outcomes == ["ok": 1])
        let connect = generator.tallies()[0].connect.max
        #expect(connect >= 30_000)
    }

    @Test("A close while a message is under way is answered, and the message is lost")
    func webSocketClose() {
        var generator = generator(.websocket)
        let greeting = open(&generator)
        receive(&generator, agreement(to: greeting), at: start)
        generator.begin(at: start)
        generator.advance(to: start, heard: start)
        _ = write(&generator, at: start)
        _ = actions(&generator)
        receive(&generator, [0x88, 0x02, 0x03, 0xE9], at: start)
        #expect(actions(&generator) == [.write(connection: 0)])
        let close = write(&generator, at: start).first ?? []
        #expect(close.count == 8 && close[0] == 0x88)
        generator.closed(0, at: start, clean: true)
        #expect(generator.tallies()[0].outcomes == ["reset": 1])
    }

    @Test("A handshake that is refused refuses what waits for it")
    func webSocketRefused() {
        for answer in ["HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 101 S\r\n\r\n"] {
            var generator = generator(.websocket)
            _ = open(&generator)
            generator.begin(at: start)
            generator.advance(to: start, heard: start)
            receive(&generator, Array(answer.utf8), at: start)
            let refusal = answer.contains("503") ? HandshakeRefusal.status(503) : .unanswered
            #expect(actions(&generator) == [.refuse(connection: 0, refusal)])
            #expect(generator.tallies()[0].outcomes == ["refused": 1])
        }
    }

    @Test("One connection for each request: the churn of connections")
    func churn() {
        for speech in [LoadPlan.Speech.tcp, .websocket] {
            let plan = testPlan(connections: 4, requestsPerConnection: 1, speech: speech)
            let tally = Simulation(testJob(plan), ServerModel()).run()[0]
            #expect(tally.outcomes == ["ok": 1000])
            // The first four were open before the start.
            #expect(tally.connectionsOpened >= 1000)
        }
    }
}
