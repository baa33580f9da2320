import Base
import Fault
import Glibc
import Model
import Runtime
import Testing
import Wire

/// Decides on one request as the workload would.
private func decide(
    _ target: String, fields: String = "", behaviour: AppBehaviour = .init(), seed: UInt64 = 1
) throws -> AppPlan {
    var head = Head(limits: HeadLimits())
    let text = Array("GET \(target) HTTP/1.1\r\nhost: a\r\n\(fields)\r\n".utf8)
    let decider = AppDecider(behaviour)
    var random = SeededRandom(seed: seed)
    return try text.withBytes { bytes in
        Result<AppPlan, AppRefusal> { () throws(AppRefusal) in
            #expect(head.parseRequest(bytes) == .complete)
            return try decider.decide(head, bytes, &random)
        }
    }.get()
}

@Suite struct AppPlanTests {
    @Test func withoutOverridesTheBehaviourHolds() throws {
        let behaviour = AppBehaviour(
            size: 7, delay: .fixed(.milliseconds(5)), burn: .microseconds(9), chunked: true)
        let plan = try decide("/any?unknown=1&x", fields: "x-other: 1\r\n", behaviour: behaviour)
        #expect(plan.page == .body)
        #expect(plan.status == 200)
        #expect(plan.size == 7)
        #expect(plan.delay == .milliseconds(5))
        #expect(plan.burn == .microseconds(9))
        #expect(plan.chunked)
        #expect(!plan.close)
        #expect(plan.attempt == 0)
    }

    @Test func theQueryOverrides() throws {
        let plan = try decide("/?size=16KiB&delay=10ms&status=503&chunked=1&burn=1ms&close=1")
        #expect(plan.size == 16384)
        #expect(plan.delay == .milliseconds(10))
        #expect(plan.status == 503)
        #expect(plan.chunked && plan.close)
        #expect(plan.burn == .milliseconds(1))
    }

    @Test func aFieldOverridesTheQuery() throws {
        let plan = try decide(
            "/?size=1&status=201", fields: "X-App-Size: 2\r\nx-app-chunked:1\r\n")
        #expect(plan.size == 2)
        #expect(plan.status == 201)
        #expect(plan.chunked)
    }

    @Test(arguments: [("1", 1), ("3", 3), ("x", 0), ("", 0)])
    func attemptsAreRead(value: String, attempt: Int) throws {
        let plan = try decide("/", fields: "x-envoy-attempt-count: \(value)\r\n")
        #expect(plan.attempt == attempt)
    }

    @Test(arguments: [
        ("size=", AppRefusal.size), ("size=1XB", .size), ("size=2TiB", .size), ("delay=5", .delay),
        ("delay=2h", .delay), ("burn=61s", .burn), ("burn=-1ms", .burn), ("status=99", .status),
        ("status=600", .status), ("status=abc", .status), ("chunked=yes", .flag),
        ("close", .flag),
    ])
    func whatCannotBeIsRefused(query: String, refusal: AppRefusal) {
        #expect(throws: refusal) { _ = try decide("/?\(query)") }
        let pair = query.split(separator: "=", omittingEmptySubsequences: false)
        #expect(throws: refusal) {
            _ = try decide("/", fields: "x-app-\(pair[0]): \(pair.dropFirst().joined())\r\n")
        }
    }

    @Test(arguments: [
        ("/echo", AppPlan.Page.echo), ("/echo?x=1", .echo), ("/echoes", .body),
        ("/healthz", .health), ("/app/stats", .stats), ("/app/stall?for=1s", .stall),
        ("/app/stats/next", .nextStats), ("/app/stats/last", .body),
        ("/", .body), ("/app", .body),
    ])
    func pages(target: String, page: AppPlan.Page) throws {
        #expect(try decide(target).page == page)
    }

    @Test func stalls() throws {
        #expect(try decide("/app/stall?for=250ms").delay == .milliseconds(250))
        #expect(throws: AppRefusal.stall) { _ = try decide("/app/stall") }
        #expect(throws: AppRefusal.stall) { _ = try decide("/app/stall?for=61s") }
    }

    @Test func statusesComeInTheirShares() throws {
        let behaviour = AppBehaviour(
            statuses: [.init(status: 503, share: 0.1), .init(status: 404, share: 0.2)])
        let decider = AppDecider(behaviour)
        var random = SeededRandom(seed: 7)
        var head = Head(limits: HeadLimits())
        var counts: [Int: Int] = [:]
        let total = 20_000
        try Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8).withBytes { bytes in
            Result<Void, AppRefusal> { () throws(AppRefusal) in
                _ = head.parseRequest(bytes)
                for _ in 0..<total {
                    counts[try decider.decide(head, bytes, &random).status, default: 0] += 1
                }
            }
        }.get()
        // Five standard deviations of a binomial count: sqrt(n p (1 - p)).
        for (status, share) in [(503, 0.1), (404, 0.2), (200, 0.7)] {
            let expected = Double(total) * share
            let deviation = (expected * (1 - share)).squareRoot()
            #expect(abs(Double(counts[status] ?? 0) - expected) < 5 * deviation)
        }
        #expect(counts.count == 3)
    }

    @Test func theSameSeedDecidesTheSame() throws {
        let behaviour = AppBehaviour(
            delay: .init(points: [
                .init(quantile: 0, delay: .zero), .init(quantile: 1, delay: .seconds(1)),
            ]))
        let a = try decide("/", behaviour: behaviour, seed: 3)
        #expect(try decide("/", behaviour: behaviour, seed: 3) == a)
        #expect(try decide("/", behaviour: behaviour, seed: 4) != a)
    }
}

