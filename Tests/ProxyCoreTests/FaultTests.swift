import Base
import Fault
import FoundationEssentials
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// What faults do to requests before they meet retries, at a client's and at a server's proxy.
@Suite struct FaultTests {
    static func rule(
        _ name: String = "a", _ point: FaultRule.Point = .clientEgress, chance: Double = 1,
        delay: Duration? = nil, abort: FaultRule.Abort? = nil, rate: Int? = nil
    ) -> FaultRule {
        FaultRule(
            name: name, seed: 3, point: point, chance: chance,
            delay: delay.map { .fixed($0) }, abort: abort, responseRate: rate)
    }

    static func scene(
        _ rules: [FaultRule], _ change: (inout ProxyConfiguration) -> Void = { _ in }
    ) -> (Scene, LeaseTable) {
        var configuration = Scene.configuration(accessLog: true)
        configuration.ledger = "-"
        change(&configuration)
        let scene = Scene(configuration)
        let leases = LeaseTable(isProxy: true, standing: rules, now: scene.simulation.now)
        scene.proxy.adopt(faults: leases.held)
        return (scene, leases)
    }

    static func lines(_ proxy: Proxy) throws -> [FaultLedgerLine] {
        var all: [UInt8] = []
        proxy.ledger.drain {
            unsafe all.append(contentsOf: $0.raw)
            return $0.count
        }
        return try all.split(separator: UInt8(ascii: "\n")).map {
            try JSONDecoder().decode(FaultLedgerLine.self, from: Data($0))
        }
    }

    static let request = "GET /x HTTP/1.1\r\nHost: a\r\nx-request-id: r-1\r\n\r\n"

    // MARK: Aborts

    @Test func anAbortReachesNobody() throws {
        let (scene, leases) = Self.scene([Self.rule(abort: .http(503))])
        let client = scene.client()
        scene.send(Self.request, by: client)
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 503 "))
        #expect(answer.contains("x-response-flags: FI\r\n"))
        #expect(scene.servers.isEmpty)
        #expect(scene.proxy.counters[ResponseFlag.FI] == 1)
        #expect(scene.proxy.counters[.faultAborts] == 1)
        let lines = try Self.lines(scene.proxy)
        #expect(lines.count == 1)
        #expect(lines[0].fault == "a" && lines[0].point == .clientEgress)
        #expect(lines[0].request == "r-1" && lines[0].attempt == 1)
        #expect(lines[0].abortHTTP == 503 && lines[0].delayNs == nil)
        let report = leases.held[0].report(wallOffset: 0)
        #expect(report.seen == 1 && report.hit == 1 && report.aborted == 1)
        let log = scene.simulation.logLines.joined()
        #expect(log.contains("\"flags\":\"FI\",\"details\":\"fault_filter_abort\""), "\(log)")
        // The connection goes on.
        scene.send(Self.request, by: client)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 503 "))
        scene.close(client)
    }

