// Three control planes over a real etcd, and proxies that know all of them: one mesh, whichever of
// them answers, dies, or cannot reach etcd.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// An etcd, three control planes that began at the same instant, and a folder for commands.
private final class Replicas {
    let scratch: Scratch
    let etcd: RunningEtcd
    let controls: [RunningControl]
    private(set) var dead: Set<Int> = []

    init(_ declarations: String = "") throws {
        let scratch = try Scratch()
        self.scratch = scratch
        etcd = try RunningEtcd(folder: scratch.root)
        controls = try RunningControl.several(
            (0..<3).map { scratch.path("c\($0)") },
            ["--proxies", "127.0.0.1:0", "--etcd", etcd.urls])
        if !declarations.isEmpty { try apply(declarations, by: 0) }
    }

    func apply(_ declarations: String, by index: Int) throws {
        let answer = try controls[index].ask(
            "POST", "/v1/apply", "{\"declarations\": [\(declarations)]}")
        try #require(answer.status == 200, "\(answer.text)")
    }

    func kill(_ index: Int) {
        controls[index].kill()
        dead.insert(index)
    }

    /// A token for a service, made by one of them, which may first have to hear of the service.
    func token(_ service: String, by index: Int, isSingleUse: Bool = true) throws -> String {
        var answer: RawMessage?
        try eventually("a token") {
            let said = try controls[index].ask(
                "POST", "/v1/tokens", "{\"service\":\"\(service)\",\"single_use\":\(isSingleUse)}")
            answer = said
            return said.status == 201
        }
        let parts = try #require(answer).text.split(separator: "\"")
        let place = try #require(parts.firstIndex(of: "token"))
        return String(parts[place + 2])
    }

    /// A proxy whose token one of them has made, and that is told of them in this order.
    func join(
        _ service: String, name: String, app: RunningApp? = nil, tokenBy index: Int,
        order: [Int] = [0, 1, 2]
    ) throws -> RunningProxy {
        let file = scratch.path("token-\(name)")
        try "\(try token(service, by: index))\n".write(
            toFile: file, atomically: true, encoding: .utf8)
        var words = ["--token-file", file, "--name", name, "--admin", "127.0.0.1:0"]
        for place in order {
            words += ["--join", "\(try #require(controls[place].proxies))"]
        }
        if let app { words += ["--app", "\(app.address)"] }
        return try RunningProxy(words)
    }

    /// Which of them a proxy watches; nil: none.
    func place(of proxy: String) throws -> Int? {
        try controls.indices.first { index in
            try !dead.contains(index)
                && controls[index].ask("GET", "/v1/proxies").text.contains("\"\(proxy)\"")
        }
    }

    /// What a script prints, in the folder.
    func sh(_ script: String) throws -> [String] {
        try Program.run("sh", ["-c", "cd \(scratch.root) && (\(script)) 2>&1"]).lines
    }

    /// The authorities that one of them shows.
    func authorities(_ index: Int) throws -> [String] {
        let proxies = try #require(controls[index].proxies)
        return try sh("curl -sSk -m 20 https://\(proxies)/v1/authorities")
    }

    /// Joins with a request that stands in a file, at two of them at once.
    /// - Returns: their statuses.
    func race(_ token: String, _ requests: [String], at places: [Int]) throws -> [String] {
        var script = ""
        for (number, place) in places.enumerated() {
            let csr = try String(contentsOfFile: scratch.path(requests[number]), encoding: .utf8)
            try "{\"token\":\"\(token)\",\"proxy\":\"cart-9\",\"csr\":\"\(csr)\"}".write(
                toFile: scratch.path("body\(number)"), atomically: true, encoding: .utf8)
            script +=
                "curl -sSk -m 20 -o answer\(number) -w '%{http_code}\\n' -d @body\(number) "
                + "https://\(try #require(controls[place].proxies))/v1/join > status\(number) & "
        }
        return try sh(script + "wait; cat status0 status1")
    }

