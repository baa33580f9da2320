import Base
import Model
import Testing

/// What is held against requests, and in which order.
@Suite struct MeshRouteTests {
    /// Of two conditions that differ one comes first, whatever they look like: else every process
    /// would have an order of its own.
    @Test func conditionsThatLookAlikeHaveAnOrder() {
        typealias Header = ProxyConfiguration.HeaderMatch
        let tests: [Header] = [
            Header("a", .present), Header("a", .exact("")), Header("a", .absent),
            Header("a", .exact("present")), Header("a", .exact("absent")),
            Header("a", .prefix("x")), Header("a", .prefix("x"), isInverted: true),
            Header("a", .exact("prefix(\"x\") false")), Header("a", .exact("prefix(\"x\")")),
            Header("a", .exact("x")), Header("a", .exact("x"), isInverted: true),
            Header("a", .exact("exact(\"x\") false")), Header("a", .range(1, 2)),
        ]
        let conditions = tests.map {
            MeshRoute.Condition(host: nil, match: .init(headers: [$0]))
        }
        for (i, a) in conditions.enumerated() {
            for (j, b) in conditions.enumerated() where i != j {
                #expect((a < b) != (b < a), "\(tests[i]) and \(tests[j])")
            }
        }
    }

    private func messages(_ declarations: [MeshDeclaration]) -> [String] {
        MeshState(declarations).check().map(\.description)
    }

    @Test func whatARouteThatAnswersItselfCannotDo() {
        let cart = MeshName("cart")
        func found(_ change: (inout MeshRoute) -> Void) -> [String] {
            var route = MeshRoute("r", destinations: [.init(cart)], timeout: .seconds(1))
            (route.retry, route.priority) = (RetryPolicy(on: [.serverError]), .high)
            route.hostRewrite = "a"
            route.requestHeaders = .init(remove: ["a"])
            change(&route)
            return messages([.service(.init("cart")), .route(route)])
        }
        #expect(found { _ in } == [])
        let idle = ["host_rewrite", "request_headers", "timeout", "retry", "priority"].map {
            "route default/r: \($0): the route answers itself: nobody is asked"
        }
        #expect(found { $0.answer = .init(status: 204) } == idle)
        #expect(found { $0.redirect = .init(host: "b") } == idle)
        let nowhere = found { route in
            route = MeshRoute("r", destinations: [.init(cart)])
            route.redirect = .init(status: 307)
        }
        #expect(
            nowhere == [
                "route default/r: redirect: clients would be sent where they come from: another "
                    + "scheme, host, port or path is needed"
            ])
    }

    /// Rate limit services of which each asks the next, and the last the first.
    @Test(arguments: 2...4)
    func limitsThatAskInARing(count: Int) {
        func limited(_ name: String, by service: String, _ targets: [MeshName]) -> MeshDeclaration {
            var policy = MeshPolicy(name, targets: targets)
            policy.inbound.globalRateLimit = GlobalRateLimit(
                cluster: "default/\(service)", domain: "d",
                descriptors: [.init([.init("a", .text("b"))])])
            return .policy(policy)
        }
        let services = (0..<count).map { MeshDeclaration.service(.init("l\($0)", speech: .http2)) }
        let chain = (0..<count - 1).map {
            limited("p\($0)", by: "l\($0 + 1)", [MeshName("l\($0)")])
        }
        // Whoever only asks one of them is not to blame.
        let client: [MeshDeclaration] = [
            .service(.init("cart")), limited("q", by: "l0", [MeshName("cart")]),
        ]
        #expect(messages(services + chain + client) == [])
        let last = limited("p\(count - 1)", by: "l0", [MeshName("l\(count - 1)")])
        let wanted = (0..<count).map { place in
            "policy default/p\(place): inbound.global_rate_limit.service: "
                + "'default/l\((place + 1) % count)' asks in turn, and in the end those whom the "
                + "policy is for: no question would be answered"
        }
        #expect(messages(services + chain + client + [last]) == wanted)
    }
}
