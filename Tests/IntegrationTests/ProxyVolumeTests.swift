import Base
import Posix
import Support
import Testing

/// Large bodies and many connections, and what they take. `scripts/bench` has the full measure.
@Suite struct ProxyVolumeTests {
    private static let blockSize = 1 << 20
    private static let block = [UInt8](repeating: 0x61, count: blockSize)
    /// One chunk of `blockSize` bytes on the wire.
    private static let chunk = Array("100000\r\n".utf8) + block + Array("\r\n".utf8)

    /// Sends a body of `blocks` blocks.
    private static func sendBody(
        on connection: RawConnection, blocks: Int, chunked: Bool
    ) throws(WireFailure) {
        for _ in 0..<blocks { try connection.send(chunked ? chunk : block) }
        if chunked { try connection.send("0\r\n\r\n") }
    }

    private static func wireSize(blocks: Int, chunked: Bool) -> Int {
        chunked ? blocks * chunk.count + 5 : blocks * blockSize
    }

    private static func framing(blocks: Int, chunked: Bool) -> String {
        chunked ? "transfer-encoding: chunked" : "content-length: \(blocks * blockSize)"
    }

    /// 256 MiB each way, and the proxy grows by no more than its buffers.
    @Test(arguments: [false, true])
    func largeBodiesTakeConstantMemory(chunked: Bool) throws {
        let blocks = 256
        let size = Self.wireSize(blocks: blocks, chunked: chunked)
        let framing = Self.framing(blocks: blocks, chunked: chunked)
        let server = try TestServer { call throws(WireFailure) in
            while true {
                let request = try call.connection.readHead()
                if request.method == "PUT" {
                    let count = try call.connection.discard(size)
                    try call.connection.send("HTTP/1.1 200 OK\r\nx-count: \(count)\r\n")
                    try call.connection.send("content-length: 0\r\n\r\n")
                } else if request.method == "DELETE" {
                    try call.connection.send("HTTP/1.1 204 No Content\r\n\r\n")
                } else {
                    try call.connection.send("HTTP/1.1 200 OK\r\n\(framing)\r\n\r\n")
                    try Self.sendBody(on: call.connection, blocks: blocks, chunked: chunked)
                }
            }
        }
        let proxy = try RunningProxy(to: server.address)
        #expect(try proxy.exchange("BAD\r\n\r\n").status == 400)
        let before = try #require(proxy.memory("VmHWM", in: "status"))
        let client = try proxy.connect()
        try client.send("PUT / HTTP/1.1\r\nhost: a\r\n\(framing)\r\n\r\n")
        try Self.sendBody(on: client, blocks: blocks, chunked: chunked)
        #expect(try client.readAnswer()["x-count"] == "\(size)")
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try client.readHead().status == 200)
        #expect(try client.discard(size) == size)
        // Both connections are in order afterwards.
        try client.send("DELETE / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try client.readAnswer().status == 204)
        let after = try #require(proxy.memory("VmHWM", in: "status"))
        #expect(after - before < 4096, "grew from \(before) to \(after) KiB")
    }

    @Test func idleConnectionsCostLittle() throws {
        let server = try TestServer.named("ok")
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: b}]
                clusters: [{name: b, endpoints: ["\(server.address)"]}]
                admin: 127.0.0.1:0
                """)
        let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
        #expect(try proxy.get("/").text == "ok")
        let before = try #require(proxy.memory("Pss"))
        let count = 400
        var clients: [RawConnection] = []
        for _ in 0..<count {
            let client = try proxy.connect()
            try client.send(request)
            clients.append(client)
        }
        for client in clients { #expect(try client.readAnswer().text == "ok") }
        // All have been served and wait for their next request; spare buffers go back within
        // seconds.
        let deadline = Clock.now() + RawConnection.patience
        var grown = Int.max
        repeat {
            grown = try #require(proxy.memory("Pss")) - before
            Clock.sleep(until: Clock.now() + .milliseconds(100))
        } while grown > 20 * count && Clock.now() < deadline
        #expect(grown <= 20 * count, "\(count) idle connections cost \(grown) KiB")
    }
}