    /// A request for a certificate, as a line of JSON, in a file of that name.
    func makeRequest(_ name: String) throws {
        _ = try sh(
            """
            openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \(name).key
            openssl req -new -key \(name).key -subj /CN=x -out \(name).pem
            awk '{printf "%s\\\\n", $0}' \(name).pem > \(name)
            """)
    }
}

/// Waits until something is so.
private func eventually(_ what: String, _ isSo: () throws -> Bool) throws {
    let deadline = Clock.now() + RawConnection.patience
    while try !isSo() {
        guard Clock.now() < deadline else { throw WireFailure.unexpected("not in time: \(what)") }
        Clock.sleep(until: Clock.now() + .milliseconds(20))
    }
}

private let services = """
    {"kind": "service", "name": "web", "namespace": "shop"},
    {"kind": "service", "name": "cart", "namespace": "shop"}
    """

@Suite(.serialized) struct ReplicasTests {
    /// Whoever is first makes the token, the authority and the key of tokens; the others take them.
    @Test func thoseThatBeginAtOnceAreOneMesh() throws {
        for _ in 0..<3 {
            let replicas = try Replicas()
            #expect(Set(replicas.controls.map(\.token)).count == 1)
            let authorities = try (0..<3).map(replicas.authorities)
            #expect(authorities[0].contains("-----BEGIN CERTIFICATE-----"))
            #expect(Set(authorities).count == 1)
        }
        let replicas = try Replicas(services)
        // Made at all of them at once, for the first time.
        let tokens = try (0..<3).map { try replicas.token("shop/cart", by: $0) }
        try replicas.makeRequest("one")
        try replicas.makeRequest("two")
        // What one has made opens another, once.
        for (index, token) in tokens.enumerated() {
            let others = [(index + 1) % 3, (index + 2) % 3]
            let statuses = try replicas.race(token, ["one", "two"], at: others)
            #expect(statuses.sorted() == ["200", "403"], "\(statuses)")
        }
        // The same proxy, which has not heard the first answer, is let in by whomever it asks.
        for _ in 0..<3 {
            let token = try replicas.token("shop/cart", by: 0)
            #expect(try replicas.race(token, ["one", "one"], at: [1, 2]) == ["200", "200"])
        }
    }

    @Test func aRotationIsEverybodys() throws {
        let replicas = try Replicas(services)
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "100B")
        let cart = try replicas.join(
            "shop/cart", name: "cart-1", app: app, tokenBy: 1, order: [0, 1, 2])
        let web = try replicas.join("shop/web", name: "web-1", tokenBy: 2, order: [1, 2, 0])
        let caller = try SteadyCaller(by: try #require(web.listeners["outbound"]), "cart")
        defer { caller.stop() }
        try caller.wait(forMoreOf: 100)
        let before = try replicas.authorities(0)
        #expect(try replicas.controls[2].ask("POST", "/v1/authority/rotate").status == 200)
        try eventually("two roots at each") {
            let shown = try (0..<3).map(replicas.authorities)
            return Set(shown).count == 1 && shown[0] != before
                && shown[0].filter { $0.contains("BEGIN") }.count == 2
        }
        try caller.wait(forMoreOf: 100)
        #expect(caller.seen.failures == [])
        // It is under way, and cannot be begun once more elsewhere.
        #expect(try replicas.controls[0].ask("POST", "/v1/authority/rotate").status == 409)
        _ = cart
    }

