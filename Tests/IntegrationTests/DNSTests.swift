// The control plane's DNS, asked by dig and dnspython.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

@Suite struct DNSTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fixtures/dns")

    /// A control plane with `shop/cart` of two endpoints and `default/many` of 600.
    private func control(_ words: String...) throws -> RunningControl {
        let control = try RunningControl(
            data: scratch.path("data"), ["--dns", "127.0.0.1:0"] + words)
        func endpoint(_ name: String, _ service: String, _ address: String, _ more: String = "")
            -> String
        {
            "{\"kind\":\"endpoint\",\"name\":\"\(name)\",\"service\":\"\(service)\","
                + "\"address\":\"\(address)\"\(more)}"
        }
        let shop = ",\"namespace\":\"shop\""
        let many = (0..<600).map { endpoint("m-\($0)", "many", "10.1.\($0 / 200).\($0 % 200):80") }
        let all =
            [
                "{\"kind\":\"service\",\"name\":\"cart\"\(shop)}",
                "{\"kind\":\"service\",\"name\":\"many\"}",
                endpoint("cart-1", "cart", "127.0.0.1:9001", shop),
                endpoint("cart-2", "cart", "127.0.0.2:9002", shop + ",\"weight\":3"),
            ] + many
        let body = "{\"declarations\":[\(all.joined(separator: ","))]}"
        #expect(try control.ask("POST", "/v1/apply", body).status == 200)
        return control
    }

    private func python(_ script: String, _ words: [String]) throws -> (ProcessEnd?, [String]) {
        let path = Self.fixtures.appending(path: script).path
        let run = try Program.run(
            "sh", ["-c", "exec \"$@\" 2>&1", "sh", Program.python, path] + words)
        return (run.end, run.lines)
    }

    /// The port of the server in `upstream.py`, which lives as long as the process.
    private func upstream() throws -> (process: Process, address: String) {
        let process = try Process(
            ProcessCommand(
                name: "upstream", program: Program.python,
                arguments: [Self.fixtures.appending(path: "upstream.py").path], output: .pipe))
        guard let line = try Program.nextLine(of: process) else { throw WireFailure.timedOut }
        return (process, "127.0.0.1:\(String(decoding: line, as: UTF8.self))")
    }

    @Test(arguments: ["zone", "large", "pipelined", "hostile"])
    func holdsForDnspython(check: String) throws {
        let control = try control()
        let port = try #require(control.dns).port
        let (end, lines) = try python("client.py", ["\(port)", check])
        #expect(end == .exited(0) && lines.last == "ok", "\(lines.joined(separator: "\n"))")
    }

    @Test(arguments: ["forwarded", "flooded"])
    func forwards(check: String) throws {
        let (process, address) = try upstream()
        defer { process.send(SIGKILL) }
        let control = try control("--dns-forward", address)
        let port = try #require(control.dns).port
        let (end, lines) = try python("client.py", ["\(port)", check])
        #expect(end == .exited(0) && lines.last == "ok", "\(lines.joined(separator: "\n"))")
        let metrics = try PrometheusText(control.ask("GET", "/metrics").text)
        let name = "meshbench_control_dns_forward"
        if check == "forwarded" {
            #expect(metrics["\(name)_strangers_total"] == 9)
            #expect(metrics["\(name)_failures_total"] == 2)
            #expect(metrics["\(name)_refusals_total"] == 0)
            #expect(metrics["\(name)s"] == 0)
        } else {
            #expect(metrics["\(name)_refusals_total"] == 88)
        }
    }

    private func dig(_ control: RunningControl, _ words: String...) throws -> [String] {
        let address = try #require(control.dns)
        let run = try Program.run(
            "dig", ["@\(address.host)", "-p", "\(address.port)", "+time=5", "+tries=1"] + words)
        #expect(run.end == .exited(0), "\(run.lines)")
        return run.lines
    }

    @Test func holdsForDig() throws {
        let control = try control()
        for transport in ["+notcp", "+tcp"] {
            #expect(
                try dig(control, transport, "+short", "cart.shop.mesh").sorted() == [
                    "127.0.0.1", "127.0.0.2",
                ])
            #expect(
                try dig(control, transport, "+short", "cart.shop.mesh", "SRV").sorted() == [
                    "0 1 9001 cart-1.cart.shop.mesh.", "0 3 9002 cart-2.cart.shop.mesh.",
                ])
        }
        let whole = try dig(control, "cart.shop.mesh").joined(separator: "\n")
        #expect(whole.contains("status: NOERROR") && whole.contains("flags: qr aa rd;"))
        #expect(!whole.contains("WARNING: Message parser") && !whole.contains("malformed"))
        #expect(whole.contains("EDNS: version: 0, flags:; udp: 1232"))
        let none = try dig(control, "nobody.mesh").joined(separator: "\n")
        #expect(none.contains("status: NXDOMAIN") && none.contains("AUTHORITY: 1"))
        #expect(try dig(control, "example.org").contains { $0.contains("status: REFUSED") })
        // It asks again over TCP by itself.
        #expect(try dig(control, "+short", "many.mesh", "SRV").count == 512)
        let metrics = try PrometheusText(control.ask("GET", "/metrics").text)
        let name = "meshbench_control_dns"
        #expect(metrics["\(name)_queries_total{transport=\"udp\"}"] == 6)
        #expect(metrics["\(name)_queries_total{transport=\"tcp\"}"] == 3)
        #expect(metrics["\(name)_answers_total{code=\"NXDOMAIN\"}"] == 1)
        #expect(metrics["\(name)_answers_total{code=\"REFUSED\"}"] == 1)
        #expect(metrics["\(name)_truncated_total"] == 1)
    }

    @Test func aChangeIsInTheNextAnswer() throws {
        let control = try control()
        let path = "/v1/endpoints/shop/cart-2"
        #expect(try control.ask("DELETE", path).status == 200)
        #expect(try dig(control, "+short", "cart.shop.mesh") == ["127.0.0.1"])
        let sick =
            "{\"kind\":\"endpoint\",\"name\":\"cart-2\",\"namespace\":\"shop\","
            + "\"service\":\"cart\",\"address\":\"127.0.0.2:1\",\"health\":\"draining\"}"
        #expect(try control.ask("PUT", path, sick).status == 201)
        #expect(try dig(control, "+short", "cart.shop.mesh") == ["127.0.0.1"])
    }

    /// The workload finds by name whom it calls, and follows when the name comes to mean others.
    @Test func theWorkloadCallsByName() throws {
        let control = try RunningControl(data: scratch.path("data"), ["--dns", "127.0.0.1:0"])
        let dns = try #require(control.dns)
        func declare(_ kind: String, _ name: String, _ more: String = "") throws {
            let put = try control.ask(
                "PUT", "/v1/\(kind)s/default/\(name)",
                "{\"kind\":\"\(kind)\",\"name\":\"\(name)\"\(more)}")
            #expect(put.status == 201, "\(put.text)")
        }
        func endpoint(_ name: String, _ app: RunningApp) throws {
            try declare(
                "endpoint", name, ",\"service\":\"leaf\",\"address\":\"\(app.address)\"")
        }
        let first = try RunningApp("--listen", "127.0.0.1:0")
        let second = try RunningApp("--listen", "127.0.0.1:0")
        let root = try RunningApp(
            "--listen", "127.0.0.1:0", "--dns", "\(dns)", "--call", "leaf=leaf.mesh", "--size", "5B"
        )
        let early = try root.get("/")
        #expect(early.status == 502)
        #expect(early.text == "call to leaf failed: its name has no address\n")
        try declare("service", "leaf")
        try endpoint("leaf-1", first)
        try eventually { try root.get("/").status == 200 }
        try endpoint("leaf-2", second)
        try eventually {
            _ = try root.get("/")
            return try second.get("/app/stats").text.contains("\"200\":")
        }
        #expect(try control.ask("DELETE", "/v1/endpoints/default/leaf-1").status == 200)
        first.process.send(SIGKILL)
        // A second until it asks again; from then on nobody notices.
        try eventually { try (0..<4).allSatisfy { _ in try root.get("/").status == 200 } }
        for _ in 0..<20 { #expect(try root.get("/").status == 200) }
    }

    /// Asks until it is so, for 20 s at most.
    private func eventually(_ condition: () throws -> Bool) throws {
        let deadline = Clock.now() + .seconds(20)
        while try !condition() {
            guard Clock.now() < deadline else { throw WireFailure.timedOut }
            Clock.sleep(until: Clock.now() + .milliseconds(50))
        }
    }

    @Test(arguments: [
        (["--dns-forward", "127.0.0.1:53"], "'--dns-forward' goes with --dns"),
        (["--dns", "localhost"], "a numeric address with a port is needed"),
        (
            ["--dns", "0.0.0.0:7053", "--dns-forward", "127.0.0.1:53"],
            "only an address of loopback will do"
        ),
        (
            ["--dns", "127.0.0.1:7053", "--dns-forward", "127.0.0.1:7053"],
            "that is no other server"
        ),
    ])
    func whatIsNoCommand(words: [String], message: String) throws {
        let run = try Program.run(
            "sh",
            [
                "-c", "exec \"$@\" 2>&1", "sh", try Program.meshbench(), "control", "--data",
                scratch.path("data"),
            ] + words)
        #expect(run.end == .exited(64))
        #expect(run.lines.contains { $0.contains(message) }, "\(run.lines)")
    }
}
