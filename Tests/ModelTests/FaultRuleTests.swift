import Base
import FoundationEssentials
import Model
import Testing

@Suite struct FaultRuleTests {
    private func decode(_ text: String) throws -> FaultOrder {
        try JSONDecoder().decode(FaultOrder.self, from: Data(text.utf8))
    }

    @Test func theDocumentedForm() throws {
        let order = try decode(
            """
            {"rule": {"point": "per-attempt", "chance": 0.1, "abort": {"http": 503},
             "first_attempts": 2, "cluster": "shop/leaf", "listener": "outbound",
             "match": {"path": {"prefix": {"_0": "/a"}}, "methods": ["GET"],
                       "headers": [{"name": "x-a", "value": "1"}, {"name": "x-b"}]}},
             "ttl_ms": 5000}
            """)
        var rule = FaultRule(
            name: "", seed: 0, point: .perAttempt, listener: "outbound", cluster: "shop/leaf",
            chance: 0.1, firstAttempts: 2, abort: .http(503))
        rule.match = .init(
            path: .prefix("/a"), methods: ["GET"],
            headers: [.init(name: "x-a", value: "1"), .init(name: "x-b", value: nil)])
        #expect(order == FaultOrder(rule: rule, ttlMs: 5000))
    }

    @Test func itComesBackAsItWasWritten() throws {
        let rules = [
            FaultRule(
                name: "a", seed: .max, point: .app, chance: 0.25,
                delay: .init(.exponential(mean: .milliseconds(20))), hangs: true),
            FaultRule(name: "b", seed: 1, point: .app, capacity: .init(concurrency: 8, queue: 3)),
            FaultRule(name: "c", seed: 1, point: .serverIngress, trustsHeaders: true),
            FaultRule(
                name: "d", seed: 1, point: .clientEgress, delay: .fixed(.milliseconds(1)),
                abort: .grpc(14), responseRate: 2048),
        ]
        for rule in rules {
            #expect(rule.problem == nil)
            let order = FaultOrder(rule: rule, ttlMs: 7)
            let data = try JSONEncoder().encode(order)
            #expect(try JSONDecoder().decode(FaultOrder.self, from: data) == order)
        }
    }

    @Test(arguments: [
        "", "[]", "{}", "{\"rule\": {}}", "{\"rule\": {\"point\": \"app\"}}",
        "{\"rule\": {\"point\": \"moon\"}, \"ttl_ms\": 1}",
        "{\"rule\": {\"point\": \"app\", \"chanse\": 1}, \"ttl_ms\": 1}",
        "{\"rule\": {\"point\": \"app\"}, \"ttl_ms\": 1, \"more\": 1}",
        "{\"rule\": {\"point\": \"app\"}, \"ttl_ms\": 1.5}",
        "{\"rule\": {\"point\": \"app\"}, \"ttl_ms\": 99999999999999999999}",
        "{\"rule\": {\"point\": \"app\", \"seed\": -1}, \"ttl_ms\": 1}",
        "{\"rule\": {\"point\": \"app\", \"abort\": {}}, \"ttl_ms\": 1}",
        "{\"rule\": {\"point\": \"app\", \"abort\": {\"http\": 1, \"grpc\": 1}}, \"ttl_ms\": 1}",
        "{\"rule\": {\"point\": \"app\", \"abort\": {\"tcp\": 1}}, \"ttl_ms\": 1}",
        "{\"rule\": {\"point\": \"app\", \"match\": {\"verb\": 1}}, \"ttl_ms\": 1}",
    ])
    func whatIsNoOrder(text: String) {
        #expect(throws: (any Error).self) { try decode(text) }
    }

