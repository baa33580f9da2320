// A real Envoy and a reference proxy in one mesh: they exchange requests over mutual TLS, both
// ways, and Envoy follows what is declared.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

@Suite(.serialized) struct EnvoyMeshTests {
    /// All of a policy that Envoy has words for is in force there, and not refused.
    @Test func envoyTakesPolicies() throws {
        let mesh = try EnvoyMesh()
        // Before anybody has connected: connections of a listener that is replaced keep the old.
        try mesh.declare(
            "policies/shop/web",
            """
            "kind":"policy","name":"web","to":["web"],"inbound":{"admission":{},
              "rate_limits":[{"burst":3,"fill":1,"interval":"1h"}]}
            """)
        let pair = try EnvoyPair(mesh)
        let envoy = pair.envoy
        try pair.mesh.declare(
            "policies/shop/cart",
            """
            "kind":"policy","name":"cart","to":["cart"],"timeout":{"request":"2s"},
            "retry":{"on":["5xx","retriable-status-codes","unavailable"],"max":2,"per_try":"1s",
              "statuses":[409],"wait_headers":[{"name":"retry-after"}],"previous_hosts":"avoid",
              "reselections":3,"budget":{"percent":12.5,"min":2},"hedge":true},
            "breaker":{"connections":9,"requests":99,"high":{"requests":3}},
            "outlier":{"consecutive_5xx":3,"consecutive_gateway":"off","max_percent":50,
              "always_eject_one":true,"jitter":"1s","split_local_origin":true},
            "balance":{"algorithm":"maglev","hash":[{"header":"x-user"},{"cookie":"id"},"source"],
              "panic":"12.5%"}
            """)
        try pair.mesh.declare(
            "routes/shop/limited",
            """
            "kind":"route","name":"limited","hosts":["limited"],"to":["cart"],"priority":"high",
            "rate_limits":[{"burst":1,"fill":1,"interval":"1h","tell":true}]
            """)
        try eventually("all is in force: \(envoy.tail)") {
            guard let seen = try pair.mesh.proxy("shop/web") else { return false }
            let dump = try get("/config_dump", at: envoy.admin).text
            return seen.acknowledged == seen.sent
                && [
                    "hedge_on_per_try_timeout", "always_eject_one_host", "admission_control",
                    "local_ratelimit", "retry_budget", "terminal",
                ].allSatisfy(dump.contains)
        }
        for kind in ["cluster_manager.cds", "listener_manager.lds", "http.outbound.rds.outbound"] {
            #expect(try envoy.counter("\(kind).update_rejected") ?? 0 == 0, "\(envoy.tail)")
        }
        #expect(try get("/", host: "cart", at: envoy.outbound).status == 200)
        // The one token of the route's bucket; then those of the listener's.
        #expect(try get("/", host: "limited", at: envoy.outbound).status == 200)
        #expect(try get("/", host: "limited", at: envoy.outbound).status == 429)
        let said = try (0..<6).map { _ in try get("/", host: "web", at: pair.outbound).status }
        #expect(said.contains(429), "\(said)")
    }