    /// The replica that proxies watch is killed, and then etcd.
    @Test func proxiesGoOnWithTheOthers() throws {
        let replicas = try Replicas(services)
        let apps = try [100, 200].map {
            try RunningApp("--listen", "127.0.0.1:0", "--size", "\($0)B")
        }
        let cart = try replicas.join("shop/cart", name: "cart-1", app: apps[0], tokenBy: 0)
        let web = try replicas.join("shop/web", name: "web-1", tokenBy: 1)
        let caller = try SteadyCaller(by: try #require(web.listeners["outbound"]), "cart.shop.mesh")
        defer { caller.stop() }
        try caller.wait(forMoreOf: 100)
        let lease = try replicas.lease(of: "cart-1")
        for _ in 0..<2 {
            let place = try #require(try replicas.place(of: "cart-1"))
            let killed = Clock.now()
            replicas.kill(place)
            try eventually("both are elsewhere") {
                try replicas.place(of: "cart-1") != nil && replicas.place(of: "web-1") != nil
            }
            // 2 s where nothing else runs; here other tests may.
            let time = Clock.now() - killed
            #expect(time < .seconds(6), "\(time.seconds) s")
            print("at another control plane after \(time.seconds) s")
        }
        // Another one keeps alive what the dead one had been granted.
        try eventually("the lease is kept alive") {
            let first = try replicas.life(of: lease)
            Clock.sleep(until: Clock.now() + .milliseconds(1200))
            return try replicas.life(of: lease) >= first
        }
        #expect(try replicas.lease(of: "cart-1") == lease)
        #expect(caller.seen.failures == [])
        let living = try #require(controlsAlive(replicas).first)
        let second = try replicas.join("shop/cart", name: "cart-2", app: apps[1], tokenBy: living)
        try caller.wait(forMoreOf: 200)
        try etcdIsGone(replicas, caller, living)
        _ = (cart, second)
    }

    private func controlsAlive(_ replicas: Replicas) -> [Int] {
        replicas.controls.indices.filter { !replicas.dead.contains($0) }
    }

    private func etcdIsGone(
        _ replicas: Replicas, _ caller: SteadyCaller, _ living: Int
    ) throws {
        let control = replicas.controls[living]
        let change = "{\"kind\":\"service\",\"name\":\"next\",\"namespace\":\"shop\"}"
        replicas.etcd.kill(0)
        try eventually("it is known") { try control.ask("GET", "/ready").status == 503 }
        let refused = try control.ask("PUT", "/v1/services/shop/next", change)
        #expect(refused.status == 503 && refused["retry-after"] != nil)
        #expect(refused.text.contains("nothing was changed: "), "\(refused.text)")
        #expect(try control.ask("GET", "/v1/declarations").text.contains("\"cart-1\""))
        Clock.sleep(until: Clock.now() + .seconds(3))
        try caller.wait(forMoreOf: 100)
        try caller.wait(forMoreOf: 200)
        try replicas.etcd.start(0)
        try replicas.etcd.waitUntilHealthy(0)
        try eventually("it is changed again") {
            [200, 201].contains(try control.ask("PUT", "/v1/services/shop/next", change).status)
        }
        for index in controlsAlive(replicas) {
            try eventually("everybody has it") {
                try replicas.controls[index].ask("GET", "/v1/services/shop/next").status == 200
            }
        }
        // A change reaches the proxies as before.
        try eventually("it is drained") {
            guard let place = try replicas.place(of: "cart-1") else { return false }
            return try replicas.controls[place].ask("POST", "/v1/proxies/cart-1/drain").status
                == 200
        }
        try caller.wait(forNoneOf: 100)
        try caller.wait(forMoreOf: 200)
        #expect(caller.seen.failures == [])
    }
}

extension Replicas {
    /// The lease of a registered endpoint, as etcd has it.
    fileprivate func lease(of endpoint: String) throws -> String {
        let key = Base64.encode(Array("meshbench/keys/endpoints/shop/\(endpoint)".utf8))
        let text = try etcd.ask(0, "/v3/kv/range", "{\"key\":\"\(key)\"}").text
        let parts = text.split(separator: "\"")
        let place = try #require(parts.firstIndex(of: "lease"), "\(text)")
        return String(parts[place + 2])
    }

    /// Seconds that a lease still has.
    fileprivate func life(of lease: String) throws -> Int {
        let text = try etcd.ask(0, "/v3/lease/timetolive", "{\"ID\":\"\(lease)\"}").text
        let parts = text.split(separator: "\"")
        let place = try #require(parts.firstIndex(of: "TTL"), "\(text)")
        return try #require(Int(parts[place + 2]))
    }
}
