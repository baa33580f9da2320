import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Requests and answers over HTTP/2 on one side or both, in order.
@Suite struct HTTP2ForwardingTests {
    static let sizes = [0, 1, 16_384, 16_385, 65_534, 65_535, 65_536, 300_000]

    private static func pattern(_ count: Int) -> [UInt8] {
        SimulatedExchange.pattern(count, count)
    }

    @Test(arguments: sizes, [true, false])
    func bodiesAndTrailersPassBothWays(_ size: Int, _ hasLength: Bool) {
        let scene = HTTP2Scene(.http2)
        let body = Self.pattern(size)
        let length: Fields = hasLength ? [("content-length", "\(size)")] : []
        var seen: HTTP2Peer.Stream?
        scene.onEnd = { peer, stream in
            seen = stream
            peer.answer(
                stream, answerFields(200, length), body: stream.body, trailers: [("x-end", "2")])
        }
        let client = scene.client()
        let stream = client.peer.request(
            requestFields("POST", "/x", length), body: body, trailers: [("x-sum", "1")])
        scene.pass()
        #expect(seen?.body == body)
        #expect(ownFields(seen?.trailers) == ["x-sum: 1"])
        #expect(ownFields(seen?.head) == length.map { "\($0.name): \($0.value)" })
        #expect(seen?[":path"] == "/x" && seen?[":method"] == "POST" && seen?[":authority"] == "a")
        #expect(stream?.status == 200 && stream?.isWhole == true)
        #expect(stream?.body == body)
        #expect(ownFields(stream?.trailers) == ["x-end: 2"])
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    @Test(arguments: sizes) func chunksOfHTTP11BecomeFrames(_ size: Int) {
        let scene = HTTP2Scene(.http2)
        let body = Self.pattern(size)
        scene.onEnd = { peer, stream in
            peer.answer(stream, answerFields(), body: stream.body, trailers: [("x-end", "2")])
        }
        let client = scene.rawClient()
        let request =
            Array("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".utf8)
            + SimulatedExchange.chunk(body, by: 5000, trailer: "X-Sum: 1\r\nconnection-x: 2\r\n")
        client.peerWrite(request[...])
        let received = scene.drain(client)
        let stream = scene.servers[0].peer.streams[1]
        #expect(stream?.body == body)
        #expect(ownFields(stream?.trailers) == ["x-sum: 1", "connection-x: 2"])
        let head = ReferenceParser.response(received)
        guard case .accepted(let answer, let length) = head else {
            Issue.record("\(head)")
            return
        }
        #expect(answer.status == 200 && answer.framing == .chunked && answer.keepAlive)
        guard case .accepted(let found, _) = ReferenceParser.chunked(received, from: length) else {
            Issue.record("bad chunks")
            return
        }
        #expect(found.data == body)
        #expect(found.trailers.map { "\($0.key): \(text($0.value))" } == ["x-end: 2"])
    }

    @Test(arguments: sizes) func framesBecomeChunksOfHTTP11(_ size: Int) {
        let scene = HTTP2Scene(.http1)
        let body = Self.pattern(size)
        let client = scene.client()
        let stream = client.peer.request(
            requestFields("POST", "/"), body: body, trailers: [("x-sum", "1")])
        scene.pass()
        let server = scene.rawServers[0]
        let request = scene.drain(server)
        guard case .accepted(let head, let length) = ReferenceParser.request(request),
            case .accepted(let sent, let end) = ReferenceParser.chunked(request, from: length)
        else {
            Issue.record("a bad request: \(visible(request.prefix(300)))")
            return
        }
        #expect(length + end == request.count)
        #expect(head.values("host") == [Array("a".utf8)])
        #expect(sent.data == body)
        #expect(sent.trailers.map { "\($0.key): \(text($0.value))" } == ["x-sum: 1"])
        let answer = Array("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".utf8)
        server.peerWrite(
            (answer + SimulatedExchange.chunk(body, by: 7000, trailer: "X-End: 2\r\n"))[...])
        scene.pass()
        #expect(stream?.status == 200 && stream?.isWhole == true)
        #expect(stream?.body == body)
        #expect(ownFields(stream?.trailers) == ["x-end: 2"])
        // The connection is kept.
        _ = client.peer.request(requestFields())
        scene.pass()
        #expect(scene.rawServers.count == 1)
        #expect(scene.received(server).hasPrefix("GET / HTTP/1.1\r\nhost: a\r\n"))
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    @Test func anAnswerUpToTheEndOfItsConnectionEndsItsStream() {
        let scene = HTTP2Scene(.http1)
        let client = scene.client()
        let stream = client.peer.request(requestFields())
        scene.pass()
        scene.send("HTTP/1.1 200 OK\r\n\r\nhello", by: scene.rawServers[0])
        #expect(stream?.body == Array("hello".utf8) && stream?.hasEnded == false)
        _ = scene.rawServers[0].peerRead(.max)
        scene.rawServers[0].peerClose(reset: false)
        scene.pass()
        #expect(stream?.isWhole == true)
        // A reset is no end.
        let other = client.peer.request(requestFields())
        scene.pass()
        scene.send("HTTP/1.1 200 OK\r\n\r\nhello", by: scene.rawServers[1])
        scene.rawServers[1].peerClose(reset: true)
        scene.pass()
        #expect(other?.isWhole == false && other?.closed == .internalError)
    }

    @Test(arguments: [ProxyConfiguration.Cluster.Speech.http1, .http2])
    func answersWithoutABodyEndWithTheirHead(_ upstream: ProxyConfiguration.Cluster.Speech) {
        let scene = HTTP2Scene(upstream)
        scene.onEnd = { peer, stream in
            let status = Int(stream[":path"]?.dropFirst() ?? "") ?? 200
            let length: Fields = status == 204 ? [] : [("content-length", "5")]
            peer.answer(stream, answerFields(status, length))
        }
        let client = scene.client()
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
            let stream = client.peer.request(requestFields(method, "/\(status)"))
            scene.pass()
            if upstream == .http1 {
                let length = status == 204 ? "" : "content-length: 5\r\n"
                scene.send("HTTP/1.1 \(status) X\r\n\(length)\r\n", by: scene.rawServers[0])
            }
            #expect(stream?.isWhole == true && stream?.status == status)
            #expect(stream?["content-length"] == (status == 204 ? nil : "5"))
        }
        #expect(scene.rawServers.count + scene.servers.count == 1)
        // The same for a client of HTTP/1.1.
        guard upstream == .http2 else { return }
        let raw = scene.rawClient()
        scene.send(
            "HEAD /200 HTTP/1.1\r\nhost: a\r\n\r\nGET /204 HTTP/1.1\r\nhost: a\r\n\r\n", by: raw)
        let text = scene.received(raw)
        #expect(text.contains("200 OK\r\ncontent-length: 5\r\n") && text.contains("204 No Content"))
        #expect(!text.contains("transfer-encoding"))
    }

    @Test func interimAnswersPass() {
        let scene = HTTP2Scene(.http2)
        scene.onHead = { peer, stream in
            peer.interim(stream, answerFields(100))
            peer.interim(stream, answerFields(103, [("link", "</x>")]))
        }
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: [1]) }
        let client = scene.client()
        let stream = client.peer.request(
            requestFields("POST", "/", [("expect", "100-continue")]), ends: false)
        scene.pass()
        #expect(stream?.heads.map { $0.first?.value } == ["100", "103"])
        if let stream { client.peer.more(stream, [1, 2], ends: true) }
        scene.pass()
        #expect(stream?.isWhole == true && stream?.status == 200)
        #expect(scene.servers[0].peer.streams[1]?["expect"] == "100-continue")
        let raw = scene.rawClient()
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: raw)
        let text = scene.received(raw)
        #expect(text.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"))
        // One of HTTP/1.0 knows none.
        let old = scene.rawClient()
        scene.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n", by: old)
        #expect(scene.received(old).hasPrefix("HTTP/1.1 200 OK\r\n"))
    }

    @Test func aClientOfHTTP10GetsABodyUpToTheEnd() {
        let scene = HTTP2Scene(.http2)
        scene.onEnd = { peer, stream in
            peer.answer(stream, answerFields(), body: Self.pattern(70_000), trailers: [("x", "y")])
        }
        let client = scene.rawClient()
        client.peerWrite(
            Array("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n".utf8)[...])
        let received = scene.drain(client)
        guard case .accepted(let head, let length) = ReferenceParser.response(received) else {
            Issue.record("no answer")
            return
        }
        #expect(head.framing == .untilClose && !head.keepAlive)
        #expect(Array(received[length...]) == Self.pattern(70_000))
        #expect(client.proxyEnded)
        // Where the length is known the connection goes on.
        scene.onEnd = { peer, stream in
            peer.answer(stream, answerFields(200, [("content-length", "2")]), body: [65, 66])
        }
        let other = scene.rawClient()
        for _ in 0..<2 {
            scene.send("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n", by: other)
            let text = scene.received(other)
            #expect(text.hasSuffix("\r\n\r\nAB") && text.contains("connection: keep-alive"))
        }
    }

    @Test func fieldsChangeAsTheyShould() {
        let scene = HTTP2Scene(
            .http2,
            Scene.configuration(
                headers: .init(via: "p", forwardedFor: true, requestID: true)))
        scene.onEnd = { peer, stream in
            peer.answer(
                stream,
                answerFields(200, [("via", "1.1 s"), ("x-a", "b"), ("content-length", "0")]))
        }
        let client = scene.client()
        let stream = client.peer.request(
            requestFields("GET", "/?q", [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")]))
        scene.pass()
        let seen = scene.servers[0].peer.streams[1]
        #expect(seen?["cookie"] == "a=1; b=2")
        #expect(seen?["te"] == "trailers")
        #expect(seen?["via"] == "2 p")
        #expect(seen?["x-forwarded-for"] == "192.0.2.1")
        #expect(seen?["x-request-id"]?.count == 36)
        #expect(stream?.head.filter { $0.name == "via" }.map(\.value) == ["1.1 s", "2 p"])
        #expect(stream?["x-a"] == "b")
        // What concerns one connection of HTTP/1.1 stays there.
        let raw = scene.rawClient()
        scene.send(
            "GET http://a HTTP/1.1\r\nHost: a\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\n"
                + "Keep-Alive: 5\r\nTE: trailers, gzip\r\nProxy-Connection: 1\r\nX-Kept: 1\r\n\r\n",
            by: raw)
        _ = scene.received(raw)
        let second = scene.servers[0].peer.streams[3]
        #expect(second?[":path"] == "/" && second?[":authority"] == "a")
        #expect(second?["x-kept"] == "1")
        for name in ["connection", "x-hop", "keep-alive", "proxy-connection", "host"] {
            #expect(second?[name] == nil, "\(name)")
        }
    }
}
