// The workload over real sockets.

import Base
import Model
import Posix
import Runtime
import Testing

/// Runs `body` against a server, which is stopped afterwards.
private func serve(
    _ behaviour: AppBehaviour = .init(size: 16), calls: [String: [String]] = [:],
    workers: Int = 1, _ body: (AppServer) throws -> Void
) throws {
    let server = try AppServer(
        AppConfiguration(
            listen: "127.0.0.1:0", behaviour: behaviour, calls: calls, workers: workers))
    defer { server.stop() }
    try body(server)
}

private func get(_ target: String, fields: String = "") -> String {
    "GET \(target) HTTP/1.1\r\nhost: test\r\n\(fields)\r\n"
}

@Suite struct AppServerTests {
    @Test func answersManyRequestsOnOneConnection() throws {
        try serve { server in
            let client = try AppClient(server.address)
            for _ in 0..<100 {
                client.send(get("/"))
                let answer = try #require(client.answer())
                #expect(answer.status == 200)
                #expect(answer.text == "the quick brown ")
                #expect(answer.field("content-type") == "text/plain")
                #expect(answer.field("date")?.hasSuffix(" gmt") == true)
            }
        }
    }

    @Test(arguments: [0, 1, 4096, 4097, 16384, 16385, 100_000, 3_000_000], [0, 1])
    func sizesComeBack(size: Int, chunked: Int) throws {
        try serve { server in
            let client = try AppClient(server.address)
            client.send(get("/?size=\(size)&chunked=\(chunked)"))
            client.send(get("/?size=3"))
            let answer = try #require(client.answer())
            #expect(answer.body.count == size)
            #expect((answer.field("transfer-encoding") == "chunked") == (chunked == 1))
            #expect(try #require(client.answer()).text == "the")
        }
    }

