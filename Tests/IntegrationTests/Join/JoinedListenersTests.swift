// Ways into the mesh beside that by a host: bytes for a service of tcp, and requests from outside.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

@Suite(.serialized) struct JoinedListenersTests {
    private static let services = """
        {"kind": "service", "name": "web", "namespace": "shop", "calls": ["cart", "db"]},
        {"kind": "service", "name": "job", "namespace": "shop", "calls": ["db"]},
        {"kind": "service", "name": "cart", "namespace": "shop"},
        {"kind": "service", "name": "db", "namespace": "shop", "protocol": "tcp"}
        """

    private let echo: TestServer

    init() throws {
        echo = try TestServer { call throws(WireFailure) in
            while true {
                let bytes = try call.connection.read(5)
                try call.connection.send(Array("got ".utf8) + bytes)
            }
        }
    }

    private let waysToDB = ["--tcp", "shop/db=127.0.0.1:0"]

    /// Waits until bytes come back, which they do once the proxy has been told of an endpoint.
    private func awaitEcho(by listener: SocketAddress) throws {
        let deadline = Clock.now() + RawConnection.patience
        while true {
            if let answer = try? said(by: listener) { return try #require(answer == "got hello") }
            try #require(Clock.now() < deadline, "nothing came back")
            Clock.sleep(until: Clock.now() + .milliseconds(20))
        }
    }

    private func said(by listener: SocketAddress) throws(WireFailure) -> String {
        let client = try RawConnection(to: listener)
        try client.send("hello")
        return String(decoding: try client.read(9), as: UTF8.self)
    }

    /// Bytes pass two proxies in mutual TLS, and who is not let in is told nothing.
    @Test func bytesReachTheirService() throws {
        let mesh = try JoinedMesh(Self.services)
        let web = try mesh.join("shop/web", waysToDB)
        let job = try mesh.join("shop/job", waysToDB)
        let (byWeb, byJob) = (
            try #require(web.listeners["shop/db"]), try #require(job.listeners["shop/db"])
        )
        // There is nobody yet who could answer.
        #expect(try RawConnection(to: byWeb).endsWithoutMore())
        let db = try mesh.join("shop/db", ["--app", "\(echo.address)"])
        try awaitEcho(by: byWeb)
        try awaitEcho(by: byJob)
        let inbound = try #require(db.listeners["inbound"])
        // As many bytes as show that they begin no handshake.
        let plain = try RawConnection(to: inbound)
        try plain.send("hello, is there anybody who would let me in?")
        #expect((try? plain.read(9)) == nil, "cleartext is let in")
        try mesh.apply(
            """
            {"kind": "authorization", "name": "web", "namespace": "shop", "action": "allow",
            "to": ["db"], "rules": [{"identities": ["*/sa/web"]}]}
            """)
        let deadline = Clock.now() + RawConnection.patience
        while (try? said(by: byJob)) != nil {
            try #require(Clock.now() < deadline, "the rule never came into force")
            Clock.sleep(until: Clock.now() + .milliseconds(20))
        }
        #expect(try said(by: byWeb) == "got hello")
    }

    /// What comes from outside goes by routes, and within the mesh as everything does.
    @Test func aGatewayLetsInWhatRoutesSay() throws {
        let mesh = try JoinedMesh(
            Self.services + """
                ,
                {"kind": "service", "name": "edge", "namespace": "shop", "calls": ["cart", "db"]},
                {"kind": "route", "name": "cart", "namespace": "shop", "hosts": ["localhost"],
                "matches": [{"prefix": "/cart"}], "to": ["cart"]}
                """)
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "100B")
        let cart = try mesh.join("shop/cart", app: app)
        let files = try CertificateFolder()
        let edge = try mesh.join(
            "shop/edge",
            [
                "--gateway", "--tls-cert", files.path("server.pem"), "--tls-key",
                files.path("server.key"),
            ] + waysToDB)
        let db = try mesh.join("shop/db", ["--app", "\(echo.address)"])
        try mesh.wait(for: "\"service\":\"cart\"", in: "/v1/declarations?kind=endpoint")
        try mesh.wait(for: "\"service\":\"db\"", in: "/v1/declarations?kind=endpoint")
        #expect(Set(edge.listeners.keys) == ["inbound", "shop/db"])
        let address = try #require(edge.listeners["inbound"])
        func status(_ path: String, _ host: String = "localhost") throws -> [String] {
            try Program.run(
                "curl",
                [
                    "-sS", "-m", "20", "--retry", "20", "--retry-delay", "1", "--cacert",
                    files.authority, "-H",
                    "host: \(host)", "-o", "/dev/null", "-w", "%{http_code} %{http_version}",
                    "https://localhost:\(address.port)\(path)",
                ]
            ).lines
        }
        #expect(try status("/cart/1") == ["200 2"])
        #expect(try status("/other") == ["404 2"])
        #expect(try status("/cart", "cart.shop.mesh") == ["404 2"], "no route says this host")
        // Whoever comes from outside is no endpoint of the mesh.
        let endpoints = try mesh.control.ask("GET", "/v1/declarations?kind=endpoint").text
        #expect(!endpoints.contains("\"service\":\"edge\""))
        // Bytes are secured from outside as requests are.
        let bytes = try #require(edge.listeners["shop/db"])
        let command =
            "{ printf hello; sleep 1; } | timeout 10 openssl s_client -quiet -no_ign_eof "
            + "-connect \(bytes) -CAfile \(files.authority) 2>/dev/null"
        #expect(try Program.run("sh", ["-c", command]).lines.first == "got hello")
        _ = (cart, db)
    }