    @Test func envoyAndReferenceProxiesExchangeRequests() throws {
        let mesh = try EnvoyMesh()
        let (web, cart) = (
            try RunningApp("--listen", "127.0.0.1:0"), try RunningApp("--listen", "127.0.0.1:0")
        )
        let proxy = try RunningProxy([
            "--join", "\(mesh.proxies)", "--token-file", try mesh.token("shop/cart"), "--app",
            "\(cart.address)",
        ])
        let envoy = try RunningEnvoy(mesh, "shop/web", app: web.address)
        try eventually("both are registered") {
            try mesh.endpoints(of: "web") == 1 && mesh.endpoints(of: "cart") == 1
        }
        // Of a revision later than that of the endpoints, all is in force.
        try eventually("Envoy has all: \(envoy.tail)") {
            guard let seen = try mesh.proxy("shop/web") else { return false }
            let isThere = seen.dataplane == "envoy" && seen.acknowledged == seen.sent
            return try isThere && get("/", host: "cart", at: envoy.outbound).status == 200
        }
        for host in ["cart", "cart.shop", "cart.shop.mesh:80"] {
            #expect(try get("/", host: host, at: envoy.outbound).status == 200)
        }
        #expect(try get("/", host: "nobody", at: envoy.outbound).status == 404)
        let outbound = try #require(proxy.listeners["outbound"])
        try eventually("the other way") {
            try get("/", host: "web", at: outbound).status == 200
        }
        // Both ways it was TLS, and nothing else would have been taken.
        #expect(try envoy.counter("cluster.shop/cart.ssl.handshake") ?? 0 > 0)
        #expect(
            try envoy.counter("listener.127.0.0.1_\(envoy.inbound.port).ssl.handshake") ?? 0 > 0)
        #expect(throws: (any Error).self) { try get("/", at: envoy.inbound) }
        // The control plane asks in the same way how it is, whatever others may ask for.
        try mesh.declare(
            "authorizations/shop/web",
            #""kind":"authorization","name":"web","action":"allow","to":["web"],"rules":["#
                + #"{"identities":["*/sa/cart"]}]"#)
        try mesh.declare(
            "authorizations/shop/nobody",
            #""kind":"authorization","name":"nobody","action":"deny","to":["web"],"rules":["#
                + #"{"paths":["/healthz"]}]"#)
        try mesh.declare(
            "services/shop/web",
            #""kind":"service","name":"web","health":{"http":"/healthz","interval":"500ms","#
                + #""timeout":"500ms"}"#)
        try eventually("the rules are in force") {
            try get("/healthz", host: "web", at: outbound).status == 403
        }
        let before = try passes(mesh)
        try eventually("it passes its checks") { try passes(mesh) > before + 1 }
        // Who leaves is taken back.
        envoy.agent.send(SIGTERM)
        try eventually("the endpoint is gone") { try mesh.endpoints(of: "web") == 0 }
        #expect(envoy.agent.wait(until: Clock.now() + .seconds(10)) == .exited(0))
    }

    /// Envoys and reference proxies hear of it at different instants, and wait for one another.
    @Test func theModeChangesWithoutAFailedRequest() throws {
        let pair = try EnvoyPair(EnvoyMesh())
        let (mesh, envoy, outbound) = (pair.mesh, pair.envoy, pair.outbound)
        for name in ["web", "cart"] {
            try mesh.declare(
                "services/shop/\(name)", #""kind":"service","name":"\#(name)","mtls":"off""#)
        }
        try eventually(within: .seconds(60), "there is no TLS any more: \(envoy.tail)") {
            #expect(try get("/", host: "cart", at: envoy.outbound).status == 200)
            #expect(try get("/", host: "web", at: outbound).status == 200)
            return try !envoy.listeners().contains("DownstreamTlsContext")
        }
        let text = try get("/config_dump?resource=dynamic_active_clusters", at: envoy.admin).text
        #expect(text.contains("shop/cart") && !text.contains("UpstreamTlsContext"))
        #expect(try get("/", at: envoy.inbound).status == 200)
        #expect(try get("/", host: "cart", at: envoy.outbound).status == 200)
    }

    private func passes(_ mesh: EnvoyMesh) throws -> Double {
        let text = try PrometheusText(mesh.control.ask("GET", "/metrics").text)
        return text["meshbench_control_checks_passed_total"] ?? 0
    }

    @Test func envoyFollowsWhatIsDeclared() throws {
        let mesh = try EnvoyMesh()
        let (web, one, two) = (
            try RunningApp("--listen", "127.0.0.1:0"), try RunningApp("--listen", "127.0.0.1:0"),
            try RunningApp("--listen", "127.0.0.1:0")
        )
        try mesh.declare(
            "services/shop/plain", #""kind":"service","name":"plain","mtls":"off""#)
        func point(to app: RunningApp) throws {
            try mesh.declare(
                "endpoints/shop/plain-1",
                #""kind":"endpoint","name":"plain-1","service":"plain","address":"#
                    + "\"\(app.address)\"")
        }
        try point(to: one)
        let envoy = try RunningEnvoy(mesh, "shop/web", app: web.address)
        try eventually("Envoy serves: \(envoy.tail)") {
            (try? get("/one", host: "plain", at: envoy.outbound).status) == 200
        }
        // An endpoint that moves is followed, and nothing fails meanwhile.
        try point(to: two)
        try eventually("the new endpoint is used") {
            #expect(try get("/two", host: "plain", at: envoy.outbound).status == 200)
            return try envoy.counter("cluster.shop/plain.update_success") == 2
        }
        one.process.send(SIGKILL)
        #expect(try get("/three", host: "plain", at: envoy.outbound).status == 200)
        // A service that comes, and a route to it, and one that leaves.
        try mesh.declare(
            "services/shop/next", #""kind":"service","name":"next","mtls":"off""#)
        try mesh.declare(
            "endpoints/shop/next-1",
            #""kind":"endpoint","name":"next-1","service":"next","address":"#
                + "\"\(web.address)\"")
        try mesh.declare(
            "routes/shop/plain",
            #""kind":"route","name":"plain","hosts":["plain"],"to":["next"]"#)
        try eventually("the route is in force") {
            let status = try get("/", host: "plain", at: envoy.outbound).status
            #expect(status == 200)
            let seen = try #require(try mesh.proxy("shop/web"))
            let requests = try envoy.counter("cluster.shop/next.upstream_rq_total") ?? 0
            return seen.acknowledged == seen.sent && requests > 0
        }
        // What Envoy has no words for is shown, and what it has stays.
        try mesh.declare(
            "policies/shop/next",
            #""kind":"policy","name":"next","to":["next"],"timeout":{"request":"2s"}"#)
        try mesh.declare(
            "routes/shop/plain",
            #""kind":"route","name":"plain","hosts":["plain"],"to":["next","plain"]"#)
        try eventually("the refusal is seen") {
            let refused = try mesh.proxy("shop/web")?.refused
            return refused?.error.contains("different request timeouts") == true
        }
        #expect(try get("/", host: "plain", at: envoy.outbound).status == 200)
    }

    /// Envoy forwards and compares paths as they came, and has been told all the ways to write one.
    @Test func envoyDeniesAPathHoweverItIsWritten() throws {
        let mesh = try EnvoyMesh()
        let web = try RunningApp("--listen", "127.0.0.1:0")
        try mesh.declare("services/shop/web", #""kind":"service","name":"web","mtls":"off""#)
        try mesh.declare(
            "authorizations/shop/web",
            #""kind":"authorization","name":"web","action":"deny","to":["web"],"rules":["#
                + #"{"prefixes":["/admin"]},{"paths":["/v1/items:delete"]},"#
                + #"{"headers":{"x-debug":"1"}}]"#)
        let envoy = try RunningEnvoy(mesh, "shop/web", app: web.address)
        try eventually("Envoy serves: \(envoy.tail)") {
            (try? get("/", at: envoy.inbound).status) == 200
        }
        for path in [
            "/admin", "/admin/x?y", "//admin", "/./admin", "/%61dmin", "/admin;x/y", "/admin%2Fx",
            "/b/../admin", "/b/..;/admin", "/v1/items:delete", "/v1/items%3Adelete", "/admin%00",
            "/v1/items:delete/", "/v1/items:delete;x/y", "//x/admin", "/admin%3Fx", "/%u0061dmin",
        ] {
            #expect(try get(path, at: envoy.inbound).status != 200, "\(path)")
        }
        for path in ["/administrator", "/b/admin", "/v1/items", "/b%2Fc", "/b;x", "/b//c"] {
            #expect(try get(path, at: envoy.inbound).status == 200, "\(path)")
        }
        for lines in ["x-debug: 1\r\nx-debug: 2", "x-debug: 0, 1", "x-debug: \u{E9}\r\nx-debug: 1"]
        {
            let connection = try RawConnection(to: envoy.inbound)
            let head = "GET / HTTP/1.1\r\nhost: a\r\n\(lines)\r\n\r\n"
            // As ISO 8859-1, which is no UTF-8.
            try connection.send(head.unicodeScalars.map { UInt8($0.value) })
            #expect(try connection.readAnswer().status == 403, "\(lines)")
        }
        let connection = try RawConnection(to: envoy.inbound)
        try connection.send("GET / HTTP/1.1\r\nhost: a\r\nx_debug: 1\r\n\r\n")
        #expect(try connection.readAnswer().status != 200)
        // Octets that HTTP/1.1 has no place for in a path, and HTTP/2 lets through.
        let paths = ["/x", "/admin/\u{FF}", "/\u{E9}", "/admin"]
        let said = try Program.run(
            Program.python, ["-c", Self.asker, "\(envoy.inbound.port)"] + paths)
        #expect(said.lines.first == "200")
        #expect(
            said.lines.count == paths.count && !said.lines.dropFirst().contains("200"), "\(said)")
    }

    /// Asks by HTTP/2 for paths of any octets, and says what came of each.
    private static let asker = """
        import socket, sys, h2.config, h2.connection, h2.events
        for path in sys.argv[2:]:
            link = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10)
            h = h2.connection.H2Connection(h2.config.H2Configuration(
                validate_outbound_headers=False, normalize_outbound_headers=False))
            h.initiate_connection()
            h.send_headers(1, [(b':method', b'GET'), (b':scheme', b'http'), (b':authority', b'a'),
                (b':path', path.encode('latin-1'))], end_stream=True)
            link.sendall(h.data_to_send())
            said = None
            while said is None:
                data = link.recv(65536)
                if not data: said = 'closed'
                for event in h.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived):
                        said = dict(event.headers)[b':status'].decode()
                    if isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                        said = 'reset'
            print(said)
        """

    @Test func whatEnvoyRefusesIsNoticed() throws {
        let mesh = try EnvoyMesh()
        let web = try RunningApp("--listen", "127.0.0.1:0")
        // Somebody else has its port.
        let other = try RunningApp("--listen", "127.0.0.1:0")
        let envoy = try RunningEnvoy(mesh, "shop/web", app: web.address, inbound: other.address)
        try eventually("the refusal is seen: \(envoy.tail)") {
            let seen = try mesh.proxy("shop/web")
            return seen?.refused?.error.hasPrefix("listeners: Envoy refused it") == true
                && seen?.refusals ?? 0 > 0
        }
        #expect(try envoy.counter("listener_manager.lds.update_rejected") ?? 0 > 0)
        other.process.send(SIGKILL)
        try eventually("it is taken in the end") {
            let seen = try #require(try mesh.proxy("shop/web"))
            return seen.refused == nil && seen.acknowledged == seen.sent
        }
    }

    /// Certificates of seconds, under requests.
    @Test func envoyTakesRenewedCertificatesOver() throws {
        let pair = try EnvoyPair(EnvoyMesh(["--certificate-life", "6s"]))
        let (envoy, outbound) = (pair.envoy, pair.outbound)
        let file = "\(envoy.folder)/envoy-identity.json"
        let first = try String(contentsOfFile: file, encoding: .utf8)
        // Until the first certificate has ended for sure.
        let end = Clock.now() + .milliseconds(6200)
        while Clock.now() < end {
            #expect(try get("/", host: "cart", at: envoy.outbound).status == 200)
            #expect(try get("/", host: "web", at: outbound).status == 200)
            Clock.sleep(until: Clock.now() + .milliseconds(50))
        }
        #expect(try String(contentsOfFile: file, encoding: .utf8) != first)
    }
}
