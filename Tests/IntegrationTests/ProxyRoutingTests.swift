import Posix
import Support
import Testing

/// Which service a request comes to.
@Suite struct ProxyRoutingTests {
    @Test func everyConditionCounts() throws {
        let servers = try ["exact", "deep", "api", "post", "canary", "user", "wild", "rest"].map {
            ($0, try TestServer.named($0))
        }
        let clusters = servers.map { "  - {name: \($0), endpoints: [\"\($1.address)\"]}" }
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                clusters:
                \(clusters.joined(separator: "\n"))
                routes:
                  - {path: /exact, cluster: exact}
                  - {prefix: /api/deep, cluster: deep}
                  - {prefix: /api, cluster: api}
                  - {prefix: /m, methods: [POST, PUT], cluster: post}
                  - {prefix: /h, headers: {x-canary: "1"}, cluster: canary}
                  - {prefix: /h, headers: {x-user: {present: true}}, cluster: user}
                  - {hosts: ["*.example.org"], cluster: wild}
                  - {hosts: ["shop.example"], cluster: rest}
                """)
        let client = try proxy.connect()
        for (request, host, field, expected) in Self.table {
            try client.send(
                "\(request) HTTP/1.1\r\nhost: \(host)\r\ncontent-length: 0\r\n\(field)\r\n")
            let answer = try client.readAnswer()
            let seen = answer.status == 404 ? "404" : answer.text
            #expect(seen == expected, "\(request) host: \(host) \(field)")
        }
    }

    private static let table: [(String, String, String, String)] = [
        ("GET /exact", "a", "", "exact"),
        ("GET /exact?q=1", "a", "", "exact"),
        ("GET /exact/more", "a", "", "404"),
        ("GET /exac", "a", "", "404"),
        ("GET /api", "a", "", "api"),
        ("GET /api/", "a", "", "api"),
        ("GET /api?x", "a", "", "api"),
        ("GET /apis", "a", "", "404"),
        ("GET /api/deep/er", "a", "", "deep"),
        ("GET /api/deeper", "a", "", "api"),
        ("POST /m", "a", "", "post"),
        ("PUT /m/1", "a", "", "post"),
        ("GET /m", "a", "", "404"),
        ("GET /h", "a", "x-canary: 1\r\n", "canary"),
        ("GET /h", "a", "X-Canary:1\r\n", "canary"),
        ("GET /h", "a", "x-canary: 2\r\n", "404"),
        ("GET /h", "a", "x-user: \r\n", "user"),
        ("GET /h", "a", "", "404"),
        ("GET /", "one.example.org", "", "wild"),
        ("GET /", "TWO.one.Example.Org:8080", "", "wild"),
        ("GET /", "example.org", "", "404"),
        ("GET /", "notexample.org", "", "404"),
        ("GET /", "shop.example", "", "rest"),
        ("GET /", "SHOP.example:80", "", "rest"),
        ("GET http://shop.example/", "shop.example", "", "rest"),
    ]

    @Test func endpointsTakeTurns() throws {
        let servers = try (0..<3).map { try TestServer.named("\($0)") }
        let endpoints = servers.map { "\"\($0.address)\"" }.joined(separator: ", ")
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: all}]
                clusters: [{name: all, endpoints: [\(endpoints)]}]
                """)
        let client = try proxy.connect()
        let order = try (0..<9).map { _ in
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            return try client.readAnswer().text
        }
        #expect(order.sorted() == ["0", "0", "0", "1", "1", "1", "2", "2", "2"])
        #expect(Array(order[3...]) == Array(order[..<6]))
        // One connection to each, used three times.
        #expect(servers.map(\.connections.all.count) == [1, 1, 1])
    }

    @Test func severalListenersServeTheSameRoutes() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(
            configuration: """
                listeners:
                  - {name: main, address: "127.0.0.1:0"}
                  - {name: six, address: "[::1]:0"}
                routes: [{cluster: backend}]
                clusters: [{name: backend, endpoints: ["\(server.address)"]}]
                headers: {forwarded_for: true}
                """)
        #expect(try proxy.get("/").text == "backend")
        let six = try RawConnection(to: try #require(proxy.listeners["six"]))
        try six.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try six.readAnswer().text == "backend")
        #expect(server.requests.all.map { $0["x-forwarded-for"] } == ["127.0.0.1", "::1"])
    }
}