    /// Those outside have to show a certificate of the authority that the gateway was given, and
    /// rules go by whom it names. At SIGHUP both files are read again, and the mesh goes on.
    @Test func aGatewayAsksWhoIsOutside() throws {
        let mesh = try JoinedMesh(
            Self.services + """
                ,
                {"kind": "service", "name": "edge", "namespace": "shop", "calls": ["cart"]},
                {"kind": "route", "name": "cart", "namespace": "shop", "hosts": ["localhost"],
                "matches": [{"prefix": "/"}], "to": ["cart"]},
                {"kind": "authorization", "name": "edge", "namespace": "shop", "action": "allow",
                "to": ["edge"], "rules": [{"identities": ["spiffe://test/client"]}]}
                """)
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "100B")
        let cart = try mesh.join("shop/cart", app: app)
        let files = try CertificateFolder()
        try files.issue("other", uris: ["spiffe://test/other"])
        let strangers = try CertificateFolder("another authority")
        let given = try Scratch()
        func give(_ name: String, of folder: CertificateFolder) throws {
            try Data(contentsOf: URL(filePath: folder.path(name)))
                .write(to: URL(filePath: given.path(name)))
        }
        for name in ["server.pem", "server.key", "authority.pem"] { try give(name, of: files) }
        let edge = try mesh.join(
            "shop/edge",
            [
                "--gateway", "--tls-cert", given.path("server.pem"), "--tls-key",
                given.path("server.key"), "--client-ca", given.path("authority.pem"),
            ])
        let address = try #require(edge.listeners["inbound"])
        /// The status that somebody from outside gets; "000": he is let in no further than his
        /// handshake.
        func status(
            _ folder: CertificateFolder?, _ name: String = "client",
            trusting authority: CertificateFolder
        ) throws -> String? {
            let own = folder.map {
                ["--cert", $0.path("\(name).pem"), "--key", $0.path("\(name).key")]
            }
            return try Program.run(
                "curl",
                [
                    "-s", "-m", "20", "--cacert", authority.authority, "-H", "host: localhost",
                    "-o", "/dev/null", "-w", "%{http_code}", "https://localhost:\(address.port)/",
                ] + (own ?? [])
            ).lines.first
        }
        try waitUntil { () throws -> (Bool, String) in
            let status = try status(files, trusting: files) ?? ""
            return (status == "200", status)
        }
        #expect(try status(files, "other", trusting: files) == "403")
        #expect(try status(nil, trusting: files) == "000")
        #expect(try status(strangers, trusting: files) == "000")
        // A key that does not fit: all stays as it was.
        try give("server.key", of: strangers)
        edge.process.send(SIGHUP)
        try edge.waitForError("configuration not reloaded")
        #expect(try status(files, trusting: files) == "200")
        // Another authority, for either side, in the same files.
        for name in ["server.pem", "authority.pem"] { try give(name, of: strangers) }
        edge.process.send(SIGHUP)
        try waitUntil { () throws -> (Bool, String) in
            let status = try status(strangers, trusting: strangers) ?? ""
            return (status == "200", status)
        }
        #expect(try status(files, trusting: strangers) == "000")
        // What the mesh says from then on is taken as before.
        try mesh.delete("routes/shop/cart")
        try mesh.wait(forAllOf: [edge.name])
        #expect(try status(strangers, trusting: strangers) == "404")
        _ = cart
    }

    @Test func aTCPServiceThatBecomesAnotherIsRefused() throws {
        let mesh = try JoinedMesh(Self.services)
        let web = try mesh.join("shop/web", waysToDB)
        try mesh.apply("{\"kind\": \"service\", \"name\": \"db\", \"namespace\": \"shop\"}")
        try web.waitForError("the service shop/db is not of tcp")
        try mesh.wait(for: "the service shop/db is not of tcp", in: "/v1/proxies")
    }

    @Test(arguments: [
        (["--tcp", "db=127.0.0.1:0"], "a service and an address are needed"),
        (["--tcp", "shop/db"], "a service and an address are needed"),
        (["--tcp", "shop/db=nobody:1"], "a numeric address with a port is needed"),
        (["--tcp", "shop/db=127.0.0.1:0", "--tcp", "shop/db=127.0.0.1:0"], "each once"),
        (["--gateway", "--app", "127.0.0.1:1"], "'--app' goes without --gateway"),
        (["--gateway", "--outbound", "127.0.0.1:1"], "'--outbound' goes without --gateway"),
        (["--gateway", "--tls-cert", "x"], "goes with --tls-cert and --tls-key"),
        (["--tls-cert", "x"], "'--tls-cert' goes with --gateway"),
        (["--inbound", "127.0.0.1:0"], "'--inbound' goes with --app or --gateway"),
    ])
    func commandLinesThatCannotBeMeant(words: [String], reason: String) throws {
        let run = try Program.run(
            "sh",
            [
                "-c", "exec 2>&1; \"$0\" proxy --join 127.0.0.1:1 --state /proc/none \"$@\"",
                try Program.meshbench(),
            ] + words)
        #expect(run.end == .exited(64))
        #expect(run.lines.joined().contains(reason), "\(run.lines)")
    }
}
