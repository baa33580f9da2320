import Base
import Model
import Scenario
import Support
import Testing

/// Traffic policies in the file of a proxy.
@Suite struct TrafficFormTests {
    /// A file with these keys of its one cluster and of its one route.
    private func file(cluster: String = "", route: String = "") -> String {
        """
        listeners: [{name: in, address: "127.0.0.1:8080"}]
        routes:
          - cluster: app
            \(route)
        clusters:
          - name: app
            endpoints: ["127.0.0.1:9000"]
            \(cluster)

        """
    }

    private func cluster(_ text: String) throws -> ProxyConfiguration.Cluster {
        try ProxyFile.parse(file(cluster: text), file: "f").clusters[0]
    }

    private func route(_ text: String) throws -> ProxyConfiguration.Route {
        try ProxyFile.parse(file(route: text), file: "f").routes[0]
    }

    /// What a policy says where only its least keys are written is what the model says.
    @Test func defaultsAreTheModels() throws {
        let all = try cluster(
            "retry: {on: [5xx]}\n    outlier: {}\n    admission: {}\n    balance: {}")
        #expect(all.retry == RetryPolicy(on: [.serverError]))
        #expect(all.outlier == OutlierPolicy())
        #expect(all.admission == AdmissionPolicy())
        #expect(all.balance == BalancePolicy())
        #expect(try cluster("accrual: {}").accrual == AccrualPolicy())
        #expect(
            try cluster("accrual: {success_rate: {}}").accrual?.successRate
                == AccrualPolicy.SuccessRate(threshold: 80, window: .seconds(10), requests: 5))
        #expect(try cluster("").balance == BalancePolicy())
        #expect(
            try route("rate_limits: [{burst: 9}]").rateLimits == [.init(burst: 9, fill: 1)])
        #expect(try route("priority: high").priority == .high)
        #expect(
            try cluster("retry: {on: [reset], budget: {}}").retry?.budget == .concurrencyStandard)
        #expect(
            try cluster("retry: {on: [reset], budget: {per: 10s}}").retry?.budget == .rateStandard)
    }

    @Test func whatIsSaidArrives() throws {
        let retry = try cluster(
            """
            retry: {on: [5xx, retriable-status-codes], max: 3, statuses: [409], per_try: 200ms, \
            backoff: {base: 10ms, max: 1s}, wait_headers: [{name: Retry-After}], wait_max: 1m, \
            budget: {percent: 12.5, per: 5s, min: 2/s}, previous_hosts: avoid, reselections: 5, \
            non_idempotent: true, body_limit: 1KiB, hedge: true}
            """
        ).retry
        #expect(
            retry
                == RetryPolicy(
                    on: [.serverError, .statuses], most: 3, statuses: [409],
                    perTry: .milliseconds(200),
                    backoff: .init(base: .milliseconds(10), most: .seconds(1)),
                    waitHeaders: [.init(name: "retry-after")], waitMost: .seconds(60),
                    budget: .rate(percent: 12.5, window: .seconds(5), leastPerSecond: 2),
                    avoidsPreviousHosts: true, reselections: 5, includesUnsafe: true,
                    bodyLimit: 1024, hedges: true))
        let outlier = try cluster(
            """
            outlier: {consecutive_5xx: off, consecutive_gateway: 3, consecutive_local: {count: 2, \
            enforcing: 50%}, success_rate: off, failure_percentage: {threshold: 50%}, max: 1m, \
            max_percent: 50, split_local_origin: true, always_eject_one: true, jitter: 3s}
            """
        ).outlier
        #expect(
            outlier
                == OutlierPolicy(
                    consecutive5xx: .init(nil, enforcing: 100),
                    consecutiveGateway: .init(3, enforcing: 100),
                    consecutiveLocal: .init(2, enforcing: 50),
                    successRate: .init(threshold: 1.9, enforcing: 0, volume: 100),
                    failurePercentage: .init(threshold: 50, enforcing: 100, volume: 50),
                    splitsLocalOrigin: true, mostEjection: .seconds(60), jitter: .seconds(3),
                    mostPercent: 50, alwaysEjectsOne: true))
        let balance = try cluster(
            "balance: {algorithm: maglev, hash: [{header: X-User}, {cookie: Id}, source], "
                + "table_size: 7, panic: 0%, subsets: [{label: version, header: x-version}]}"
        ).balance
        #expect(
            balance
                == BalancePolicy(
                    .maglev, hash: [.header("x-user"), .cookie("Id"), .source], tableSize: 7,
                    panicThreshold: 0, subsets: [.init(label: "version", header: "x-version")]))
        #expect(try cluster("balance: peak-ewma").balance == BalancePolicy(.peakEWMA))
    }

    @Test func endpointsSayWhereTheyAre() throws {
        let text = file().replacing(
            "[\"127.0.0.1:9000\"]",
            with: """
                [{address: "127.0.0.1:9000", zone: a, level: 1, labels: {v: "2"}, healthy: false}]
                """)
        let read = try ProxyFile.parse("zone: a\n" + text, file: "f")
        var endpoint = ProxyConfiguration.Endpoint("127.0.0.1:9000")
        (endpoint.zone, endpoint.level, endpoint.labels) = ("a", 1, ["v": "2"])
        endpoint.isHealthy = false
        #expect(read.clusters[0].endpoints == [endpoint])
        #expect(read.zone == "a")
        #expect(try ProxyFile.parse(ProxyFile.text(read), file: "f") == read)
    }

    @Test(
        arguments: [
            ("retry: {}", "8:12: the key 'on' is missing"),
            (
                "retry: {on: [6xx]}",
                "8:18: unknown word '6xx'; did you mean '5xx'?"
            ),
            (
                "retry: {on: [retriable-status-codes]}",
                "8:18: 'retriable-status-codes' never holds: `statuses` is missing"
            ),
            (
                "retry: {on: [5xx], statuses: [409]}",
                "8:34: has no meaning: `on` does not have 'retriable-status-codes'"
            ),
            (
                "retry: {on: [5xx], headers: {x: y}}",
                "8:33: has no meaning: `on` does not have 'retriable-headers'"
            ),
            (
                "retry: {on: [5xx], budget: {percent: 0, min: 0}}",
                "8:32: a budget of nothing: nothing is ever sent again"
            ),
            (
                "retry: {on: [5xx], budget: {min: 3/s}}",
                "8:38: a number of retries in flight is needed; a rate is, with `per`"
            ),
            (
                "retry: {on: [5xx], budget: {per: 10s, min: 3}}",
                "8:48: with `per` a rate such as 10/s is needed"
            ),
            (
                "retry: {on: [5xx], hedge: true}",
                "8:31: hedging begins when `per_try` has passed, which is missing"
            ),
            (
                "retry: {on: [5xx], reselections: 2}",
                "8:38: has no meaning without `previous_hosts: avoid`"
            ),
            (
                "retry: {on: [5xx], backoff: {base: 1s}}",
                "8:33: the longest wait is shorter than the first, `base`"
            ),
            (
                "retry: {on: [5xx], max: 101}",
                "8:29: '101' is more than 100, the most allowed here"
            ),
            (
                "outlier: {max_percent: 101}",
                "8:28: '101' is more than 100, the most allowed here"
            ),
            (
                "outlier: {max_percent: 10%}",
                "8:28: a number is needed, not '10%'"
            ),
            (
                "outlier: {max_percent: 0.00001}",
                "8:28: '0.00001' has more than four digits after the point"
            ),
            (
                "outlier: {success_rate: {factor: -1}}",
                "8:38: a number is needed, not '-1'"
            ),
            (
                "outlier: {failure_percentage: {threshold: 85}}",
                "8:47: a share such as 0.5% is needed: '85' has no unit"
            ),
            (
                "{outlier: {}, accrual: {}}",
                "9:5: 'accrual' has no meaning beside 'outlier'"
            ),
            (
                "accrual: {min_penalty: 2m}",
                "8:14: the longest wait is shorter than `min_penalty`"
            ),
            (
                "accrual: {success_rate: {threshold: 0%}}",
                "8:41: no success is rare enough: nothing is ever shut out"
            ),
            (
                "admission: {threshold: 0%}",
                "8:28: no success is rare enough: nothing is ever turned away"
            ),
            (
                "balance: ring-hash",
                "8:14: 'ring-hash' without `hash`: every request would go by chance"
            ),
            (
                "balance: {hash: [source]}",
                "8:21: has no meaning with 'round-robin'"
            ),
            (
                "balance: {algorithm: maglev, hash: [source], table_size: 65536}",
                "8:62: 65536 is no prime"
            ),
            (
                "balance: {algorithm: ring-hash, hash: [source, {}]}",
                "8:52: the key 'header' or 'cookie' is missing"
            ),
            (
                "balance: round-robbin",
                "8:14: unknown word 'round-robbin'; did you mean 'round-robin'?"
            ),
        ] as [(String, String)])
    func wrongClusters(text: String, error: String) {
        let inner =
            text.hasPrefix("{")
            ? String(text.dropFirst().dropLast()).replacing(", ", with: "\n    ") : text
        #expect(errors(file(cluster: inner)) == [error])
    }

    @Test(
        arguments: [
            ("rate_limits: [{}]", "4:19: the key 'burst' is missing"),
            (
                "rate_limits: [{burst: 0}]",
                "4:27: '0' is less than 1, the least allowed here"
            ),
            (
                "rate_limits: [{burst: 5, fill: 6}]",
                "4:36: more tokens at once than the bucket holds, 5"
            ),
            (
                "rate_limits: [{burst: 5, per: identiy}]",
                "4:35: unknown word 'identiy'; did you mean 'identity'?"
            ),
            ("priority: low", "4:15: unknown word 'low' (known: standard, high)"),
        ] as [(String, String)])
    func wrongRoutes(text: String, error: String) {
        #expect(errors(file(route: text)) == [error])
    }

    private func errors(_ text: String) -> [String] {
        do throws(ScenarioError) {
            _ = try ProxyFile.parse(text, file: "f")
            return []
        } catch {
            return error.description.split(separator: "\n").map { String($0.dropFirst(2)) }
        }
    }
}