    @Test func answersThatTheClientDoesNotReadWait() throws {
        try serve { server in
            let client = try AppClient(server.address)
            for index in 0..<8 { client.send(get("/?size=4MiB&chunked=\(index % 2)")) }
            // Meanwhile others are served.
            let other = try AppClient(server.address)
            other.send(get("/"))
            #expect(try #require(other.answer()).status == 200)
            for _ in 0..<8 {
                #expect(try #require(client.answer()).body.count == 4 << 20)
            }
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() throws {
        try serve { server in
            let client = try AppClient(server.address)
            client.send((0..<2000).map { get("/?size=\($0)") }.joined())
            for index in 0..<2000 {
                #expect(try #require(client.answer()).body.count == index)
            }
        }
    }

    @Test func aHeadThatTricklesIsParsed() throws {
        try serve { server in
            let client = try AppClient(server.address)
            for byte in get("/?size=5").utf8 { client.send([byte]) }
            #expect(try #require(client.answer()).text == "the q")
        }
    }

    @Test func headAnswersWithoutBody() throws {
        try serve { server in
            let client = try AppClient(server.address)
            client.send("HEAD /?size=99 HTTP/1.1\r\nhost: a\r\n\r\n" + get("/"))
            let answer = try #require(client.answer(toHead: true))
            #expect(answer.field("content-length") == "99")
            #expect(try #require(client.answer()).body.count == 16)
        }
    }

    @Test(arguments: [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            + "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: v\r\n\r\n",
    ])
    func bodiesAreReadToTheirEnd(request: String) throws {
        try serve { server in
            let client = try AppClient(server.address)
            client.send(request + request + get("/?size=1"))
            #expect(try #require(client.answer()).body.count == 16)
            #expect(try #require(client.answer()).body.count == 16)
            #expect(try #require(client.answer()).body.count == 1)
        }
    }

    @Test func aLongBodyIsDropped() throws {
        try serve { server in
            let client = try AppClient(server.address)
            let size = 30 << 20
            client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \(size)\r\n\r\n")
            client.send([UInt8](repeating: 7, count: size))
            #expect(try #require(client.answer()).status == 200)
        }
    }

    @Test func theClientIsToldToContinue() throws {
        try serve { server in
            let client = try AppClient(server.address)
            client.send(
                "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n"
                    + "content-length: 2\r\n\r\n")
            #expect(try #require(client.answer()).status == 100)
            client.send("hi")
            #expect(try #require(client.answer()).text.contains("\"body\":\"hi\""))
        }
    }

    @Test func anEchoTellsMethodFieldsAndBody() throws {
        try serve { server in
            let client = try AppClient(server.address)
            client.send(
                "PUT /echo?a=\"b HTTP/1.1\r\nhost: h\r\nX-Y: z\r\ncontent-length: 3\r\n\r\n\"é")
            let json = try #require(client.answer())
            #expect(json.field("content-type") == "application/json")
            #expect(
                json.text == #"{"method":"PUT","target":"/echo?a=\"b","version":"1.1","#
                    + #""headers":[["host","h"],["X-Y","z"],["content-length","3"]],"#
                    + #""body":"\"é"}"# + "\n")
            let text = "POST /echo HTTP/1.1\r\nhost: h\r\naccept: text/plain\r\n"
            client.send(text + "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
            #expect(
                try #require(client.answer()).text == text + "transfer-encoding: chunked\r\n\r\nabc"
            )
            client.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n")
            client.send([0xFF, 0x01])
            #expect(try #require(client.answer()).text.contains("\"body_hex\":\"ff01\""))
        }
    }

    @Test func aLongEchoIsRefused() throws {
        try serve { server in
            let client = try AppClient(server.address)
            client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n")
            client.send([UInt8](repeating: 7, count: 3_000_000))
            #expect(try #require(client.answer()).status == 413)
            client.endSending()
            #expect(client.isAtEnd())
        }
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", 400), ("GET /\r\n\r\n", 400), ("\u{1}\u{2}\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505), ("GET / HTTP/1.1\nhost: a\n\n", 400),
        ("GET /?size=x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", 501),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n"
                + "transfer-encoding: chunked\r\n\r\n", 400
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: " + String(repeating: "y", count: 40_000), 431),
    ])
    func whatIsNoRequestIsRefused(request: String, status: Int) throws {
        try serve { server in
            let client = try AppClient(server.address)
            client.send(request)
            let answer = try #require(client.answer())
            #expect(answer.status == status)
            #expect(answer.field("connection") == "close")
            client.endSending()
            #expect(client.isAtEnd())
        }
    }

