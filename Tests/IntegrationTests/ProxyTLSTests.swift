import Base
import FoundationEssentials
import Glibc
import Posix
import Secure
import Support
import Testing

/// Secured listeners and clusters, against TLS that others have written.
@Suite struct ProxyTLSTests {
    let files: CertificateFolder

    init() throws { files = try CertificateFolder() }

    /// A secured listener before `backend`.
    private func listening(
        _ backend: SocketAddress, _ tls: String = "", identity: String? = nil, more: String = ""
    ) -> String {
        """
        listeners:
          - name: main
            address: "127.0.0.1:0"
            protocol: http1
            tls: {\(identity ?? files.identity("server"))\(tls)}
        routes: [{cluster: backend}]
        clusters: [{name: backend, endpoints: ["\(backend)"]}]
        admin: 127.0.0.1:0
        access_log: "-"
        \(more)
        """
    }

    /// A cluster whose connections are secured.
    private func connecting(
        _ server: SocketAddress, _ tls: String = "", cluster: String = "", more: String = ""
    ) -> String {
        """
        listeners: [{name: main, address: "127.0.0.1:0"}]
        routes: [{cluster: backend}]
        clusters:
          - name: backend
            endpoints: ["\(server)"]
            tls: {authorities: \(files.authority)\(tls)}
            \(cluster)
        admin: 127.0.0.1:0
        access_log: "-"
        \(more)
        """
    }

    private func curl(_ proxy: RunningProxy, _ more: [String] = []) throws -> [String] {
        try Program.run(
            "curl",
            [
                "-sS", "--max-time", "20", "--cacert", files.authority, "https://\(proxy.address)/",
            ] + more
        ).lines
    }

    private func failures(_ proxy: RunningProxy, _ side: String, _ reason: String) throws -> Double
    {
        try proxy.stats()[
            "meshbench_proxy_tls_failures_total{side=\"\(side)\",reason=\"\(reason)\"}"] ?? -1
    }

    // MARK: Listeners

