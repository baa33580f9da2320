import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// What passes, and what it looks like on the other side.
@Suite struct ExchangeTests {
    @Test func bothSidesAreKeptAlive() {
        let scene = Scene()
        let client = scene.client()
        for path in ["/1", "/2", "/3"] {
            scene.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
            #expect(scene.servers.count == 1)
            #expect(
                scene.received(scene.servers[0]) == "GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            scene.send(okAnswer, by: scene.servers[0])
            #expect(scene.received(client) == okAnswer)
        }
        #expect(scene.proxy.openConnections == 2)
        #expect(scene.proxy.buffersInUse == 0)
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() {
        let scene = Scene()
        let client = scene.client()
        let request = "GET /N HTTP/1.1\r\nHost: a\r\n\r\n"
        scene.send(request + request + request, by: client)
        for _ in 0..<3 {
            #expect(scene.received(scene.servers[0]) == request, "one at a time")
            scene.send(okAnswer, by: scene.servers[0])
        }
        #expect(scene.received(client) == okAnswer + okAnswer + okAnswer)
    }

    @Test func aClientThatHalfClosesGetsItsAnswers() {
        let scene = Scene()
        let client = scene.client()
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        scene.send(request + request, by: client)
        scene.end(client)
        scene.send(okAnswer, by: scene.servers[0])
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client) == okAnswer + okAnswer)
        #expect(client.proxyClosed)
        #expect(!client.proxyReset)
    }

    /// The first is answered from here, so the end is found before the second has been looked at.
    @Test func requestsBeforeTheEndAreAnswered() {
        var configuration = Scene.configuration()
        configuration.routes[0].path = .prefix("/a")
        let scene = Scene(configuration)
        let client = scene.client()
        client.peerWrite(
            Array(
                "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n".utf8)[...])
        scene.end(client)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 404 "))
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client) == okAnswer)
        #expect(client.proxyClosed && !client.proxyReset)
    }

    @Test(arguments: [
        // Request line and fields, as sent; as passed on.
        ("GET http://a/x?y HTTP/1.1\r\nHost: a\r\n", "GET /x?y HTTP/1.1\r\nHost: a\r\n"),
        ("GET http://a HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"),
        ("GET http://a?x HTTP/1.1\r\nHost: a\r\n", "GET /?x HTTP/1.1\r\nHost: a\r\n"),
        ("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n"),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"),
        ("GET / HTTP/1.0\r\n", "GET / HTTP/1.1\r\nhost: \r\n"),
        ("GET http://a/ HTTP/1.0\r\n", "GET / HTTP/1.1\r\nhost: a\r\n"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nx:  \u{e9} y\t\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx:  \u{e9} y\t\r\n"
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-a, x-c\r\nX-A: 1\r\nx-b: 2\r\nX-C: 3\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx-b: 2\r\n"
        ),
        (
            "GET / HTTP/1.1\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nHost: a\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n"
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"),
        ("GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"),
        (
            "GET / HTTP/1.1\r\nTE: gzip, trailers\r\nConnection: te\r\nHost: a\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nte: trailers\r\nconnection: te\r\n"
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: trailer\r\nTrailer: x-sum\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n"
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n"
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n"
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nconnection: upgrade\r\nUpgrade: WebSocket\r\n"
        ),
        (
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n",
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nmax-forwards: 9\r\n"
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n"
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        ),
    ])
    func requestHeads(_ sent: String, _ expected: String) {
        let scene = Scene()
        scene.send(sent + "\r\n", by: scene.client())
        #expect(scene.received(scene.servers[0]) == expected + "\r\n")
    }

    @Test(arguments: [
        ("", "x-forwarded-for: 192.0.2.1\r\n"),
        ("X-Forwarded-For: b\r\n", "x-forwarded-for: b, 192.0.2.1\r\n"),
        (
            "X-Forwarded-For: b\r\nx-forwarded-for: c\r\n",
            "x-forwarded-for: b, c, 192.0.2.1\r\n"
        ),
        (
            "X-Forwarded-For: b\r\nConnection: x-forwarded-for\r\n",
            "x-forwarded-for: 192.0.2.1\r\n"
        ),
    ])
    func theClientsAddressEndsTheList(_ sent: String, _ expected: String) {
        let scene = Scene(Scene.configuration(headers: HeaderPolicy(forwardedFor: true)))
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(sent)\r\n", by: scene.client())
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\(expected)\r\n"
        #expect(scene.received(scene.servers[0]) == head)
    }

    @Test(arguments: [("OPTIONS", "200 OK"), ("TRACE", "501 Not Implemented")])
    func theLastRecipientAnswers(_ method: String, _ status: String) {
        let scene = Scene()
        let client = scene.client()
        scene.send("\(method) / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", by: client)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 \(status)\r\n"))
        #expect(scene.servers.isEmpty)
    }

    @Test func anAnswerWithoutADateGetsOne() {
        let scene = Scene()
        scene.proxy.wallOffset =
            (784_111_777 * 1_000_000_000) - scene.simulation.now.nanoseconds
        let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        let (client, server) = scene.get()
        scene.send(okAnswer, by: server)
        #expect(
            scene.received(client)
                == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\(date)\r\nok")
        scene.pass(.seconds(1))
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        scene.send("HTTP/1.1 103 Early Hints\r\n\r\n" + okAnswer, by: server)
        let later = date.replacing("37 GMT", with: "38 GMT")
        #expect(
            scene.received(client)
                == "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n"
                + "\(later)\r\nok")
        let dated = "HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length: 0\r\n\r\n"
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        scene.send(dated, by: server)
        #expect(scene.received(client) == dated)
        scene.send("bad\r\n\r\n", by: client)
        #expect(scene.received(client).contains("\r\n\(later)"), "its own answers too")
    }

    @Test func viaSaysTheVersionThatCame() {
        let scene = Scene(Scene.configuration(headers: HeaderPolicy(via: "mesh")))
        scene.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n", by: scene.client())
        #expect(scene.received(scene.servers[0]).contains("via: 1.0 mesh\r\n"))
    }

    @Test func viaAndRequestIdentifiers() throws {
        let headers = HeaderPolicy(via: "mesh", requestID: true)
        let scene = Scene(Scene.configuration(headers: headers))
        let (client, server) = scene.get()
        let lines = scene.received(server).split(separator: "\r\n").map(String.init)
        #expect(lines.contains("via: 1.1 mesh"))
        let id = try #require(lines.first { $0.hasPrefix("x-request-id: ") }).dropFirst(14)
        let parts = id.split(separator: "-")
        #expect(parts.map(\.count) == [8, 4, 4, 4, 12])
        #expect(parts[2].first == "4")
        #expect("89ab".contains(parts[3].first ?? "x"))
        scene.send("HTTP/1.1 200 OK\r\nvia: 1.0 b\r\ncontent-length: 0\r\n\r\n", by: server)
        #expect(scene.received(client).contains("via: 1.0 b\r\n"))
        scene.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\r\n", by: client)
        let second = scene.received(server)
        #expect(second.contains("X-Request-ID: mine\r\n"))
        #expect(second.split(separator: "equest-").count == 2, "one")
    }

    @Test(arguments: [
        // Answer of the server; what the client of HTTP/1.1 gets; whether it is kept.
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", true
        ),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", true
        ),
        (
            "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n", true
        ),
        (
            "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n", true
        ),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", true
        ),
        (
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nX-A: 1\r\nConnection: x-a\r\n"
                + "content-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n"
                + "2;e=1\r\nab\r\n0\r\nx: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTrailer: x\r\ntransfer-encoding: chunked\r\n\r\n"
                + "2;e=1\r\nab\r\n0\r\nx: y\r\n\r\n", true
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
                + "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
                + "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true
        ),
    ])
    func answers(_ sent: String, _ expected: String, _ kept: Bool) {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.send(sent, by: server)
        #expect(scene.received(client) == expected)
        #expect(client.peerFindsEnd == !kept)
    }

    @Test func anAnswerUpToTheEndOfTheConnection() {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.send("HTTP/1.1 200 OK\r\n\r\nsome", by: server)
        scene.send(" more", by: server)
        #expect(!client.peerFindsEnd)
        scene.close(server)
        #expect(
            scene.received(client) == "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nsome more")
        #expect(client.peerFindsEnd && !client.proxyReset)
    }

    @Test func anAnswerUpToTheEndThatFailsIsReset() {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.send("HTTP/1.1 200 OK\r\n\r\nsome", by: server)
        scene.close(server, reset: true)
        #expect(client.proxyReset)
    }

    @Test func headAnswersHaveNoBody() {
        let scene = Scene()
        let client = scene.client()
        let request = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        scene.send(request + request, by: client)
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"
        scene.send(answer, by: scene.servers[0])
        scene.send(answer, by: scene.servers[0])
        #expect(scene.received(client) == answer + answer)
        #expect(scene.servers.count == 1)
    }

    @Test func anOldClientGetsChunksWithoutTheirCoding() {
        let scene = Scene()
        let client = scene.client()
        scene.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", by: client)
        let server = scene.servers[0]
        scene.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", by: server)
        for byte in "4;x\r\ndefg\r\n0\r\nx: y\r\n\r\n".utf8 { scene.send([byte], by: server) }
        #expect(
            scene.received(client) == "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcdefg")
        #expect(client.peerFindsEnd && !client.proxyReset)
        #expect(!server.proxyClosed, "the server's connection is kept")
    }

    @Test func anOldClientThatAsksIsKept() {
        let scene = Scene()
        let client = scene.client()
        scene.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", by: client)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(
            scene.received(client)
                == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok")
        #expect(!client.peerFindsEnd)
    }

    @Test func theClientWaitsForContinueAndGetsIt() {
        let scene = Scene()
        let client = scene.client()
        let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        scene.send(head, by: client)
        let server = scene.servers[0]
        #expect(scene.received(server) == head)
        scene.send("HTTP/1.1 100 Continue\r\n\r\n", by: server)
        #expect(scene.received(client) == "HTTP/1.1 100 Continue\r\n\r\n")
        scene.send("ab", by: client)
        #expect(scene.received(server) == "ab")
        scene.send(okAnswer, by: server)
        #expect(scene.received(client) == okAnswer)
    }

    @Test func aFinalAnswerInPlaceOfContinueEndsTheConnection() {
        let scene = Scene()
        let client = scene.client()
        scene.send(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
            by: client)
        scene.send("HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n", by: scene.servers[0])
        #expect(
            scene.received(client)
                == "HTTP/1.1 417 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        #expect(client.peerFindsEnd)
        #expect(scene.servers[0].proxyClosed)
    }

    @Test func interimHeadsThatFillTheBufferLeaveRoomForTheNext() {
        let scene = Scene()
        let (client, server) = scene.get()
        let hint = "HTTP/1.1 103 Early Hints\r\nx: \(String(repeating: "a", count: 30_000))\r\n\r\n"
        scene.send(
            hint + hint + "HTTP/1.1 200 OK\r\ny: \(String(repeating: "b", count: 3000))", by: server
        )
        scene.send(String(repeating: "b", count: 6000), by: server)
        scene.send("\r\ncontent-length: 2\r\n\r\nok", by: server)
        var all = scene.received(client)
        scene.pass(.zero)
        all += scene.received(client)
        #expect(all.hasSuffix("bb\r\ncontent-length: 2\r\n\r\nok"))
    }

    @Test func anUpgradeBecomesATunnelThatClosesHalfByHalf() {
        let scene = Scene()
        let client = scene.client()
        let upgrade = "connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        scene.send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
                + "Upgrade: websocket\r\n\r\nearly", by: client)
        let server = scene.servers[0]
        #expect(scene.received(server) == "GET / HTTP/1.1\r\nHost: a\r\n" + upgrade)
        scene.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                + "\u{1}hello", by: server)
        #expect(
            scene.received(client)
                == "HTTP/1.1 101 Switching Protocols\r\n" + upgrade + "\u{1}hello")
        #expect(scene.received(server) == "early")
        scene.send("\u{0}\r\n\r\nGET", by: client)
        #expect(scene.received(server) == "\u{0}\r\n\r\nGET")
        scene.end(client)
        #expect(server.peerFindsEnd)
        scene.send("still", by: server)
        #expect(scene.received(client) == "still")
        #expect(!client.peerFindsEnd)
        scene.end(server)
        #expect(client.peerFindsEnd && !client.proxyReset)
        #expect(scene.proxy.openConnections == 0)
        #expect(scene.proxy.buffersInUse == 0)
    }

    @Test func anUpgradeNobodyAskedForIsRefused() {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            by: server)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 502 Bad Gateway\r\n"))
        #expect(scene.proxy.counters[.UPE] == 1)
    }
}
