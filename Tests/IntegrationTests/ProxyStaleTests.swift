import Base
import Posix
import Support
import Testing

/// Pooled connections that the upstream has closed meanwhile (RFC 9112, 9.3.1).
@Suite struct ProxyStaleTests {
    /// Serves one answer on the first connection; closes it when the second request has come. Later
    /// connections are served for ever.
    private static func closingServer() throws -> TestServer {
        try TestServer { call throws(WireFailure) in
            var count = 0
            while true {
                _ = try call.readRequest()
                count += 1
                if call.number == 0, count == 2 { return }
                try call.connection.send(
                    "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\(call.number)")
            }
        }
    }

    private static func logging(_ server: TestServer) throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: b}]
                clusters: [{name: b, endpoints: ["\(server.address)"]}]
                admin: 127.0.0.1:0
                access_log: "-"
                """)
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        "DELETE / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ])
    func aStaleConnectionIsRetriedOnce(request: String) throws {
        let server = try Self.closingServer()
        let proxy = try Self.logging(server)
        let client = try proxy.connect()
        try client.send(request)
        #expect(try client.readAnswer().text == "0")
        _ = try proxy.nextLogLine()
        try client.send(request)
        #expect(try client.readAnswer().text == "1")
        let line = try proxy.nextLogLine()
        #expect(line.attempts == 2)
        #expect(line.status == 200)
        #expect(line.flags == "")
        #expect(try proxy.stats()["meshbench_proxy_stale_retries_total"] == 1)
        // Whole each time, and the same.
        try #require(server.requests.all.count == 3)
        #expect(server.requests.all[1] == server.requests.all[2])
    }

    @Test func whatMayHaveBeenDoneIsNotRetried() throws {
        let server = try Self.closingServer()
        let proxy = try Self.logging(server)
        let client = try proxy.connect()
        let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
        try client.send(request)
        #expect(try client.readAnswer().text == "0")
        try client.send(request)
        let answer = try client.readAnswer()
        #expect(answer.status == 503)
        #expect(answer["x-response-flags"] == "UC")
        #expect(server.requests.all.count == 2)
        #expect(try proxy.stats()["meshbench_proxy_stale_retries_total"] == 0)
    }

    @Test func aServiceThatAlwaysClosesIsNotAskedForEver() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            guard call.number == 0 else { return }
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            _ = try call.readRequest()
        }
        let proxy = try Self.logging(server)
        let client = try proxy.connect()
        for status in [200, 503] {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try client.readAnswer().status == status)
        }
        #expect(server.connections.all.count == 2)
    }

    /// A connection that ends while it is in the pool is not used at all.
    @Test func endedConnectionsLeaveThePool() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\(call.number)")
        }
        let proxy = try Self.logging(server)
        let client = try proxy.connect()
        for number in 0..<5 {
            try client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
            #expect(try client.readAnswer().text == "\(number)")
            try proxy.wait(for: "upstream_connections") { $0 == 0 }
        }
        #expect(try proxy.stats()["meshbench_proxy_stale_retries_total"] == 0)
    }

    /// Bytes that nobody asked for are no answer to the next request.
    @Test func unaskedBytesCloseThePooledConnection() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\(call.number)")
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nX")
            _ = try call.connection.readToEnd()
        }
        let proxy = try Self.logging(server)
        let client = try proxy.connect()
        for number in 0..<3 {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try client.readAnswer().text == "\(number)")
            try proxy.wait(for: "upstream_connections") { $0 == 0 }
        }
    }
}
