import Base
import Model
import Secure
import Support
import Testing
import Wire

@testable import ProxyCore

/// What a listener has of its own: a cluster, rules, cleartext beside TLS; and what changes while
/// it serves.
@Suite struct ListenerTests {
    typealias Rule = MeshAuthorization.Rule

    private static let tls = ServerTLS(certificate: "c", key: "k", clientCertificate: .optional)
    private static let web = SPIFFEID(rawValue: "spiffe://mesh.test/ns/shop/sa/web")

    private static func configuration(
        _ authorization: ProxyConfiguration.Authorization? = nil,
        speech: ProxyConfiguration.Listener.Speech = .auto, tls: ServerTLS? = nil,
        isPermissive: Bool = false
    ) -> ProxyConfiguration {
        var configuration = Scene.configuration(accessLog: true, speech: speech)
        configuration.listeners[0].cluster = "c"
        configuration.listeners[0].tls = tls
        configuration.listeners[0].isPermissive = isPermissive
        configuration.listeners[0].authorization = authorization
        configuration.routes = []
        return configuration
    }

    private static let onlyWeb = ProxyConfiguration.Authorization(
        allow: [
            Rule(identities: IdentityPattern(rawValue: "*/sa/web").map { [$0] } ?? [])
        ])

    /// A client whose handshake has come to this.
    private static func securedClient(
        _ scene: Scene, _ identity: SPIFFEID?, _ agreed: AgreedProtocol = .http1
    ) -> SimulatedSocket {
        let client = scene.client()
        scene.proxy.secured(
            client.slot,
            TLSAgreement(
                version: "1.3", agreed: agreed, peer: identity?.rawValue, identity: identity),
            now: scene.simulation.now)
        scene.pass(.zero)
        return client
    }

    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func allGoesToTheListenersCluster() {
        let scene = Scene(Self.configuration())
        let (client, server) = scene.get("/any")
        scene.send(okAnswer, by: server)
        #expect(scene.received(client) == okAnswer)
        #expect(scene.simulation.logLines[0].contains(#""cluster":"c""#))
    }

    @Test func aListenersClusterMayBeMissing() {
        var configuration = Self.configuration()
        configuration.listeners[0].cluster = "gone"
        let scene = Scene(configuration)
        let client = scene.client()
        scene.send(Self.get, by: client)
        #expect(scene.received(client).contains("x-response-flags: NC"))
    }

    @Test func aListenersClusterComesBeforeRoutes() {
        var configuration = Self.configuration()
        configuration.clusters.append(.init(name: "other", endpoints: ["127.0.0.1:2"]))
        configuration.routes = [.init(cluster: "other")]
        let scene = Scene(configuration)
        _ = scene.get()
        #expect(scene.addresses == ["127.0.0.1:1"])
    }

    // MARK: Authorization

