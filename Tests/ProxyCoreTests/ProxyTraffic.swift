import Base
import Model
import Support

@testable import ProxyCore

/// A few clients and servers around one proxy, everything drawn from a seed, and the judgement on
/// it.
struct ProxyTraffic {
    struct Verdict {
        var failure: String?
        var trace: UInt64
    }

    private var random: SeededRandom
    private let seed: UInt64
    /// Nobody misbehaves: every request must get its own whole answer.
    let isSound: Bool
    /// A server never answers one of the requests; others may wait for its connection in vain.
    private var hasSilence = false
    /// Attempts have a time, which one may take that nobody hinders.
    private var hasAttemptTimes = false
    /// A cluster may have gone before a request's next attempt.
    private var isReloaded = false

    /// What the servers speak.
    private let speech: ProxyConfiguration.Cluster.Speech
    /// And those of mirrors.
    private let mirrorSpeech: ProxyConfiguration.Cluster.Speech

    init(seed: UInt64) {
        self.seed = seed
        random = SeededRandom(seed: seed)
        isSound = random.below(2) == 0
        speech = random.below(2) == 0 ? .http1 : .http2
        mirrorSpeech = random.below(2) == 0 ? .http1 : .http2
    }

    private mutating func chance(_ percent: Int) -> Bool { random.below(100) < percent }

