import Base
import FoundationEssentials
import Glibc
import LoadCore
import Model
import Posix
import Stats
import Support
import Testing

@testable import Runtime

/// Real sockets against real servers. What depends on time is checked by counts, never by how fast.
@Suite(.serialized) struct LoadRunTests {
    static let plain = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    static func job(
        _ addresses: [SocketAddress], arrivals: LoadPlan.Arrivals = .constant,
        rate: Double = 400, connections: Int = 4, timeout: Duration = .seconds(20),
        request: RequestPlan = RequestPlan(), requestsPerConnection: Int = 0, threads: Int = 1,
        milliseconds: Int64 = 500
    ) -> LoadJob {
        LoadJob(
            plan: LoadPlan(
                name: "main", to: "echo", rate: .constant(rate), arrivals: arrivals,
                connections: connections, timeout: timeout, request: request,
                requestsPerConnection: requestsPerConnection, threads: threads),
            targets: addresses.map { .init(address: "\($0)", host: "echo") },
            phases: [
                PhasePlan(
                    name: "base", duration: .milliseconds(milliseconds), measure: true, rate: nil)
            ],
            start: nil, seed: 7, spin: .microseconds(50))
    }

    /// Waits for news of a run until `body` has what it wants; fails the test after a minute.
    @discardableResult
    static func await<R>(_ run: LoadRun, _ body: () throws -> R?) throws -> R {
        let deadline = Clock.now() + .seconds(60)
        while Clock.now() < deadline {
            run.clearNews()
            if let found = try body() { return found }
            _ = waitReadable([run.newsDescriptor], for: .seconds(1))
        }
        throw WireFailure.timedOut
    }

    static func server() throws -> TestServer { try .answering { _ in plain } }

    static func result(of job: LoadJob) throws -> LoadResult {
        let run = try LoadRun(job)
        _ = try Self.await(run) { try run.isReady() ? true : nil }
        try run.begin(at: nil)
        return try Self.await(run) { try run.result() }
    }

    @Test("Every planned request is answered and counted", arguments: LoadPlan.Arrivals.allCases)
    func plain(arrivals: LoadPlan.Arrivals) throws {
        let server = try TestServer.answering { _ in Self.plain }
        let job = Self.job([server.address], arrivals: arrivals)
        let result = try Self.result(of: job)
        let tally = result.phases[0]
        #expect(tally.planned > 100)
        #expect(tally.outcomes == ["ok": tally.planned])
        #expect(tally.statuses == ["200": tally.planned])
        #expect(tally.bytesReceived == tally.planned * UInt64(Self.plain.utf8.count))
        #expect(UInt64(server.requests.all.count) == tally.planned)
        #expect(tally.connectionsOpened == 4)
        #expect(server.requests.all.allSatisfy { $0["host"] == "echo" })
        #expect(!result.partial)
        let schedule = Schedule(
            plan: job.plan, phases: job.phases, rotation: [0], seed: job.seed)
        #expect(UInt64(result.scheduleHash, radix: 16) == schedule.hashes().instants)
    }

    @Test("Threads and targets share the work by plan")
    func threadsAndTargets() throws {
        let servers = try (0..<2).map { _ in try TestServer.answering { _ in Self.plain } }
        let result = try Self.result(of: Self.job(servers.map(\.address), threads: 2))
        #expect(result.threads.count == 2)
        #expect(result.phases[0].outcomes == ["ok": 200])
        #expect(result.due.map(\.planned) == [200] && result.due.map(\.good) == [200])
        #expect(servers.map { $0.requests.all.count } == [100, 100])
        #expect(servers.map { $0.connections.all.count } == [2, 2])
    }

    @Test("A new connection each N requests")
    func requestsPerConnection() throws {
        let server = try TestServer.answering { _ in Self.plain }
        let job = Self.job([server.address], connections: 1, requestsPerConnection: 10)
        let tally = try Self.result(of: job).phases[0]
        #expect(tally.outcomes == ["ok": 200])
        #expect(tally.connectionsOpened == 20)
    }

    @Test("A server that closes without a word: requests are answered or reset, and none is lost")
    func closingServer() throws {
        let server = try TestServer { call throws(WireFailure) in
            for _ in 0..<3 {
                _ = try call.readRequest()
                try call.connection.send(Self.plain)
            }
        }
        let tally = try Self.result(of: Self.job([server.address])).phases[0]
        #expect(tally.planned == 200)
        #expect(tally.count(.ok) + tally.count(.reset) == 200)
        #expect(tally.count(.ok) == UInt64(server.requests.all.count))
        #expect(tally.connectionsOpened >= 200 / 3)
    }

