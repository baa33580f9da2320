import Base
import Glibc
import Posix
import Support
import Testing

/// CONNECT, which opens a tunnel where the configuration lets it (RFC 9110, 9.3.6).
@Suite struct ProxyConnectTests {
    /// Opens tunnels, and answers the request that comes through one with its target.
    private static func server(grants: Bool = true) throws -> TestServer {
        try TestServer { call throws(WireFailure) in
            let connect = try call.readRequest()
            guard connect.method == "CONNECT", grants else {
                try call.connection.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno\n")
                return
            }
            // A length that means nothing here.
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
            let request = try call.readRequest()
            let body = request.target + "\n"
            try call.connection.send(
                "HTTP/1.1 200 OK\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)")
        }
    }

    private static func proxy(
        to address: SocketAddress, speech: String, upgrades: String = "[connect]"
    ) throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{hosts: [inside.test], cluster: c}]
                clusters: [{name: c, endpoints: ["\(address)"], protocol: \(speech)}]
                upgrades: \(upgrades)
                admin: 127.0.0.1:0
                """)
    }

    private static func curl(_ proxy: RunningProxy, _ url: String) throws -> [String] {
        let words = ["-sS", "-m", "20", "--proxytunnel", "--proxy", "http://\(proxy.address)", url]
        return try Program.run("sh", ["-c", "exec curl \"$@\" 2>&1", "sh"] + words).lines
    }

    /// By way of one hop, and of two with HTTP/2 between them.
    @Test(arguments: [1, 2]) func aTunnelIsOpened(hops: Int) throws {
        let server = try Self.server()
        let last = try Self.proxy(to: server.address, speech: "http1")
        let first = hops == 1 ? last : try Self.proxy(to: last.address, speech: "http2")
        #expect(try Self.curl(first, "http://inside.test:80/a/b") == ["/a/b"])
        let seen = try server.requests.wait(for: 2)
        #expect(seen[0].method == "CONNECT" && seen[0].target == "inside.test:80")
        #expect(try first.wait(for: "upgrades_total") { $0 == 1 } == 1)
        // No route leads to another host, whatever the client names.
        #expect(try Self.curl(first, "http://\(server.address)/").contains { $0.contains("404") })
    }

    @Test func aRefusalIsPassedOn() throws {
        let server = try Self.server(grants: false)
        let proxy = try Self.proxy(to: server.address, speech: "http1")
        #expect(try Self.curl(proxy, "http://inside.test/").contains { $0.contains("403") })
        let answer = try proxy.exchange(
            "CONNECT inside.test:80 HTTP/1.1\r\nhost: inside.test:80\r\n\r\nGET /smuggled ")
        #expect(answer.status == 403 && answer["connection"] == "close")
        #expect(try proxy.stats()["meshbench_proxy_upgrades_total"] == 0)
    }

    @Test func withoutLeaveThereIsNone() throws {
        let server = try Self.server()
        let proxy = try Self.proxy(to: server.address, speech: "http1", upgrades: "[websocket]")
        #expect(try Self.curl(proxy, "http://inside.test/").contains { $0.contains("501") })
        let open = try Self.proxy(to: server.address, speech: "http1")
        let body = "CONNECT inside.test:80 HTTP/1.1\r\nhost: inside.test:80\r\n"
        #expect(try open.exchange(body + "content-length: 4\r\n\r\nGET ").status == 400)
        #expect(server.requests.all.isEmpty)
    }
}
