import Base
import Model
import Testing

@testable import ProxyCore

/// Fields that the proxy says itself, where clients say them too.
@Suite struct OwnFieldTests {
    private static let path = "x-envoy-original-path"
    private static let isRetry = "x-envoy-is-timeout-retry"
    private static let client: Fields = [(path, "/forged"), (isRetry, "true")]

    private static func configuration(
        _ change: (inout ProxyConfiguration) -> Void
    ) -> ProxyConfiguration {
        var configuration = Scene.configuration()
        change(&configuration)
        return configuration
    }

    /// What the server gets of those fields, from a client that says all of them.
    private static func sent(
        isHTTP2: Bool, _ change: (inout ProxyConfiguration) -> Void
    ) -> [String] {
        let configuration = configuration(change)
        let own: [String]
        if isHTTP2 {
            let scene = HTTP2Scene(.http2, configuration)
            let client = scene.client()
            _ = client.peer.request(requestFields("GET", "/old", Self.client))
            scene.pass()
            own = ownFields(scene.servers.first?.peer.streams[1]?.head)
        } else {
            let scene = Scene(configuration)
            let fields = Self.client.map { "\($0.name): \($0.value)\r\n" }.joined()
            scene.send("GET /old HTTP/1.1\r\nHost: a\r\n\(fields)\r\n", by: scene.client())
            own = scene.received(scene.servers[0]).split(separator: "\r\n").map { String($0) }
        }
        return own.filter { $0.hasPrefix(path) || $0.hasPrefix(isRetry) }
    }

    /// A path that is rewritten was one, and that is not the client's to say.
    @Test(arguments: [false, true]) func thePathThatARequestCameWith(_ isHTTP2: Bool) {
        let rewritten = Self.sent(isHTTP2: isHTTP2) { $0.routes[0].rewrite = .path("/new") }
        #expect(rewritten == ["\(Self.path): /old"])
        let kept = Self.sent(isHTTP2: isHTTP2) { _ in }
        #expect(kept == ["\(Self.path): /forged"])
    }

    /// Only where another proxy asks, and this one stands beside who is asked, is it told on.
    @Test(arguments: [false, true], [false, true])
    func aRetryOfTheClientsProxy(_ isHTTP2: Bool, counts: Bool) {
        let edge = Self.sent(isHTTP2: isHTTP2) { $0.headers.attemptCount = counts }
        #expect(edge == ["\(Self.path): /forged"])
        let beside = Self.sent(isHTTP2: isHTTP2) {
            $0.headers.attemptCount = counts
            $0.listeners[0].cluster = "c"
        }
        #expect(beside == ["\(Self.path): /forged", "\(Self.isRetry): true"])
    }

    /// The proxy's own retry is told once.
    @Test(arguments: [false, true]) func aRetryOfItsOwn(_ isBeside: Bool) {
        let scene = RetryTests.scene(
            RetryPolicy(on: [.serverError], perTry: .milliseconds(100))
        ) { if isBeside { $0.listeners[0].cluster = "c" } }
        let field = "\(Self.isRetry): true\r\n"
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(field)\r\n", by: scene.client())
        for (place, count) in [isBeside ? 1 : 0, 1].enumerated() {
            #expect(scene.servers.count == place + 1)
            let sent = scene.received(scene.servers[place])
            #expect(sent.ranges(of: field).count == count, "\(sent)")
            scene.pass(.milliseconds(126))
        }
    }
}
