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
        // Clients stop to speak TLS, and begin again.
        for mode in ["off", "strict"] {
            try mesh.apply(Self.cart(mode))
            Clock.sleep(until: Clock.now() + .seconds(11))
            try caller.wait(forMoreOf: 200)
            #expect(caller.seen.failures == [])
            let inbound = try #require(second.listeners["inbound"])
            let plain = try Program.run(
                "curl", ["-sS", "-m", "20", "-o", "/dev/null", "http://\(inbound)/"])
            #expect((plain.end == .exited(0)) == (mode == "off"))
        }
        try outage(mesh, caller, apps)
        _ = next
    }

    private func outage(
        _ mesh: JoinedMesh, _ caller: SteadyCaller, _ apps: [RunningApp]
    ) throws {
        mesh.kill()
        Clock.sleep(until: Clock.now() + .seconds(3))
        try caller.wait(forMoreOf: 200)
        try mesh.restart()
        let third = try mesh.join("shop/cart", app: apps[0])
        try caller.wait(forMoreOf: 100)
        // Longer than a registration lives: all of them were renewed.
        Clock.sleep(until: Clock.now() + .seconds(12))
        try caller.wait(forMoreOf: 200)
        #expect(caller.seen.failures == [])
        _ = third
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

    @Test func refusalsSayWhy() throws {
        let mesh = try JoinedMesh(Self.services)
        let used = try mesh.token("shop/web")
        let first = try RunningProxy(["--join", "\(mesh.proxies)", "--token-file", used])
        let other = try JoinedMesh(Self.services)
        let cases: [([String], String)] = [
            (["--join", "\(mesh.proxies)", "--token-file", used], "has been used"),
            (
                ["--join", "\(other.proxies)", "--token-file", try mesh.token("shop/web")],
                "none of the server's authorities is one that the token names"
            ),
            (["--join", "\(mesh.proxies)", "--token-file", "/dev/null"], "no token"),
        ]
        for (words, reason) in cases {
            let error = mesh.scratch.path("error")
            let run = try Program.run(
                "sh",
                ["-c", "\"$0\" proxy \"$@\" 2>\(error)", try Program.meshbench()] + words)
            #expect(run.end != .exited(0))
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
