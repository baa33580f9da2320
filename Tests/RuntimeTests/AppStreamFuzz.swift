import Base
import Model
import Posix
import Support
import Testing

@testable import Runtime

/// Frames of every kind, most of them out of place, for a workload that must go on serving. One
/// connection a step.
@Suite struct AppStreamFuzz {
    @Test func whateverComesTheWorkloadServes() throws {
        let budget = FuzzBudget.current(seed: 5, steps: 150)
        if let failure = try Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("AppStreamFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) throws -> String? {
        let server = try AppServer(
            AppConfiguration(listen: "127.0.0.1:0", behaviour: .init(size: 100_000)))
        defer { server.stop() }
        var random = SeededRandom(seed: seed)
        for step in 0..<steps {
            let client = try AppClient(server.address)
            client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            // Mostly begun as it should be, so that more than the first frame is looked at.
            if random.below(8) > 0 { client.send(frame(4, 0, 0, [])) }
            var bytes: [UInt8] = []
            for _ in 0..<random.below(30) { bytes += Self.frame(&random) }
            if random.below(4) == 0 { bytes.removeLast(random.below(bytes.count + 1)) }
            client.send(bytes)
            if random.below(2) == 0 { client.endSending() }
            if random.below(4) == 0 { client.reset() }
            if step % 10 == 9 {
                let other = try AppClient(server.address)
                other.send("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
                guard other.answer()?.status == 200 else { return "dead behind step \(step)" }
            }
        }
        // Whatever was under way has ended with its connection.
        let observer = try AppClient(server.address)
        let deadline = Clock.now() + .seconds(20)
        while Clock.now() < deadline {
            observer.send("GET /app/stats HTTP/1.1\r\nhost: a\r\n\r\n")
            guard let stats = observer.answer()?.text else { return "no counters" }
            if stats.contains("\"now\":0,") { return nil }
        }
        return "requests that never end"
    }

    private static func frame(
        _ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8], claims: Int? = nil
    ) -> [UInt8] {
        let count = claims ?? payload.count
        return [UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags]
            + [24, 16, 8, 0].map { UInt8(stream >> $0 & 255) } + payload
    }

    private static func frame(_ random: inout SeededRandom) -> [UInt8] {
        let stream = UInt32(random.below(5) > 0 ? 2 * random.below(6) + 1 : random.below(20))
        let flags: UInt8 = [0, 1, 4, 5, 8, 0x20, 0xFF][random.below(7)]
        switch random.below(10) {
        case 0...3: return frame(1, random.below(4) > 0 ? flags | 4 : flags, stream, head(&random))
        case 4...5:
            // Messages of gRPC, whole or not.
            if random.below(2) == 0 { return frame(0, flags & ~8, stream, webSocket(&random)) }
            let size = random.below(40)
            var message: [UInt8] = [0, 0, 0, 0, UInt8(size)]
            message += (0..<size).map { _ in UInt8(random.below(256)) }
            if random.below(3) == 0 { message[random.below(5)] = UInt8(random.below(256)) }
            return frame(0, flags & ~8, stream, message)
        case 6: return frame(3, 0, stream, [0, 0, 0, UInt8(random.below(16))])
        case 7: return frame(8, 0, random.below(2) == 0 ? 0 : stream, [0, 0, 0x7F, 0xFF])
        default:
            let payload = (0..<random.below(20)).map { _ in UInt8(random.below(256)) }
            return frame(
                UInt8(random.below(11)), flags, stream, payload,
                claims: random.below(10) == 0 ? random.below(70_000) : nil)
        }
    }

    /// Frames of a WebSocket, whole or not.
    private static func webSocket(_ random: inout SeededRandom) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0...random.below(3) {
            let opcode = [0x81, 0x82, 0x82, 0x01, 0x80, 0x89, 0x8A, 0x88][random.below(8)] as UInt8
            let size = random.below(opcode == 0x88 ? 3 : 40)
            bytes += [opcode, 0x80 | UInt8(size), 0, 0, 0, 0]
            bytes += (0..<size).map { _ in UInt8(random.below(128)) }
        }
        if random.below(4) == 0 { bytes.removeLast(random.below(bytes.count)) }
        if random.below(8) == 0, !bytes.isEmpty {
            bytes[random.below(bytes.count)] = UInt8(random.below(256))
        }
        return bytes
    }

    /// A head without compression: a request, a call, or neither.
    private static func head(_ random: inout SeededRandom) -> [UInt8] {
        func field(_ name: String, _ value: String) -> [UInt8] {
            [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)]
                + Array(value.utf8)
        }
        let paths = [
            "/", "/echo", "/?size=5MiB", "/?delay=10ms", "/meshbench.Echo/Unary",
            "/meshbench.Echo/ServerStream", "/meshbench.Echo/ClientStream",
            "/meshbench.Echo/BidiStream", "/grpc.health.v1.Health/Check", "/a.B/C",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "", "*",
        ]
        let methods = ["GET", "POST", "POST", "HEAD", "CONNECT", "CONNECT", ""]
        let method = methods[random.below(methods.count)]
        var bytes = field(":method", method)
        if random.below(12) > 0 { bytes += field(":scheme", "http") }
        // Mostly where it may stand.
        if random.below(method == "CONNECT" ? 4 : 40) == (method == "CONNECT" ? 0 : 1) {
            bytes += field(":protocol", ["other", ""][random.below(2)])
        } else if method == "CONNECT", random.below(8) > 0 {
            bytes += field(":protocol", "websocket")
        }
        if random.below(10) > 0 { bytes += field(":authority", "a") }
        if random.below(12) > 0 { bytes += field(":path", paths[random.below(paths.count)]) }
        if method == "CONNECT", random.below(8) > 0 {
            bytes += field("sec-websocket-version", "13")
        }
        if random.below(2) == 0 { bytes += field("content-type", "application/grpc") }
        let timeouts = ["1m", "1n", "x"]
        if random.below(4) == 0 { bytes += field("grpc-timeout", timeouts[random.below(3)]) }
        if random.below(6) == 0 { bytes += field("x-app-status", "503") }
        if random.below(6) == 0 { bytes += field("content-length", "\(random.below(50))") }
        if random.below(8) == 0 { bytes += field("expect", "100-continue") }
        if random.below(8) == 0 { bytes[random.below(bytes.count)] = UInt8(random.below(256)) }
        return bytes
    }
}