    @Test(arguments: ["1.2", "1.3"])
    func curlIsServed(_ version: String) throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: listening(server.address))
        let said = try curl(
            proxy, ["--tls-max", version, "-w", " %{http_version} %{ssl_verify_result}\n"])
        #expect(said == ["backend 1.1 0"])
        #expect(try proxy.nextLogLine().tls == version)
        #expect(try proxy.stats()["meshbench_proxy_downstream_tls_handshakes_total"] == 1)
    }

    @Test func protocolsAreAgreedOn() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: listening(server.address))
        func agreed(_ offer: String) throws -> [String] {
            try Program.run(
                "sh",
                [
                    "-c",
                    "echo Q | openssl s_client -connect \(proxy.address) -alpn \(offer) 2>&1"
                        + " | grep -E '^ALPN|alert number'",
                ]
            ).lines
        }
        #expect(try agreed("h2,http/1.1") == ["ALPN protocol: http/1.1"])
        #expect(try agreed("h3").contains { $0.contains("alert number 120") })
        #expect(try failures(proxy, "downstream", "no_shared_protocol") == 1)
    }

    @Test func clientsAreAskedForCertificates() throws {
        let server = try TestServer.named("backend")
        let others = try CertificateFolder("other authority")
        try files.issue("stranger", uris: ["spiffe://test/stranger"])
        try files.issue(
            "late", uris: ["spiffe://test/client"], validity: CertificateFolder.expired)
        try files.issue(
            "early", uris: ["spiffe://test/client"], validity: CertificateFolder.notYetValid)
        let proxy = try RunningProxy(
            configuration: listening(
                server.address,
                ", authorities: \(files.authority), client_certificate: required, "
                    + "client_names: [\"spiffe://test/client\"]"))
        func showing(_ name: String, _ from: CertificateFolder) throws -> [String] {
            try curl(
                proxy, ["--cert", from.path("\(name).pem"), "--key", from.path("\(name).key")])
        }
        #expect(try showing("client", files) == ["backend"])
        #expect(try proxy.nextLogLine().peer == "spiffe://test/client")
        for (name, from, reason) in [
            ("stranger", files, "certificate_name"), ("late", files, "certificate_expired"),
            ("early", files, "certificate_not_yet_valid"),
            ("client", others, "certificate_authority"),
        ] {
            #expect(try showing(name, from) == [], "\(reason)")
            #expect(try failures(proxy, "downstream", reason) == 1, "\(reason)")
        }
        #expect(try curl(proxy) == [])
        #expect(try failures(proxy, "downstream", "no_peer_certificate") == 1)
        #expect(try proxy.stats()["meshbench_proxy_downstream_tls_handshakes_failed_total"] == 5)
        #expect(server.connections.all.count == 1)
    }

    @Test(arguments: ["1.2", "1.3"])
    func clientsResume(_ version: String) throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: listening(server.address, more: "workers: 2"))
        let said = try TLSPrograms.run(
            TLSPrograms.resumingClient, ["\(proxy.address.port)", files.authority, version])
        let name = "TLSv\(version)"
        #expect(said == ["\(name) False backend", "\(name) True backend", "\(name) True backend"])
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_downstream_tls_handshakes_total"] == 3)
        #expect(stats["meshbench_proxy_downstream_tls_handshakes_resumed_total"] == 2)
    }

    @Test func aClientMayBeSlow() throws {
        let server = try TestServer { call throws(WireFailure) in
            let request = try call.readRequest()
            try call.connection.send(
                "HTTP/1.1 200 OK\r\ncontent-length: \(request.body.count)\r\n\r\n")
            try call.connection.send(request.body)
        }
        let proxy = try RunningProxy(configuration: listening(server.address))
        let said = try TLSPrograms.run(
            TLSPrograms.slowClient, ["\(proxy.address.port)", files.authority])
        #expect(said == ["hello"])
    }

    @Test func cleartextIsTurnedAway() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: listening(server.address))
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        _ = try? client.readToEnd()
        #expect(try failures(proxy, "downstream", "not_tls") == 1)
        #expect(server.connections.all.isEmpty)
        #expect(try curl(proxy) == ["backend"])
    }

    @Test func aHandshakeHasItsTime() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(
            configuration: listening(server.address, more: "timeouts: {handshake: 50ms}"))
        let client = try proxy.connect()
        #expect(client.endsWithoutMore())
        #expect(try failures(proxy, "downstream", "handshake_timeout") == 1)
    }

    // MARK: Clusters

    private func upstream(_ name: String = "server", clients: String? = nil) throws
        -> TLSPrograms.Server
    {
        try TLSPrograms.Server(
            certificate: files.path("\(name).pem"), key: files.path("\(name).key"),
            clients: clients)
    }

    @Test func serversAreReached() throws {
        let server = try upstream(clients: files.authority)
        let proxy = try RunningProxy(
            configuration: connecting(
                server.address, ", \(files.identity("client")), server_name: localhost"))
        for _ in 0..<3 { #expect(try proxy.get("/").text == "hello") }
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_upstream_tls_handshakes_total"] == 3)
        #expect(stats["meshbench_proxy_upstream_tls_handshakes_resumed_total"] == 2)
    }

    /// Each with a name of its own: to the client, in the log, in the counters.
    @Test(arguments: [
        TLSFailure.certificateExpired, .certificateNotYetValid, .certificateName,
        .certificateAuthority, .alertCertificateRequired, .notTLS,
    ])
    func whatIsWrongWithAServerIsToldApart(_ fault: TLSFailure) throws {
        var name = "server"
        var folder = files
        switch fault {
        case .certificateExpired:
            try files.issue(
                "late", addresses: ["127.0.0.1"], validity: CertificateFolder.expired)
            name = "late"
        case .certificateNotYetValid:
            try files.issue(
                "early", addresses: ["127.0.0.1"], validity: CertificateFolder.notYetValid)
            name = "early"
        case .certificateName:
            try files.issue("other", hosts: ["other.test"], addresses: ["127.0.0.2"])
            name = "other"
        case .certificateAuthority: folder = try CertificateFolder("other authority")
        default: break
        }
        let secured = try TLSPrograms.Server(
            certificate: folder.path("\(name).pem"), key: folder.path("\(name).key"),
            clients: fault == .alertCertificateRequired ? files.authority : nil)
        let cleartext = try TestServer { call throws(WireFailure) in
            try call.connection.send("220 not what you want\r\n")
            _ = try call.connection.readToEnd()
        }
        let proxy = try RunningProxy(
            configuration: connecting(fault == .notTLS ? cleartext.address : secured.address))
        let answer = try proxy.get("/")
        #expect(answer.status == 503)
        #expect(answer["x-response-flags"] == "UF")
        #expect(answer.text == "tls_\(fault.word)\n")
        let line = try proxy.nextLogLine()
        #expect(line.flags == "UF" && line.reason == "connection_failure|tls_\(fault.word)")
        #expect(try failures(proxy, "upstream", fault.word) == 1)
        #expect(try proxy.stats()["meshbench_proxy_upstream_connect_failures_total"] == 1)
    }

    @Test func aServerThatSaysNothingIsGivenUp() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.connection.readToEnd()
        }
        let proxy = try RunningProxy(
            configuration: connecting(server.address, cluster: "connect_timeout: 50ms"))
        let answer = try proxy.get("/")
        #expect(answer.status == 503 && answer.text == "tls_handshake_timeout\n")
        #expect(try failures(proxy, "upstream", "handshake_timeout") == 1)
    }

    /// RFC 8446, 6.1, and RFC 9112, 9.8: an end that was not said is no end.
    @Test func aBodyThatIsCutIsNotWhole() throws {
        let server = try upstream()
        let proxy = try RunningProxy(configuration: connecting(server.address))
        #expect(try proxy.get("/end").text == "part")
        let cut = try proxy.connect()
        try cut.send("GET /cut HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(throws: WireFailure.self) { try cut.readAnswer() }
        #expect(try failures(proxy, "upstream", "truncated") == 1)
    }

    // MARK: Both

    /// Two hops speak HTTP/2 with each other over mutual TLS, as agreed by ALPN.
    @Test func twoHopsSpeakHTTP2() throws {
        let server = try TestServer.named("backend")
        let asking =
            ", authorities: \(files.authority), client_certificate: required, "
            + "client_names: [\"spiffe://test/client\"]"
        let inner = try RunningProxy(
            configuration: listening(server.address, asking)
                .replacing("protocol: http1", with: "protocol: auto"))
        let outer = try RunningProxy(
            configuration: connecting(
                inner.address, ", \(files.identity("client"))", cluster: "protocol: http2"))
        for _ in 0..<3 { #expect(try outer.get("/").text == "backend") }
        let line = try inner.nextLogLine()
        #expect(line.protocol == "HTTP/2" && line.tls == "1.3")
        #expect(line.peer == "spiffe://test/client")
        #expect(try inner.stats()["meshbench_proxy_downstream_tls_handshakes_total"] == 1)
        // Without a certificate the refusal comes when the session has begun.
        let stranger = try RunningProxy(
            configuration: connecting(inner.address, cluster: "protocol: http2"))
        let answer = try stranger.get("/")
        #expect(answer.status == 503)
        #expect(answer.text == "tls_alert_certificate_required\n")
    }

    /// Two hops with certificates on both sides, the client's link in cleartext.
    @Test func largeBodiesPassBothWaysInBoundedMemory() throws {
        let server = try TestServer { call throws(WireFailure) in
            while true {
                let request = try call.connection.readRequest()
                try call.connection.send(
                    "HTTP/1.1 200 OK\r\ncontent-length: \(request.body.count)\r\n\r\n")
                try call.connection.send(request.body)
            }
        }
        let inner = try RunningProxy(
            configuration: listening(
                server.address,
                ", authorities: \(files.authority), client_certificate: required"))
        let outer = try RunningProxy(
            configuration: connecting(inner.address, ", \(files.identity("client"))"))
        let scratch = try Scratch()
        var random = SeededRandom(seed: 3)
        let body = (0..<(24 << 17)).flatMap { _ in
            unsafe withUnsafeBytes(of: random.next()) { unsafe Array($0) }
        }
        try Data(body).write(to: URL(filePath: scratch.path("body")))
        let run = try Program.run(
            "curl",
            [
                "-sS", "--fail", "--max-time", "60", "--data-binary", "@\(scratch.path("body"))",
                "-o", scratch.path("copy"), "http://\(outer.address)/",
            ])
        #expect(run.end == .exited(0))
        #expect(try Data(contentsOf: URL(filePath: scratch.path("copy"))) == Data(body))
        for proxy in [inner, outer] {
            let peak = try #require(proxy.memory("VmHWM", in: "status"))
            #expect(peak < 48 * 1024, "\(peak) KiB for a body of 24 MiB")
        }
    }

    // MARK: Files

    @Test func badFilesAreNamed() throws {
        try files.issue("second", hosts: ["localhost"])
        try files.write(Array("nonsense".utf8), "nonsense.pem")
        let cases = [
            (
                "certificate: /nonexistent/x.pem, key: \(files.path("server.key"))",
                "/nonexistent/x.pem: No such file"
            ),
            (
                "certificate: \(files.path("server.pem")), key: \(files.path("second.key"))",
                "server.pem and \(files.path("second.key")): key_mismatch"
            ),
            (
                "certificate: \(files.path("nonsense.pem")), key: \(files.path("server.key"))",
                "nonsense.pem: malformed_certificate"
            ),
            (
                "\(files.identity("server")), authorities: \(files.path("nonsense.pem"))",
                "nonsense.pem: malformed_authorities"
            ),
        ]
        for (identity, words) in cases {
            let file = try ConfigurationFile()
            try file.write(listening(.loopback(port: 9), identity: identity))
            let run = try Program.run(
                "sh", ["-c", "\(try Program.meshbench()) proxy --config \(file.path) 2>&1"])
            #expect(run.end == .exited(65))
            #expect(run.lines.contains { $0.contains(words) }, "\(run.lines)")
        }
    }

    /// New connections get the new certificate; a request on an old one is served to its end.
    @Test func certificatesAreReplacedWhileRequestsAreInFlight() throws {
        let gate = try Recorder<Int>()
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            if call.number == 0 { _ = try gate.wait(for: 1) }
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        }
        let others = try CertificateFolder("new authority")
        let file = try ConfigurationFile()
        let proxy = try RunningProxy(
            configuration: listening(server.address), file: file)
        let early = try Posix.Process(
            ProcessCommand(
                name: "curl", program: "curl",
                arguments: [
                    "-sS", "--max-time", "30", "--cacert", files.authority,
                    "https://\(proxy.address)/",
                ], output: .pipe))
        _ = try server.requests.wait(for: 1)
        // A key that does not fit: all stays as it was.
        func take(_ name: String) throws {
            try files.write(
                [UInt8](try Data(contentsOf: URL(filePath: others.path(name)))), name)
        }
        try take("server.key")
        proxy.process.send(SIGHUP)
        try proxy.waitForError("configuration not reloaded")
        try proxy.waitForError("key_mismatch")
        #expect(try curl(proxy) == ["ok"])
        // Both files of another authority.
        try take("server.pem")
        proxy.process.send(SIGHUP)
        let deadline = Clock.now() + RawConnection.patience
        while try Program.run(
            "curl", ["-s", "--cacert", others.authority, "https://\(proxy.address)/"]
        ).lines != ["ok"] {
            try #require(Clock.now() < deadline, "the new certificate is not shown")
        }
        #expect(try curl(proxy) == [])
        gate.note(0)
        let answer = try #require(try Program.nextLine(of: early))
        #expect(String(decoding: answer, as: UTF8.self) == "ok")
        #expect(early.wait(until: deadline) == .exited(0))
    }
}
