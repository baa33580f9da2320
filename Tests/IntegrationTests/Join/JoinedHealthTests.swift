// What the control plane's health checks find takes traffic away from proxies' endpoints, and gives
// it back.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

@Suite struct JoinedHealthTests {
    /// A process whose `/healthz` fails for as long as a file is there, or all but that; else it
    /// answers with a body of some size.
    private final class App {
        let process: Process
        let address: String
        private let file: String

        init(_ file: String, size: Int, failsChecks: Bool = true) throws {
            self.file = file
            let condition = "self.path \(failsChecks ? "==" : "!=") \"/healthz\""
            let script = """
                import http.server, os
                class Handler(http.server.BaseHTTPRequestHandler):
                    protocol_version = "HTTP/1.1"
                    # Head and body at once: the second would wait for what acknowledges the first.
                    wbufsize = -1
                    def do_GET(self):
                        fails = \(condition) and os.path.exists("\(file)")
                        self.send_response(503 if fails else 200)
                        self.send_header("content-length", "\(size)")
                        self.end_headers()
                        self.wfile.write(b"a" * \(size))
                    def log_message(self, *words): pass
                server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
                print(server.server_port, flush=True)
                server.serve_forever()
                """
            process = try Process(
                ProcessCommand(
                    name: "app", program: Program.python, arguments: ["-c", script], output: .pipe))
            let line = try #require(try Program.nextLine(of: process))
            address = "127.0.0.1:\(String(decoding: line, as: UTF8.self))"
        }

        deinit { process.send(SIGKILL) }

        func fails(_ does: Bool) throws {
            if does {
                try Data().write(to: URL(filePath: file))
            } else {
                _ = unsafe unlink(file)
            }
        }
    }

    private static let services = """
        {"kind": "service", "name": "web", "namespace": "shop"},
        {"kind": "service", "name": "cart", "namespace": "shop",
        "health": {"http": "/healthz", "interval": "200ms", "timeout": "200ms", "unhealthy": 2}},
        {"kind": "authorization", "name": "carts", "namespace": "shop", "to": ["cart"],
        "action": "allow", "rules": [{"identities": ["*/sa/web"]}]}
        """

    @Test func whoFailsItsChecksGetsNoRequests() throws {
        let mesh = try JoinedMesh(Self.services)
        let apps = try [100, 200].map { try App(mesh.scratch.path("sick-\($0)"), size: $0) }
        let carts = try apps.map { try mesh.join("shop/cart", ["--app", $0.address]) }
        let web = try mesh.join("shop/web")
        let outbound = try #require(web.listeners["outbound"])
        try mesh.wait(for: carts[1].listeners["inbound"].map { "\($0)" } ?? "", in: "/v1/proxies")
        let warm = try SteadyCaller(by: outbound, "cart.shop.mesh")
        for size in [100, 200] { try warm.wait(forMoreOf: size) }
        warm.stop()
        let caller = try SteadyCaller(by: outbound, "cart.shop.mesh")
        defer { caller.stop() }
        try apps[0].fails(true)
        try caller.wait(forNoneOf: 100)
        try mesh.wait(for: "\"health\":\"unhealthy\"", in: "/v1/proxies")
        // A control plane that begins anew knows nothing, and takes nothing back of what was known.
        let before = caller.seen.sizes[100]
        mesh.kill()
        try mesh.restart()
        try mesh.wait(for: "\"healthy\":false", in: "/v1/health")
        #expect(caller.seen.sizes[100] == before)
        // When all fail, checks do not count.
        try apps[1].fails(true)
        for size in [100, 200] { try caller.wait(forMoreOf: size) }
        try apps[1].fails(false)
        try caller.wait(forNoneOf: 100)
        try apps[0].fails(false)
        for size in [100, 200] { try caller.wait(forMoreOf: size) }
        #expect(caller.seen.failures == [])
        #expect(caller.seen.answers.keys.sorted() == [200])
    }

    /// Checks go the way of requests: over mutual TLS, to whoever proves to be the service.
    @Test func whoIsNotTheServiceIsUnhealthy() throws {
        let mesh = try JoinedMesh(Self.services)
        let app = try App(mesh.scratch.path("sick"), size: 1)
        let cart = try mesh.join("shop/cart", ["--app", app.address])
        let inbound = try #require(cart.listeners["inbound"])
        let check = #""health": {"interval": "100ms", "timeout": "100ms", "unhealthy": 1}"#
        try mesh.apply(
            """
            {"kind": "service", "name": "other", "namespace": "shop", \(check)},
            {"kind": "endpoint", "name": "cleartext", "namespace": "shop", "service": "other",
            "address": "\(app.address)"},
            {"kind": "endpoint", "name": "another", "namespace": "shop", "service": "other",
            "address": "\(inbound)"}
            """)
        for name in ["cleartext", "another"] {
            try mesh.wait(
                for: "endpoints/shop/\(name)\",\"healthy\":false", in: "/v1/health")
        }
        try mesh.wait(for: "\"reason\":\"no mutual TLS: ", in: "/v1/health")
    }

    /// Checks pass while requests fail: whoever is ejected comes back with its next check, again
    /// and again, and without a control plane; where the policy does not want that, it stays out.
    @Test func whoPassesItsChecksComesBack() throws {
        let mesh = try JoinedMesh(Self.services)
        func eject(returns: Bool) throws {
            try mesh.apply(
                """
                {"kind": "policy", "name": "eject", "namespace": "shop", "to": ["cart"],
                "outlier": {"consecutive_5xx": 3, "max_percent": 50, "base": "10m", "max": "10m",
                "health_check_returns": \(returns)}}
                """)
        }
        try eject(returns: true)
        let apps = try [100, 200].map {
            try App(mesh.scratch.path("sick-\($0)"), size: $0, failsChecks: false)
        }
        let carts = try apps.map { try mesh.join("shop/cart", ["--app", $0.address]) }
        let web = try mesh.join("shop/web")
        let outbound = try #require(web.listeners["outbound"])
        for cart in carts {
            try mesh.wait(for: cart.listeners["inbound"].map { "\($0)" } ?? "", in: "/v1/proxies")
        }
        let caller = try SteadyCaller(by: outbound, "cart.shop.mesh")
        defer { caller.stop() }
        for size in [100, 200] { try caller.wait(forMoreOf: size) }
        func returns() throws -> Double {
            try web.stats()["meshbench_proxy_outlier_returns_total{cluster=\"shop/cart\"}"] ?? 0
        }
        func passed() throws -> Double? { try web.stats()["meshbench_join_checks_passed_total"] }
        try apps[0].fails(true)
        try waitUntil { (try returns() >= 3, "\(try returns()) returns") }
        mesh.kill()
        let before = try returns()
        try waitUntil { (try returns() >= before + 3, "\(try returns()) after \(before)") }
        try mesh.restart()
        try eject(returns: false)
        try caller.wait(forNoneOf: 100)
        #expect(try returns() == 0, "under another policy nothing is known yet")
        let checks = try passed()
        try caller.wait(forNoneOf: 100)
        #expect(try passed() == checks, "nobody has asked for it")
        #expect(try returns() == 0)
        try eject(returns: true)
        try apps[0].fails(false)
        for size in [100, 200] { try caller.wait(forMoreOf: size) }
    }
}