    @Test(arguments: [
        "{\"point\": \"app\"}", "{\"point\": \"per-attempt\", \"chance\": 0.5}",
        "{\"point\": \"app\", \"hangs\": true, \"chance\": 1.1}",
        "{\"point\": \"app\", \"hangs\": true, \"chance\": -0.1}",
        "{\"point\": \"app\", \"hangs\": true, \"first_attempts\": 0}",
        "{\"point\": \"app\", \"hangs\": true, \"cluster\": \"x\"}",
        "{\"point\": \"app\", \"hangs\": true, \"listener\": \"x\"}",
        "{\"point\": \"app\", \"response_rate\": 4096}",
        "{\"point\": \"app\", \"trusts_headers\": true}",
        "{\"point\": \"app\", \"capacity\": {\"concurrency\": 0, \"queue\": 1}}",
        "{\"point\": \"app\", \"capacity\": {\"concurrency\": 1, \"queue\": -1}}",
        "{\"point\": \"app\", \"capacity\": {\"concurrency\": 1, \"queue\": 1}, \"chance\": 0.5}",
        "{\"point\": \"per-attempt\", \"hangs\": true}",
        "{\"point\": \"per-attempt\", \"trusts_headers\": true}",
        "{\"point\": \"per-attempt\", \"abort\": {\"http\": 199}}",
        "{\"point\": \"per-attempt\", \"abort\": {\"http\": 600}}",
        "{\"point\": \"per-attempt\", \"abort\": {\"grpc\": 0}}",
        "{\"point\": \"per-attempt\", \"abort\": {\"grpc\": 17}}",
        "{\"point\": \"per-attempt\", \"response_rate\": 1}",
        "{\"point\": \"server-ingress\", \"abort\": {\"http\": 500}, \"cluster\": \"x\"}",
        "{\"point\": \"server-ingress\", \"abort\": {\"http\": 500}, \"trusts_headers\": true}",
        "{\"point\": \"server-ingress\", \"delay\": {\"law\": {\"pareto\": {\"least\": "
            + "{\"nanoseconds\": 1}, \"shape\": 0}}}}",
        "{\"point\": \"server-ingress\", \"delay\": {\"points\": [{\"quantile\": 0.5, "
            + "\"delay\": {\"nanoseconds\": -1}}]}}",
        "{\"point\": \"server-ingress\", \"delay\": {\"points\": [{\"quantile\": 0.5, "
            + "\"delay\": {\"nanoseconds\": 5}}, {\"quantile\": 0.4, "
            + "\"delay\": {\"nanoseconds\": 6}}]}}",
    ])
    func whatHasAProblem(text: String) throws {
        var rule = try decode("{\"rule\": \(text), \"ttl_ms\": 1}").rule
        rule.name = "a"
        #expect(rule.problem != nil)
    }

    /// What a process compiles is checked before it is held, as files are: it would end by it.
    @Test(arguments: [
        #""path": {"regex": {"_0": "("}}"#, #""path": {"prefix": {"_0": ""}}"#,
        #""path": {"exact": {"_0": "a"}}"#, #""path": {"prefix": {"_0": "/a?b"}}"#,
        #""methods": ["get"]"#, #""methods": [""]"#, #""methods": ["CONNECT"]"#,
        #""headers": [{"name": ""}]"#, #""headers": [{"name": "A"}]"#,
        #""headers": [{"name": "a b"}]"#, #""headers": [{"name": "a", "value": "x\n"}]"#,
        #""headers": [{"name": "a", "test": {"regex": {"_0": "("}}}]"#,
        #""headers": [{"name": "a", "test": {"suffix": {"_0": ""}}}]"#,
        #""headers": [{"name": "a", "test": {"range": {"_0": 2, "_1": 2}}}]"#,
        #""headers": [{"name": "a", "test": {"present": {}}, "isInverted": true}]"#,
    ])
    func whatNoRequestCanBeHeldAgainst(match: String) throws {
        let text =
            "{\"rule\": {\"point\": \"app\", \"hangs\": true, \"match\": {\(match)}}, "
            + "\"ttl_ms\": 1}"
        var rule = try decode(text).rule
        rule.name = "a"
        #expect(rule.problem?.hasPrefix("match: ") == true)
        rule.match = .init()
        #expect(rule.problem == nil)
    }

    @Test(arguments: ["a", "A.b_c-9", String(repeating: "x", count: 64)])
    func names(text: String) { #expect(FaultRule.isName(text)) }

    @Test(arguments: ["", "a b", "ä", "a/b", "a\n", "..\"", String(repeating: "x", count: 65)])
    func noNames(text: String) { #expect(!FaultRule.isName(text)) }
}
