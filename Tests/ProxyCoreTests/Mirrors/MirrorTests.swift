import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Clients of both protocols, a cluster that answers and others that are sent the requests too, all
/// played by hand.
private final class MirrorScene: PlayedByHand {
    let simulation: ProxySimulation
    /// The servers' ends by the cluster's address: of HTTP/1.1, and of HTTP/2.
    private(set) var raw: [String: [SimulatedSocket]] = [:]
    private(set) var ends: [String: [HTTP2End]] = [:]
    /// What servers have got over HTTP/2, and answer with.
    private(set) var streams: [String: [HTTP2Peer.Stream]] = [:]
    var opening: [String: SimulatedSocket.Opening] = [:]
    var answersStreams = true

    static let main = "127.0.0.1:1"
    static let mirror = "127.0.0.1:2"

    init(
        _ main: ProxyConfiguration.Cluster.Speech = .http1,
        _ mirror: ProxyConfiguration.Cluster.Speech = .http1,
        percent: Double = 100, change: (inout ProxyConfiguration) -> Void = { _ in }
    ) {
        var configuration = Scene.configuration(accessLog: true)
        configuration.clusters[0].speech = main
        configuration.clusters.append(
            .init(name: "m", endpoints: [.init(Self.mirror)], speech: mirror))
        configuration.routes[0].mirrors = [RequestMirror("m", percent: percent)]
        change(&configuration)
        simulation = ProxySimulation(configuration, seed: 1)
        let speeches = configuration.clusters.map { ($0.endpoints[0].address, $0.speech) }
        simulation.serve = { [unowned self] socket, address in
            socket.opening = opening[address] ?? .open
            socket.writable = socket.opening != .never
            guard socket.opening != .refused else { return nil }
            guard speeches.first(where: { $0.0 == address })?.1 == .http2 else {
                raw[address, default: []].append(socket)
                return Bystander()
            }
            let peer = HTTP2Peer(server: true)
            peer.onEnd = { [unowned self, unowned peer] stream in
                streams[address, default: []].append(stream)
                if answersStreams { peer.answer(stream, answerFields(), body: Array("ok".utf8)) }
            }
            let end = HTTP2End(peer, socket)
            ends[address, default: []].append(end)
            return end
        }
    }

    func received(_ socket: SimulatedSocket?) -> String { socket.map { text(drain($0)) } ?? "none" }

    /// What is left behind when everybody has gone; nil: nothing.
    func remains(_ clients: [SimulatedSocket] = []) -> String? {
        for client in clients where !client.peerClosed { client.peerClose(reset: true) }
        for end in ends.values.joined() where !end.isDone {
            end.socket.peerClose(reset: true)
            end.isDone = true
        }
        for socket in raw.values.joined() where !socket.peerClosed { socket.peerClose(reset: true) }
        simulation.run()
        if proxy.openConnections != 0 { return "\(proxy.openConnections) connections are open" }
        if proxy.buffersInUse != 0 { return "\(proxy.buffersInUse) buffers are in use" }
        for cluster in proxy.breakers.indices {
            for resource in Resource.allCases where proxy.breakers[cluster].count(resource, 0) > 0 {
                return "\(resource) of \(cluster) is counted"
            }
        }
        return proxy.nextDeadline == nil ? nil : "a deadline is left"
    }
}

@Suite struct MirrorTests {
    private let get = "GET /x HTTP/1.1\r\nHost: a.b:80\r\nx-request-id: 1\r\n\r\n"