    @Test("A connection that ends within an answer is a reset")
    func cutAnswers() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        }
        let tally = try Self.result(of: Self.job([server.address], rate: 100)).phases[0]
        #expect(tally.outcomes == ["reset": 50])
    }

    @Test("A server that never answers: every request ends at its timeout")
    func silentServer() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.connection.readToEnd()
        }
        let job = Self.job([server.address], timeout: .milliseconds(100))
        let tally = try Self.result(of: job).phases[0]
        #expect(tally.planned == 200)
        #expect(tally.count(.timeout) + tally.count(.dropped) == 200)
        #expect(tally.count(.timeout) >= 4)
        #expect(tally.response.count == 200)
        #expect(tally.response.min >= 99_900_000)
    }

    @Test(
        "Answers of every framing",
        arguments: [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        ])
    func framings(answer: String) throws {
        let server = try TestServer.answering { _ in answer }
        let tally = try Self.result(of: Self.job([server.address], rate: 100)).phases[0]
        #expect(tally.outcomes == ["ok": 50])
    }

    @Test("An answer up to the end of the connection")
    func closeDelimited() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 200 OK\r\n\r\nto the end")
        }
        let tally = try Self.result(of: Self.job([server.address], rate: 100)).phases[0]
        #expect(tally.outcomes == ["ok": 50])
    }

    @Test("A body larger than the socket's buffers goes out whole")
    func largeBody() throws {
        let server = try TestServer.answering {
            "HTTP/1.1 200 \($0.body.count)\r\ncontent-length: 0\r\n\r\n"
        }
        let size = 8 << 20
        let job = Self.job(
            [server.address], rate: 4, connections: 1,
            request: RequestPlan(method: "POST", bodySize: size), milliseconds: 1000)
        let tally = try Self.result(of: job).phases[0]
        #expect(tally.outcomes == ["ok": 4])
        #expect(server.requests.all.allSatisfy { $0.body.count == size })
    }

    @Test("More connections than one look at the sockets tells: answered, and timed out")
    func manyConnections() throws {
        let quick = try AppServer(
            AppConfiguration(listen: "127.0.0.1:0", behaviour: .init(size: 1)))
        defer { quick.stop() }
        let closed = Self.job([quick.address], arrivals: .closed, connections: 700)
        let answered = try Self.result(of: closed).phases[0]
        #expect(answered.planned >= 700)
        #expect(answered.outcomes == ["ok": answered.planned])
        #expect(answered.connectionsOpened == 700)

        let slow = try AppServer(
            AppConfiguration(
                listen: "127.0.0.1:0",
                // Ten times the timeout. It is what the server's end waits for.
                behaviour: .init(size: 1, delay: .fixed(.seconds(2)))))
        let open = Self.job(
            [slow.address], rate: 2000, connections: 700, timeout: .milliseconds(200))
        let timedOut = try Self.result(of: open).phases[0]
        #expect(timedOut.planned == 1000)
        #expect(timedOut.count(.timeout) + timedOut.count(.dropped) == 1000)
        slow.stop()
    }

    @Test("An answer longer than one turn reads is read to its end")
    func longAnswers() throws {
        let server = try AppServer(
            AppConfiguration(listen: "127.0.0.1:0", behaviour: .init(size: 64 << 20)))
        defer { server.stop() }
        let job = Self.job([server.address], rate: 8, connections: 2)
        let tally = try Self.result(of: job).phases[0]
        #expect(tally.outcomes == ["ok": 4])
        #expect(tally.bytesReceived > 4 * 64 << 20)
    }

    @Test("A target that nobody listens on is an error before the start")
    func unreachable() throws {
        let server = try TestServer.answering { _ in Self.plain }
        server.stopListening()
        var gone = try Socket.listen(on: .loopback(port: 0), sharing: false)
        let address = try Socket.localAddress(of: gone.number)
        gone = try Socket.listen(on: .loopback(port: 0), sharing: false)
        let run = try LoadRun(Self.job([address]))
        #expect(throws: LoadRunError.unreachable("\(address)", code: ECONNREFUSED)) {
            _ = try Self.await(run) { try run.isReady() ? true : nil }
        }
    }

    @Test("A server that goes away: what comes after is refused, and nothing is lost")
    func goesAway() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send(Self.plain)
        }
        let run = try LoadRun(Self.job([server.address], connections: 2, milliseconds: 1500))
        _ = try Self.await(run) { try run.isReady() ? true : nil }
        try run.begin(at: nil)
        _ = try Self.await(run) { run.takeSeconds().isEmpty ? nil : true }
        server.stopListening()
        let tally = try Self.await(run) { try run.result() }.phases[0]
        #expect(tally.planned == 600)
        #expect(tally.outcomes.values.reduce(0, +) == 600)
        #expect(tally.count(.refused) > 0)
    }

    @Test("Load stays on this machine unless it is told otherwise")
    func loopbackOnly() throws {
        var job = Self.job([.loopback(port: 80)])
        job.targets[0].address = "192.0.2.1:80"
        let error = #expect(throws: LoadRunError.self) { _ = try LoadRun(job) }
        #expect(error == .notLoopback("192.0.2.1:80"))
        for text in ["127.0.0.1", "127.0.0.1:0", "[::1:80", ":80", "::1:80"] {
            job.targets[0].address = text
            #expect(throws: LoadRunError.address(text)) { _ = try LoadRun(job) }
        }
        // RFC 6761, 6.4: nobody has this name.
        job.targets[0].address = "meshbench.invalid:80"
        let unknown = #expect(throws: LoadRunError.self) { _ = try LoadRun(job) }
        guard case .unknownName("meshbench.invalid:80", _) = unknown else {
            Issue.record("\(String(describing: unknown))")
            return
        }
    }

    @Test("A name is tried at all its addresses, here localhost at 127.0.0.1 and ::1")
    func addressesInOrder() throws {
        let listener = try Socket.listen(
            on: #require(SocketAddress("[::1]:0")), sharing: false)
        let port = try Socket.localAddress(of: listener.number).port
        #expect(
            try SocketAddress.resolve("localhost:\(port)")
                == [.loopback(port: port), #require(SocketAddress("[::1]:\(port)"))])
        var job = Self.job([.loopback(port: port)], connections: 4)
        job.targets[0].address = "localhost:\(port)"
        let run = try LoadRun(job)
        _ = try Self.await(run) { try run.isReady() ? true : nil }
    }

    @Test("A run that is stopped before it begins has a result, and its threads end")
    func stoppedBeforeTheStart() throws {
        let server = try TestServer.answering { _ in Self.plain }
        // Often, as whether a thread hears of both at once is a race.
        for turn in Int64(0)..<40 {
            let later = Duration.seconds(turn % 2 * 3600)
            let run = try LoadRun(Self.job([server.address], threads: 2))
            _ = try Self.await(run) { try run.isReady() ? true : nil }
            try run.begin(at: Clock.now() + .milliseconds(2) + later)
            run.stop()
            let result = try Self.await(run) { try run.result() }
            #expect(result.partial)
            let tally = result.phases[0]
            #expect(tally.planned == tally.outcomes.values.reduce(0, +))
            #expect(tally.start <= tally.end)
        }
    }

    @Test("Seconds that were not asked for are not kept, and those that were are all there")
    func seconds() throws {
        let server = try TestServer.answering { _ in Self.plain }
        let job = Self.job([server.address], threads: 2, milliseconds: 2100)
        let run = try LoadRun(job, keepsSeconds: false)
        _ = try Self.await(run) { try run.isReady() ? true : nil }
        try run.begin(at: nil)
        var planned: UInt64 = 0
        try Self.await(run) {
            let ended = try run.hasEnded()
            planned += run.takeSeconds().reduce(0) { $0 + $1.planned }
            return ended ? true : nil
        }
        let result = try #require(try run.result())
        #expect(planned == 840)
        #expect(result.phases[0].planned == 840)
        #expect(result.seconds.isEmpty)
        #expect(try Self.result(of: job).seconds.reduce(0) { $0 + $1.planned } == 840)
    }

    @Test("A large part of a large schedule that was never made is not hashed")
    func hashOfPartial() throws {
        let server = try TestServer.answering { _ in Self.plain }
        for (seconds, isHashed) in [(100, true), (100_000, false)] as [(Int64, Bool)] {
            let run = try LoadRun(Self.job([server.address], milliseconds: seconds * 1000))
            _ = try Self.await(run) { try run.isReady() ? true : nil }
            try run.begin(at: nil)
            run.stop()
            let result = try Self.await(run) { try run.result() }
            #expect(result.scheduleHash.isEmpty == !isHashed)
        }
    }

    @Test("A close-delimited answer that ends by a reset is not complete")
    func resetAnswers() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 200 OK\r\n\r\ncut")
            call.connection.close(reset: true)
        }
        let tally = try Self.result(of: Self.job([server.address], rate: 100)).phases[0]
        #expect(tally.outcomes == ["reset": 50])
    }

    @Test("Stopped early: the result is partial and whole")
    func stopped() throws {
        let server = try TestServer.answering { _ in Self.plain }
        let run = try LoadRun(Self.job([server.address], milliseconds: 600_000))
        _ = try Self.await(run) { try run.isReady() ? true : nil }
        try run.begin(at: nil)
        _ = try Self.await(run) { run.takeSeconds().isEmpty ? nil : true }
        run.stop()
        let result = try Self.await(run) { try run.result() }
        #expect(result.partial)
        let tally = result.phases[0]
        #expect(tally.planned >= 400 && tally.planned < 200_000)
        #expect(tally.planned == tally.outcomes.values.reduce(0, +))
    }

    @Test("A start that has passed is an error")
    func lateStart() throws {
        let server = try TestServer.answering { _ in Self.plain }
        let run = try LoadRun(Self.job([server.address]))
        _ = try Self.await(run) { try run.isReady() ? true : nil }
        #expect(throws: LoadRunError.self) { try run.begin(at: Clock.now() - .seconds(1)) }
    }
}
