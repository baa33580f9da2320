import Base
import Posix
import Support
import Testing

/// What a proxy must do with requests and answers that are in order (RFC 9110, RFC 9112).
@Suite struct ProxyExchangeTests {
    @Test func bothSidesKeepTheirConnections() throws {
        let server = try TestServer.answering { request in
            "HTTP/1.1 200 OK\r\ncontent-length: \(request.target.utf8.count)\r\n\r\n"
                + request.target
        }
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        for number in 0..<20 {
            try client.send("GET /\(number) HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try client.readAnswer().text == "/\(number)")
        }
        // Another client finds the same upstream connection free.
        #expect(try proxy.get("/other").text == "/other")
        #expect(server.connections.all.count == 1)
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() throws {
        let server = try TestServer.answering { request in
            "HTTP/1.1 200 OK\r\ncontent-length: \(request.text.utf8.count)\r\n\r\n\(request.text)"
        }
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        let bodies = (0..<50).map { String(repeating: "\($0),", count: 1 + $0 * $0) }
        var all = ""
        for (number, body) in bodies.enumerated() {
            if number % 2 == 0 {
                all += "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \(body.utf8.count)\r\n\r\n"
                all += body
            } else {
                let size = String(body.utf8.count, radix: 16)
                all += "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                all += "\(size)\r\n\(body)\r\n0\r\n\r\n"
            }
        }
        try client.send(all)
        for body in bodies { #expect(try client.readAnswer().text == body) }
    }

    @Test func chunksAndTrailersPassBothWays() throws {
        let coded =
            "5;a=b;c=\"d e\"\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nx-sum: 11\r\nx-b: c\r\n\r\n"
        let server = try TestServer.answering { _ in
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n" + coded
        }
        let proxy = try RunningProxy(to: server.address)
        let answer = try proxy.exchange(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
                + coded)
        #expect(answer.text == "hello world")
        #expect(answer.trailers == ["x-sum: 11", "x-b: c"])
        #expect(answer["trailer"] == "x-sum")
        let request = try #require(server.requests.all.first)
        #expect(request.text == "hello world")
        #expect(request.trailers == ["x-sum: 11", "x-b: c"])
        #expect(request.values("transfer-encoding") == ["chunked"])
    }

    @Test func answersWithoutBodyEndAtTheirHead() throws {
        let server = try TestServer.answering { request in
            switch request.target {
            case "/204": "HTTP/1.1 204 No Content\r\n\r\n"
            case "/304": "HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\netag: \"x\"\r\n\r\n"
            case "/chunked": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            default: "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
            }
        }
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        for (method, target, length) in [
            ("HEAD", "/", "100"), ("GET", "/204", nil), ("GET", "/304", "100"),
            ("HEAD", "/chunked", nil), ("HEAD", "/", "100"),
        ] as [(String, String, String?)] {
            try client.send("\(method) \(target) HTTP/1.1\r\nhost: a\r\n\r\n")
            let answer = try client.readAnswer(toHead: method == "HEAD")
            #expect(answer["content-length"] == length, "\(method) \(target)")
        }
        #expect(server.connections.all.count == 1)
    }

    @Test func interimAnswersPass() throws {
        let server = try TestServer { call throws(WireFailure) in
            var request = try call.connection.readHead()
            try call.connection.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
            try call.connection.send("HTTP/1.1 100 Continue\r\n\r\n")
            try call.connection.readBody(of: &request, untilClose: false)
            call.requests.note(request)
            try call.connection.send("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok")
        }
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        try client.send(
            "PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        let early = try client.readHead()
        #expect(early.status == 103)
        #expect(early["link"] == "</a>")
        #expect(try client.readHead().status == 100)
        try client.send("body")
        #expect(try client.readAnswer().status == 201)
        let request = try #require(server.requests.all.first)
        #expect(request.text == "body")
        #expect(request["expect"] == "100-continue")
    }

    @Test func aRefusedExpectationNeedsNoBody() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.connection.readHead()
            try call.connection.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n")
            _ = try call.connection.readToEnd()
        }
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        try client.send(
            "PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        let answer = try client.readAnswer()
        #expect(answer.status == 417)
        // Whether the body still comes cannot be known, so nothing may follow on this connection.
        #expect(answer["connection"] == "close")
        #expect(client.endsWithoutMore())
    }

    @Test(arguments: ["1.1", "1.0"])
    func answersUpToTheEndOfTheConnection(version: String) throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send(
                "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 99_999))
        }
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        try client.send("GET / HTTP/\(version)\r\nhost: a\r\n\r\n")
        let answer = try client.readAnswer()
        #expect(answer.body.count == 99_999)
        #expect(answer["connection"] == "close")
        #expect(answer["transfer-encoding"] == nil)
    }

    @Test func oldClientsGetNoChunks() throws {
        let server = try TestServer.answering { _ in
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n"
        }
        let proxy = try RunningProxy(to: server.address)
        let answer = try proxy.exchange("GET / HTTP/1.0\r\n\r\n")
        #expect(answer.text == "hello")
        #expect(answer.values("transfer-encoding") == [])
        let request = try #require(server.requests.all.first)
        #expect(request.startLine == "GET / HTTP/1.1")
        #expect(request["host"] == "")
    }

    @Test func oldClientsMayKeepTheirConnection() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        for _ in 0..<2 {
            try client.send("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
            let answer = try client.readAnswer()
            #expect(answer.text == "backend")
            #expect(answer["connection"] == "keep-alive")
        }
        try client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n")
        #expect(try client.readAnswer()["connection"] == "close")
        #expect(client.endsWithoutMore())
    }

    @Test func aClientMayAskToClose() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: Close\r\n\r\n")
        #expect(try client.readAnswer()["connection"] == "close")
        #expect(client.endsWithoutMore())
        // That was between client and proxy: the upstream's connection stays.
        #expect(server.requests.all.first?["connection"] == nil)
        _ = try proxy.get("/")
        #expect(server.connections.all.count == 1)
    }

    @Test func emptyLinesBeforeARequestAreSkipped() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        try client.send("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try client.readAnswer().text == "backend")
    }
}