@Suite struct AppQuantityTests {
    private func bytes<R>(_ text: String, _ body: (Bytes) -> R) -> R {
        Array(text.utf8).withBytes(body)
    }

    @Test(arguments: [
        ("0", 0), ("100", 100), ("1B", 1), ("16KiB", 16384), ("1.5MiB", 1_572_864), ("2kB", 2000),
        ("1GB", 1_000_000_000), ("1TiB", 1 << 40), ("0.5KiB", 512), ("1.9999B", 1),
        ("", nil), ("KiB", nil), ("1.KiB", nil), (".5KiB", nil), ("1..5KiB", nil), ("1 KiB", nil),
        ("-1", nil), ("+1", nil), ("1kib", nil), ("9999999TiB", nil), ("1234567890123456", nil),
    ])
    func sizes(text: String, size: Int?) {
        #expect(bytes(text, AppQuantity.size) == size)
    }

    @Test(arguments: [
        ("0", 0), ("100ns", 100), ("250us", 250_000), ("10ms", 10_000_000),
        ("1.5s", 1_500_000_000), ("2m", 120_000_000_000), ("1h", 3_600_000_000_000),
        ("0.001ms", 1000), ("5", nil), ("ms", nil), ("1e3s", nil), ("1sec", nil),
    ])
    func durations(text: String, nanoseconds: Int64?) {
        #expect(bytes(text, AppQuantity.duration)?.nanoseconds == nanoseconds)
    }

    @Test(arguments: [("0", 0), ("42", 42), ("", nil), ("4x", nil), ("9999999999999999999", nil)])
    func integers(text: String, value: Int?) {
        #expect(bytes(text, AppQuantity.integer) == value)
    }
}

@Suite struct DelaySamplerTests {
    private let points: [(Double, Int64)] = [(0.5, 1_000_000), (0.99, 5_000_000)]

    private func sampler(_ points: [(Double, Int64)]) -> DelaySampler {
        DelaySampler(
            DelayDistribution(
                points: points.map { .init(quantile: $0.0, delay: .nanoseconds($0.1)) }))
    }

    @Test(arguments: [
        (0.0, 1_000_000), (0.5, 1_000_000), (0.99, 5_000_000), (1.0, 5_000_000),
        // Half way in probability is the geometric mean in time.
        (0.745, 2_236_068),
    ])
    func theCurveGoesThroughItsPoints(quantile: Double, nanoseconds: Int64) {
        #expect(sampler(points).delay(at: quantile).nanoseconds == nanoseconds)
    }

    @Test func fromZeroItIsLinear() {
        let sampler = sampler([(0, 0), (1, 1000)])
        #expect(sampler.delay(at: 0.25).nanoseconds == 250)
    }

    @Test func aFixedDelayDrawsNothing() {
        var random = SeededRandom(seed: 1)
        var untouched = random
        #expect(sampler([(0.5, 77)]).next(&random).nanoseconds == 77)
        #expect(sampler([]).next(&random) == .zero)
        #expect(random.next() == untouched.next())
    }

    @Test func drawsFollowTheDistribution() {
        let sampler = sampler(points)
        var random = SeededRandom(seed: 11)
        let total = 20_000
        var draws = (0..<total).map { _ in sampler.next(&random).nanoseconds }
        draws.sort()
        // The rank of a quantile q has a standard deviation of sqrt(n q (1 - q)).
        for (quantile, nanoseconds) in [(0.745, 2_236_068.0), (0.9, 3_720_000.0)] {
            let slack = 5 * (Double(total) * quantile * (1 - quantile)).squareRoot()
            let rank = Double(total) * quantile
            let exact = Double(sampler.delay(at: quantile).nanoseconds)
            #expect(abs(exact - nanoseconds) < 0.01 * nanoseconds)
            #expect(Double(draws[Int(rank - slack)]) <= exact)
            #expect(Double(draws[Int(rank + slack)]) >= exact)
        }
    }
}
