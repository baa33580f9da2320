// The control plane as a process, with light subscribers: proxies of a process that carry nothing.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// A control plane with a mesh.
private final class Site {
    let scratch: Scratch
    private(set) var control: RunningControl

    init() throws {
        scratch = try Scratch()
        control = try RunningControl(
            data: scratch.path("data"), ["--proxies", "127.0.0.1:0"])
        try apply(
            #"{"kind":"service","name":"web","calls":["cart"]}"#,
            #"{"kind":"service","name":"cart","calls":[]}"#,
            #"{"kind":"service","name":"other","calls":[]}"#)
    }

    @discardableResult
    func apply(_ declarations: String...) throws -> UInt64 {
        let answer = try control.ask(
            "POST", "/v1/apply", "{\"declarations\":[\(declarations.joined(separator: ","))]}")
        try #require(answer.status == 200, "\(answer.text)")
        return try JSONDecoder().decode(Revision.self, from: Data(answer.body)).revision
    }

    func put(_ name: String, of service: String, port: Int) throws -> UInt64 {
        try apply(
            "{\"kind\":\"endpoint\",\"name\":\"\(name)\",\"service\":\"\(service)\","
                + "\"address\":\"127.0.0.1:\(port)\"}")
    }

    func token(_ service: String) throws -> String {
        let answer = try control.ask(
            "POST", "/v1/tokens",
            "{\"service\":\"default/\(service)\",\"life_seconds\":600,\"single_use\":false}")
        try #require(answer.status == 201, "\(answer.text)")
        return try JSONDecoder().decode(Token.self, from: Data(answer.body)).token
    }

    /// Subscribers of these services in turn.
    func subscribe(_ count: Int, _ services: [String], registered: Bool = false) throws -> Process {
        let lines = try services.map { "default/\($0) \(try token($0))\n" }
        let file = scratch.path("tokens-\(services.joined())")
        try lines.joined().write(toFile: file, atomically: true, encoding: .utf8)
        let proxies = try #require(control.proxies)
        return try Process(
            ProcessCommand(
                name: "subscribers", program: Program.meshbench(),
                arguments: ["subscribers", "\(proxies)", "\(count)", file]
                    + (registered ? ["register"] : []),
                output: .pipe))
    }

    func proxies() throws -> Listing {
        let answer = try control.ask("GET", "/v1/proxies")
        return try JSONDecoder().decode(Listing.self, from: Data(answer.body))
    }

    func command(_ words: String...) throws -> [String] {
        try Program.run(
            Program.meshbench(),
            ["control"] + words + [
                "--server", "http://\(control.address)", "--token-file", scratch.path("data/token"),
            ]
        ).lines
    }

    /// Kills the control plane, and starts another on the same folder and address.
    func restart() throws {
        let address = try #require(control.proxies)
        control.kill()
        control = try RunningControl(data: scratch.path("data"), ["--proxies", "\(address)"])
    }
}

private struct Revision: Decodable {
    var revision: UInt64
}

private struct Token: Decodable {
    var token: String
}

private struct Listing: Decodable {
    struct Proxy: Decodable {
        var proxy: String
        var service: String
        var sent: UInt64
        var acknowledged: UInt64
        var address: String?
    }

    var revision: UInt64
    var proxies: [Proxy]
}

private struct Said: Decodable {
    var event: String
    var version: UInt64?
    var count: Int?
    var snapshots: Int?
    var reason: String?
}

extension Process {
    /// The next event of a kind.
    fileprivate func next(_ event: String) throws -> Said {
        while true {
            let line = try #require(try Program.nextLine(of: self), "no '\(event)'")
            let said = try JSONDecoder().decode(Said.self, from: Data(line))
            if said.event == event { return said }
            try #require(said.event != "failed", "\(said.reason ?? "")")
        }
    }
}

@Suite struct PushTests {
    @Test func proxiesAreToldWhatTheyNeed() throws {
        let site = try Site()
        let subscribers = try site.subscribe(20, ["web", "other"])
        defer { subscribers.send(SIGKILL) }
        #expect(try subscribers.next("connected").snapshots == 20)
        let version = try site.put("cart-1", of: "cart", port: 9001)
        var count = 0
        while count < 10 {
            let said = try subscribers.next("acknowledged")
            #expect(said.version == version)
            count = try #require(said.count)
        }
        let listing = try site.proxies()
        #expect(listing.revision == version && listing.proxies.count == 20)
        for proxy in listing.proxies {
            #expect(proxy.acknowledged == proxy.sent)
            // Others were not told of what they do not need.
            #expect((proxy.sent == version) == (proxy.service == "default/web"))
        }
        let table = try site.command("proxies")
        #expect(table.count == 21 && table.count { $0.hasSuffix("current") } == 20)
    }

    /// Killed and started again, it is found by all, who have missed nothing and are told nothing.
    @Test func proxiesComeBack() throws {
        let site = try Site()
        let subscribers = try site.subscribe(10, ["web"])
        defer { subscribers.send(SIGKILL) }
        _ = try subscribers.next("connected")
        try site.restart()
        #expect(try subscribers.next("connected").snapshots == 0)
        let version = try site.put("cart-1", of: "cart", port: 9001)
        #expect(try subscribers.next("acknowledged").version == version)
    }

    @Test func registeredEndpointsDrainAndEnd() throws {
        let site = try Site()
        let subscribers = try site.subscribe(2, ["cart"], registered: true)
        defer { subscribers.send(SIGKILL) }
        _ = try subscribers.next("connected")
        let proxy = try #require(try site.proxies().proxies.first)
        #expect(proxy.address?.hasPrefix("127.1.") == true)
        // Others come later, and are heard of no more at once.
        let others = try site.subscribe(1, ["other"], registered: true)
        _ = try others.next("connected")
        let other = try #require(
            try site.proxies().proxies.first { $0.service == "default/other" })
        others.send(SIGKILL)
        let drained = try site.command("drain", proxy.proxy)
        #expect(drained.first?.hasPrefix("draining  \(proxy.proxy); revision ") == true)
        let path = "/v1/endpoints/default/\(proxy.proxy)"
        #expect(try site.control.ask("GET", path).text.contains(#""health":"draining""#))
        // The real clock. Where the lease of the later ones is over, those that came before would
        // be gone too, but for their heartbeats.
        let end = Clock.now() + .seconds(20)
        let gone = "/v1/endpoints/default/\(other.proxy)"
        #expect(try site.control.ask("GET", gone).status == 200)
        while try site.control.ask("GET", gone).status == 200, Clock.now() < end {
            Clock.sleep(until: Clock.now() + .milliseconds(100))
        }
        #expect(try site.control.ask("GET", gone).status == 404)
        #expect(try site.control.ask("GET", path).status == 200)
        #expect(try site.proxies().proxies.map(\.service) == ["default/cart", "default/cart"])
    }
}
