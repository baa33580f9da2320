import Base
import Glibc
import Posix
import Support
import Testing

/// Peers that die, stall, dawdle or come in crowds.
@Suite struct ProxyHardshipTests {
    private static func configuration(_ backend: SocketAddress, _ more: String = "") -> String {
        """
        listeners: [{name: main, address: "127.0.0.1:0"}]
        routes: [{cluster: b}]
        clusters: [{name: b, endpoints: ["\(backend)"], connect_timeout: 200ms}]
        admin: 127.0.0.1:0
        \(more)
        """
    }

    /// A second proxy stands for a service that is killed: its kernel resets what it held.
    @Test func aKilledServiceIsSurvived() throws {
        let server = try TestServer.answering { request in
            // Half an answer to those that are to be in flight.
            request.target == "/slow"
                ? "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"
                : "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        }
        let victim = try RunningProxy(to: server.address)
        let proxy = try RunningProxy(configuration: Self.configuration(victim.address))
        let halfway = try proxy.connect()
        try halfway.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try halfway.readHead().status == 200)
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try client.readAnswer().status == 200)

        victim.process.send(SIGKILL)
        #expect(victim.waitForEnd() == .killed(SIGKILL))
        #expect(throws: WireFailure.self) { try halfway.read(11) }
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        let answer = try client.readAnswer()
        #expect(answer.status == 503)
        #expect(answer["x-response-flags"] == "UF")
        #expect(try proxy.admin("/ready").status == 200)

