import Base
import Fault
import Model
import Support
import Testing

@testable import ProxyCore

/// From when the time of a request counts, and what its upstreams are told of it.
@Suite struct DeadlineTests {
    private static let told = "x-envoy-expected-rq-timeout-ms: "

    private static func milliseconds(_ head: String) -> Int? {
        guard let range = head.firstRange(of: told) else { return nil }
        return Int(head[range.upperBound...].prefix { $0.isNumber })
    }

    private static let failure = "HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno"

    // MARK: What is told

    /// Before the request has gone on, nothing of its time is over, whatever has held it back.
    @Test func whatComesBeforeTheRequestIsNoneOfItsTime() {
        let (scene, _) = FaultTests.scene([FaultTests.rule(delay: .seconds(3))]) {
            $0.timeouts.request = .seconds(2)
            $0.headers.expectedTimeout = true
        }
        let client = scene.client()
        scene.send(FaultTests.request, by: client)
        scene.pass(.seconds(3))
        #expect(Self.milliseconds(scene.received(scene.servers[0])) == 2000)
        scene.pass(.milliseconds(1999))
        #expect(scene.received(client).isEmpty)
        scene.pass(.milliseconds(1))
        #expect(scene.received(client).hasPrefix("HTTP/1.1 504 "))
    }

    /// The same of a call, whose own time does count.
    @Test(arguments: [("10S", "2000000u"), ("4S", "1000000u")])
    func callsAreToldTheShortestOfBoth(_ own: String, _ expected: String) {
        var configuration = Scene.configuration()
        configuration.timeouts.request = .seconds(2)
        let scene = HTTP2Scene(.http2, configuration)
        let rule = FaultTests.rule(delay: .seconds(3))
        let leases = LeaseTable(isProxy: true, standing: [rule], now: .zero)
        scene.proxy.adopt(faults: leases.held)
        let client = scene.client()
        let fields: Fields = [
            ("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", own),
        ]
        _ = client.peer.request(requestFields("POST", "/s/m", fields), body: [0, 0, 0, 0, 0])
        scene.pass(.seconds(3))
        let left = scene.servers.first?.peer.streams[1]?["grpc-timeout"] ?? ""
        #expect(left == expected)
    }

    /// The body comes slowly, and the first attempt is refused early: all of the time is left to
    /// the second. Behind the end of the body it runs.
    @Test(arguments: [false, true]) func aSlowBodyIsNoneOfItsTime(_ isWhole: Bool) {
        let scene = RetryTests.scene(
            RetryPolicy(on: [.serverError]), timeouts: .init(request: .seconds(2))
        ) { $0.headers.expectedTimeout = true }
        let client = scene.client()
        scene.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab", by: client)
        #expect(Self.milliseconds(scene.received(scene.servers[0])) == 2000)
        scene.pass(.seconds(5))
        if isWhole { scene.send("cd", by: client) }
        scene.pass(.milliseconds(400))
        scene.send(Self.failure, by: scene.servers[0])
        scene.pass(.milliseconds(26))
        let server = scene.servers[scene.servers.count - 1]
        let left = Self.milliseconds(scene.received(server)) ?? 0
        #expect(isWhole ? (1570...1600).contains(left) : left == 2000, "\(left)")
    }

    // MARK: From when it counts

    /// A request has waited, in the queue or for a fault, before all of it had come, and is then on
    /// its way: its time counts from its end, also where it has to wait again meanwhile.
    @Test(arguments: [false, true]) func whatHasWaitedHasItsTimeFromItsEnd(_ isHeld: Bool) {
        let scene = RetryTests.scene(
            RetryPolicy(on: [.serverError]),
            breaker: .init(standard: .init(connections: 1)),
            timeouts: .init(request: .seconds(1)))
        var rule = FaultTests.rule("b", .perAttempt, delay: .milliseconds(10))
        rule.firstAttempts = 1
        let leases = LeaseTable(isProxy: true, standing: [rule], now: .zero)
        if isHeld { scene.proxy.adopt(faults: leases.held) } else { _ = scene.get() }
        let client = scene.client()
        scene.send(
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            by: client)
        #expect(scene.proxy.waiting(0, 0) == (isHeld ? 0 : 1))
        if !isHeld { scene.send(okAnswer, by: scene.servers[0]) }
        scene.pass(.milliseconds(1500))
        let before = scene.servers.count
        #expect(before == 1)
        scene.send(Self.failure, by: scene.servers[0])
        scene.pass(.milliseconds(26))
        #expect(scene.servers.count == 2)
        scene.send("1\r\nc\r\n0\r\n\r\n", by: client)
        let sent = scene.servers.last.map { scene.received($0) } ?? ""
        #expect(sent.hasSuffix("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), "\(sent)")
        scene.pass(.milliseconds(999))
        #expect(scene.received(client).isEmpty)
        scene.pass(.milliseconds(1))
        #expect(scene.received(client).hasPrefix("HTTP/1.1 504 "))
    }
}