    @Test func aDeniedRequestIsAnsweredAndItsConnectionServesTheNext() {
        let rules = ProxyConfiguration.Authorization(deny: [Rule(prefixes: ["/debug"])])
        let scene = Scene(Self.configuration(rules))
        let client = scene.client()
        scene.send("GET /debug/x HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 403 Forbidden\r\n"))
        #expect(answer.contains("\r\nx-response-flags: UAEX\r\n"))
        #expect(answer.hasSuffix("\r\n\r\nrbac_access_denied\n"))
        #expect(scene.servers.isEmpty)
        scene.send(Self.get, by: client)
        #expect(scene.servers.count == 1)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client) == okAnswer)
        #expect(scene.proxy.counters[.authorizationDenied] == 1)
        #expect(scene.proxy.counters[.authorizationAllowed] == 1)
        #expect(scene.proxy.counters[.UAEX] == 1)
        let line = scene.simulation.logLines[0]
        #expect(line.contains(#""status":403,"flags":"UAEX","details":"rbac_access_denied""#))
    }

    /// What follows a denied CONNECT may be meant for the tunnel, and is no request.
    @Test(arguments: [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    ])
    func whatFollowsADeniedHeadIsNoRequest(_ head: String) {
        var configuration = Self.configuration(.init(allow: []))
        configuration.upgrades = ["connect"]
        let scene = Scene(configuration)
        let client = scene.client()
        scene.send(head + Self.get, by: client)
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 403 "))
        #expect(answer.contains("\r\nconnection: close\r\n"))
        #expect(answer.components(of: "HTTP/1.1 ") == 1)
        #expect(scene.proxy.counters[.requestsTotal] == 1 && scene.servers.isEmpty)
    }

    @Test func clientsAreKnownByTheirCertificates() {
        let scene = Scene(Self.configuration(Self.onlyWeb, tls: Self.tls))
        for (identity, isAdmitted) in [
            (Self.web, true), (SPIFFEID(rawValue: "spiffe://mesh.test/ns/shop/sa/job"), false),
            (nil, false),
        ] as [(SPIFFEID?, Bool)] {
            let client = Self.securedClient(scene, identity)
            let before = scene.servers.count
            scene.send(Self.get, by: client)
            #expect(scene.servers.count == before + (isAdmitted ? 1 : 0))
            #expect(scene.received(client).hasPrefix("HTTP/1.1 403") != isAdmitted)
            scene.close(client, reset: true)
        }
        #expect(scene.proxy.conditions.count == 0)
    }

    @Test func streamsAreKnownByTheirConnection() throws {
        let scene = HTTP2Scene(.http2, Self.configuration(Self.onlyWeb, tls: Self.tls))
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
        for (identity, status) in [(Self.web, 200), (nil, 403)] as [(SPIFFEID?, Int)] {
            let socket = try #require(scene.simulation.connect())
            let client = HTTP2End(HTTP2Peer(server: false), socket)
            scene.simulation.peers.append(client)
            scene.proxy.secured(
                socket.slot,
                TLSAgreement(
                    version: "1.3", agreed: .http2, peer: identity?.rawValue, identity: identity),
                now: scene.simulation.now)
            scene.pass()
            let streams = (0..<3).map { _ in client.peer.request(requestFields()) }
            scene.pass()
            #expect(streams.allSatisfy { $0?.status == status })
            if status == 403 {
                let fields = ownFields(streams[0]?.head)
                #expect(fields.contains("x-response-flags: UAEX"))
                #expect(text(streams[0]?.body ?? []) == "rbac_access_denied\n")
            }
            client.closesWhenDone = true
        }
        #expect(scene.proxy.counters[.authorizationDenied] == 3)
        #expect(scene.remains() == nil)
    }

    @Test func deniedCallsOfGRPCAreToldSo() {
        let scene = HTTP2Scene(.http2, Self.configuration(.init(allow: [])))
        let client = scene.client()
        let stream = client.peer.request(
            requestFields("POST", "/a.B/C", [("content-type", "application/grpc")]))
        scene.pass()
        let fields = ownFields(stream?.head)
        #expect(fields.contains("grpc-status: 7"))
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    @Test func aDeniedClientOfBytesIsReset() {
        let scene = Scene(Self.configuration(Self.onlyWeb, speech: .tcp, tls: Self.tls))
        let stranger = Self.securedClient(scene, nil)
        #expect(stranger.proxyReset && scene.servers.isEmpty)
        #expect(
            scene.simulation.logLines[0].contains(#""flags":"UAEX","details":"rbac_access_denied""#)
        )
        let client = Self.securedClient(scene, Self.web)
        scene.send("hello", by: client)
        #expect(scene.servers.count == 1 && scene.received(scene.servers[0]) == "hello")
    }

    @Test func newRulesHoldForConnectionsThatAreThere() {
        let conditional = ProxyConfiguration.Authorization(deny: [Rule(paths: ["/x"])])
        let scene = Scene(Self.configuration(conditional))
        let client = scene.client()
        func status() -> String {
            scene.send(Self.get, by: client)
            if let server = scene.servers.last { scene.send(okAnswer, by: server) }
            return String(scene.received(client).dropFirst(9).prefix(3))
        }
        #expect(status() == "200" && scene.proxy.conditions.count == 1)
        for (rules, expected) in [
            (.init(allow: []), "403"), (nil, "200"), (.init(deny: [Rule(paths: ["/"])]), "403"),
            (conditional, "200"),
        ] as [(ProxyConfiguration.Authorization?, String)] {
            scene.proxy.adopt(Self.configuration(rules), now: scene.simulation.now)
            #expect(status() == expected)
        }
        scene.close(client)
        #expect(scene.proxy.conditions.count == 0)
    }

    // MARK: Cleartext beside TLS

    @Test func cleartextIsServedBesideTLS() {
        let scene = Scene(Self.configuration(tls: Self.tls, isPermissive: true))
        let client = scene.client()
        #expect(scene.proxy.isHandshaking(client.slot) && scene.proxy.takesCleartext(client.slot))
        scene.proxy.beganInCleartext(client.slot, now: scene.simulation.now)
        scene.send(Self.get, by: client)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client) == okAnswer)
        #expect(!scene.simulation.logLines[0].contains(#""tls""#))
        #expect(scene.proxy.counters[.downstreamCleartext] == 1)
        let secured = Self.securedClient(scene, Self.web)
        scene.send(Self.get, by: secured)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(secured) == okAnswer)
        #expect(scene.simulation.logLines[1].contains(#""tls":"1.3""#))
    }

    @Test func aClientThatNeverSpeaksHasItsTime() {
        let scene = Scene(Self.configuration(tls: Self.tls, isPermissive: true))
        let client = scene.client()
        scene.pass(.seconds(9))
        #expect(!client.proxyClosed)
        scene.pass(.seconds(2))
        #expect(client.proxyClosed)
    }

    /// Going over to strict: nobody who speaks cleartext stays, and no request of theirs is lost.
    @Test func clientsThatNoLongerFitLeaveInOrder() {
        let scene = Scene(Self.configuration(tls: Self.tls, isPermissive: true))
        func cleartext() -> SimulatedSocket {
            let client = scene.client()
            scene.proxy.beganInCleartext(client.slot, now: scene.simulation.now)
            scene.pass(.zero)
            return client
        }
        let (idle, busy, secured) = (cleartext(), cleartext(), Self.securedClient(scene, Self.web))
        for client in [idle, secured] {
            scene.send(Self.get, by: client)
            scene.send(okAnswer, by: scene.servers[0])
            _ = scene.received(client)
        }
        scene.send(Self.get, by: busy)
        scene.proxy.adopt(Self.configuration(tls: Self.tls), now: scene.simulation.now)
        scene.pass(.zero)
        #expect(idle.proxyClosed && !busy.proxyClosed && !secured.proxyClosed)
        scene.send(okAnswer, by: scene.servers[0])
        let answer = scene.received(busy)
        #expect(answer.hasSuffix("\r\n\r\nok") && answer.contains("connection: close"))
        scene.end(busy)
        #expect(busy.proxyClosed)
        scene.send(Self.get, by: secured)
        scene.send(okAnswer, by: scene.servers.last ?? busy)
        #expect(scene.received(secured) == okAnswer)
    }

    /// A certificate that is asked for since a handshake began is asked of its client too.
    @Test(arguments: [ProxyConfiguration.Listener.Speech.auto, .tcp])
    func aHandshakeThatEndsUnderStricterRules(_ speech: ProxyConfiguration.Listener.Speech) {
        let scene = Scene(Self.configuration(speech: speech, tls: Self.tls))
        let clients = (0..<2).map { _ in scene.client() }
        var strict = Self.configuration(speech: speech, tls: Self.tls)
        strict.listeners[0].tls?.clientCertificate = .required
        scene.proxy.adopt(strict, now: scene.simulation.now)
        for (client, peer) in zip(clients, [nil, "web"]) {
            scene.proxy.secured(
                client.slot, TLSAgreement(version: "1.3", agreed: .http1, peer: peer),
                now: scene.simulation.now)
        }
        scene.pass(.zero)
        #expect(clients[0].proxyClosed && !clients[1].proxyClosed)
        #expect(scene.proxy.counters[.downstreamHandshakesFailed] == 1)
        #expect(scene.proxy.counters[.downstreamHandshakes] == 1)
    }

    /// A client that was there before its listener went over to strict asks in vain.
    @Test func requestsUnderStricterRules() {
        let scene = Scene(Self.configuration(tls: Self.tls, isPermissive: true))
        let client = scene.client()
        scene.proxy.beganInCleartext(client.slot, now: scene.simulation.now)
        scene.pass(.zero)
        scene.proxy.adopt(Self.configuration(tls: Self.tls), now: scene.simulation.now)
        scene.send(Self.get, by: client)
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 403 ") && answer.contains("connection: close"))
        #expect(answer.hasSuffix("listener_changed\n") && scene.servers.isEmpty)
    }

    /// Nor does one by further streams, however long it leaves the end of its session open.
    @Test func streamsUnderStricterRules() throws {
        let scene = HTTP2Scene(.http2, Self.configuration(tls: Self.tls, isPermissive: true))
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
        let socket = try #require(scene.simulation.connect())
        scene.proxy.beganInCleartext(socket.slot, now: scene.simulation.now)
        let client = HTTP2End(HTTP2Peer(server: false), socket)
        scene.simulation.peers.append(client)
        scene.pass()
        let before = client.peer.request(requestFields())
        scene.pass()
        #expect(before?.status == 200)
        // On its way while the listener changes.
        let during = client.peer.request(requestFields())
        _ = client.peer.pull()
        scene.proxy.adopt(
            HTTP2Scene.speaking(.http2, Self.configuration(tls: Self.tls)),
            now: scene.simulation.now)
        scene.pass(.seconds(3))
        #expect(during?.status == 403)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    /// No tunnel is opened any more for a client that waited for one while its listener went over
    /// to strict.
    @Test func tunnelsThatWaitedUnderStricterRules() {
        var configuration = Self.configuration(speech: .tcp, tls: Self.tls, isPermissive: true)
        configuration.clusters[0].breaker.standard.connections = 1
        let scene = Scene(configuration)
        let clients = (0..<2).map { _ in
            let client = scene.client()
            scene.proxy.beganInCleartext(client.slot, now: scene.simulation.now)
            scene.pass(.zero)
            return client
        }
        #expect(scene.servers.count == 1)
        configuration.listeners[0].isPermissive = false
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        scene.pass(.zero)
        #expect(!clients[0].proxyClosed && clients[1].proxyClosed)
        #expect(scene.servers.count == 1)
    }

    /// A client that is to leave before it has said what it speaks is told as HTTP/2 tells it.
    @Test func sessionsOfAClientThatFitsNoMoreBeforeItSpeaks() throws {
        let scene = HTTP2Scene(.http2, Self.configuration(tls: Self.tls))
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
        let socket = try #require(scene.simulation.connect())
        scene.proxy.adopt(
            HTTP2Scene.speaking(.http2, Self.configuration()), now: scene.simulation.now)
        scene.proxy.secured(
            socket.slot, TLSAgreement(version: "1.3", agreed: .http2), now: scene.simulation.now)
        let client = HTTP2End(HTTP2Peer(server: false), socket)
        // Its first request comes with what it says first, before it can have been told.
        let stream = client.peer.request(requestFields())
        scene.simulation.peers.append(client)
        scene.pass(.seconds(3))
        #expect(stream?.status == 200)
        #expect(socket.proxyClosed || socket.proxyEnded)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    /// A push that has nothing to do with rules leaves what they came to.
    @Test func standingsOutliveOtherChanges() {
        let rules = ProxyConfiguration.Authorization(deny: [Rule(prefixes: ["/debug"])])
        let scene = Scene(Self.configuration(rules))
        let (client, server) = scene.get()
        scene.send(okAnswer, by: server)
        let standing = scene.proxy.connections[client.slot].standing
        #expect(standing >= 0)
        var changed = Self.configuration(rules)
        changed.clusters[0].endpoints.append("127.0.0.1:9")
        scene.proxy.adopt(changed, now: scene.simulation.now)
        #expect(scene.proxy.connections[client.slot].standing == standing)
        changed.listeners[0].authorization = .init(allow: [])
        scene.proxy.adopt(changed, now: scene.simulation.now)
        #expect(scene.proxy.connections[client.slot].standing == -1)
    }

    /// A request that waits while the configuration changes is let in once.
    @Test func aRequestIsCountedOnceHoweverOftenItIsLookedAt() {
        let rules = ProxyConfiguration.Authorization(deny: [Rule(prefixes: ["/debug"])])
        var configuration = Self.configuration(rules)
        configuration.clusters[0].breaker.standard.connections = 1
        let scene = Scene(configuration)
        let clients = (0..<2).map { _ in scene.client() }
        for client in clients { scene.send(Self.get, by: client) }
        #expect(scene.servers.count == 1)
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        scene.pass(.zero)
        scene.send(okAnswer, by: scene.servers[0])
        scene.send(okAnswer, by: scene.servers.last ?? clients[0])
        #expect(clients.allSatisfy { scene.received($0) == okAnswer })
        #expect(scene.proxy.counters[.authorizationAllowed] == 2)
    }

    @Test func streamsOfAClientThatNoLongerFitsEndInOrder() {
        let scene = HTTP2Scene(.http2, Self.configuration(tls: Self.tls, isPermissive: true))
        guard let socket = scene.simulation.connect() else { return #expect(Bool(false)) }
        scene.proxy.beganInCleartext(socket.slot, now: scene.simulation.now)
        let client = HTTP2End(HTTP2Peer(server: false), socket)
        scene.simulation.peers.append(client)
        scene.pass()
        let stream = client.peer.request(requestFields())
        scene.pass()
        var configuration = HTTP2Scene.speaking(.http2, Self.configuration(tls: Self.tls))
        configuration.listeners[0].tls?.clientCertificate = .required
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        scene.pass()
        let server = scene.servers[0].peer
        if let asked = server.streams[1] { server.answer(asked, answerFields()) }
        scene.pass(.seconds(3))
        #expect(stream?.status == 200 && stream?.isWhole == true)
        #expect(socket.proxyClosed || socket.proxyEnded)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }
}

extension String {
    fileprivate func components(of text: String) -> Int { ranges(of: text).count }
}
