// Active health checks of a control plane: what it shows, and what DNS leaves out.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

@Suite struct HealthTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// A control plane whose services have one endpoint each.
    /// - Parameter services: name, more keys, address.
    private func control(
        _ services: [(name: String, more: String, address: String)]
    ) throws -> RunningControl {
        let control = try RunningControl(data: scratch.path("data"), ["--dns", "127.0.0.1:0"])
        let all = services.map { service in
            "{\"kind\":\"service\",\"name\":\"\(service.name)\",\(service.more)},"
                + "{\"kind\":\"endpoint\",\"name\":\"\(service.name)-1\","
                + "\"service\":\"\(service.name)\",\"address\":\"\(service.address)\"}"
        }
        let body = "{\"declarations\":[\(all.joined(separator: ","))]}"
        let answer = try control.ask("POST", "/v1/apply", body)
        #expect(answer.status == 200, "\(answer.text)")
        return control
    }

    /// Waits until checks find just these endpoints unhealthy, each checked at least twice.
    private func wait(_ control: RunningControl, for unhealthy: Set<String>) throws {
        struct Answer: Decodable {
            struct Endpoint: Decodable {
                var key: String
                var healthy: Bool
                var passed: Int
                var failed: Int
            }
            var endpoints: [Endpoint]
        }
        let deadline = Clock.now() + .seconds(20)
        while true {
            let text = try control.ask("GET", "/v1/health").text
            let answer = try JSONDecoder().decode(Answer.self, from: Data(text.utf8))
            let found = Set(answer.endpoints.filter { !$0.healthy }.map(\.key))
            let isChecked = answer.endpoints.allSatisfy { $0.passed + $0.failed > 1 }
            if isChecked, found == Set(unhealthy.map { "endpoints/default/\($0)-1" }) { return }
            guard Clock.now() < deadline else { throw WireFailure.unexpected(text) }
            Clock.sleep(until: Clock.now() + .milliseconds(20))
        }
    }

    private func addresses(_ control: RunningControl, _ name: String) throws -> Int {
        let dns = try #require(control.dns)
        return try Program.run(
            "dig", ["@\(dns.host)", "-p", "\(dns.port)", "+short", "\(name).mesh", "SRV"]
        ).lines.count
    }

    private static let often = "\"interval\":\"500ms\",\"timeout\":\"500ms\",\"unhealthy\":2"

    @Test func whoeverFailsIsLeftOutUntilItPasses() throws {
        var app: RunningApp? = try RunningApp("--listen", "127.0.0.1:0")
        let address = try #require(app).address.description
        let often = Self.often
        let kinds: [(name: String, more: String)] = [
            ("one", "\"mtls\":\"off\",\"health\":{\"http\":\"/healthz\",\(often)}"),
            ("none", "\"mtls\":\"off\",\"health\":{\"http\":\"/healthz\",\(often)}"),
            (
                "two",
                "\"mtls\":\"off\",\"protocol\":\"http2\","
                    + "\"health\":{\"http\":\"/healthz\",\(often)}"
            ),
            (
                "call",
                "\"mtls\":\"off\",\"protocol\":\"http2\",\"health\":{\"grpc\":\"\",\(often)}"
            ), ("bytes", "\"mtls\":\"off\",\"protocol\":\"tcp\",\"health\":{\(often)}"),
            ("strict", "\"health\":{\"http\":\"/nowhere\",\(often)}"),
            ("unasked", "\"mtls\":\"off\""),
        ]
        let reserved = try ReservedAddress()
        let control = try control(
            kinds.map { ($0.name, $0.more, $0.name == "none" ? "\(reserved.address)" : address) })
        try wait(control, for: ["none"])
        #expect(try addresses(control, "one") == 1 && addresses(control, "none") == 0)
        let metrics = try PrometheusText(control.ask("GET", "/metrics").text)
        #expect(metrics["meshbench_control_checked_endpoints"] == 6)
        #expect(metrics["meshbench_control_unhealthy_endpoints"] == 1)
        #expect(metrics["meshbench_control_checks_passed_total"] ?? 0 > 0)
        let table = try Program.run(
            try Program.meshbench(),
            [
                "control", "services", "--server", "http://\(control.address)", "--token-file",
                "\(control.data)/token",
            ])
        #expect(table.lines.contains { $0.contains("none") && $0.contains("0/1") }, "\(table)")
        #expect(table.lines.contains { $0.contains("unasked") && $0.contains("1/1") })

        app?.process.send(SIGKILL)
        app = nil
        try wait(control, for: ["one", "none", "two", "call", "bytes", "strict"])
        #expect(try addresses(control, "one") == 0 && addresses(control, "unasked") == 1)
        let again = try RunningApp("--listen", address)
        try wait(control, for: ["none"])
        #expect(try addresses(control, "one") == 1)
        #expect(again.process.poll() == nil)
    }

    @Test func grpcioIsAskedByItsOwnProtocol() throws {
        let script = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Fixtures/grpc/health_server.py").path
        let process = try Process(
            ProcessCommand(
                name: "health", program: Program.python, arguments: [script], output: .pipe))
        defer { process.send(SIGKILL) }
        let line = try #require(try Program.nextLine(of: process))
        let address = "127.0.0.1:\(String(decoding: line, as: UTF8.self))"
        // grpcio takes its time where two cores have more to do.
        let check = "\"interval\":\"500ms\",\"timeout\":\"500ms\",\"unhealthy\":2}"
        let control = try control(
            ["well", "sick", "unknown"].map { name in
                (
                    name,
                    "\"mtls\":\"off\",\"protocol\":\"http2\","
                        + "\"health\":{\"grpc\":\"\(name)\",\(check)", address
                )
            })
        try wait(control, for: ["sick", "unknown"])
        let text = try control.ask("GET", "/v1/health").text
        #expect(text.contains("\"reason\":\"it says that it is not serving\""), "\(text)")
        #expect(text.contains("\"reason\":\"grpc-status 5\""), "\(text)")
    }
}
