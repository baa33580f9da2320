import Base
import Posix
import Secure
import Support
import Testing

/// The workload and the load generator over TLS: with each other, and each with others.
@Suite struct LoadTLSTests {
    let files: CertificateFolder

    init() throws { files = try CertificateFolder() }

    private func app(_ identity: String = "server", _ more: String...) throws -> RunningApp {
        try RunningApp(
            [
                "--listen", "127.0.0.1:0", "--size", "100KiB", "--cert",
                files.path("\(identity).pem"), "--key", files.path("\(identity).key"),
            ] + more)
    }

    private func load(_ words: [String]) throws -> (end: ProcessEnd?, text: String) {
        let run = try Program.run(
            "/bin/sh", ["-c", "exec \"$0\" load \"$@\" 2>&1", Program.meshbench()] + words)
        return (run.end, run.lines.joined(separator: "\n"))
    }

    @Test(arguments: [["--http1.1", "1.1"], ["--http2", "2"]])
    func curlIsServed(_ version: [String]) throws {
        let app = try app()
        let run = try Program.run(
            "curl",
            [
                "-sS", "--max-time", "20", version[0], "--cacert", files.authority, "-o",
                "/dev/null", "-w", "%{http_code} %{size_download} %{http_version}\n",
                "https://\(app.address)/",
            ])
        #expect(run.lines == ["200 102400 \(version[1])"])
    }

    @Test func aClientMayBeSlow() throws {
        let app = try app()
        let said = try TLSPrograms.run(
            TLSPrograms.slowClient, ["\(app.address.port)", files.authority])
        // Of its body, which is lines.
        #expect(said.joined(separator: "\n").utf8.count == 102_400)
    }

    @Test(arguments: ["http1", "http2", "grpc"])
    func loadIsOffered(_ speech: String) throws {
        let app = try app("server", "--client-ca", files.authority)
        let run = try load([
            "https://\(app.address)/" + (speech == "grpc" ? "meshbench.Echo/Unary" : "x"),
            "--protocol", speech, "--cacert", files.authority,
            "--cert", files.path("client.pem"), "--key", files.path("client.key"), "--rate",
            "100/s", "--duration", "500ms", "--connections", "4",
        ])
        #expect(run.text.contains("ok 50 (100 %)"), "\(run.text)")
    }

    /// Connections that are replaced begin with a session of those before.
    @Test func sessionsAreResumed() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(
            configuration: """
                listeners:
                  - name: main
                    address: "127.0.0.1:0"
                    protocol: http1
                    tls: {\(files.identity("server"))}
                routes: [{cluster: backend}]
                clusters: [{name: backend, endpoints: ["\(server.address)"]}]
                admin: 127.0.0.1:0
                """)
        let run = try load([
            "https://\(proxy.address)/", "--cacert", files.authority, "--rate", "100/s",
            "--duration", "500ms", "--connections", "1", "--requests-per-connection", "1",
        ])
        #expect(run.text.contains("ok 50 (100 %)"), "\(run.text)")
        let stats = try proxy.stats()
        let all = try #require(stats["meshbench_proxy_downstream_tls_handshakes_total"])
        let resumed = try #require(
            stats["meshbench_proxy_downstream_tls_handshakes_resumed_total"])
        #expect(all >= 50 && resumed == all - 1, "\(resumed) of \(all)")
    }

    @Test(arguments: [
        TLSFailure.certificateExpired, .certificateNotYetValid, .certificateName,
        .certificateAuthority, .notTLS,
    ])
    func whatIsWrongIsToldApart(_ fault: TLSFailure) throws {
        var authority = files.authority
        let others = try CertificateFolder("other authority")
        switch fault {
        case .certificateExpired:
            try files.issue(
                "server", addresses: ["127.0.0.1"], validity: CertificateFolder.expired)
        case .certificateNotYetValid:
            try files.issue(
                "server", addresses: ["127.0.0.1"], validity: CertificateFolder.notYetValid)
        case .certificateName: try files.issue("server", hosts: ["other.test"])
        case .certificateAuthority: authority = others.authority
        default: break
        }
        let cleartext = try TestServer { call throws(WireFailure) in
            try call.connection.send("220 not what you want\r\n")
            _ = try call.connection.readToEnd()
        }
        let app = try app()
        let address = fault == .notTLS ? cleartext.address : app.address
        let run = try load(["https://\(address)/", "--cacert", authority, "--rate", "10/s"])
        #expect(run.end == .exited(1))
        #expect(run.text.contains("cannot connect to \(address): tls_\(fault.word)"))
    }

    /// The server looks at the client's certificate when the client is done already.
    @Test func aLateRefusalIsCounted() throws {
        let app = try app("server", "--client-ca", files.authority)
        let run = try load([
            "https://\(app.address)/", "--cacert", files.authority, "--rate", "20/s",
            "--duration", "500ms",
        ])
        #expect(!run.text.contains("ok 10"), "\(run.text)")
        // Counted, or, where no connection outlives the preparations, said as the reason.
        #expect(run.text.contains("tls_alert_certificate_required"), "\(run.text)")
    }

    @Test func badFilesAreNamed() throws {
        let run = try Program.run(
            "/bin/sh",
            [
                "-c", "exec \"$0\" \"$@\" 2>&1", Program.meshbench(), "app", "--listen",
                "127.0.0.1:0", "--cert", files.path("server.pem"), "--key",
                files.path("client.key"),
            ])
        #expect(run.end == .exited(64))
        #expect(run.lines.joined().contains("key_mismatch"), "\(run.lines)")
        let load = try load(["https://127.0.0.1:9/", "--cacert", "/nonexistent"])
        #expect(load.end == .exited(1))
        #expect(load.text.contains("/nonexistent: No such file"))
    }
}
