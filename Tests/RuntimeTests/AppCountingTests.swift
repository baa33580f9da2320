// When the workload counts a request as ended. Both ends of the connection are in this process, so
// that the test can hold the server within the very call that hands the kernel the last byte.

import Base
import Glibc
import Model
import Posix
import Support
import Testing

@testable import Runtime

@Suite struct AppCountingTests {
    /// The request has been sent while the worker stood still: its connection still waits in the
    /// listener's queue when the worker is told to stop.
    @Test("A request on a connection that was not accepted yet is answered when it stops")
    func drainingTakesTheQueue() throws {
        let server = try AppServer(AppConfiguration(listen: "127.0.0.1:0"))
        let staller = try AppClient(server.address)
        staller.send("GET /app/stall?for=300ms HTTP/1.1\r\nhost: test\r\n\r\n")
        // More than are accepted in one turn, all of whose requests are unread; and an idle one.
        var clients: [AppClient] = []
        for _ in 0..<150 { clients.append(try AppClient(server.address)) }
        for client in clients { client.send("GET /?size=5 HTTP/1.1\r\nhost: test\r\n\r\n") }
        let idle = try AppClient(server.address)
        server.stop()
        #expect(try #require(staller.answer()).status == 200)
        for client in clients {
            #expect(try #require(client.answer()).body.count == 5)
            #expect(client.isAtEnd())
        }
        #expect(idle.isAtEnd())
    }

    @Test("The most at once is that since it was asked last")
    func peaksBeginAnew() {
        let counters = AppCounters()
        for _ in 0..<3 { counters.begin(attempt: 0) }
        counters.end(status: 200)
        #expect(counters.takePeak() == 3 && counters.takePeak() == 2)
        counters.end(status: 200)
        counters.end(status: 200)
        #expect(counters.takePeak() == 2 && counters.takePeak() == 0)
        counters.begin(attempt: 0)
        #expect(counters.json(name: "a").contains("\"concurrency\":{\"now\":1,\"max\":1}"))
        #expect(counters.json(name: "a", peak: 7).contains("\"max\":7}"))
    }

    @Test("Buffers that nobody needs any more give their memory back")
    func buffersAreTrimmed() throws {
        let server = try AppServer(
            AppConfiguration(listen: "127.0.0.1:0", behaviour: .init(size: 1)))
        defer { server.stop() }
        let buffers = server.workers[0].buffers
        func resident() -> Int {
            (0..<200).count { buffer in
                var page: UInt8 = 0
                let memory = unsafe buffers.memory(Int32(buffer)).baseAddress
                return unsafe mincore(memory, 4096, &page) == 0 && page & 1 == 1
            }
        }
        // Each holds a buffer with a part of a head; then none does.
        var clients: [AppClient] = []
        for _ in 0..<100 { clients.append(try AppClient(server.address)) }
        for client in clients { client.send("GET / HTTP/1.1\r\n") }
        #expect(Self.becomes { resident() >= 100 })
        for client in clients { client.send("host: test\r\n\r\n") }
        for client in clients { #expect(try #require(client.answer()).status == 200) }
        #expect(Self.becomes { resident() <= AppWorker.spareBuffers })
    }

    /// The server's socket of a client's connection.
    private static func peer(of client: Int32) throws -> Int32 {
        let address = try Socket.localAddress(of: client)
        return try #require(
            (0..<4096).first { (try? Socket.peerAddress(of: $0)) == address }, "no such socket")
    }

    private static func set(_ socket: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        unsafe setsockopt(socket, SOL_SOCKET, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Looks again and again, for at most 20 s.
    private static func becomes(_ condition: () -> Bool) -> Bool {
        let deadline = Clock.now() + .seconds(20)
        while Clock.now() < deadline {
            if condition() { return true }
            sched_yield()
        }
        return false
    }

    @Test("A request has ended before its client can have the last byte")
    func endIsCountedFirst() throws {
        let server = try AppServer(
            AppConfiguration(listen: "127.0.0.1:0", behaviour: .init(size: 1 << 17)))
        defer { server.stop() }
        let counters = server.workers[0].counters
        let client = try AppClient(server.address)
        client.send("GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n")
        #expect(try #require(client.answer()).status == 200)

        // One call offers all of the answer, and now stays in the kernel until the client reads.
        let socket = try Self.peer(of: client.socket)
        Self.set(socket, SO_SNDBUF, 4096)
        Self.set(client.socket, SO_RCVBUF, 4096)
        _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) & ~O_NONBLOCK)
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        #expect(
            Self.becomes {
                let text = counters.json(name: "")
                return text.contains("\"requests\":1,") && text.contains("\"now\":0,\"max\":1")
            }, "\(counters.json(name: ""))")
        #expect(counters.json(name: "").contains("\"status\":{\"200\":1}"))
        Self.set(socket, SO_SNDBUF, 1 << 20)
        Self.set(client.socket, SO_RCVBUF, 1 << 20)
        #expect(try #require(client.answer()).body.count == 1 << 17)
    }

    @Test("A request whose last byte the kernel did not take goes on")
    func endIsTakenBack() throws {
        let server = try AppServer(
            AppConfiguration(listen: "127.0.0.1:0", behaviour: .init(size: 1 << 17)))
        defer { server.stop() }
        let counters = server.workers[0].counters
        let client = try AppClient(server.address)
        client.send("GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n")
        #expect(try #require(client.answer()).status == 200)
        let socket = try Self.peer(of: client.socket)
        Self.set(socket, SO_SNDBUF, 4096)
        Self.set(client.socket, SO_RCVBUF, 4096)
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        // The first bytes are here, so the call has come back short, or is about to.
        #expect(Self.becomes { counters.json(name: "").contains("\"requests\":1,") })
        #expect(Self.becomes { counters.json(name: "").contains("\"now\":1,\"max\":1") })
        #expect(Self.becomes { counters.json(name: "").contains("\"status\":{}") })
        Self.set(socket, SO_SNDBUF, 1 << 20)
        Self.set(client.socket, SO_RCVBUF, 1 << 20)
        #expect(try #require(client.answer()).body.count == 1 << 17)
        #expect(Self.becomes { counters.json(name: "").contains("\"status\":{\"200\":1}") })
    }
}
