import Foundation
import Support
import Testing

/// What the real proxy tells of clusters, endpoints and routes.
@Suite struct ProxyStatisticsTests {
    private static func proxy(_ endpoints: [String], routes: String) throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                admin: 127.0.0.1:0
                workers: 2
                routes: \(routes)
                clusters:
                  - name: shop
                    endpoints: [\(endpoints.map { "\"\($0)\"" }.joined(separator: ", "))]
                    outlier: {consecutive_5xx: 3, base: 1h, max_percent: 100}
                  - {name: empty, endpoints: []}
                """)
    }

    /// Both workers' counts add up, and the parts are those of the whole.
    @Test func countsByNameAddUp() throws {
        let good = try TestServer.answering { _ in "HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n" }
        let bad = try TestServer.answering { _ in "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n" }
        let proxy = try Self.proxy(
            [good.address, bad.address].map { "\($0)" },
            routes: "[{prefix: /none, cluster: empty}, {cluster: shop}]")
        var statuses: [Int: Int] = [:]
        for i in 0..<60 {
            let status = try proxy.get(i % 6 == 0 ? "/none" : "/").status
            statuses[status, default: 0] += 1
        }
        let stats = try proxy.stats()
        func value(_ name: String, _ labels: String) -> Int? {
            stats["meshbench_proxy_\(name){\(labels)}"].map { Int($0) }
        }
        let shop = "cluster=\"shop\""
        #expect(value("cluster_upstream_rq_total", shop) == 50)
        #expect(value("cluster_upstream_rq_2xx_total", shop) == statuses[200])
        #expect(value("cluster_upstream_rq_5xx_total", shop) == statuses[500])
        #expect(value("cluster_upstream_rq_5xx_total", "cluster=\"empty\"") == 10)
        #expect(value("cluster_upstream_cx_none_healthy_total", "cluster=\"empty\"") == 10)
        #expect(value("cluster_upstream_rq_active", shop) == 0)
        #expect(value("cluster_membership_total", shop) == 2)
        #expect(value("cluster_membership_healthy", shop) == 1)
        #expect(value("route_upstream_rq_total", "route=\"prefix:/none\"") == 10)
        #expect(value("route_upstream_rq_5xx_total", "route=\"prefix:/none\"") == 10)
        #expect(value("route_upstream_rq_total", "route=\"prefix:/\"") == 50)
        let badHost = "\(shop),upstream=\"\(bad.address)\""
        let goodHost = "\(shop),upstream=\"\(good.address)\""
        #expect(value("host_rq_error_total", badHost) == 3)
        #expect(value("host_ejected", badHost) == 1 && value("host_ejected", goodHost) == 0)
        #expect(value("host_ejections_total", badHost) == 1)
        #expect(value("host_ejections_total", goodHost) == 0)
        #expect(value("host_rq_success_total", goodHost) == 47)
        #expect(value("host_rq_total", badHost) == 3 && value("host_healthy", badHost) == 1)
        #expect(value("stats_left_out", "kind=\"host\"") == 0)
    }

    /// Which of two routes would turn requests away, and what a listener has turned away.
    @Test func limitsAreToldByRouteAndListener() throws {
        let server = try TestServer.answering { _ in "HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n" }
        let proxy = try RunningProxy(
            configuration: """
                listeners:
                  - name: main
                    address: "127.0.0.1:0"
                    rate_limits: [{burst: 6, fill: 1, interval: 1h}]
                admin: 127.0.0.1:0
                workers: 2
                routes:
                  - prefix: /new
                    cluster: shop
                    rate_limits: [{burst: 1, fill: 1, interval: 1h, enforced: 0%}]
                  - {cluster: shop}
                clusters: [{name: shop, endpoints: ["\(server.address)"]}]
                """)
        let paths = ["/new", "/new", "/new", "/", "/", "/", "/", "/new"]
        let statuses = try paths.map { try proxy.get($0).status }
        #expect(statuses == Array(repeating: 200, count: 6) + [429, 429])
        let stats = try proxy.stats()
        for (name, labels, value) in [
            ("route_http_local_rate_limit_enabled_total", "route=\"prefix:/new\"", 3),
            ("route_http_local_rate_limit_rate_limited_total", "route=\"prefix:/new\"", 2),
            ("route_http_local_rate_limit_enforced_total", "route=\"prefix:/new\"", 0),
            ("route_http_local_rate_limit_rate_limited_total", "route=\"prefix:/\"", 0),
            ("cluster_http_local_rate_limit_rate_limited_total", "cluster=\"shop\"", 2),
            ("listener_http_local_rate_limit_enabled_total", "listener=\"main\"", 8),
            ("listener_http_local_rate_limit_rate_limited_total", "listener=\"main\"", 2),
            ("listener_http_local_rate_limit_enforced_total", "listener=\"main\"", 2),
            ("listener_rbac_denied_total", "listener=\"main\"", 0),
            ("stats_left_out", "kind=\"listener\"", 0),
        ] as [(String, String, Double)] {
            #expect(stats["meshbench_proxy_\(name){\(labels)}"] == value, "\(name) \(labels)")
        }
    }

    /// However many endpoints there are, an answer is bounded, says what it leaves out, and finds
    /// what is asked for.
    @Test func anAnswerIsBounded() throws {
        let endpoints = (0..<2000).map { "127.1.\($0 / 256).\($0 % 256):9" }
        let proxy = try Self.proxy(endpoints, routes: "[{cluster: shop}]")
        // Once it answers a worker has its counters.
        #expect(try proxy.get("/").status == 503)
        let whole = try proxy.stats()
        #expect(whole["meshbench_proxy_stats_left_out{kind=\"host\"}"] == 1500)
        #expect(whole["meshbench_proxy_stats_left_out{kind=\"route\"}"] == 0)
        #expect(whole.samples.keys.count { $0.contains("_host_rq_total{") } == 500)
        #expect(whole["meshbench_proxy_cluster_membership_total{cluster=\"shop\"}"] == 2000)
        let filtered = try PrometheusText(proxy.admin("/stats?filter=127.1.7.207:9").text)
        #expect(filtered.samples.count > 5)
        #expect(filtered.samples.keys.allSatisfy { $0.contains("upstream=\"127.1.7.207:9\"") })
        let name = try PrometheusText(proxy.admin("/stats?filter=_membership_").text)
        #expect(name.samples.count == 4)
    }
}