    @Test func connectionsEndWhereAsked() throws {
        try serve { server in
            for request in [
                get("/", fields: "connection: close\r\n"), get("/?close=1"),
                "GET / HTTP/1.0\r\n\r\n",
            ] {
                let client = try AppClient(server.address)
                client.send(request)
                #expect(try #require(client.answer()).field("connection") == "close")
                #expect(client.isAtEnd())
            }
            let old = try AppClient(server.address)
            old.send("GET /?chunked=1 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            let answer = try #require(old.answer())
            #expect(answer.field("connection") == "keep-alive")
            #expect(answer.field("content-length") == "16")
        }
    }

    @Test func aClientThatEndsItsSideIsAnswered() throws {
        try serve { server in
            let client = try AppClient(server.address)
            client.send(get("/?delay=20ms"))
            client.endSending()
            #expect(try #require(client.answer()).status == 200)
            #expect(client.isAtEnd())
        }
    }

    @Test func countersTellWhatWasSeen() throws {
        try serve(workers: 2) { server in
            for attempt in [1, 2, 2, 99] {
                let client = try AppClient(server.address)
                client.send(get("/?status=503", fields: "x-envoy-attempt-count: \(attempt)\r\n"))
                #expect(try #require(client.answer()).status == 503)
            }
            let client = try AppClient(server.address)
            client.send(get("/?status=204") + get("/healthz") + get("/app/stats"))
            #expect(try #require(client.answer()).status == 204)
            #expect(try #require(client.answer()).text == "ok\n")
            let stats = try #require(client.answer()).text
            #expect(stats.contains("\"requests\":5"))
            #expect(stats.contains("\"concurrency\":{\"now\":0,\"max\":1}"))
            #expect(stats.contains("\"attempts\":{\"1\":1,\"2\":2,\"3\":0"))
            #expect(stats.contains("\"8\":1}"))
            #expect(stats.contains("\"status\":{\"204\":1,\"503\":4}"))
        }
    }

    @Test func requestsInFlightAreFinishedWhenItStops() throws {
        let server = try AppServer(
            AppConfiguration(listen: "127.0.0.1:0", behaviour: .init(size: 16)))
        let idle = try AppClient(server.address)
        idle.send(get("/"))
        #expect(try #require(idle.answer()).status == 200)
        let busy = try AppClient(server.address)
        busy.send(get("/?delay=200ms"))
        idle.send(get("/app/stats"))
        var stats = try #require(idle.answer()).text
        while !stats.contains("\"now\":1") {
            idle.send(get("/app/stats"))
            stats = try #require(idle.answer()).text
        }
        server.stop()
        #expect(try #require(busy.answer()).status == 200)
        #expect(busy.isAtEnd())
        #expect(idle.isAtEnd())
    }

    @Test func delaysAreKeptAndOverlap() throws {
        try serve { server in
            let clients = try (0..<10).map { _ in try AppClient(server.address) }
            let start = Clock.now()
            for client in clients { client.send(get("/?delay=300ms")) }
            for client in clients { #expect(client.answer()?.status == 200) }
            let elapsed = Clock.now() - start
            // Never early; and had they been one after another, it would be three seconds.
            #expect(elapsed >= .milliseconds(300))
            #expect(elapsed < .seconds(3))
        }
    }

    @Test func cpuIsBurnt() throws {
        try serve { server in
            let client = try AppClient(server.address)
            let before = Clock.processCPU()
            client.send(get("/?burn=50ms"))
            #expect(client.answer()?.status == 200)
            #expect(Clock.processCPU() - before >= .milliseconds(50))
        }
    }

    @Test func aStallStopsTheWorker() throws {
        try serve { server in
            let stalling = try AppClient(server.address)
            let other = try AppClient(server.address)
            other.send(get("/"))
            #expect(other.answer()?.status == 200)
            let start = Clock.now()
            stalling.send(get("/app/stall?for=100ms"))
            #expect(stalling.answer()?.text == "stalled\n")
            #expect(Clock.now() - start >= .milliseconds(100))
        }
    }
}

@Suite struct AppCallTests {
    @Test func aChainIsCalled() throws {
        try serve(.init(size: 1)) { leaf in
            let address = leaf.address.description
            try serve(.init(size: 2, calls: ["leaf"]), calls: ["leaf": [address]]) { middle in
                try serve(
                    .init(size: 3, calls: ["middle", "leaf"]),
                    calls: ["middle": [middle.address.description], "leaf": [address]]
                ) { root in
                    let client = try AppClient(root.address)
                    for _ in 0..<50 {
                        client.send(get("/"))
                        #expect(try #require(client.answer()).body.count == 3)
                    }
                    let stats = try AppClient(leaf.address)
                    stats.send(get("/app/stats"))
                    #expect(try #require(stats.answer()).text.contains("\"requests\":100"))
                }
            }
        }
    }

    @Test func aFailedCallIsNamed() throws {
        try serve(.init(statuses: [.init(status: 503, share: 1)])) { broken in
            // A port that was free a moment ago, and on which nothing listens.
            let gone = try Socket.listen(on: .loopback(port: 0), sharing: false)
            let free = try Socket.localAddress(of: gone.number).description
            _ = consume gone
            for (address, reason) in [
                (broken.address.description, "status 503"), (free, "the connection was refused"),
            ] {
                try serve(.init(calls: ["leaf"]), calls: ["leaf": [address]]) { server in
                    let client = try AppClient(server.address)
                    for _ in 0..<3 {
                        client.send(get("/"))
                        let answer = try #require(client.answer())
                        #expect(answer.status == 502)
                        #expect(answer.text == "call to leaf failed: \(reason)\n")
                    }
                }
            }
        }
    }

    @Test func aServiceThatWasReplacedIsCalledAnew() throws {
        let first = try AppServer(AppConfiguration(listen: "127.0.0.1:0"))
        let address = first.address.description
        try serve(.init(calls: ["leaf"]), calls: ["leaf": [address]]) { server in
            let client = try AppClient(server.address)
            client.send(get("/"))
            #expect(client.answer()?.status == 200)
            first.stop()
            let second = try AppServer(AppConfiguration(listen: address))
            defer { second.stop() }
            client.send(get("/"))
            #expect(client.answer()?.status == 200)
        }
    }

    /// A service played by the test, on a listener of its own.
    private func serveAgainst(
        _ body: (_ client: AppClient, _ listener: Int32) throws -> Void
    ) throws {
        let leaf = try Socket.listen(on: .loopback(port: 0), sharing: false)
        let number = leaf.number
        let address = try Socket.localAddress(of: number).description
        try serve(.init(size: 1, calls: ["leaf"]), calls: ["leaf": [address]]) { root in
            try body(try AppClient(root.address), number)
        }
        _ = consume leaf
    }

    @Test func traceFieldsArePassedOn() throws {
        try serveAgainst { client, listener in
            client.send(
                get("/", fields: "X-Request-Id: abc\r\ntraceparent: 00-1-2-01\r\nother: 1\r\n"))
            let leaf = try AppClient(accepting: listener)
            #expect(
                leaf.requestHead() == "GET / HTTP/1.1\r\nhost: leaf\r\nX-Request-Id: abc\r\n"
                    + "traceparent: 00-1-2-01\r\n\r\n")
            leaf.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            #expect(client.answer()?.status == 200)
        }
    }

    @Test(arguments: [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", 200),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 200),
        ("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 No\r\n\r\n", 200),
        ("HTTP/1.1 200 OK\r\n\r\nup to the end", 200),
        ("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", 502),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", 502),
        ("nonsense\r\n\r\n", 502), ("", 502),
    ])
    func answersOfServicesAreReadToTheirEnd(answer: String, status: Int) throws {
        try serveAgainst { client, listener in
            client.send(get("/"))
            let leaf = try AppClient(accepting: listener)
            #expect(leaf.requestHead() != nil)
            leaf.send(answer)
            leaf.endSending()
            #expect(client.answer()?.status == status)
        }
    }

    @Test func aPooledConnectionThatDiesIsTriedAgainOnce() throws {
        try serveAgainst { client, listener in
            client.send(get("/"))
            let first = try AppClient(accepting: listener)
            #expect(first.requestHead() != nil)
            first.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            #expect(client.answer()?.status == 200)
            client.send(get("/"))
            // It has the request, and ends without an answer, as a service that times out would.
            #expect(first.requestHead() != nil)
            first.endSending()
            let second = try AppClient(accepting: listener)
            #expect(second.requestHead() != nil)
            second.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            #expect(client.answer()?.status == 200)
        }
    }

    @Test func aCallerThatLeavesTakesItsCallWithIt() throws {
        try serveAgainst { client, listener in
            client.send(get("/"))
            let leaf = try AppClient(accepting: listener)
            #expect(leaf.requestHead() != nil)
            client.reset()
            #expect(leaf.isAtEnd())
        }
    }

    @Test func aServiceWithoutAddressIsRefused() {
        #expect(throws: AppError.configuration("calls: no address for the service 'x'")) {
            _ = try AppServer(
                AppConfiguration(listen: "127.0.0.1:0", behaviour: .init(calls: ["x"])))
        }
    }
}