        // It comes back at the same address, and is used again.
        let risen = try RunningProxy([
            "--listen", "\(victim.address)", "--upstream", "\(server.address)",
        ])
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try client.readAnswer().text == "ok")
        #expect(risen.address == victim.address)
    }

    @Test func aStalledServiceTimesOutAndRecovers() throws {
        let server = try TestServer.named("ok")
        let victim = try RunningProxy(to: server.address)
        let proxy = try RunningProxy(
            configuration: Self.configuration(victim.address, "timeouts: {request: 200ms}"))
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try client.readAnswer().text == "ok")
        victim.process.send(SIGSTOP)
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        let answer = try client.readAnswer()
        #expect(answer.status == 504)
        #expect(answer["x-response-flags"] == "UT")
        victim.process.send(SIGCONT)
        let deadline = Clock.now() + RawConnection.patience
        while true {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            if try client.readAnswer().text == "ok" { break }
            try #require(Clock.now() < deadline)
        }
    }

    /// A stalled client costs bounded memory: the proxy reads no more than it can pass on.
    @Test func aStalledClientHoldsTheUpstreamBack() throws {
        let sent = try Recorder<Int>()
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: \(64 << 20)\r\n\r\n")
            let block = [UInt8](repeating: 7, count: 1 << 20)
            for number in 1...64 {
                try call.connection.send(block)
                sent.note(number)
            }
        }
        let proxy = try RunningProxy(configuration: Self.configuration(server.address))
        // Of what it holds itself: its first request maps more of the program too.
        let before = try #require(proxy.memory("Anonymous"))
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        let head = try client.readHead()
        #expect(head.status == 200)
        // Nothing is read here until the server can send nothing any more.
        var count = 0
        repeat {
            count = sent.all.count
            _ = waitReadable([-1], for: .milliseconds(300))
        } while sent.all.count > count
        #expect(count < 40)
        #expect(try #require(proxy.memory("Anonymous")) < before + 2048)
        #expect(try client.discard(64 << 20) == 64 << 20)
    }

    /// Descriptors run out: who is in is served, new clients wait, and get in when others leave.
    @Test(arguments: [1, 2])
    func descriptorExhaustionIsSurvived(workers: Int) throws {
        let server = try TestServer.named("ok")
        let proxy = try RunningProxy(
            configuration: Self.configuration(server.address, "workers: \(workers)"),
            descriptors: 50)
        func ask(_ client: RawConnection) throws -> String {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            return try client.readAnswer().text
        }
        let first = try proxy.connect()
        #expect(try ask(first) == "ok")
        var crowd = try (0..<200).map { _ in
            let client = try proxy.connect()
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            return client
        }
        // There is always a descriptor for the admin listener.
        try proxy.wait(for: "accept_pauses_total") { $0 >= 1 }
        for _ in 0..<50 { #expect(try ask(first) == "ok") }
        let served = crowd.filter { $0.isReadable(within: .zero) }
        #expect(served.count < 50)
        // Whoever leaves makes room for one who waited, and nobody was turned away.
        while let client = crowd.first {
            #expect(try client.readAnswer().text == "ok")
            client.close()
            crowd.removeFirst()
        }
        #expect(try ask(first) == "ok")
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_responses_5xx_total"] == 0)
        #expect(stats["meshbench_proxy_downstream_connections_refused_total"] == 0)
    }

    /// Half of the connections are for upstreams: clients beyond the other half wait to be let in,
    /// and whoever is in is served.
    @Test func idleClientsLeaveRoomForUpstreams() throws {
        let server = try TestServer.named("ok")
        let proxy = try RunningProxy(
            configuration: Self.configuration(server.address, "limits: {connections: 8}"))
        var clients = try (0..<4).map { _ in try proxy.connect() }
        try proxy.wait(for: "downstream_connections") { $0 == 4 }
        let fifth = try proxy.connect()
        try fifth.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        try proxy.wait(for: "accept_pauses_total") { $0 >= 1 }
        for client in clients {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try client.readAnswer().text == "ok")
        }
        clients.removeLast().close()
        #expect(try fifth.readAnswer().text == "ok")
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_downstream_connections_refused_total"] == 0)
    }

    /// Clients that connect at the moment of SIGTERM: the process ends in order, whatever was
    /// reported to a worker together with it.
    @Test func drainAmongConnects() throws {
        let server = try TestServer.named("ok")
        for _ in 0..<8 {
            let proxy = try RunningProxy(to: server.address)
            #expect(try proxy.get("/").text == "ok")
            proxy.process.send(SIGSTOP)
            let clients = try (0..<20).map { _ in try proxy.connect() }
            proxy.process.send(SIGTERM)
            proxy.process.send(SIGCONT)
            for client in clients { client.close() }
            #expect(proxy.waitForEnd() == .exited(0))
        }
    }

    /// Bodies that come as fast as they are taken do not keep the worker from anybody else.
    @Test func bulkLeavesRoomForOthers() throws {
        let size = 1 << 30
        let server = try TestServer { call throws(WireFailure) in
            while true {
                let request = try call.readRequest()
                guard request.target == "/bulk" else {
                    try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    continue
                }
                try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n")
                let block = [UInt8](repeating: 7, count: 1 << 20)
                for _ in 0..<size >> 20 { try call.connection.send(block) }
            }
        }
        let proxy = try RunningProxy(to: server.address)
        let (begun, done) = (try Recorder<Int>(), try Recorder<Int>())
        let address = proxy.address
        for _ in 0..<2 {
            try Thread(name: "bulk") {
                guard let bulk = try? RawConnection(to: address) else { return }
                try? bulk.send("GET /bulk HTTP/1.1\r\nhost: a\r\n\r\n")
                begun.note((try? bulk.readHead().status) ?? 0)
                done.note((try? bulk.discard(size)) ?? -1)
            }.detach()
        }
        #expect(try begun.wait(for: 2) == [200, 200])
        let client = try proxy.connect()
        for _ in 0..<20 {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try client.readAnswer().text == "ok")
        }
        #expect(done.all.isEmpty, "answered while both were under way")
        #expect(try done.wait(for: 2) == [size, size])
    }

    @Test func aHalfClosedClientIsAnswered() throws {
        let server = try TestServer.answering { request in
            "HTTP/1.1 200 OK\r\ncontent-length: \(request.body.count)\r\n\r\n\(request.text)"
        }
        let proxy = try RunningProxy(to: server.address)
        for request in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                + "5\r\nhello\r\n0\r\n\r\n",
        ] {
            let client = try proxy.connect()
            try client.send(request)
            client.endSending()
            let answer = try client.readAnswer()
            #expect(answer.status == 200)
            #expect(answer.text == (request.hasPrefix("GET") ? "" : "hello"))
            #expect(client.endsWithoutMore())
        }
    }

    @Test(arguments: ["GET / HTT", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel"])
    func aHalfClosedClientWithHalfARequestIsNot(request: String) throws {
        let server = try TestServer.named("never")
        let proxy = try RunningProxy(configuration: Self.configuration(server.address))
        let client = try proxy.connect()
        try client.send(request)
        client.endSending()
        // Within a body the client is told why; within a head there is nobody to tell.
        if request.hasPrefix("POST") { #expect(try client.readAnswer().status == 400) }
        #expect(client.endsWithoutMore())
        #expect(server.requests.all.isEmpty)
        try proxy.wait(for: "downstream_connections") { $0 == 0 }
        try proxy.wait(for: "upstream_connections") { $0 == 0 }
    }

    @Test func aTricklingClientIsServed() throws {
        let server = try TestServer.answering { request in
            "HTTP/1.1 200 OK\r\ncontent-length: \(request.body.count)\r\n\r\n\(request.text)"
        }
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        let requests =
            "POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
            + "POST /2 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            + "5;x=y\r\nhello\r\n0\r\nt: u\r\n\r\n"
        // Without Nagle's delay each byte is a segment of its own.
        for byte in Array(requests.utf8) { try client.send([byte]) }
        #expect(try client.readAnswer().text == "hello")
        #expect(try client.readAnswer().text == "hello")
    }

    @Test func aTricklingServiceIsUnderstood() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            let answer =
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                + "5\r\nhello\r\n0\r\nx: y\r\n\r\n"
            for byte in Array(answer.utf8) { try call.connection.send([byte]) }
            _ = try call.connection.readToEnd()
        }
        let proxy = try RunningProxy(to: server.address)
        let answer = try proxy.get("/")
        #expect(answer.text == "hello")
        #expect(answer.trailers == ["x: y"])
    }

    /// Tricklers and stalled clients take nothing from the others.
    @Test func manyHalfRequestsHinderNobody() throws {
        let server = try TestServer.named("ok")
        let proxy = try RunningProxy(configuration: Self.configuration(server.address))
        let slow = try (0..<200).map { _ in
            let client = try proxy.connect()
            try client.send("GET / HTTP/1.1\r\nx-slow: ")
            return client
        }
        #expect(try proxy.get("/").text == "ok")
        for client in slow {
            try client.send("1\r\nhost: a\r\n\r\n")
            #expect(try client.readAnswer().text == "ok")
        }
    }
}
