import Base
import Model
import Testing

@testable import ControlCore

private let clusters = EnvoyQuestion(.clusters)
private let listeners = EnvoyQuestion(.listeners)
private let routes = EnvoyQuestion(.routes, "outbound")
private let secrets = EnvoyQuestion(.secrets, "authorities")

private func service(_ name: String, port: Int? = nil) -> [MeshDeclaration] {
    let service = MeshDeclaration.service(MeshService(name, in: "shop"))
    guard let port else { return [service] }
    return [
        service,
        .endpoint(MeshEndpoint(name, in: "shop", service: name, address: "127.0.0.1:\(port)")),
    ]
}

private func rendering(
    _ declarations: [MeshDeclaration], authorities: String = "PEM"
) -> Result<EnvoyRendering, EnvoyRefusal> {
    Result { () throws(EnvoyRefusal) in
        try EnvoyRendering(envoyFacts, view: MeshState(declarations), authorities: authorities)
    }
}

/// An Envoy as it behaves: each subscription asks with the version that it has, and again when it
/// has been answered.
private struct BenchEnvoy {
    var session: EnvoySession
    var now = Instant(nanoseconds: 0)
    /// What is in force.
    var contents: [EnvoyQuestion: EnvoyContent] = [:]
    /// What it does not take.
    var refuses: Set<EnvoyQuestion> = []
    /// Each content that it was given, in order.
    var given: [EnvoyQuestion] = []

    init(_ declarations: [MeshDeclaration]) {
        session = EnvoySession(rendering(declarations), now: now)
    }

    var isCurrent: Bool {
        var session = session
        return session.isCurrent()
    }

    var refusals: [EnvoySession.Refusal] {
        var session = session
        return session.refusals()
    }

    var trusts: Bool {
        var session = session
        return session.hasInForce(secrets)
    }

    /// The clusters that it has.
    var clusterNames: Set<String> { Set(contents[clusters]?.items.map(\.name) ?? []) }
    /// Those that its routes use.
    var used: Set<String> { contents[routes]?.uses ?? [] }

    /// What it asks for, as far as it has come.
    var questions: [EnvoyQuestion] {
        var all = [clusters]
        guard contents[clusters] != nil else { return all }
        let names = clusterNames.subtracting(["app"]).sorted()
        all += names.map { EnvoyQuestion(.endpoints, $0) } + [secrets, listeners]
        return contents[listeners] == nil ? all : all + [routes]
    }

    /// Asks each question once.
    /// - Returns: whether anything was answered.
    mutating func round(isNew: Bool = true) throws -> Bool {
        var goesOn = false
        for question in questions {
            let version = contents[question]?.version ?? ""
            let answer = session.answer(question, version: version, isNew: isNew, now: now)
            guard case .content(let content) = try #require(answer) else { continue }
            given.append(question)
            goesOn = true
            guard !refuses.contains(question) else { continue }
            contents[question] = content
            if question == clusters {
                // A cluster that leaves takes its endpoints along.
                for key in contents.keys where key.type == .endpoints {
                    if !clusterNames.contains(key.name ?? "") { contents[key] = nil }
                }
            }
            checkUse()
        }
        return goesOn
    }

    /// No route leads to a cluster that is not there, or of which no endpoints are known.
    private func checkUse() {
        #expect(used.isSubset(of: clusterNames))
        for name in used { #expect(contents[EnvoyQuestion(.endpoints, name)] != nil) }
    }

    /// Asks until nothing is answered any more.
    mutating func settle() throws {
        // What one question says may be what another has waited for.
        var quiet = 0
        for _ in 0..<40 {
            quiet = try round() ? 0 : quiet + 1
            if quiet == 2 { return }
        }
        Issue.record("it does not settle: \(given.suffix(10))")
    }
}

private func expectNothing(_ envoy: inout BenchEnvoy) throws {
    let goesOn = try envoy.round()
    #expect(!goesOn)
}

private func expectAnswers(_ envoy: inout BenchEnvoy) throws {
    let goesOn = try envoy.round()
    #expect(goesOn)
}

@Suite struct EnvoySessionTests {
    @Test func aNewEnvoyIsGivenAllOnceAndThenNothing() throws {
        var envoy = BenchEnvoy(service("web") + service("cart", port: 1))
        try envoy.settle()
        #expect(envoy.given.count == envoy.questions.count)
        #expect(envoy.isCurrent)
        #expect(envoy.refusals.isEmpty)
        try expectNothing(&envoy)
        #expect(envoy.clusterNames == ["app", "shop/web", "shop/cart"])
    }

