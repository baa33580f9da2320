import Base
import FoundationEssentials
import Glibc
import Posix
import Secure
import Support
import Testing

/// A proxy as a mesh sets it up before a service: mutual TLS in its modes, and who may ask for
/// what, against curl and openssl.
@Suite struct ProxyMeshTests {
    private static let domain = "spiffe://mesh.test/ns/shop/sa"
    let files: CertificateFolder

    init() throws {
        files = try CertificateFolder()
        try files.issue("cart", uris: ["\(Self.domain)/cart"], addresses: ["127.0.0.1"])
        try files.issue("web", uris: ["\(Self.domain)/web"])
        try files.issue("job", uris: ["\(Self.domain)/job"])
        try files.issue("both", uris: ["\(Self.domain)/web", "\(Self.domain)/job"])
        try files.issue(
            "late", uris: ["\(Self.domain)/web"], validity: CertificateFolder.expired)
    }

    private enum Mode: String, CaseIterable { case strict, permissive, off }

    /// Everything that comes by the listener goes to `service`.
    private func text(
        _ service: SocketAddress, _ mode: Mode, _ rules: String? = nil, protocol: String = "auto"
    ) -> String {
        let tls =
            """
            tls: {\(files.identity("cart")), authorities: \(files.authority), \
            client_certificate: \(mode == .strict ? "required" : "optional")}
            """
        return """
            listeners:
              - name: main
                address: "127.0.0.1:0"
                protocol: \(`protocol`)
                cluster: app
                \(mode == .off ? "" : tls)
                \(mode == .permissive ? "permissive: true" : "")
                \(rules.map { "authorization: \($0)" } ?? "")
            clusters: [{name: app, endpoints: ["\(service)"]}]
            admin: 127.0.0.1:0
            access_log: "-"
            """
    }

    private static let onlyWeb = "{allow: [{identities: [\"*/sa/web\"]}]}"

    private func showing(_ name: String?, _ from: CertificateFolder? = nil) -> [String] {
        guard let name else { return [] }
        let folder = from ?? files
        return ["--cert", folder.path("\(name).pem"), "--key", folder.path("\(name).key")]
    }

    /// The answer's body, and its version and status, or what curl ended with.
    private func curl(
        _ proxy: RunningProxy, _ scheme: String, _ more: [String] = []
    ) throws -> String {
        let said = try Program.run(
            "curl",
            [
                "-s", "--max-time", "20", "--cacert", files.authority, "-w",
                " %{http_version} %{http_code}", "\(scheme)://\(proxy.address)/",
            ] + more)
        return said.end == .exited(0) ? said.lines.joined(separator: "|") : "failed"
    }

    private func failures(_ proxy: RunningProxy, _ reason: String) throws -> Double {
        try proxy.stats()[
            "meshbench_proxy_tls_failures_total{side=\"downstream\",reason=\"\(reason)\"}"] ?? -1
    }

    // MARK: Modes