/// Writes and reads random policies in proxies' files, all from one seed.
func fuzzTrafficValues(_ budget: FuzzBudget) throws {
    var random = SeededRandom(seed: budget.seed)
    for step in 0..<budget.steps {
        var configuration = ProxyConfiguration(
            listeners: [.init(name: "in", address: "127.0.0.1:1")],
            routes: [.init(cluster: "app")],
            clusters: [
                .init(name: "app", endpoints: ["127.0.0.1:1"]),
                .init(name: "limits", endpoints: ["127.0.0.1:2"], speech: .http2),
            ])
        configuration.listeners[0].globalRateLimit = random.maybe { $0.globalRateLimit("limits") }
        configuration.routes[0].globalRateLimit = random.maybe { $0.globalRateLimit("limits") }
        configuration.zone = random.maybe { $0.label() }
        configuration.routes[0].retry = random.maybe { $0.retry() }
        configuration.routes[0].priority = random.one(of: Priority.allCases)
        configuration.routes[0].rateLimits = random.rateLimits()
        configuration.clusters[0].balance = random.balance()
        if random.below(2) == 0 {
            configuration.clusters[0].outlier = random.outlier()
        } else {
            configuration.clusters[0].accrual = random.accrual()
        }
        configuration.clusters[0].retry = random.maybe { $0.retry() }
        configuration.clusters[0].admission = random.maybe { $0.admission() }
        configuration.clusters[0].endpoints[0].labels = random.labels()
        configuration.clusters[0].endpoints[0].level = random.count(TrafficLimits.levels)
        let text = ProxyFile.text(configuration)
        let again = "at step \(step). Again: \(budget.rerun("TrafficValueFuzz"))"
        do throws(ScenarioError) {
            #expect(try ProxyFile.parse(text, file: "f") == configuration, "\(again)\n\(text)")
        } catch {
            Issue.record("\(error.description)\n\(again)\n\(text)")
        }
    }
}

@Suite struct TrafficValueFuzzTests {
    @Test func randomPolicies() throws { try fuzzTrafficValues(.current(steps: 400)) }
}
