import Base
import Support
import Testing

@testable import Wire

/// Two sessions back to back, in memory.
@Suite struct HTTP2SessionTests {
    /// Keeps what it hears; sends the bytes of `bodies`, whose place is the stream's tag.
    private final class Peer: HTTP2Session {
        var output: [UInt8] = []
        /// Bytes that may be written; nil: any number. Each look at it lets one frame through.
        var room: Int?
        private var mayWrite = false
        var overran = false
        var events: [String] = []
        var bodies: [Int: [UInt8]] = [:]
        var holdsBack = false
        /// Says at every request that it is to be the last.
        var goesAway = false

        override func hasRoom() -> Bool {
            mayWrite = room.map { $0 >= 16_393 } ?? true
            return mayWrite
        }

        private func take(_ count: Int) {
            if !mayWrite { overran = true }
            mayWrite = false
            if let room { self.room = room - count }
        }

        override func write(_ bytes: Bytes) {
            take(bytes.count)
            unsafe output += [UInt8](bytes.raw)
        }

        override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
            let count = min(limit, bodies[tag]?.count ?? 0)
            guard count == bodies[tag]?.count else { return .bytes(count, isLast: false) }
            return .bytes(count, isLast: true)
        }

        override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
            guard hasRoom() else { return false }
            take(9 + count)
            unsafe output += [UInt8](header.raw)
            output += bodies[tag]?.prefix(count) ?? []
            bodies[tag]?.removeFirst(count)
            return true
        }

        override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
            unsafe events.append(
                "\(stream) \(text([UInt8](name.raw))): \(text([UInt8](value.raw)))")
            return true
        }

        override func headEnded(_ stream: Int32, tag: Int, endsStream: Bool) {
            events.append("\(stream) head \(tag)")
            if isServer, tag < 0 { self.tag(stream, Int(stream) * 10) }
        }

        override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) {
            events.append("\(stream) data \(bytes.count)")
            if !holdsBack { consume(stream, bytes.count) }
        }

        override func streamEnded(_ stream: Int32, tag: Int) {
            events.append("\(stream) ended")
            if goesAway { submitGoaway(.noError) }
        }
        override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
            events.append("\(stream) closed \(code)")
        }
        override func goawayReceived(last: Int32, _ code: HTTP2Code) {
            events.append("goaway \(last) \(code)")
        }
        override func pingAnswered(_ mark: UInt8) { events.append("pong \(mark)") }
    }

    private let client = Peer(server: false, HTTP2Settings())
    private let server = Peer(server: true, HTTP2Settings())

    /// Carries bytes both ways until there are none.
    private func exchange() {
        repeat {
            _ = client.pull()
            let request = client.output
            client.output = []
            _ = request.withBytes { server.receive($0) }
            _ = server.pull()
            let answer = server.output
            server.output = []
            _ = answer.withBytes { client.receive($0) }
            if request.isEmpty, answer.isEmpty { return }
        } while true
    }

    private func list(_ fields: [(StaticString, StaticString)]) -> FieldList {
        let list = FieldList(capacity: 8, made: 64)
        for (name, value) in fields { list.add(name, value) }
        return list
    }

    private var get: FieldList {
        list([(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")])
    }

    @Test func messagesPass() {
        exchange()
        client.bodies[7] = Array(repeating: 1, count: 20_000)
        #expect(client.submitRequest(get, tag: 7, hasBody: true) == 1)
        exchange()
        #expect(
            server.events == [
                "1 :method: GET", "1 :scheme: http", "1 :authority: a", "1 :path: /", "1 head -1",
                "1 data 16384", "1 data 3616", "1 ended",
            ])
        server.bodies[10] = [1, 2, 3]
        #expect(server.submitResponse(1, list([(":status", "200")]), hasBody: true))
        exchange()
        #expect(
            client.events == [
                "1 :status: 200", "1 head 7", "1 data 3", "1 ended", "1 closed noError",
            ])
        #expect(server.events.last == "1 closed noError")
        client.submitPing(7)
        exchange()
        #expect(client.events.last == "pong 7")
    }

    /// A second GOAWAY that named a later stream would be an error (RFC 9113, 6.8), and a stream
    /// that is served without being named would be sent again.
    @Test func theLastStreamIsNamedOnceAndServed() {
        exchange()
        server.goesAway = true
        for tag in 1...2 { _ = client.submitRequest(get, tag: tag, hasBody: false) }
        exchange()
        #expect(client.events == ["goaway 3 noError"])
        for stream in [1, 3] as [Int32] {
            #expect(server.submitResponse(stream, list([(":status", "200")]), hasBody: false))
        }
        exchange()
        #expect(client.events.filter { $0.hasSuffix("closed noError") }.count == 2)
        #expect(client.failure == nil && client.isDone && server.isDone)
    }

    /// While the GOAWAY waits for room behind other frames a further stream comes.
    @Test func whatTheLastStreamDoesNotNameIsNotLetIn() {
        exchange()
        server.goesAway = true
        _ = client.submitRequest(get, tag: 1, hasBody: false)
        _ = client.pull()
        _ = client.output.withBytes { server.receive($0) }
        client.output = []
        #expect(server.letsIn(1) && server.letsIn(3))
        #expect(server.submitResponse(1, list([(":status", "200")]), hasBody: false))
        // Room for the answer alone.
        server.room = 16_393
        _ = server.pull()
        #expect(server.letsIn(1) && !server.letsIn(3))
    }

    /// Whoever has no room is handed nothing, and goes on where it stopped.
    @Test func roomIsAskedForBeforeEveryFrame() {
        exchange()
        server.room = 0
        for tag in 1...3 {
            client.bodies[tag] = []
            _ = client.submitRequest(get, tag: tag, hasBody: false)
        }
        exchange()
        for stream in [1, 3, 5] as [Int32] {
            server.bodies[Int(stream) * 10] = Array(repeating: 1, count: 15_000)
            #expect(server.submitResponse(stream, list([(":status", "200")]), hasBody: true))
        }
        for _ in 0..<40 {
            server.room = 16_393
            exchange()
        }
        #expect(!server.overran)
        #expect(client.events.filter { $0.hasSuffix("closed noError") }.count == 3)
    }

    @Test func aWindowIsGivenBackAsItsBytesAreUsed() {
        exchange()
        server.holdsBack = true
        client.bodies[1] = Array(repeating: 1, count: 200_000)
        _ = client.submitRequest(get, tag: 1, hasBody: true)
        exchange()
        #expect(client.bodies[1]?.count == 200_000 - 65_535)
        // Another stream goes on.
        client.bodies[2] = Array(repeating: 1, count: 60_000)
        _ = client.submitRequest(get, tag: 2, hasBody: true)
        exchange()
        #expect(client.bodies[2]?.isEmpty == true)
        server.consume(1, 65_535)
        exchange()
        #expect(client.bodies[1]?.count == 200_000 - 2 * 65_535)
    }

    @Test func streamsThatWerePassedOverAreNotOpenedLater() {
        exchange()
        // A head by number: `:method GET`, `:scheme http`, `:path /`, and `:authority a`.
        func head(_ stream: UInt8) -> [UInt8] {
            [0, 0, 6, 1, 5, 0, 0, 0, stream, 0x82, 0x86, 0x84, 0x41, 1, 0x61]
        }
        #expect(head(5).withBytes { server.receive($0) } == nil)
        // Behind the end of a stream it may have crossed that: it is passed over.
        server.reset(5, .cancel)
        _ = server.pull()
        #expect(head(5).withBytes { server.receive($0) } == nil)
        #expect(head(3).withBytes { server.receive($0) } == .broken)
    }

    @Test func aLetGoStreamIsNotHeardOf() {
        exchange()
        client.bodies[1] = Array(repeating: 1, count: 100)
        _ = client.submitRequest(get, tag: 1, hasBody: true)
        exchange()
        server.events = []
        server.tag(1, -1)
        client.reset(1, .cancel)
        exchange()
        #expect(server.events.isEmpty)
        server.submitGoaway(.enhanceYourCalm)
        exchange()
        #expect(client.events.last == "goaway 1 enhanceYourCalm")
        // Nothing is asked any more.
        _ = client.submitRequest(get, tag: 2, hasBody: false)
        exchange()
        #expect(server.events.isEmpty)
    }

    @Test func linesBecomeFields() {
        let lines = Array(
            "X-A: 1\r\ny:\r\nz: \t a b \t\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nupgrade: x\r\n"
                .utf8)
        exchange()
        client.bodies[1] = []
        _ = client.submitRequest(get, tag: 1, hasBody: false)
        exchange()
        let fields = FieldList(capacity: 4, made: 16)
        fields.add(":status", decimal: 200)
        lines.withBytes {
            fields.add(lines: $0)
            #expect(fields.count == 4 && !fields.overflowed)
            #expect(server.submitResponse(1, fields, hasBody: false))
        }
        exchange()
        #expect(
            client.events.prefix(4) == ["1 :status: 200", "1 x-a: 1", "1 y: ", "1 z: a b"])
        fields.add("x", "y")
        #expect(fields.overflowed)
        fields.removeAll()
        fields.add("x") { $0.append("0123456789abcdefg") }
        #expect(fields.overflowed && fields.count == 0)
    }
}