    static let refusedTails = [
        "GET /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
            + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
        "GET /bad HTTP/1.1\nHost: a\n\n", "GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /bad HTTP/1.1\r\nHost: a\r\nx: y\r\n z\r\n\r\n", "GET /bad HTTP/1.1\r\n\r\n",
        "GET /bad HTTP/1.1\r\nHost: a\r\nx : y\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n",
        "GET http://b/bad HTTP/1.1\r\nHost: a\r\n\r\n", "GET /bad HTTP/2.0\r\nHost: a\r\n\r\n",
        "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    ]

    mutating func run(clients count: Int) -> Verdict {
        let simulation = ProxySimulation(configuration(), seed: seed)
        simulation.socketCapacity = [700, 1 << 12, 1 << 16, 1 << 18][random.below(4)]
        let record = ServerRecord()
        let mirrorRecord = ServerRecord()
        let (speech, mirrorSpeech) = (speech, mirrorSpeech)
        // One that takes fewer streams than clients assume refuses some, until its SETTINGS come.
        let streams = isSound ? 100 : 1 + random.below(8)
        let isSound = isSound
        simulation.serve = { [unowned simulation] socket, address in
            let isMirror = address.hasPrefix(Self.mirrorAddress)
            let record = isMirror ? mirrorRecord : record
            guard (isMirror ? mirrorSpeech : speech) == .http2 else {
                return SimulatedServer(socket, record)
            }
            let end = HTTP2End(HTTP2Peer(server: true, streams: streams), socket)
            HTTP2TrafficServer(end, record, simulation, isSound: isSound).take(end.peer)
            if simulation.chance(20) { end.writeLimit = 1 + simulation.random.below(100) }
            return end
        }
        let sound = SimulatedExchange.Answer.allCases.filter(\.isSound)
        let kinds = isSound ? sound : sound + SimulatedExchange.Answer.allCases
        var clients: [SimulatedClient] = []
        var streamClients: [HTTP2TrafficClient] = []
        for number in 0..<count {
            guard let socket = simulation.connect() else { continue }
            if chance(50) {
                let client = makeStreamClient(socket, number + count, kinds)
                streamClients.append(client)
                simulation.peers.append(client)
                continue
            }
            let client = makeClient(socket, number, kinds)
            clients.append(client)
            simulation.peers.append(client)
            if client.exchanges.contains(where: { $0.answer == .silent }) { hasSilence = true }
        }
        if !isSound, chance(20) {
            simulation.run(until: simulation.now + .milliseconds(Int64(random.below(30))))
            if chance(50) {
                isReloaded = true
                simulation.proxy.adopt(configuration(), now: simulation.now)
            } else {
                simulation.proxy.drain(now: simulation.now)
            }
            simulation.settle()
        }
        simulation.run()
        let failure =
            streamClients.compactMap { judge($0) }.first ?? mirrorRecord.violations.first
            ?? judge(simulation, clients, record)
        return Verdict(failure: failure, trace: simulation.trace)
    }

    private mutating func makeStreamClient(
        _ socket: SimulatedSocket, _ number: Int, _ kinds: [SimulatedExchange.Answer]
    ) -> HTTP2TrafficClient {
        var exchanges: [SimulatedExchange] = []
        for i in 0...random.below(10) {
            var exchange = SimulatedExchange(tag: number * 1000 + i, answers: kinds, &random)
            exchange.minorVersion = 1
            exchanges.append(exchange)
        }
        if exchanges.contains(where: { $0.answer == .silent }) { hasSilence = true }
        var manner = HTTP2TrafficClient.Manner()
        manner.concurrency = 1 + random.below(8)
        if chance(30) { manner.window = 1 + random.below(3000) }
        if chance(30) { manner.resetsEvery = 1 + random.below(4) }
        if !isSound, chance(20) { manner.leavesAfter = random.below(exchanges.count + 1) }
        let end = HTTP2End(HTTP2Peer(server: false, window: manner.window), socket)
        if chance(20) { end.writeLimit = 1 + random.below(30) }
        if chance(20) { end.readLimit = 1 + random.below(2000) }
        return HTTP2TrafficClient(end, exchanges, manner)
    }

    private mutating func makeClient(
        _ socket: SimulatedSocket, _ number: Int, _ kinds: [SimulatedExchange.Answer]
    ) -> SimulatedClient {
        var exchanges: [SimulatedExchange] = []
        for i in 0...random.below(8) {
            exchanges.append(
                SimulatedExchange(tag: number * 1000 + i, answers: kinds, &random))
        }
        var manner = SimulatedClient.Manner()
        manner.pipelines = chance(50)
        if chance(20) { manner.writeLimit = 1 + random.below(30) }
        if chance(20) { manner.readLimit = 1 + random.below(2000) }
        manner.halfCloses = chance(20)
        if !isSound, chance(20) { manner.leavesAfter = random.below(3000) }
        if chance(20) { exchanges[exchanges.count - 1].keepsAlive = false }
        let refused = exchanges.last?.keepsAlive == true && chance(20)
        let tail = refused ? Self.refusedTails[random.below(Self.refusedTails.count)] : ""
        return SimulatedClient(socket, exchanges, manner, tail: Array(tail.utf8))
    }

    private mutating func configuration() -> ProxyConfiguration {
        let isWeighted = chance(50)
        let clusters = ["c", "d"].prefix(chance(50) ? 1 : 2).map { name in
            ProxyConfiguration.Cluster(
                name: name,
                endpoints: (0...random.below(3)).map {
                    .init("127.0.0.1:\(1000 + $0)", weight: isWeighted ? 1 + random.below(4) : 1)
                },
                speech: speech,
                breaker: .init(standard: .init(connections: 1 + random.below(6))))
        }
        var tried = Array(clusters)
        // A server of HTTP/2 counts what it has looked at, and may not see it again.
        if !isSound, speech == .http1, chance(60) {
            for i in tried.indices {
                var retry = RetryPolicy(
                    on: [.serverError, .reset, .connectFailure], most: random.below(4),
                    bodyLimit: random.below(65_537))
                if chance(50) {
                    retry.perTry = .milliseconds(Int64(1 + random.below(100)))
                    hasAttemptTimes = true
                }
                retry.hedges = retry.perTry != nil && chance(50)
                retry.avoidsPreviousHosts = chance(50)
                if chance(30) { retry.budget = .concurrency(percent: 20, least: 1) }
                tried[i].retry = retry
                tried[i].breaker.standard.retries = random.below(4)
                tried[i].breaker.isStrict = chance(30)
            }
        }
        let rules = ProxyConfiguration.Authorization(
            deny: [.init(prefixes: ["/denied"])],
            allow: chance(50) ? nil : [.init(headers: [.init(name: "x-do", value: nil)])])
        var configuration = ProxyConfiguration(
            listeners: [.init(name: "in", address: "127.0.0.1:1", authorization: rules)],
            routes: [
                .init(
                    hosts: ["a"],
                    shares: clusters.map { .init($0.name, weight: 1 + random.below(3)) })
            ],
            clusters: tried, accessLog: chance(50) ? "-" : nil,
            // Six clients with eight streams each, as many to upstreams, and connections for these;
            // and mirrors of some.
            limits: ProxyLimits(connections: 192),
            timeouts: ProxyTimeouts(request: .seconds(60), idle: .seconds(70)),
            headers: HeaderPolicy(
                via: chance(50) ? "x" : nil, forwardedFor: chance(50), requestID: chance(50)))
        if chance(50) { addMirror(to: &configuration) }
        if chance(50) { Self.addRouting(to: &configuration) }
        return configuration
    }

    private static let mirrorAddress = "127.0.0.1:2"

    /// Others get some of the requests too, and do as badly.
    private mutating func addMirror(to configuration: inout ProxyConfiguration) {
        configuration.clusters.append(
            .init(
                name: "m", endpoints: (0...random.below(2)).map { .init("127.0.0.1:200\($0)") },
                speech: mirrorSpeech,
                breaker: .init(
                    standard: .init(connections: 1 + random.below(6), pending: random.below(6)))))
        configuration.routes[0].mirrors = [
            RequestMirror("m", percent: chance(50) ? 100 : 50, marksHost: chance(50))
        ]
    }

    /// All that routes and limits do to messages, of which no client notices anything: limits that
    /// nobody reaches, fields that nobody reads, a path that comes out as it was.
    private static func addRouting(to configuration: inout ProxyConfiguration) {
        configuration.listeners[0].rateLimits = [
            RateLimitPolicy(burst: 1_000_000, fill: 1, per: .header("x-do"), tells: true),
            RateLimitPolicy(burst: 1, fill: 1, enforced: 0),
        ]
        configuration.headers.request.set = [.init("x-all", "1")]
        configuration.headers.answer.remove = ["x-none"]
        configuration.routes[0].path = .regex("/.*|[*]")
        configuration.routes[0].rewrite = .regex("/(.)", substitution: #"/\1"#)
        configuration.routes[0].requestHeaders.add = [.init("x-all", "2"), .init("x-route", "3")]
        configuration.routes[0].answerHeaders.set = [.init("x-answer", "4")]
        configuration.routes[0].rateLimits = [RateLimitPolicy(burst: 1_000_000, fill: 1)]
        configuration.routes.insert(.init(path: .exact("/never"), shares: []), at: 0)
        configuration.routes[0].redirect = Redirect(scheme: "https")
        configuration.routes[0].query = [.init("never", .present)]
    }

    // MARK: Judgement

    private func judge(
        _ simulation: ProxySimulation, _ clients: [SimulatedClient], _ record: ServerRecord
    ) -> String? {
        if let violation = record.violations.first { return violation }
        for client in clients {
            if let failure = judge(client) { return failure }
            if isSound, client.finishedAt > Instant(nanoseconds: 50_000_000_000) {
                return "a client was done only at \(client.finishedAt)"
            }
        }
        if let failure = judgeOrder(clients, record) { return failure }
        let proxy = simulation.proxy
        if proxy.openConnections != 0 { return "\(proxy.openConnections) connections left open" }
        if proxy.buffersInUse != 0 { return "\(proxy.buffersInUse) buffers left in use" }
        if proxy.nextDeadline != nil { return "a deadline is left" }
        return nil
    }

    private func judgeOrder(_ clients: [SimulatedClient], _ record: ServerRecord) -> String? {
        for client in clients {
            let number = (client.exchanges.first?.tag ?? 0) / 1000
            var last = -1
            for tag in record.seen where tag / 1000 == number || tag < 0 {
                guard tag >= 0 else { return "a refused request reached a server" }
                guard client.exchanges.indices.contains(tag % 1000) else { return "unknown \(tag)" }
                guard client.exchanges[tag % 1000].isRouted else { return "\(tag) has no route" }
                if tag < last { return "\(tag) came behind \(last)" }
                if tag == last, !client.exchanges[tag % 1000].isIdempotent {
                    return "\(tag) was sent twice"
                }
                last = tag
            }
        }
        return nil
    }

    private func judge(_ client: SimulatedClient) -> String? {
        var position = 0
        for exchange in client.exchanges {
            let found = AnswerReader.read(
                client.received, at: position, exchange, atEnd: !client.wasReset && !client.left)
            switch found {
            case .broken(let why): return why
            case .partial(let head):
                // Who goes on sending to a door that is closed is told by a reset, and may lose
                // answers.
                if isSound, !(client.wasReset && client.requestBytes > Proxy.lingerBytes) {
                    return "\(exchange.tag) \(exchange.answer) unanswered, \(head?.status ?? 0) "
                        + "\(client.wasReset) \(client.expectsRefusal) at \(position)"
                }
                return nil
            case .whole(let head, let body, let end, let interim):
                position = end
                if let failure = judge(exchange, head, body, interim) { return failure }
                if !head.keepAlive { return behindLast(client, position) }
            }
        }
        if client.expectsRefusal { return judgeRefusal(client, position) }
        return behindLast(client, position)
    }

    private func behindLast(_ client: SimulatedClient, _ position: Int) -> String? {
        position == client.received.count
            ? nil : "behind the last answer: \(visible(client.received[position...].prefix(200)))"
    }

    private func judgeRefusal(_ client: SimulatedClient, _ position: Int) -> String? {
        let found = AnswerReader.read(client.received, at: position, nil, atEnd: true)
        guard case .whole(let head, _, let end, _) = found else {
            return isSound ? "a malformed request got no answer" : nil
        }
        guard (400..<600).contains(head.status), !head.keepAlive else {
            return "a malformed request got \(head.status)"
        }
        return behindLast(client, end)
    }

    private func judge(
        _ exchange: SimulatedExchange, _ head: ReferenceHead, _ body: [UInt8], _ interim: Int
    ) -> String? {
        if exchange.isDenied {
            let flags = head.values("x-response-flags").map(text)
            return head.status == 403 && flags == ["UAEX"]
                ? nil : "\(exchange.tag), denied, got \(head)"
        }
        if !exchange.isRouted {
            let flags = head.values("x-response-flags").map(text)
            return head.status == 404 && flags == ["NR"]
                ? nil : "\(exchange.tag) without a route got \(head)"
        }
        if let flag = head.values("x-response-flags").first {
            return allows(exchange, text(flag)) ? nil : "\(exchange) got \(text(flag))"
        }
        guard head.values("x-tag") == [Array("\(exchange.tag)".utf8)] else {
            return "\(exchange.tag) got the answer \(head)"
        }
        // Close-delimited, and cut: only a reset would have told.
        guard exchange.answer.isSound || exchange.answer == .stale else {
            return exchange.answer == .truncated || exchange.answer == .reset
                ? "\(exchange.tag) passed for whole" : "\(exchange) was answered"
        }
        if body != exchange.answerBody { return "\(exchange.tag) \(exchange.answer): wrong body" }
        let expected = exchange.answer == .interim && exchange.minorVersion == 1 ? 1 : 0
        if interim != expected { return "\(exchange.tag) got \(interim) interim answers" }
        return nil
    }

    /// Whether the proxy may answer this exchange itself.
    func allows(_ exchange: SimulatedExchange, _ flags: String) -> Bool {
        guard !isSound else { return false }
        // Behind it why it was not sent again.
        let flag = flags.prefix { $0 != "," }
        // It was silence itself, or waited for a connection that somebody's silence held.
        if flag == "UT" { return hasSilence || hasAttemptTimes }
        if flag == "NC" { return isReloaded }
        // Whatever it was, the connection it was sent on may have been stale.
        return flag == "UC" || flag == "UR" || (flag == "UPE" && exchange.answer == .garbage)
    }
}