    @Test func aChangeOfEndpointsIsThatAlone() throws {
        var envoy = BenchEnvoy(service("web") + service("cart", port: 1))
        try envoy.settle()
        envoy.given = []
        let name = MeshName("cart", in: "shop")
        envoy.session.adopt(
            rendering(service("web") + service("cart", port: 2)), stale: .init(endpoints: [name]))
        #expect(!envoy.isCurrent)
        try envoy.settle()
        #expect(envoy.given == [EnvoyQuestion(.endpoints, "shop/cart")])
        #expect(envoy.isCurrent)
    }

    /// Clusters come with their endpoints before routes, and leave after them.
    @Test func nothingBreaksBeforeItsReplacementIsThere() throws {
        var envoy = BenchEnvoy(service("web") + service("cart", port: 1))
        try envoy.settle()
        envoy.given = []
        envoy.session.adopt(rendering(service("web") + service("till", port: 2)))
        try expectAnswers(&envoy)
        // Both are there, and the old routes in force.
        #expect(envoy.clusterNames == ["app", "shop/web", "shop/cart", "shop/till"])
        #expect(envoy.used.contains("shop/cart"))
        #expect(!envoy.isCurrent)
        try envoy.settle()
        #expect(envoy.clusterNames == ["app", "shop/web", "shop/till"])
        #expect(envoy.used == ["shop/web", "shop/till"])
        #expect(
            envoy.given == [
                clusters, EnvoyQuestion(.endpoints, "shop/till"), routes, clusters,
            ])
        #expect(envoy.isCurrent)
    }

    @Test(arguments: 0..<50)
    func anySequenceOfChangesIsFollowed(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        func mesh(_ random: inout SeededRandom) -> [MeshDeclaration] {
            var all = service("web")
            for index in 0..<5 where Bool.random(using: &random) {
                all += service("s\(index)", port: Int.random(in: 1...3, using: &random))
            }
            return all
        }
        var envoy = BenchEnvoy(mesh(&random))
        var last = mesh(&random)
        for _ in 0..<20 {
            last = mesh(&random)
            envoy.session.adopt(rendering(last))
            for _ in 0..<Int.random(in: 0...3, using: &random) { _ = try envoy.round() }
        }
        try envoy.settle()
        #expect(envoy.isCurrent)
        let wanted = try rendering(last).get()
        for (question, content) in envoy.contents {
            #expect(try wanted.content(question) == content)
        }
    }

    @Test func aRefusalIsInferredAndShownAndTriedAgain() throws {
        var envoy = BenchEnvoy(service("web") + service("cart", port: 1))
        try envoy.settle()
        envoy.refuses = [clusters]
        envoy.given = []
        envoy.session.adopt(rendering(service("web") + service("till", port: 2)))
        try expectAnswers(&envoy)
        // Once may have been lost on the way.
        #expect(envoy.refusals.isEmpty)
        try expectAnswers(&envoy)
        try expectNothing(&envoy)
        #expect(envoy.given == [clusters, clusters])
        let refusals = envoy.refusals
        #expect(refusals.map(\.question) == [clusters])
        #expect(refusals[0].version != nil)
        #expect(envoy.session.refusalCount == 1)
        #expect(!envoy.isCurrent)
        // What uses them waits with them.
        #expect(envoy.used == ["shop/web", "shop/cart"])
        envoy.now = envoy.now + EnvoySession.retry
        try expectAnswers(&envoy)
        envoy.refuses = []
        envoy.now = envoy.now + EnvoySession.retry
        try envoy.settle()
        #expect(envoy.refusals.isEmpty)
        #expect(envoy.isCurrent)
        #expect(envoy.session.refusalCount == 1)
    }

    @Test func whatIsTakenBackIsRefusedNoMore() throws {
        var envoy = BenchEnvoy(service("web") + service("cart", port: 1))
        try envoy.settle()
        envoy.refuses = [clusters]
        envoy.session.adopt(rendering(service("web") + service("till", port: 2)))
        for _ in 0..<3 { _ = try envoy.round() }
        #expect(envoy.refusals.count == 1)
        envoy.session.adopt(rendering(service("web") + service("cart", port: 1)))
        try envoy.settle()
        #expect(envoy.refusals.isEmpty)
        #expect(envoy.isCurrent)
    }