    @Test func abortsOfGRPCToWhoeverMakesNoCall() {
        let (scene, _) = Self.scene([Self.rule(abort: .grpc(14))])
        let client = scene.client()
        scene.send(Self.request, by: client)
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.contains("x-response-flags: FI\r\n"))
    }

    @Test(arguments: [
        (FaultRule.Abort.grpc(8), true, "200", "8"), (.http(503), true, "200", "14"),
        (.http(418), false, "418", ""), (.grpc(8), false, "200", ""),
    ])
    func abortsOnStreams(
        abort: FaultRule.Abort, isCall: Bool, status: String, call: String
    ) throws {
        let scene = HTTP2Scene(.http2)
        let leases = LeaseTable(isProxy: true, standing: [Self.rule(abort: abort)], now: .zero)
        scene.proxy.adopt(faults: leases.held)
        let client = scene.client()
        let type: Fields = isCall ? [("content-type", "application/grpc"), ("te", "trailers")] : []
        let stream = client.peer.request(requestFields("POST", "/x", type), body: [1, 2, 3])
        scene.pass()
        #expect(stream?.status == Int(status))
        #expect(stream?["grpc-status"] ?? "" == call)
        #expect(stream?["x-response-flags"] == "FI")
        #expect(scene.servers.isEmpty)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    // MARK: Delays

    @Test func aDelayHoldsBackAndLetsGo() throws {
        let (scene, _) = Self.scene([Self.rule(delay: .milliseconds(50))])
        let client = scene.client()
        scene.send(Self.request, by: client)
        scene.pass(.milliseconds(49))
        #expect(scene.servers.isEmpty)
        scene.pass(.milliseconds(1))
        #expect(scene.servers.count == 1)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.proxy.counters[ResponseFlag.DI] == 1)
        #expect(scene.proxy.counters[ResponseFlag.FI] == 0)
        #expect(scene.simulation.logLines.joined().contains("\"flags\":\"DI\""))
        let lines = try Self.lines(scene.proxy)
        #expect(lines.map(\.delayNs) == [50_000_000])
        scene.close(client)
    }

    @Test func aDelayComesBeforeAnAbort() throws {
        let (scene, _) = Self.scene([
            Self.rule("slow", delay: .milliseconds(50)), Self.rule("down", abort: .http(500)),
        ])
        let client = scene.client()
        scene.send(Self.request, by: client)
        #expect(scene.received(client) == "")
        #expect(try Self.lines(scene.proxy).map(\.fault) == ["slow"])
        scene.pass(.milliseconds(50))
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 500 "))
        #expect(answer.contains("x-response-flags: FI,DI\r\n"))
        #expect(try Self.lines(scene.proxy).map(\.fault) == ["down"])
        #expect(scene.servers.isEmpty)
    }

    @Test func whoHasGoneIsNotAborted() throws {
        let (scene, leases) = Self.scene([
            Self.rule(delay: .milliseconds(50), abort: .http(500))
        ])
        let client = scene.client()
        scene.send(Self.request, by: client)
        scene.close(client, reset: true)
        scene.pass(.milliseconds(100))
        #expect(leases.held[0].report(wallOffset: 0).aborted == 0)
        #expect(try Self.lines(scene.proxy).count == 1)
        #expect(scene.proxy.openConnections == 0 && scene.proxy.buffersInUse == 0)
    }

    // MARK: Attempts

    @Test func anAttemptMeetsFaultsOfItsOwn() throws {
        var rule = Self.rule("b", .perAttempt, delay: .milliseconds(30), abort: .http(503))
        rule.cluster = "c"
        let (scene, _) = Self.scene([Self.rule(delay: .milliseconds(20)), rule])
        let client = scene.client()
        scene.send(Self.request, by: client)
        scene.pass(.milliseconds(49))
        #expect(scene.received(client) == "" && scene.servers.isEmpty)
        scene.pass(.milliseconds(1))
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("x-response-flags: FI,DI\r\n"))
        let lines = try Self.lines(scene.proxy)
        #expect(lines.map(\.fault) == ["a", "b", "b"])
        #expect(lines.map(\.point) == [.clientEgress, .perAttempt, .perAttempt])
        #expect(lines.map(\.attempt) == [1, 1, 1])
        #expect(lines[2].abortHTTP == 503)
    }

    /// The policy has two retries; so many attempts are aborted.
    @Test(arguments: [1, 2, 3], [false, true])
    func retriesMeetAbortsAsAnswers(count: Int, isHTTP2: Bool) throws {
        var rule = Self.rule("b", .perAttempt, abort: .http(503))
        rule.firstAttempts = count
        let (scene, leases) = Self.scene([rule]) {
            $0.clusters[0].retry = RetryPolicy(on: [.serverError], most: 2)
            if isHTTP2 { $0.clusters[0].speech = .http2 }
        }
        let client = scene.client()
        scene.send(Self.request, by: client)
        scene.pass(.seconds(1))
        let lines = try Self.lines(scene.proxy)
        #expect(lines.map(\.attempt) == Array(1...count))
        #expect(leases.held[0].report(wallOffset: 0).aborted == UInt64(count))
        #expect(scene.proxy.counters[.retries] == UInt64(min(count, 2)))
        guard count < 3 else {
            let answer = scene.received(client)
            #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("FI"))
            #expect(answer.contains("URX") && scene.servers.isEmpty)
            return
        }
        #expect(scene.servers.count == 1)
        guard !isHTTP2 else { return }
        #expect(scene.received(scene.servers[0]).contains("x-request-id: r-1"))
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        scene.close(client)
        scene.close(scene.servers[0])
        #expect(scene.proxy.openConnections == 0 && scene.proxy.buffersInUse == 0)
    }

    /// The second request, whose first attempt was aborted, waits for the first's connection when a
    /// new configuration routes it anew: what its retry held is given back, also if its client
    /// goes before it has found its way.
    @Test(arguments: [false, true])
    func aRetryThatIsRoutedAnewHoldsNothing(leaves: Bool) throws {
        var rule = Self.rule("b", .perAttempt, abort: .http(503))
        rule.firstAttempts = 1
        let (scene, _) = Self.scene([rule]) {
            $0.clusters[0].retry = RetryPolicy(on: [.serverError], most: 2)
            $0.clusters[0].breaker = .init(
                standard: .init(connections: 1, pending: 8), isStrict: true)
        }
        let clients = [scene.client(), scene.client()]
        for client in clients {
            scene.send(Self.request, by: client)
            scene.pass(.milliseconds(100))
        }
        #expect(scene.servers.count == 1 && scene.proxy.waiting(0, 0) == 1)
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 2)
        scene.proxy.adopt(scene.proxy.configuration, now: scene.simulation.now)
        if leaves { scene.close(clients[1], reset: true) }
        scene.pass(.zero)
        #expect(scene.proxy.waiting(0, 0) == (leaves ? 0 : 1))
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 1)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(clients[0]).hasPrefix("HTTP/1.1 200 "))
        if !leaves {
            scene.send(okAnswer, by: scene.servers[0])
            #expect(scene.received(clients[1]).hasPrefix("HTTP/1.1 200 "))
        }
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 0)
    }

    @Test func anAttemptThatIsHeldBackCountsAgainstTheRequestsTime() throws {
        let (scene, _) = Self.scene([Self.rule("b", .perAttempt, delay: .seconds(5))]) {
            $0.timeouts.request = .seconds(1)
        }
        let client = scene.client()
        scene.send(Self.request, by: client)
        scene.pass(.milliseconds(999))
        #expect(scene.received(client) == "")
        scene.pass(.milliseconds(1))
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 504 ") && answer.contains("DI"))
        #expect(scene.servers.isEmpty)
    }

    @Test func whatIsNotIdempotentIsNotSentAgain() {
        let (scene, _) = Self.scene([Self.rule("b", .perAttempt, abort: .http(503))]) {
            $0.clusters[0].retry = RetryPolicy(on: [.serverError], most: 2)
        }
        let client = scene.client()
        scene.send("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\nabc", by: client)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 503 "))
        #expect(scene.proxy.counters[.retries] == 0)
    }

    @Test func theSlowestRateHolds() throws {
        let (scene, _) = Self.scene([
            Self.rule("a", rate: 4096), Self.rule("b", .perAttempt, rate: 2048),
            Self.rule("c", .perAttempt, rate: 8192),
        ])
        scene.send(Self.request, by: scene.client())
        #expect(scene.servers.count == 1)
        #expect(try Self.lines(scene.proxy).map(\.rate) == [4096, 2048])
    }

    // MARK: Leases

    @Test func aLeaseThatEndsIsOverThoughNobodyClearsItAway() throws {
        let (scene, _) = Self.scene([])
        var leases = LeaseTable(isProxy: true, now: scene.simulation.now)
        let order = FaultOrder(
            rule: Self.rule("a", delay: .milliseconds(20), abort: .http(503)), ttlMs: 100)
        _ = try leases.hold("a", order, now: scene.simulation.now)
        scene.proxy.adopt(faults: leases.held)
        let client = scene.client()
        scene.send(Self.request, by: client)
        scene.pass(.milliseconds(20))
        #expect(scene.received(client).hasPrefix("HTTP/1.1 503 "))
        // Held back while it was there, not aborted when it is gone.
        scene.pass(.milliseconds(70))
        scene.send(Self.request, by: client)
        #expect(scene.servers.isEmpty)
        scene.pass(.milliseconds(20))
        #expect(scene.servers.count == 1)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        scene.send(Self.request, by: client)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
    }

    // MARK: Whom they mean

    @Test func matchesAreKeptTo() {
        var rule = Self.rule(abort: .http(500))
        rule.match = .init(
            path: .prefix("/a"), methods: ["GET"],
            headers: [.init(name: "x-user", value: "me")])
        let (scene, leases) = Self.scene([rule])
        func status(_ head: String) -> String {
            let client = scene.client()
            scene.send("\(head)\r\nHost: a\r\n\r\n", by: client)
            let isAborted = scene.received(client).hasPrefix("HTTP/1.1 500 ")
            if !isAborted { scene.send(okAnswer, by: scene.servers[0]) }
            let isAnswered = isAborted || scene.received(client).hasPrefix("HTTP/1.1 200 ")
            scene.close(client)
            return isAborted ? "aborted" : isAnswered ? "passed" : "lost"
        }
        #expect(status("GET /a/b HTTP/1.1\r\nX-User: me") == "aborted")
        #expect(status("GET /ab HTTP/1.1\r\nx-user: me") == "passed")
        #expect(status("POST /a HTTP/1.1\r\nx-user: me\r\ncontent-length: 0") == "passed")
        #expect(status("GET /a HTTP/1.1\r\nx-user: you") == "passed")
        #expect(status("GET /a HTTP/1.1") == "passed")
        #expect(leases.held[0].report(wallOffset: 0).seen == 1)
    }

    @Test(
        arguments: [
            (nil, nil, true), ("in", "c", true), ("other", nil, false), (nil, "other", false),
        ] as [(String?, String?, Bool)])
    func listenersAndClusters(listener: String?, cluster: String?, isHit: Bool) {
        var rule = Self.rule(abort: .http(500))
        rule.listener = listener
        rule.cluster = cluster
        let (scene, _) = Self.scene([rule])
        let client = scene.client()
        scene.send(Self.request, by: client)
        #expect(scene.servers.isEmpty == isHit)
    }

    @Test func theServersProxyReadsWhichAttemptItIs() throws {
        var rule = Self.rule("a", .serverIngress, abort: .http(503))
        rule.firstAttempts = 2
        let (scene, _) = Self.scene([rule])
        let client = scene.client()
        for (count, isHit) in [
            ("", true), ("1", true), ("2", true), ("3", false), ("2x", true), ("99999", true),
        ] {
            let line = count.isEmpty ? "" : "x-envoy-attempt-count: \(count)\r\n"
            scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(line)\r\n", by: client)
            if !isHit { scene.send(okAnswer, by: scene.servers[0]) }
            #expect(scene.received(client).hasPrefix("HTTP/1.1 \(isHit ? 503 : 200) "), "\(count)")
        }
        #expect(try Self.lines(scene.proxy).map(\.attempt) == [1, 1, 2, 1, 1])
    }

    @Test func whatRequestsSayCountsWhereItIsTrusted() {
        let asks = "GET / HTTP/1.1\r\nHost: a\r\nx-envoy-fault-abort-request: 418\r\n\r\n"
        let (scene, _) = Self.scene([Self.rule(delay: .milliseconds(1))])
        let client = scene.client()
        scene.send(asks, by: client)
        scene.pass(.milliseconds(1))
        #expect(scene.servers.count == 1, "nobody trusts it")
        var rule = Self.rule("asked")
        rule.trustsHeaders = true
        let (trusting, _) = Self.scene([rule])
        let other = trusting.client()
        trusting.send(asks, by: other)
        #expect(trusting.received(other).hasPrefix("HTTP/1.1 418 "))
    }

    /// Whoever may ask to be held back takes up a share of the places at most.
    @Test func onlySoManyAreHeldBackByTheirOwnFields() {
        var rule = Self.rule("asked")
        rule.trustsHeaders = true
        let (scene, _) = Self.scene([rule])
        let most = scene.proxy.connections.count / 8
        let asks = "GET / HTTP/1.1\r\nHost: a\r\nx-envoy-fault-delay-request: 3600000\r\n\r\n"
        let clients = (0..<most + 2).map { _ in scene.client() }
        for client in clients { scene.send(asks, by: client) }
        #expect(scene.proxy.heldByFields == most && scene.servers.count == 2)
        #expect(scene.proxy.counters[.faultsOverflow] == 2)
        // One that goes makes room for another.
        scene.close(clients[0], reset: true)
        #expect(scene.proxy.heldByFields == most - 1)
        scene.send(asks, by: scene.client())
        #expect(scene.proxy.heldByFields == most && scene.servers.count == 2)
        scene.pass(.seconds(3601))
        #expect(scene.proxy.heldByFields == 0)
    }

    @Test func identifiersOfAnyKindStandInTheLedger() throws {
        let (scene, _) = Self.scene([Self.rule(abort: .http(500))])
        let client = scene.client()
        let id = "\"\\\t" + String(repeating: "\u{E9}", count: 300)
        scene.send("GET / HTTP/1.1\r\nHost: a\r\nx-request-id: \(id)\r\n\r\n", by: client)
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        let lines = try Self.lines(scene.proxy)
        #expect(lines.count == 2)
        #expect(lines[0].request.hasPrefix("\"\\\t") && lines[0].request.count == 256)
        #expect(lines[1].request.isEmpty)
    }

    // MARK: Rates

    @Test(arguments: [100_000, 3000]) func answersComeOnlySoFast(size: Int) {
        let rate = 32 * 1024
        let (scene, _) = Self.scene([Self.rule(rate: rate)])
        let client = scene.client()
        scene.send(Self.request, by: client)
        let body = SimulatedExchange.pattern(size, size)
        let server = scene.servers[0]
        server.peerWrite(
            (Array("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n".utf8) + body)[...])
        let start = scene.simulation.now
        var seen: [UInt8] = []
        while scene.simulation.now - start < .seconds(10) {
            scene.pass(.milliseconds(10))
            seen += client.peerRead(.max)
            let passed = scene.simulation.now - start
            let count = max(0, seen.count - 200)
            // A slice at first, and what the time has brought since.
            #expect(Double(count) <= Double(rate) * (passed.seconds + 1.0 / 16) + 1)
            if seen.count >= size, seen.suffix(size).elementsEqual(body) { break }
        }
        #expect(seen.suffix(size).elementsEqual(body))
        let took = scene.simulation.now - start
        let least = Double(size) / Double(rate) - 1.0 / 16
        #expect(took.seconds >= least && took.seconds < least + 0.3, "\(took.seconds)")
        #expect(scene.proxy.counters[.faultThrottles] == 1)
        scene.close(client)
        scene.close(server)
        #expect(scene.proxy.buffersInUse == 0)
    }

    /// What retries see nothing of holds for whichever attempt is answered; what an attempt has
    /// drawn is over with it.
    @Test(arguments: [true, false])
    func aRateIsOfItsAttemptOrOfAll(isOfAll: Bool) throws {
        let rate = 16 * 1024
        var slow = Self.rule("a", isOfAll ? .clientEgress : .perAttempt, rate: rate)
        var down = Self.rule("b", .perAttempt, abort: .http(503))
        down.firstAttempts = 1
        if !isOfAll { slow.firstAttempts = 1 }
        let (scene, _) = Self.scene(isOfAll ? [slow, down] : [slow]) {
            $0.clusters[0].retry = RetryPolicy(on: [.serverError], most: 1)
        }
        let client = scene.client()
        scene.send(Self.request, by: client)
        if !isOfAll {
            scene.send(
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
                by: scene.servers[0])
        }
        scene.pass(.seconds(1))
        let server = try #require(scene.servers.last)
        #expect(scene.proxy.counters[.retries] == 1)
        let size = 32 * 1024
        let body = [UInt8](repeating: 0x61, count: size)
        server.peerWrite(
            (Array("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n".utf8) + body)[...])
        let start = scene.simulation.now
        var count = 0
        while count < size, scene.simulation.now - start < .seconds(10) {
            scene.pass(.milliseconds(10))
            count += client.peerRead(.max).count
        }
        #expect(count >= size)
        let took = (scene.simulation.now - start).seconds
        #expect(isOfAll ? took > 1.5 : took < 0.1, "\(took)")
        #expect(try Self.lines(scene.proxy).map(\.rate) == (isOfAll ? [rate, nil] : [rate]))
    }
}
