import Base
import Fault
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// The order of filters (docs/PROXY.md): of several that would refuse a request, it meets the first
/// alone.
@Suite struct OrderTests {
    /// Whoever may refuse a request, in their order.
    enum Filter: Int, CaseIterable, CustomTestStringConvertible {
        case listenerLimit
        case authorization
        case route
        case routeLimit
        case fault
        case answer
        case redirect
        case admission
        case breaker
        case endpoint

        var testDescription: String { "\(self)" }

        /// What its answer has that no other's has.
        var sign: (status: Int, text: String) {
            switch self {
            case .listenerLimit: (429, "x-ratelimit-limit: 1")
            case .authorization: (403, "x-response-flags: UAEX")
            case .route: (404, "x-response-flags: NR")
            case .routeLimit: (429, "x-ratelimit-limit: 2")
            case .fault: (418, "x-response-flags: FI")
            case .answer: (203, "answered here")
            case .redirect: (308, "location: ")
            case .admission: (503, "denied_by_admission_control")
            case .breaker: (503, "x-response-flags: UO")
            case .endpoint: (503, "x-response-flags: UH")
            }
        }

        /// Has it refuse every request, or every one behind the first or second.
        func refuse(_ configuration: inout ProxyConfiguration) {
            func limit(_ burst: Int) -> [RateLimitPolicy] {
                [RateLimitPolicy(burst: burst, fill: 1, interval: .seconds(9000), tells: true)]
            }
            switch self {
            case .listenerLimit: configuration.listeners[0].rateLimits = limit(1)
            case .authorization:
                configuration.listeners[0].authorization = .init(deny: [.init(prefixes: ["/"])])
            case .route: configuration.routes[0].hosts = ["nobody"]
            case .routeLimit: configuration.routes[0].rateLimits = limit(2)
            case .fault: break
            case .answer:
                configuration.routes[0].answer = DirectAnswer(status: 203, body: "answered here")
            case .redirect: configuration.routes[0].redirect = Redirect(status: 308, host: "b")
            case .admission:
                configuration.clusters[0].admission = AdmissionPolicy(
                    threshold: 100, aggression: 10, mostRejected: 100)
            case .breaker: configuration.clusters[0].breaker.standard.requests = 0
            case .endpoint: configuration.clusters[0].endpoints = []
            }
        }

        /// How often it has refused, or done, something.
        func count(_ counters: Counters) -> UInt64 {
            switch self {
            case .listenerLimit, .routeLimit: counters[.limitsEnforced]
            case .authorization: counters[.authorizationDenied]
            case .route: counters[ResponseFlag.NR]
            case .fault: counters[.faultAborts]
            case .answer, .redirect: 0
            case .admission: counters[.admissionRejected]
            case .breaker: counters[.requestOverflow]
            case .endpoint: counters[ResponseFlag.UH]
            }
        }
    }

    /// Those that can refuse one request with `first`, and stand behind it. A route answers in one
    /// way; admission turns away by what others were answered, which these tests have no part of.
    private static func behind(_ first: Filter) -> [Filter] {
        Filter.allCases.filter { other in
            guard other.rawValue > first.rawValue, other != .admission else { return false }
            return !(first == .answer && other == .redirect)
        }
    }

    private static func scene(_ filters: [Filter]) -> HTTP2Scene {
        var configuration = Scene.configuration(accessLog: true)
        for filter in filters { filter.refuse(&configuration) }
        let scene = HTTP2Scene(.http2, configuration)
        scene.onEnd = { $0.answer($1, answerFields()) }
        if filters.contains(.fault) {
            let rule = FaultRule(name: "f", seed: 1, point: .clientEgress, abort: .http(418))
            let leases = LeaseTable(isProxy: true, standing: [rule], now: scene.simulation.now)
            scene.proxy.adopt(faults: leases.held)
        }
        return scene
    }

    enum Client: CaseIterable { case http1, http2 }

    /// The third answer: the limits have had their tokens.
    private static func ask(_ scene: HTTP2Scene, _ client: Client) -> (Int, String) {
        switch client {
        case .http1:
            let socket = scene.rawClient()
            var answer = ""
            for _ in 0..<3 {
                scene.send("GET /x HTTP/1.1\r\nhost: a\r\n\r\n", by: socket)
                answer = scene.received(socket)
            }
            socket.peerClose(reset: true)
            return (Int(answer.prefix(12).suffix(3)) ?? 0, answer)
        case .http2:
            let end = scene.client()
            var last: HTTP2Peer.Stream?
            for _ in 0..<3 {
                last = end.peer.request(requestFields("GET", "/x"))
                scene.pass()
            }
            end.closesWhenDone = true
            let fields = ownFields(last?.head).joined(separator: "\r\n")
            return (last?.status ?? 0, fields + "\r\n" + text(last?.body ?? []))
        }
    }

    private static func check(_ filters: [Filter], _ client: Client) {
        let first = filters[0]
        let scene = scene(filters)
        let (status, answer) = ask(scene, client)
        #expect(status == first.sign.status, "\(filters): \(answer)")
        #expect(answer.contains(first.sign.text), "\(filters): \(answer)")
        for other in filters.dropFirst() {
            #expect(!answer.contains(other.sign.text), "\(other) was met too")
        }
        // Those behind it have done nothing, once it has begun to refuse.
        let hasPassed = first == .listenerLimit || first == .routeLimit
        let counters = scene.proxy.counters
        if !hasPassed {
            for other in filters.dropFirst() where other.count(counters) > 0 {
                Issue.record("\(other) has acted behind \(first)")
            }
        }
        // Two limits that stand alone let the first request through.
        let areLimits = filters.allSatisfy { $0 == .listenerLimit || $0 == .routeLimit }
        #expect(scene.servers.isEmpty || areLimits)
        #expect(counters[.requestsTotal] == 3)
        #expect(scene.remains() == nil)
    }

    @Test(arguments: Filter.allCases, Client.allCases)
    func eachPair(_ first: Filter, _ client: Client) {
        guard first != .admission else { return }
        for other in Self.behind(first) { Self.check([first, other], client) }
    }

    @Test(arguments: Filter.allCases, Client.allCases)
    func allThatAreBehind(_ first: Filter, _ client: Client) {
        guard first != .admission else { return }
        Self.check([first] + Self.behind(first).filter { $0 != .redirect }, client)
    }

    /// Admission is asked before the breaker and the endpoint: it turns requests away that these
    /// would too.
    @Test(arguments: [Filter.breaker, .endpoint]) func admissionComesFirst(_ other: Filter) {
        let scene = Self.scene([.admission, other])
        let client = scene.rawClient()
        var rejected = 0
        for _ in 0..<200 {
            scene.send("GET /x HTTP/1.1\r\nhost: a\r\n\r\n", by: client)
            if scene.received(client).contains(Filter.admission.sign.text) { rejected += 1 }
        }
        let counters = scene.proxy.counters
        #expect(rejected > 0 && Int(counters[.admissionRejected]) == rejected)
        #expect(Int(other.count(counters)) == 200 - rejected)
        client.peerClose(reset: true)
        #expect(scene.remains() == nil)
    }
}