    @Test func whatCannotBeSaidIsShownAndTheRestGoesOn() throws {
        let route = MeshRoute(
            "r", in: "shop", hosts: ["x"],
            destinations: [
                .init(MeshName("web", in: "shop")), .init(MeshName("cart", in: "shop")),
            ])
        let policy = MeshPolicy(
            "p", in: "shop", targets: [MeshName("cart", in: "shop")],
            timeouts: .init(request: .seconds(1)))
        let base = service("web") + service("cart", port: 1)
        var envoy = BenchEnvoy(base)
        try envoy.settle()
        let before = envoy.contents[routes]
        envoy.given = []
        envoy.session.adopt(
            rendering(
                base + service("till", port: 2) + [.route(route), .policy(policy)]))
        try envoy.settle()
        #expect(envoy.contents[routes] == before)
        #expect(envoy.clusterNames.contains("shop/till"))
        let refusals = envoy.refusals
        #expect(refusals.map(\.question) == [routes])
        #expect(refusals.map(\.version) == [nil])
        #expect(refusals[0].reason.contains("say `timeout`"))
        #expect(!envoy.isCurrent)
    }

    /// Bytes to a service of tcp have no way out of an Envoy: that is said, and all else goes on.
    @Test func whatIsLeftOutIsShown() throws {
        let web = MeshService("web", in: "shop", calls: [MeshName("db", in: "shop")])
        let db = MeshService("db", in: "shop", speech: .tcp)
        var envoy = BenchEnvoy([.service(web), .service(db)])
        try envoy.settle()
        #expect(envoy.isCurrent)
        let refusal = try #require(envoy.refusals.first)
        #expect(refusal.question == listeners && refusal.reason.hasPrefix("shop/db is of tcp: "))
        #expect(envoy.refusals.count == 1)
    }

    /// After a control plane has begun anew, an Envoy that has everything is left in peace.
    @Test func whoHasAllIsNotToldAgain() throws {
        let mesh = service("web") + service("cart", port: 1)
        var envoy = BenchEnvoy(mesh)
        try envoy.settle()
        envoy.given = []
        envoy.session = EnvoySession(rendering(mesh), now: envoy.now)
        try envoy.settle()
        #expect(envoy.given.isEmpty)
        #expect(envoy.isCurrent)
        envoy.session = EnvoySession(rendering(mesh + service("till", port: 2)), now: envoy.now)
        try envoy.settle()
        #expect(envoy.used.contains("shop/till"))
        #expect(envoy.isCurrent)
    }

    /// A control plane that has begun anew takes what it has yet to find out about for well: an
    /// Envoy that was told more keeps what it has.
    @Test func endpointsStayUntilTheyAreFoundOutAbout() throws {
        let cart = MeshName("cart", in: "shop")
        let question = EnvoyQuestion(.endpoints, cart.text)
        let sick = service("web") + service("cart", port: 1)
        let all = sick + service("cart", port: 2).suffix(1)
        func later(than end: Duration) -> Instant { Instant(nanoseconds: 0) + end }
        func envoy() throws -> BenchEnvoy {
            var envoy = BenchEnvoy(sick)
            try envoy.settle()
            envoy.given = []
            envoy.session = EnvoySession(rendering(all), awaiting: [cart], now: envoy.now)
            try envoy.settle()
            #expect(envoy.given == [] && !envoy.isCurrent && envoy.session.isAwaiting)
            return envoy
        }
        var found = try envoy()
        found.session.release([cart])
        try found.settle()
        #expect(found.given == [question] && found.isCurrent && !found.session.isAwaiting)
        // It is not kept for ever,
        var slow = try envoy()
        let version = try #require(slow.contents[question]).version
        let wait = slow.session.answer(question, version: version, isNew: false, now: slow.now)
        #expect(wait == .wait(until: later(than: EnvoySession.waitMost)))
        slow.now = later(than: EnvoySession.waitMost)
        try slow.settle()
        #expect(slow.given == [question] && slow.isCurrent)
        // and not from one that has nothing.
        var new = BenchEnvoy(all)
        new.session = EnvoySession(rendering(all), awaiting: [cart], now: new.now)
        try new.settle()
        #expect(new.given.contains(question) && new.isCurrent)
    }

    @Test func authoritiesInForceAreKnown() throws {
        let mesh = service("web")
        var envoy = BenchEnvoy(mesh)
        #expect(!envoy.trusts)
        try envoy.settle()
        #expect(envoy.trusts)
        envoy.session.adopt(rendering(mesh, authorities: "PEM 2"))
        #expect(!envoy.trusts)
        try envoy.settle()
        #expect(envoy.trusts)
    }
}
