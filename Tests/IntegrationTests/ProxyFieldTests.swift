import Base
import Posix
import Support
import Testing

/// What becomes of header fields on their way (RFC 9110, 7.6).
@Suite struct ProxyFieldTests {
    private static let hopByHop =
        "connection: keep-alive, x-secret\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\n"
        + "proxy-connection: keep-alive\r\nte: gzip\r\nupgrade: h2c\r\nx-kept: 2\r\n"

    @Test func connectionFieldsStayOnTheirConnection() throws {
        let server = try TestServer.answering { _ in
            "HTTP/1.1 200 OK\r\n\(Self.hopByHop)content-length: 0\r\n\r\n"
        }
        let proxy = try RunningProxy(to: server.address)
        let answer = try proxy.get("/", Self.hopByHop)
        let request = try #require(server.requests.all.first)
        for message in [request, answer] {
            let names = Set(message.fields.map(\.name))
            #expect(message["x-kept"] == "2")
            #expect(
                names.isDisjoint(with: [
                    "connection", "x-secret", "keep-alive", "proxy-connection", "te", "upgrade",
                ]), "\(names)")
        }
    }

    @Test func fieldsPassAsTheyCame() throws {
        let fields =
            "X-Mixed-Case:  a  b \r\nx-empty:\r\nx-twice: 1\r\nx-twice: 2\r\nx-latin: \u{e9}\r\n"
        let server = try TestServer.answering { _ in
            "HTTP/1.1 299 Any  Reason\r\n\(fields)content-length: 0\r\n\r\n"
        }
        let proxy = try RunningProxy(to: server.address)
        let answer = try proxy.exchange(
            "PATCH /a%20b?c=d HTTP/1.1\r\nhost: Some.Host:1\r\n\(fields)content-length: 0\r\n\r\n")
        #expect(answer.startLine == "HTTP/1.1 299 Any  Reason")
        let request = try #require(server.requests.all.first)
        #expect(request.startLine == "PATCH /a%20b?c=d HTTP/1.1")
        #expect(request["host"] == "Some.Host:1")
        for message in [request, answer] {
            #expect(message["x-mixed-case"] == "a  b")
            #expect(message["x-empty"] == "")
            #expect(message.values("x-twice") == ["1", "2"])
            #expect(message["x-latin"] == "\u{e9}")
        }
        // Nothing is added that was not asked for.
        #expect(request["via"] == nil && request["x-forwarded-for"] == nil)
        #expect(request["x-request-id"] == nil)
    }

    @Test func theConfiguredFieldsAreAdded() throws {
        let server = try TestServer.answering { _ in
            "HTTP/1.1 200 OK\r\nvia: 1.1 origin\r\ncontent-length: 0\r\n\r\n"
        }
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: b}]
                clusters: [{name: b, endpoints: ["\(server.address)"]}]
                headers: {via: mesh, forwarded_for: true, request_id: true}
                """)
        let answer = try proxy.get("/")
        #expect(answer.values("via") == ["1.1 origin", "1.1 mesh"])
        _ = try proxy.get("/")
        _ = try proxy.get(
            "/",
            "x-forwarded-for: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2\r\nx-request-id: mine\r\n"
                + "via: 1.0 before\r\n")
        let requests = server.requests.all
        let first = try #require(requests[0]["x-request-id"])
        let second = try #require(requests[1]["x-request-id"])
        #expect(first != second)
        let dashes = [8, 13, 18, 23]
        for (index, character) in first.enumerated() {
            #expect(dashes.contains(index) ? character == "-" : character.isHexDigit)
        }
        #expect(first.count == 36)
        #expect(first.dropFirst(14).first == "4")
        #expect(requests[0]["x-forwarded-for"] == "127.0.0.1")
        #expect(requests[0]["via"] == "1.1 mesh")
        #expect(requests[2]["x-request-id"] == "mine")
        #expect(requests[2].values("via") == ["1.0 before", "1.1 mesh"])
        // The addresses in their order, however they were spread over fields.
        #expect(
            requests[2].values("x-forwarded-for").joined(separator: ", ")
                == "192.0.2.1, 192.0.2.2, 127.0.0.1")
    }

    @Test func theAbsoluteFormNamesTheHost() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(to: server.address)
        let answer = try proxy.exchange(
            "GET http://shop.example:81/a?b HTTP/1.1\r\nhost: shop.example:81\r\n\r\n")
        #expect(answer.text == "backend")
        let request = try #require(server.requests.all.first)
        #expect(request.startLine == "GET /a?b HTTP/1.1")
        #expect(request.values("host") == ["shop.example:81"])
    }
}