    @Test func strictTakesOnlyWhoIsVouchedFor() throws {
        let server = try TestServer.named("backend")
        let others = try CertificateFolder("other root")
        try others.issue("web", uris: ["\(Self.domain)/web"])
        let proxy = try RunningProxy(
            configuration: text(server.address, .strict, Self.onlyWeb))
        #expect(try curl(proxy, "https", showing("web")) == "backend 2 200")
        #expect(try curl(proxy, "http") == "failed")
        #expect(try failures(proxy, "not_tls") == 1)
        for (client, from, reason) in [
            (nil, files, "no_peer_certificate"), ("late", files, "certificate_expired"),
            ("web", others, "certificate_authority"),
        ] as [(String?, CertificateFolder, String)] {
            #expect(try curl(proxy, "https", showing(client, from)) == "failed", "\(reason)")
            #expect(try failures(proxy, reason) == 1, "\(reason)")
        }
        // The wrong identities: one that is not allowed, and one that nobody can tell.
        for name in ["job", "both"] {
            #expect(
                try curl(proxy, "https", showing(name)) == "rbac_access_denied| 2 403", "\(name)")
        }
        #expect(server.requests.all.count == 1)
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_authorization_denied_total"] == 2)
        #expect(stats["meshbench_proxy_authorization_allowed_total"] == 1)
        #expect(stats["meshbench_proxy_cluster_rbac_denied_total{cluster=\"app\"}"] == 2)
        let first = try proxy.nextLogLine()
        #expect(first.peer == "\(Self.domain)/web" && first.status == 200 && first.flags == "")
        let second = try proxy.nextLogLine()
        #expect(second.peer == "\(Self.domain)/job" && second.status == 403)
        #expect(second.flags == "UAEX" && second.details == "rbac_access_denied")
        #expect(second.cluster == "app" && second.upstream == nil)
    }

    /// What openssl is told, by itself: alerts by their numbers in RFC 8446, B.2.
    @Test func opensslIsToldWhy() throws {
        let server = try TestServer.named("backend")
        let others = try CertificateFolder("other root")
        let proxy = try RunningProxy(configuration: text(server.address, .strict))
        func alert(_ name: String?, _ from: CertificateFolder) throws -> [String] {
            let identity =
                name.map {
                    "-cert \(from.path("\($0).pem")) -key \(from.path("\($0).key"))"
                } ?? ""
            return try Program.run(
                "sh",
                [
                    "-c",
                    "printf 'GET / HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n' | "
                        + "timeout 10 openssl s_client -quiet -connect \(proxy.address) "
                        + "\(identity) 2>&1 | grep -oE 'alert number [0-9]+|backend'",
                ]
            ).lines
        }
        #expect(try alert("web", files) == ["backend"])
        #expect(try alert(nil, files) == ["alert number 116"])
        #expect(try alert("late", files) == ["alert number 45"])
        #expect(try alert("client", others) == ["alert number 48"])
        #expect(server.requests.all.count == 1)
    }

    @Test func permissiveTakesBoth() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: text(server.address, .permissive))
        for (scheme, more, version) in [
            ("http", [], "1.1"), ("http", ["--http2-prior-knowledge"], "2"),
            ("https", showing("web") + ["--http1.1"], "1.1"), ("https", showing("web"), "2"),
            ("https", [], "2"),
        ] as [(String, [String], String)] {
            #expect(
                try curl(proxy, scheme, more) == "backend \(version) 200", "\(scheme) \(more)")
        }
        // Whoever shows a certificate has to be believed all the same.
        #expect(try curl(proxy, "https", showing("late")) == "failed")
        #expect(
            try proxy.stats()["meshbench_proxy_downstream_permissive_cleartext_total"] == 2)
    }

    @Test func permissiveWaitsForTheFirstByte() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(
            configuration: text(server.address, .permissive) + "\ntimeouts: {handshake: 300ms}")
        let silent = try proxy.connect()
        let slow = try proxy.connect()
        for byte in "GET / HTTP/1.1\r\nhost: a\r\n\r\n" { try slow.send(String(byte)) }
        #expect(try slow.readAnswer().text == "backend")
        #expect(silent.endsWithoutMore())
        #expect(try failures(proxy, "handshake_timeout") == 1)
        let leaving = try proxy.connect()
        leaving.close()
        try proxy.wait(for: "downstream_connections") { $0 <= 1 }
        let cut = try proxy.connect()
        try cut.send([22, 3, 1])
        cut.close()
        try proxy.wait(for: "downstream_tls_handshakes_failed_total") { $0 >= 2 }
    }

    @Test func permissiveRulesTellClientsApart() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(
            configuration: text(server.address, .permissive, Self.onlyWeb))
        #expect(try curl(proxy, "https", showing("web")) == "backend 2 200")
        #expect(try curl(proxy, "https", showing("job")) == "rbac_access_denied| 2 403")
        #expect(try curl(proxy, "http") == "rbac_access_denied| 1.1 403")
    }

    @Test func offTakesCleartextOnly() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: text(server.address, .off))
        #expect(try curl(proxy, "http") == "backend 1.1 200")
        #expect(try curl(proxy, "https", showing("web")) == "failed")
    }

    // MARK: Rules

    @Test(arguments: [["--http1.1"], ["--http2"]]) func requestsAreHeldAgainstRules(
        _ version: [String]
    ) throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(
            configuration: text(
                server.address, .strict,
                """
                {deny: [{prefixes: [/debug]}, {headers: {x-debug: {present: true}}}], \
                allow: [{namespaces: [shop], methods: [GET], prefixes: [/api]}, {paths: [/ok]}]}
                """))
        func status(_ path: String, _ more: [String] = []) throws -> Int? {
            let said = try Program.run(
                "curl",
                [
                    "-s", "--max-time", "20", "--cacert", files.authority, "-o", "/dev/null", "-w",
                    "%{http_code}", "--path-as-is", "https://\(proxy.address)\(path)",
                ] + showing("job") + version + more)
            return Int(said.lines.joined())
        }
        for (path, more, expected) in [
            ("/api/x", [], 200), ("/ok?debug=1", [], 200), ("/ok", ["-X", "POST"], 200),
            ("/api/x", ["-X", "PUT"], 403), ("/", [], 403), ("/apis", [], 403),
            ("/debug", [], 403), ("/api/../debug", [], 403), ("/debug/../api", [], 403),
            ("/api/%2e%2e/debug", [], 403), ("//debug", [], 403), ("/ok/", [], 403),
            ("/api", ["-H", "x-debug: 1"], 403), ("/api", ["-H", "X-Debug;"], 403),
            ("/api", ["-H", "x-other: 1"], 200), ("/api/x", ["-d", "body", "-X", "GET"], 200),
            ("/", ["-d", "body"], 403),
        ] as [(String, [String], Int)] {
            let told = try status(path, more)
            #expect(try proxy.nextLogLine().status == expected, "\(path) \(more)")
            // curl 7.88 forgets an answer over HTTP/2 that comes before it has sent its body.
            let forgets = expected == 403 && more.first == "-d" && version == ["--http2"]
            #expect(told == expected || forgets && told == 0, "\(path) \(more): \(told ?? -1)")
        }
    }

    @Test func bytesAreHeldAgainstRules() throws {
        let server = try TestServer { call throws(WireFailure) in
            let bytes = try call.connection.read(5)
            try call.connection.send(Array("got ".utf8) + bytes + [10])
        }
        let proxy = try RunningProxy(
            configuration: text(server.address, .strict, Self.onlyWeb, protocol: "tcp"))
        func said(_ name: String) throws -> [String] {
            let (certificate, key) = (files.path("\(name).pem"), files.path("\(name).key"))
            let command =
                "printf hello | timeout 10 openssl s_client -quiet -connect \(proxy.address) "
                + "-cert \(certificate) -key \(key) 2>/dev/null"
            return try Program.run("sh", ["-c", command]).lines
        }
        #expect(try said("web") == ["got hello"])
        #expect(try said("job") == [])
        #expect(server.connections.all.count == 1)
        _ = try proxy.nextLogLine()
        let line = try proxy.nextLogLine()
        #expect(line.protocol == "TCP" && line.flags == "UAEX" && line.upstream == nil)
        #expect(line.details == "rbac_access_denied" && line.peer == "\(Self.domain)/job")
    }

    /// Rules about ports are about the port that the listener has got, though none was named.
    @Test func portsAreThoseThatListenersGot() throws {
        let server = try TestServer.named("backend")
        let file = try ConfigurationFile()
        let proxy = try RunningProxy(
            configuration: text(server.address, .off, "{deny: [{ports: [1]}]}"), file: file)
        #expect(try proxy.get("/").status == 200)
        try file.write(
            text(server.address, .off, "{deny: [{ports: [\(proxy.address.port)]}]}"))
        let client = try proxy.connect()
        proxy.process.send(SIGHUP)
        try waitForStatus(403, on: client)
    }

    // MARK: While it serves

    private func waitForStatus(_ status: Int, on client: RawConnection) throws {
        let deadline = Clock.now() + RawConnection.patience
        while true {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            if try client.readAnswer().status == status { return }
            try #require(Clock.now() < deadline)
        }
    }

    /// Rules, the cluster and the mode change under a connection that goes on.
    @Test func listenersChangeWhileTheyServe() throws {
        let first = try TestServer.named("first")
        let second = try TestServer.named("second")
        let file = try ConfigurationFile()
        let proxy = try RunningProxy(
            configuration: text(first.address, .off), file: file)
        let client = try proxy.connect()
        try waitForStatus(200, on: client)
        for (rules, status) in [
            ("{allow: []}", 403), ("{deny: [{paths: [/x]}]}", 200), (Self.onlyWeb, 403),
        ] {
            let mode = rules == Self.onlyWeb ? Mode.permissive : .off
            try file.write(text(second.address, mode, rules))
            proxy.process.send(SIGHUP)
            try waitForStatus(status, on: client)
        }
        #expect(try curl(proxy, "https", showing("web")) == "second 2 200")
        #expect(try curl(proxy, "http") == "rbac_access_denied| 1.1 403")
        // Nobody who speaks cleartext stays once nobody may.
        try file.write(text(second.address, .strict))
        proxy.process.send(SIGHUP)
        #expect(client.endsWithoutMore())
        #expect(try curl(proxy, "http") == "failed")
        #expect(try curl(proxy, "https", showing("job")) == "second 2 200")
        // What cannot change is said.
        try file.write(text(second.address, .strict, protocol: "http1"))
        proxy.process.send(SIGHUP)
        try proxy.waitForError("protocols of listeners change only with a restart")
    }

    // MARK: The other side

    /// A client's proxy that finds another service behind an endpoint does not ask it.
    @Test func anotherServiceBehindAnEndpointIsNotAsked() throws {
        let server = try TestServer.named("backend")
        let inbound = try RunningProxy(configuration: text(server.address, .strict))
        func outbound(_ name: String) throws -> RunningProxy {
            try RunningProxy(
                configuration: """
                    listeners: [{name: main, address: "127.0.0.1:0"}]
                    routes: [{hosts: [cart.shop.mesh], clusters: [{cluster: cart}]}]
                    clusters:
                      - name: cart
                        protocol: http2
                        endpoints: [{address: "\(inbound.address)", weight: 3}]
                        tls:
                          certificate: \(files.path("web.pem"))
                          key: \(files.path("web.key"))
                          authorities: \(files.authority)
                          names: ["\(name)"]
                    admin: 127.0.0.1:0
                    """)
        }
        let request = "GET / HTTP/1.1\r\nhost: cart.shop.mesh\r\n\r\n"
        #expect(try outbound("\(Self.domain)/cart").exchange(request).text == "backend")
        let refused = try outbound("\(Self.domain)/users").exchange(request)
        #expect(refused.status == 503 && refused.text == "tls_certificate_name\n")
        #expect(server.requests.all.count == 1)
    }
}
