import Foundation
import Posix
import Support
import Testing

/// Which endpoint requests go to, with the real binary.
@Suite struct ProxyBalanceTests {
    private static func server(_ name: String, status: Int = 200) throws -> TestServer {
        try TestServer.answering { _ in
            "HTTP/1.1 \(status) X\r\ncontent-length: \(name.utf8.count)\r\n\r\n\(name)"
        }
    }

    private static func proxy(_ servers: [TestServer], _ cluster: String) throws -> RunningProxy {
        let endpoints = servers.map { "\"\($0.address)\"" }.joined(separator: ", ")
        return try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                admin: 127.0.0.1:0
                workers: 2
                routes: [{cluster: all}]
                clusters:
                  - name: all
                    endpoints: [\(endpoints)]
                    \(cluster)
                """)
    }

    private struct Events: Decodable {
        struct Event: Decodable {
            var action: String
            var reason: String
            var upstream: String
            var enforced: Bool
        }

        var events: [Event]
    }

    /// One of ten always fails: five errors among all clients of both workers, then none, and the
    /// admin listener says who, why and how often. It comes back, and fails five times more.
    @Test func oneBadEndpointIsEjected() throws {
        let servers = try (0..<10).map { try Self.server("\($0)", status: $0 == 3 ? 500 : 200) }
        let proxy = try Self.proxy(
            servers, "outlier: {interval: 100ms, base: 100ms}")
        func errors(_ requests: Int) throws -> Int {
            // Connections fall to either worker.
            let clients = try (0..<8).map { _ in try proxy.connect() }
            var errors = 0
            for i in 0..<requests {
                try clients[i % 8].send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                if try clients[i % 8].readAnswer().status != 200 { errors += 1 }
            }
            return errors
        }
        _ = try errors(200)
        let ejections =
            "outlier_ejections_enforced_total{cluster=\"all\",reason=\"consecutive_5xx\"}"
        try proxy.wait(for: ejections) { $0 >= 1 }
        try proxy.wait(for: "outlier_returns_total{cluster=\"all\"}") { $0 >= 1 }
        let answer = try proxy.admin("/events")
        #expect(answer.status == 200)
        let events = try JSONDecoder().decode(Events.self, from: Data(answer.text.utf8)).events
        #expect(events.first?.action == "eject" && events.first?.enforced == true)
        #expect(events.allSatisfy { $0.upstream == "\(servers[3].address)" })
        #expect(events.allSatisfy { $0.reason == "consecutive_5xx" })
        let enforced = try proxy.stats()["meshbench_proxy_\(ejections)"] ?? 0
        #expect(servers[3].requests.all.count >= 5 * Int(enforced))
    }

    @Test func aCookieFindsItsEndpoint() throws {
        let servers = try (0..<6).map { try Self.server("\($0)") }
        let proxy = try Self.proxy(
            servers, "balance: {algorithm: maglev, hash: [{cookie: sid}]}")
        var owners: [Int: String] = [:]
        for request in 0..<60 {
            let answer = try proxy.get("/", "cookie: a=1; sid=s\(request % 12)\r\n")
            #expect(answer.status == 200)
            #expect(owners[request % 12, default: answer.text] == answer.text)
            owners[request % 12] = answer.text
        }
        #expect(Set(owners.values).count > 2)
    }
}
