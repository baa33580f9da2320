// A real Envoy and a reference proxy in one mesh: they exchange requests over mutual TLS, both
// ways, and Envoy follows what is declared.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// A control plane with the services web and cart.
private final class Mesh {
    let scratch: Scratch
    let control: RunningControl
    let proxies: SocketAddress

    init(_ words: [String] = []) throws {
        scratch = try Scratch()
        control = try RunningControl(
            data: scratch.path("data"), ["--proxies", "127.0.0.1:0"] + words)
        proxies = try #require(control.proxies)
        for name in ["web", "cart"] {
            try declare("services/shop/\(name)", #""kind":"service","name":"\#(name)""#)
        }
    }

    func declare(_ key: String, _ members: String) throws {
        let answer = try control.ask("PUT", "/v1/\(key)", "{\(members),\"namespace\":\"shop\"}")
        try #require([200, 201].contains(answer.status), "\(answer.text)")
    }

    /// A file with a token for a service.
    func token(_ service: String) throws -> String {
        let lines = try Program.run(
            Program.meshbench(),
            [
                "control", "token", service, "--server", "http://\(control.address)",
                "--token-file", "\(control.data)/token",
            ]
        ).lines
        let path = scratch.path("token-\(service.replacing("/", with: "-"))")
        try #require(lines.first).write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    /// What operators see of a proxy; nil: nothing.
    func proxy(_ service: String) throws -> ListedProxy? {
        try control.proxyList().first { $0.service == service }
    }

    func endpoints(of service: String) throws -> Int {
        let answer = try control.ask("GET", "/v1/declarations?kind=endpoint&namespace=shop")
        return answer.text.components(separatedBy: "\"service\":\"\(service)\"").count - 1
    }
}

/// Waits until something holds.
private func eventually(
    within patience: Duration = RawConnection.patience, _ what: @autoclosure () -> String,
    _ holds: () throws -> Bool
) throws {
    let deadline = Clock.now() + patience
    while try !holds() {
        guard Clock.now() < deadline else { throw WireFailure.unexpected("never: \(what())") }
        Clock.sleep(until: Clock.now() + .milliseconds(20))
    }
}

/// An Envoy with what stands beside it. Both end when it is let go.
private final class RunningEnvoy {
    let agent: Process
    let envoy: Process
    let folder: String
    let inbound: SocketAddress
    let outbound: SocketAddress
    let admin: SocketAddress
    /// Keeps the ports from others.
    private let reserved: [ReservedAddress]
    private let log: String

    init(
        _ mesh: Mesh, _ service: String, app: SocketAddress, inbound: SocketAddress? = nil
    ) throws {
        reserved = try (0..<3).map { _ in try ReservedAddress() }
        self.inbound = inbound ?? reserved[0].address
        outbound = reserved[1].address
        admin = reserved[2].address
        folder = mesh.scratch.path("envoy")
        log = mesh.scratch.path("envoy.log")
        agent = try Process(
            ProcessCommand(
                name: "agent", program: Program.meshbench(),
                arguments: [
                    "control", "envoy-agent", "--join", "\(mesh.proxies)", "--token-file",
                    try mesh.token(service), "--out", folder, "--app", "\(app)", "--inbound",
                    "\(self.inbound)", "--outbound", "\(outbound)", "--admin", "\(admin)",
                ], output: .pipe))
        let line = try #require(try Program.nextLine(of: agent))
        let ready = String(decoding: line, as: UTF8.self)
        try #require(ready.contains("\"bootstrap\":\"\(folder)/envoy.json\""), "\(ready)")
        envoy = try Process(
            ProcessCommand(
                name: "envoy", program: try Program.envoy(),
                arguments: [
                    "-c", "\(folder)/envoy.json", "--concurrency", "1", "--disable-hot-restart",
                    "-l", "warning",
                ], errorLog: log))
    }

    deinit {
        for process in [agent, envoy] where process.poll() == nil { process.send(SIGKILL) }
    }

    /// The value of one of its counters; nil: there is none yet.
    func counter(_ name: String) throws -> Int? {
        let text = try get("/stats?filter=\(name)&usedonly", at: admin).text
        let line = text.split(separator: "\n").first { $0.hasPrefix("\(name): ") }
        return line.flatMap { Int($0.dropFirst(name.count + 2)) }
    }

    /// Its listeners as they are in force, without those that it drains.
    func listeners() throws -> String {
        let text = try get("/config_dump?resource=dynamic_listeners", at: admin).text
        // Each has its states in order, and the one that is drained comes last.
        let listeners = text.components(separatedBy: "\"active_state\"").dropFirst()
        try #require(!listeners.isEmpty, "\(text)")
        return listeners.map { $0.components(separatedBy: "\"draining_state\"")[0] }.joined()
    }

    /// What it said last.
    var tail: String {
        let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
        return String(text.suffix(2000))
    }
}

/// The answer to a GET with a host.
private func get(
    _ target: String, host: String = "test", at address: SocketAddress
) throws -> RawMessage {
    let connection = try RawConnection(to: address)
    try connection.send("GET \(target) HTTP/1.1\r\nhost: \(host)\r\n\r\n")
    return try connection.readAnswer()
}

/// An Envoy of web and a reference proxy of cart, which call each other. All end with it.
private final class Pair {
    let mesh: Mesh
    let envoy: RunningEnvoy
    /// Where cart's process calls others.
    let outbound: SocketAddress
    private let apps: [RunningApp]
    private let proxy: RunningProxy

    init(_ mesh: Mesh) throws {
        self.mesh = mesh
        apps = try (0..<2).map { _ in try RunningApp("--listen", "127.0.0.1:0") }
        proxy = try RunningProxy([
            "--join", "\(mesh.proxies)", "--token-file", try mesh.token("shop/cart"), "--app",
            "\(apps[1].address)",
        ])
        envoy = try RunningEnvoy(mesh, "shop/web", app: apps[0].address)
        outbound = try #require(proxy.listeners["outbound"])
        try eventually("both serve: \(envoy.tail)") {
            (try? get("/", host: "cart", at: envoy.outbound).status) == 200
                && (try? get("/", host: "web", at: outbound).status) == 200
        }
    }
}

@Suite(.serialized) struct EnvoyMeshTests {
    /// All of a policy that Envoy has words for is in force there, and not refused.
    @Test func envoyTakesPolicies() throws {
        let mesh = try Mesh()
        // Before anybody has connected: connections of a listener that is replaced keep the old.
        try mesh.declare(
            "policies/shop/web",
            """
            "kind":"policy","name":"web","to":["web"],"inbound":{"admission":{},
              "rate_limits":[{"burst":3,"fill":1,"interval":"1h"}]}
            """)
        let pair = try Pair(mesh)
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
        let mesh = try Mesh()
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
        let pair = try Pair(Mesh())
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

    private func passes(_ mesh: Mesh) throws -> Double {
        let text = try PrometheusText(mesh.control.ask("GET", "/metrics").text)
        return text["meshbench_control_checks_passed_total"] ?? 0
    }

    @Test func envoyFollowsWhatIsDeclared() throws {
        let mesh = try Mesh()
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
        let mesh = try Mesh()
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
        let mesh = try Mesh()
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
        let pair = try Pair(Mesh(["--certificate-life", "6s"]))
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
