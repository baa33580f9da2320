import Base
import Testing

@testable import Secure

@Suite struct ResumptionTests {
    private struct Scene {
        let client: TLSContext
        let server: TLSContext
        let authority: Authority

        init(mutual: Bool = false) throws {
            authority = try Authority()
            let authority = authority
            var options = TLSServerOptions(identity: try authority.identity())
            var clientOptions = authority.clientOptions()
            if mutual {
                options.authorities = authority.pem
                options.requiresClient = true
                clientOptions.identity = try authority.identity(uris: ["spiffe://client"])
            }
            client = try TLSContext(client: clientOptions)
            server = try TLSContext(server: options)
        }

        /// A connection from its handshake to its end, tickets read.
        func connect(version12: Bool, endpoint: String = "a:1") throws -> Pair {
            let pair = Pair(client: client, server: server, endpoint: endpoint)
            if version12 { pair.client.limitToVersion12() }
            try #require(pair.handshake())
            _ = pair.clientRead()
            return pair
        }
    }

    @Test(arguments: [true, false], [true, false])
    func theSecondHandshakeIsShort(version12: Bool, mutual: Bool) throws {
        let scene = try Scene(mutual: mutual)
        let first = try scene.connect(version12: version12)
        #expect(!first.client.isResumed && !first.server.isResumed)
        let second = try scene.connect(version12: version12)
        #expect(second.client.isResumed && second.server.isResumed)
        // Who the peers are is known all the same.
        #expect(second.client.peer == "server.test")
        #expect(second.server.peer == (mutual ? "spiffe://client" : nil))
        let text = Array("resumed".utf8)
        second.toServer += second.client.encrypt(text)
        var arrived: [UInt8] = []
        _ = second.server.receive(&second.toServer, plaintext: &arrived)
        #expect(arrived == text)
    }

    @Test func anotherEndpointIsAnotherServer() throws {
        let scene = try Scene()
        _ = try scene.connect(version12: false)
        #expect(!(try scene.connect(version12: false, endpoint: "b:1").client.isResumed))
    }

    /// RFC 8446, C.4.
    @Test func ticketsAreUsedOnce() throws {
        let scene = try Scene()
        _ = try scene.connect(version12: false)
        let kept = scene.client.cache.count(for: "a:1")
        #expect(kept == 2)
        for left in (0..<kept).reversed() {
            #expect(scene.client.cache.take(for: "a:1") != nil)
            #expect(scene.client.cache.count(for: "a:1") == left)
        }
        #expect(!(try scene.connect(version12: false).client.isResumed))
    }

    @Test func theCacheIsBounded() throws {
        let scene = try Scene()
        var kept: [Pair] = []
        for _ in 0..<SessionCache.perEndpoint {
            let pair = Pair(client: scene.client, server: scene.server)
            pair.handshake()
            kept.append(pair)
        }
        for pair in kept { _ = pair.clientRead() }
        #expect(scene.client.cache.count(for: "a:1") == SessionCache.perEndpoint)
        let newest = try #require(scene.client.cache.take(for: "a:1"))
        for i in 0..<SessionCache.endpointsMost + 10 {
            scene.client.cache.store(newest, for: "endpoint \(i)")
        }
        let total = (0..<SessionCache.endpointsMost + 10)
            .map { scene.client.cache.count(for: "endpoint \($0)") }.reduce(0, +)
        #expect(total < SessionCache.endpointsMost)
    }

    /// A new context, as after a reload, has other keys: its clients begin anew, and can.
    @Test func ticketsOfAnotherContextAreWorthNothing() throws {
        let scene = try Scene()
        _ = try scene.connect(version12: false)
        let server = try TLSContext(
            server: TLSServerOptions(identity: try scene.authority.identity()))
        let pair = Pair(client: scene.client, server: server)
        #expect(pair.handshake())
        #expect(!pair.client.isResumed)
    }
}
