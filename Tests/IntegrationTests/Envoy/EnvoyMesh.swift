// A mesh with an Envoy of the service web in it, and what tests ask of it.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// A control plane with the services web and cart.
final class EnvoyMesh {
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
func eventually(
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
final class RunningEnvoy {
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
        _ mesh: EnvoyMesh, _ service: String, app: SocketAddress, inbound: SocketAddress? = nil
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

/// The answer to a GET with a host, and fields such as `a: b`.
func get(
    _ target: String, host: String = "test", fields: [String] = [], at address: SocketAddress
) throws -> RawMessage {
    let connection = try RawConnection(to: address)
    let lines = (["GET \(target) HTTP/1.1", "host: \(host)"] + fields).joined(separator: "\r\n")
    try connection.send("\(lines)\r\n\r\n")
    return try connection.readAnswer()
}

/// An Envoy of web and a reference proxy of cart, which call each other. All end with it.
final class EnvoyPair {
    let mesh: EnvoyMesh
    let envoy: RunningEnvoy
    /// Where cart's process calls others.
    let outbound: SocketAddress
    private let apps: [RunningApp]
    private let proxy: RunningProxy

    init(_ mesh: EnvoyMesh) throws {
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
