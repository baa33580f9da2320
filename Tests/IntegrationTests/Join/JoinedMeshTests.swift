// Proxies that start with an address and a token, in a mesh that changes under load.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

@Suite(.serialized) struct JoinedMeshTests {
    private static let services = """
        {"kind": "service", "name": "web", "namespace": "shop"},
        {"kind": "service", "name": "cart", "namespace": "shop"}
        """

    private static func cart(_ mode: String) -> String {
        """
        {"kind": "service", "name": "cart", "namespace": "shop", "mtls": "\(mode)"}
        """
    }

    @Test func learnsAllThatItServes() throws {
        let mesh = try JoinedMesh(Self.services)
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "100B")
        let cart = try mesh.join("shop/cart", app: app)
        let web = try mesh.join("shop/web")
        let outbound = try #require(web.listeners["outbound"])
        #expect(web.listeners["inbound"] == nil)
        try mesh.wait(for: "\"service\":\"cart\"", in: "/v1/declarations?kind=endpoint")
        let caller = try SteadyCaller(by: outbound, "cart.shop.mesh")
        defer { caller.stop() }
        try caller.wait(forMoreOf: 100)
        for host in ["cart", "cart.shop"] {
            let run = try Program.run(
                "curl",
                [
                    "-sS", "-m", "20", "-H", "host: \(host)", "-o", "/dev/null", "-w",
                    "%{http_code} %{size_download}", "http://\(outbound)/",
                ])
            #expect(run.lines == ["200 100"])
        }
        // What went between the proxies was TLS of both sides.
        let inbound = try #require(cart.listeners["inbound"])
        let plain = try Program.run("curl", ["-sS", "-m", "20", "http://\(inbound)/"])
        #expect(plain.end != .exited(0))
        let config = try cart.admin("/config").text
        #expect(config.contains("mesh:identity") && !config.contains("PRIVATE"))
        #expect(try web.admin("/stats").text.contains("meshbench_join_connected 1"))
        #expect(try web.exchangeOutbound("nobody.shop.mesh").startLine.contains("404"))
    }

    /// Endpoints, routes and modes change, and the control plane dies and comes back: no request
    /// fails.
    @Test func noChangeMakesARequestFail() throws {
        let mesh = try JoinedMesh(Self.services)
        let apps = try [100, 200, 300].map {
            try RunningApp("--listen", "127.0.0.1:0", "--size", "\($0)B")
        }
        let first = try mesh.join("shop/cart", app: apps[0])
        let web = try mesh.join("shop/web")
        let outbound = try #require(web.listeners["outbound"])
        try mesh.wait(for: "\"service\":\"cart\"", in: "/v1/declarations?kind=endpoint")
        let warm = try SteadyCaller(by: outbound, "cart.shop.mesh")
        try warm.wait(forMoreOf: 100)
        warm.stop()
        let caller = try SteadyCaller(by: outbound, "cart.shop.mesh")
        defer { caller.stop() }
        // Another proxy of the service comes, and then the first leaves.
        let second = try mesh.join("shop/cart", app: apps[1])
        try caller.wait(forMoreOf: 200)
        first.process.send(SIGTERM)
        try caller.wait(forNoneOf: 100)
        #expect(first.process.wait(until: Clock.now() + .seconds(20)) == .exited(0))
        #expect(caller.seen.failures == [])
        // A route sends requests elsewhere, and is taken out again.
        try mesh.apply(
            "{\"kind\": \"service\", \"name\": \"next\", \"namespace\": \"shop\"}")
        let next = try mesh.join("shop/next", app: apps[2])
        try mesh.wait(for: "\"service\":\"next\"", in: "/v1/declarations?kind=endpoint")
        try mesh.apply(
            """
            {"kind": "route", "name": "all", "namespace": "shop", "hosts": ["cart.shop.mesh"],
            "to": ["next"]}
            """)
        try caller.wait(forMoreOf: 300)
        try mesh.delete("routes/shop/all")
        try caller.wait(forMoreOf: 200)
        #expect(caller.seen.failures == [])
        // Clients stop to speak TLS, and begin again; meanwhile the control plane dies and comes
        // back.
        try mesh.apply(Self.cart("off"))
        try wait(for: web, toSpeakTLS: false)
        try caller.wait(forMoreOf: 200)
        #expect(try Self.takesCleartext(second))
        try mesh.apply(Self.cart("strict"))
        try mesh.wait(forAllOf: [second.name, web.name])
        mesh.kill()
        try waitUntil { (try web.admin("/stats").text.contains("join_connected 0"), "connected") }
        try caller.wait(forMoreOf: 200)
        try wait(for: web, toSpeakTLS: true)
        try waitUntil { (try !Self.takesCleartext(second), "cleartext is taken") }
        try caller.wait(forMoreOf: 200)
        #expect(caller.seen.failures == [])
        try mesh.restart()
        try mesh.wait(forAllOf: [second.name, web.name])
        // Registrations were those of the process that died: they are renewed at this one.
        let third = try mesh.join("shop/cart", app: apps[0])
        try caller.wait(forMoreOf: 100)
        try caller.wait(forMoreOf: 200)
        #expect(caller.seen.failures == [])
        _ = (next, third)
    }

    private func wait(for proxy: RunningProxy, toSpeakTLS speaks: Bool) throws {
        try waitUntil {
            let config = try proxy.admin("/config").text
            // Of services only this one is changed: the others speak it all the while.
            return (config.contains("ns/shop/sa/cart") == speaks, config)
        }
    }

    private static func takesCleartext(_ proxy: RunningProxy) throws -> Bool {
        let inbound = try #require(proxy.listeners["inbound"])
        return try Program.run(
            "curl", ["-sS", "-m", "20", "-o", "/dev/null", "http://\(inbound)/"]
        ).end == .exited(0)
    }

    /// What was learnt is enough to start with, and nobody but its owner can read it.
    @Test func startsWithoutAControlPlane() throws {
        let mesh = try JoinedMesh(Self.services)
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "100B")
        let cart = try mesh.join("shop/cart", app: app)
        let state = mesh.scratch.path("state")
        var web: RunningProxy? = try mesh.join("shop/web", ["--state", state])
        try mesh.wait(for: "\"service\":\"cart\"", in: "/v1/declarations?kind=endpoint")
        func waitForKept() throws {
            let deadline = Clock.now() + RawConnection.patience
            while true {
                let view =
                    (try? String(contentsOfFile: "\(state)/view.json", encoding: .utf8)) ?? ""
                if view.contains("\"kind\":\"endpoint\"") { return }
                try #require(Clock.now() < deadline)
                Clock.sleep(until: Clock.now() + .milliseconds(10))
            }
        }
        try waitForKept()
        let modes = try Program.run("stat", ["-c", "%a", state, "\(state)/identity.pem"])
        #expect(modes.lines == ["700", "600"])
        mesh.kill()
        // It dies without a farewell.
        web?.process.send(SIGKILL)
        _ = web?.process.wait(until: Clock.now() + .seconds(20))
        web = nil
        let again = try RunningProxy(["--join", "\(mesh.proxies)", "--state", state])
        let caller = try SteadyCaller(by: try #require(again.listeners["outbound"]), "cart")
        defer { caller.stop() }
        try caller.wait(forMoreOf: 100)
        #expect(caller.seen.failures == [])
        _ = cart
    }

    /// SIGHUP changes nothing, before there is anything to serve as after; SIGTERM ends it in order
    /// in either case.
    @Test func signalsWhileItWaits() throws {
        let mesh = try JoinedMesh(Self.services)
        let token = try mesh.token("shop/web")
        mesh.kill()
        /// One that has found nobody.
        func start(_ name: String) throws -> Process {
            let errors = mesh.scratch.path(name)
            let process = try Process(
                ProcessCommand(
                    name: "proxy", program: try Program.meshbench(),
                    arguments: ["proxy", "--join", "\(mesh.proxies)", "--token-file", token],
                    output: .pipe, errorLog: errors))
            try waitUntil {
                let said = tail(of: errors, lines: 5).joined()
                return (said.contains("control plane: "), said)
            }
            return process
        }
        let one = try start("one")
        one.send(SIGHUP)
        one.send(SIGTERM)
        #expect(one.wait(until: Clock.now() + RawConnection.patience) == .exited(0))
        let two = try start("two")
        two.send(SIGHUP)
        try mesh.restart()
        let line = try #require(try Program.nextLine(of: two))
        #expect(String(decoding: line, as: UTF8.self).contains("\"ready\""))
        two.send(SIGHUP)
        try mesh.wait(for: "\"service\":\"shop/web\"", in: "/v1/proxies")
        two.send(SIGTERM)
        #expect(two.wait(until: Clock.now() + RawConnection.patience) == .exited(0))
    }

    @Test func refusalsSayWhy() throws {
        let mesh = try JoinedMesh(Self.services)
        let used = try mesh.token("shop/web")
        let first = try RunningProxy(["--join", "\(mesh.proxies)", "--token-file", used])
        let other = try JoinedMesh(Self.services)
        func folder(_ identity: String) throws -> String {
            let folder = mesh.scratch.path("folder")
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            try Data(identity.utf8).write(to: URL(filePath: "\(folder)/proxy.json"))
            return folder
        }
        let cases: [([String], String)] = [
            (["--join", "\(mesh.proxies)", "--token-file", used], "has been used"),
            (
                ["--join", "\(other.proxies)", "--token-file", try mesh.token("shop/web")],
                "none of the server's authorities is one that the token names"
            ),
            (["--join", "\(mesh.proxies)", "--token-file", "/dev/null"], "no token"),
            (["--join", "\(mesh.proxies)", "--state", try folder("{}")], "who this is"),
        ]
        for (words, reason) in cases {
            let error = mesh.scratch.path("error")
            let run = try Program.run(
                "sh",
                ["-c", "\"$0\" proxy \"$@\" 2>\(error)", try Program.meshbench()] + words)
            // A token or folder that is of no use, or a mesh that does not want it.
            let isOwn = reason == "no token" || reason == "who this is"
            #expect(run.end == .exited(isOwn ? 65 : 1))
            let said = try String(contentsOfFile: error, encoding: .utf8)
            #expect(said.contains(reason), "\(said)")
        }
        _ = first
    }
}

extension RunningProxy {
    /// The answer to a GET by the outbound listener.
    fileprivate func exchangeOutbound(_ host: String) throws -> RawMessage {
        let client = try RawConnection(to: try #require(listeners["outbound"]))
        try client.send("GET / HTTP/1.1\r\nhost: \(host)\r\n\r\n")
        return try client.readAnswer()
    }
}