    @Test func theMirrorGetsTheRequestAndItsAnswerIsLost() {
        let scene = MirrorScene()
        let client = scene.rawClient()
        scene.send(get, by: client)
        let (main, mirror) = (
            scene.raw[MirrorScene.main]?.first, scene.raw[MirrorScene.mirror]?.first
        )
        #expect(
            scene.received(main)
                == "GET /x HTTP/1.1\r\nHost: a.b:80\r\nx-request-id: 1\r\n\r\n")
        #expect(
            scene.received(mirror)
                == "GET /x HTTP/1.1\r\nhost: a.b-shadow:80\r\nx-request-id: 1\r\n\r\n")
        // The mirror is first, and is not heard.
        scene.send("HTTP/1.1 500 no\r\ncontent-length: 6\r\n\r\nmirror", by: mirror!)
        #expect(scene.received(client).isEmpty)
        scene.send(okAnswer, by: main!)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 OK\r\n"))
        let counters = scene.proxy.counters
        #expect(counters[.requestsTotal] == 1 && counters[.requestsCompleted] == 1)
        #expect(counters[.successful] == 1 && counters[.serverError] == 0)
        #expect(counters[.mirrors] == 1 && counters[.mirrorsAnswered] == 1)
        #expect(scene.simulation.logLines.count == 1)
        let lines = scene.proxy.counts.lines
        #expect(lines[.cluster("m")]?[ClusterCount.requests] == 1)
        #expect(lines[.cluster("m")]?.completed == 0)
        #expect(lines[.cluster("m")]?[PolicyCount.mirrors] == 1)
        #expect(lines[.cluster("c")]?[PolicyCount.mirrors] == 0)
        #expect(lines[.route("prefix:/")]?[PolicyCount.mirrors] == 1)
        #expect(lines[.route("prefix:/")]?[PolicyCount.mirrorsFailed] == 0)
        #expect(lines[.route("prefix:/")]?[RouteCount.attempts] == 1)
        // Both connections are kept.
        scene.send(get, by: client)
        #expect(scene.raw.values.allSatisfy { $0.count == 1 })
        #expect(scene.received(mirror).contains("a.b-shadow:80"))
        #expect(scene.remains([client]) == nil)
    }

    @Test func aMirrorThatHangsOutlivesItsRequestAndEndsByItsOwnTime() {
        let scene = MirrorScene { $0.clusters[1].requestTimeout = .seconds(3) }
        let client = scene.rawClient()
        scene.send(get, by: client)
        scene.send(okAnswer, by: scene.raw[MirrorScene.main]![0])
        #expect(scene.received(client).hasSuffix("ok"))
        client.peerClose(reset: false)
        scene.pass(.milliseconds(2900))
        #expect(scene.proxy.openMirrors == 1)
        scene.pass(.milliseconds(200))
        #expect(scene.proxy.openMirrors == 0 && scene.proxy.counters[.mirrorsFailed] == 1)
        let lines = scene.proxy.counts.lines
        #expect(lines[.cluster("m")]?[PolicyCount.mirrorsFailed] == 1)
        #expect(lines[.route("prefix:/")]?[PolicyCount.mirrorsFailed] == 1)
        #expect(scene.proxy.counters[.requestTimeouts] == 0 && scene.proxy.counters[.UT] == 0)
        #expect(scene.remains() == nil)
    }

    @Test(arguments: [SimulatedSocket.Opening.refused, .never])
    func aMirrorThatCannotBeReachedIsNotMissed(_ opening: SimulatedSocket.Opening) {
        let scene = MirrorScene()
        scene.opening[MirrorScene.mirror] = opening
        let client = scene.rawClient()
        scene.send(get, by: client)
        scene.send(okAnswer, by: scene.raw[MirrorScene.main]![0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 OK\r\n"))
        scene.pass(.seconds(6))
        #expect(scene.proxy.counters[.mirrorsFailed] == 1)
        #expect(scene.proxy.counters[.serverError] == 0 && scene.proxy.counters[.UF] == 0)
        #expect(scene.remains([client]) == nil)
    }

    /// The mirror's breaker refuses mirrors; the request's own is as if there were none.
    @Test func limitsAreTheMirrorsOwn() {
        let scene = MirrorScene {
            $0.clusters[1].breaker = .init(standard: .init(requests: 1))
            $0.clusters[1].retry = RetryPolicy(on: [.serverError])
            $0.clusters[0].breaker = .init(standard: .init(requests: 3))
        }
        let clients = (0..<3).map { _ in scene.rawClient() }
        for client in clients { scene.send(get, by: client) }
        #expect(scene.raw[MirrorScene.mirror]?.count == 1)
        #expect(scene.proxy.counters[.mirrors] == 3 && scene.proxy.counters[.mirrorsFailed] == 2)
        #expect(scene.proxy.counters[.requestOverflow] == 2)
        for server in scene.raw[MirrorScene.main]! { scene.send(okAnswer, by: server) }
        for client in clients { #expect(scene.received(client).hasSuffix("ok")) }
        // A policy of retries is for clients' requests.
        scene.send(
            "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n", by: scene.raw[MirrorScene.mirror]![0])
        scene.pass(.seconds(1))
        #expect(scene.proxy.counters[.retries] == 0 && scene.proxy.openMirrors == 0)
        #expect(scene.remains(clients) == nil)
    }

    /// The request's retries are not mirrored again.
    @Test func aRequestIsMirroredOnce() {
        let scene = MirrorScene { $0.clusters[0].retry = RetryPolicy(on: [.serverError], most: 2) }
        let client = scene.rawClient()
        scene.send(get, by: client)
        for _ in 0..<2 {
            scene.send(
                "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n",
                by: scene.raw[MirrorScene.main]![0])
            scene.pass(.seconds(1))
        }
        scene.send(okAnswer, by: scene.raw[MirrorScene.main]![0])
        #expect(scene.received(client).hasSuffix("ok"))
        #expect(scene.proxy.counters[.retries] == 2 && scene.proxy.counters[.mirrors] == 1)
        #expect(scene.remains([client]) == nil)
    }

    // MARK: Bodies

    private static let speeches: [ProxyConfiguration.Cluster.Speech] = [.http1, .http2]

    private func check(
        _ scene: MirrorScene, _ speech: ProxyConfiguration.Cluster.Speech, _ body: [UInt8],
        _ trailer: String?
    ) {
        if speech == .http2 {
            let stream = scene.streams[MirrorScene.mirror]?.first
            #expect(stream?.body == body && stream?[":authority"] == "a-shadow")
            #expect(ownFields(stream?.trailers) == (trailer.map { [$0] } ?? []))
            return
        }
        guard let socket = scene.raw[MirrorScene.mirror]?.first else {
            Issue.record("no mirror was asked")
            return
        }
        let bytes = scene.drain(socket)
        guard case .accepted(let head, let length) = ReferenceParser.request(bytes) else {
            Issue.record("a bad head: \(visible(bytes.prefix(200)))")
            return
        }
        #expect(head.values("host") == [Array("a-shadow".utf8)])
        guard head.framing == .chunked else {
            #expect(Array(bytes[length...]) == body)
            return
        }
        guard case .accepted(let sent, _) = ReferenceParser.chunked(bytes, from: length) else {
            Issue.record("bad chunks")
            return
        }
        #expect(sent.data == body)
        #expect(
            sent.trailers.map { "\($0.key): \(text($0.value))" } == (trailer.map { [$0] } ?? []))
    }

    /// Every way in, both ways out: the mirror has the same body, whatever the main one speaks.
    @Test(arguments: speeches, speeches)
    func bodiesAreCopied(
        _ main: ProxyConfiguration.Cluster.Speech, _ mirror: ProxyConfiguration.Cluster.Speech
    ) {
        for size in [1, 5000, 40_000, 150_000] {
            let body = SimulatedExchange.pattern(size, size)
            for way in ["length", "chunks", "stream"] {
                let scene = MirrorScene(main, mirror)
                scene.simulation.socketCapacity = 1 << 18
                var clients: [SimulatedSocket] = []
                var streamClient: HTTP2End?
                var trailer: String?
                if way == "stream" {
                    let socket = scene.rawClient()
                    let end = HTTP2End(HTTP2Peer(server: false), socket)
                    scene.simulation.peers.append(end)
                    streamClient = end
                    trailer = "x-sum: 1"
                    end.peer.request(
                        requestFields("POST", "/"), body: body, trailers: [("x-sum", "1")])
                } else {
                    let client = scene.rawClient()
                    clients.append(client)
                    let isChunked = way == "chunks"
                    if isChunked { trailer = "x-sum: 1" }
                    let framing =
                        isChunked ? "transfer-encoding: chunked" : "content-length: \(size)"
                    let content =
                        isChunked
                        ? SimulatedExchange.chunk(body, by: 4000, trailer: "x-sum: 1\r\n") : body
                    let head = "POST / HTTP/1.1\r\nHost: a\r\n\(framing)\r\n\r\n"
                    client.peerWrite((Array(head.utf8) + content)[...])
                }
                for _ in 0..<4 {
                    scene.pass()
                    for socket in scene.raw[MirrorScene.main] ?? [] { _ = scene.drain(socket) }
                }
                check(scene, mirror, body, trailer)
                #expect(scene.proxy.counters[.mirrorsFailed] == 0, "\(way) \(size)")
                streamClient?.closesWhenDone = true
                #expect(scene.remains(clients) == nil, "\(way) \(size)")
            }
        }
    }

    /// More than may wait for a mirror that takes nothing ends it, and nothing else.
    @Test(arguments: [true, false]) func aBodyThatOutgrowsTheBoundEndsTheMirror(_ opens: Bool) {
        let scene = MirrorScene()
        scene.opening[MirrorScene.mirror] = opens ? .open : .never
        scene.simulation.socketCapacity = 1 << 16
        let client = scene.rawClient()
        let size = 1_000_000
        scene.send("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: \(size)\r\n\r\n", by: client)
        let body = SimulatedExchange.pattern(7, size)
        var sent = 0
        var got: [UInt8] = []
        while sent < size {
            let piece = min(client.peerRoom, size - sent)
            client.peerWrite(body[sent..<sent + piece])
            sent += piece
            scene.pass()
            got += scene.drain(scene.raw[MirrorScene.main]![0])
        }
        #expect(got.count > size && Array(got.suffix(size)) == body)
        #expect(scene.proxy.counters[.mirrorsFailed] == 1 && scene.proxy.openMirrors == 0)
        scene.send(okAnswer, by: scene.raw[MirrorScene.main]![0])
        #expect(scene.received(client).hasSuffix("ok"))
        #expect(scene.remains([client]) == nil)
    }

    /// A client that leaves in the middle takes its mirror with it.
    @Test(arguments: speeches) func aRequestCutShortCutsItsMirror(
        _ speech: ProxyConfiguration.Cluster.Speech
    ) {
        let scene = MirrorScene(.http1, speech)
        let client = scene.rawClient()
        scene.send("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 10\r\n\r\nabc", by: client)
        #expect(scene.proxy.openMirrors == 1)
        client.peerClose(reset: true)
        scene.pass()
        #expect(scene.proxy.openMirrors == 0 && scene.proxy.counters[.mirrorsFailed] == 1)
        #expect(scene.streams[MirrorScene.mirror] == nil)
        #expect(scene.remains() == nil)
    }

    // MARK: Which

    /// The same requests, whatever happens beside; as many as the share says.
    /// Each is drawn by itself: a client that always says the same chooses nothing.
    @Test(arguments: [(0.0, 0...0), (25, 57...143), (100, 400...400)])
    func howManyAreMirroredNoClientChooses(_ percent: Double, _ expected: ClosedRange<Int>) {
        let scene = MirrorScene(percent: percent)
        let client = scene.rawClient()
        for _ in 0..<400 {
            scene.send("GET / HTTP/1.1\r\nHost: a\r\nx-request-id: r\r\n\r\n", by: client)
            for socket in scene.raw.values.joined() {
                _ = socket.peerRead(.max)
                scene.send(okAnswer, by: socket)
            }
            _ = client.peerRead(.max)
        }
        #expect(scene.remains([client]) == nil)
        // Of 25 %: 100 ± 5 standard deviations.
        #expect(expected.contains(Int(scene.proxy.counters[.mirrors])))
    }

    @Test func severalMirrorsAndRewrittenHosts() {
        let scene = MirrorScene {
            $0.clusters.append(.init(name: "n", endpoints: [.init("127.0.0.1:3")]))
            $0.routes[0].mirrors.append(RequestMirror("n", marksHost: false))
            $0.routes[0].mirrors.append(RequestMirror("unknown"))
            $0.routes[0].hostRewrite = "[::1]:90"
            $0.routes[0].rewrite = .path("/y")
        }
        let client = scene.rawClient()
        scene.send(get, by: client)
        let main = scene.received(scene.raw[MirrorScene.main]?.first)
        #expect(main.contains("host: [::1]:90\r\n"))
        let mirror = scene.received(scene.raw[MirrorScene.mirror]?.first)
        #expect(mirror.hasPrefix("GET /y ") && mirror.contains("host: [::1]-shadow:90\r\n"))
        let other = scene.received(scene.raw["127.0.0.1:3"]?.first)
        #expect(other.hasPrefix("GET /y ") && other.contains("host: [::1]:90\r\n"))
        #expect(scene.proxy.counters[.mirrors] == 2 && scene.proxy.counters[.mirrorsSkipped] == 1)
        let lines = scene.proxy.counts.lines
        #expect(lines[.route("prefix:/")]?[PolicyCount.mirrors] == 2)
        #expect(lines[.route("prefix:/")]?[PolicyCount.mirrorsSkipped] == 1)
        #expect(["m", "n"].map { lines[.cluster($0)]?[PolicyCount.mirrors] } == [1, 1])
        #expect(scene.remains([client]) == nil)
    }

    /// Requests that reach nobody, or change the protocol, are not mirrored.
    @Test func whatDoesNotGoOnIsNotMirrored() {
        let scene = MirrorScene {
            $0.clusters[0].admission = nil
            $0.routes[0].rateLimits = [RateLimitPolicy(burst: 1, fill: 1, interval: .seconds(60))]
            $0.upgrades = ["websocket"]
        }
        let client = scene.rawClient()
        scene.send(get, by: client)
        scene.send(okAnswer, by: scene.raw[MirrorScene.main]![0])
        _ = scene.received(client)
        scene.send(get, by: client)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 429"))
        #expect(scene.proxy.counters[.mirrors] == 1)
        #expect(scene.remains([client]) == nil)
    }

    /// What waits for a connection goes on, or ends, when the configuration changes.
    @Test(arguments: [true, false]) func aMirrorInTheQueueMeetsANewConfiguration(_ isGone: Bool) {
        var configuration: ProxyConfiguration?
        let scene = MirrorScene {
            $0.clusters[1].breaker = .init(standard: .init(connections: 1))
            configuration = $0
        }
        let clients = [scene.rawClient(), scene.rawClient()]
        for client in clients { scene.send(get, by: client) }
        #expect(scene.raw[MirrorScene.mirror]?.count == 1 && scene.proxy.openMirrors == 2)
        if isGone {
            configuration?.clusters.removeLast()
            configuration?.routes[0].mirrors = []
        } else {
            configuration?.timeouts.idle = .seconds(7)
        }
        scene.proxy.adopt(configuration!, now: scene.simulation.now)
        scene.pass()
        scene.send(okAnswer, by: scene.raw[MirrorScene.mirror]![0])
        scene.pass()
        #expect(scene.proxy.openMirrors == (isGone ? 0 : 1))
        for server in scene.raw[MirrorScene.main]! { scene.send(okAnswer, by: server) }
        for client in clients { #expect(scene.received(client).hasSuffix("ok")) }
        #expect(scene.proxy.counters[.requestsTotal] == 2)
        #expect(scene.remains(clients) == nil)
    }

    /// Also when its route has changed meanwhile.
    @Test func aMirrorInTheQueueGoesByItsRoute() {
        var configuration: ProxyConfiguration?
        let scene = MirrorScene {
            $0.clusters[1].breaker = .init(standard: .init(connections: 1))
            $0.routes[0].rewrite = .prefix("/new")
            configuration = $0
        }
        let clients = [scene.rawClient(), scene.rawClient()]
        for client in clients { scene.send(get, by: client) }
        let mirror = scene.raw[MirrorScene.mirror]?.first
        #expect(scene.received(mirror).hasPrefix("GET /new/x ") && scene.proxy.openMirrors == 2)
        configuration?.routes[0].timeout = .seconds(3)
        scene.proxy.adopt(configuration!, now: scene.simulation.now)
        scene.send(okAnswer, by: mirror!)
        #expect(scene.received(mirror).hasPrefix("GET /new/x "))
        #expect(scene.remains(clients) == nil)
    }

    /// However many mirrors hang, clients find room.
    @Test func mirrorsLeaveRoomForClients() {
        let scene = MirrorScene { $0.limits.connections = 64 }
        scene.opening[MirrorScene.mirror] = .never
        let client = scene.rawClient()
        for _ in 0..<20 {
            scene.send(get, by: client)
            scene.send(okAnswer, by: scene.raw[MirrorScene.main]![0])
            #expect(scene.received(client).hasSuffix("ok"))
        }
        #expect(scene.proxy.openMirrors == 8 && scene.proxy.counters[.mirrorsSkipped] == 12)
        #expect(scene.remains([client]) == nil)
    }
}
