import Model
import Scenario
import Testing

@Suite struct ExpectationTests {
    private static let flags = ResponseFlag.allCases.map(\.rawValue).joined(separator: ", ")
    private let base =
        minimal.replacing(
            "- name: base", with: "- {name: warm-1, for: 1s, measure: false}\n  - name: base-1")

    private func parse(_ line: String) throws -> Model.Expectation {
        let random = base.replacing("rate: 100/s", with: "rate: 100/s\n    arrivals: poisson")
        let file = try scenario(random + "expect:\n  - >-\n    \(line)\n")
        return try #require(file.experiment.expectations.first)
    }

    /// Queues are not filled by an even stream as theory says.
    @Test(arguments: ["erlang_b(10, 20)", "100% - mmck(10, 20, 9)"])
    func queuesAreOfRandomArrivals(theory: String) {
        let line = "expect: [\"share(flag = UO) = \(theory)\"]\n"
        let name = theory.contains("mmck") ? "mmck" : "erlang_b"
        #expect(
            errors(minimal + line) == [
                "11:10: \(name) is of requests that come at random, and no load of this scenario "
                    + "is of them: arrivals: poisson"
            ])
        let bucket = "expect: [\"share(flag = RL) = token_bucket(100/s, 50/s, 10, 10s)\"]\n"
        #expect(errors(minimal + bucket) == [])
    }

    @Test(
        arguments: [
            (
                "p99(response) < 5ms", .metric(.percentile(0.99, .response)), .less,
                .literal(5e6, .time)
            ),
            (
                "p99.9(lag) <= 1.5us", .metric(.percentile(0.999, .lag)), .lessOrEqual,
                .literal(1500, .time)
            ),
            (
                "p50(first_byte)>1ns", .metric(.percentile(0.5, .firstByte)), .greater,
                .literal(1, .time)
            ),
            (
                "min(connect) >= 0s", .metric(.percentile(0, .connect)), .greaterOrEqual,
                .literal(0, .time)
            ),
            ("max(service) < 1s", .metric(.percentile(1, .service)), .less, .literal(1e9, .time)),
            ("mean(response) < 1s", .metric(.mean(.response)), .less, .literal(1e9, .time)),
            ("rate(achieved) > 10/s", .metric(.achievedRate), .greater, .literal(10, .rate)),
            (
                "share(status = 503) < 1%", .metric(.shareOfStatus(503)), .less,
                .literal(0.01, .share)
            ),
            ("share(flag=UO) < 1%", .metric(.shareOfFlag(.UO)), .less, .literal(0.01, .share)),
            (
                "share(outcome = error) = 0%", .metric(.shareOfOutcome(.error)), .equal,
                .literal(0, .share)
            ),
            (
                "cpu_per_1000rps(proxies) < 60m", .metric(.cpuPer1000(.proxies)), .less,
                .literal(0.06, .cores)
            ),
            ("cpu(all) < 1.5cores", .metric(.cpu(.all)), .less, .literal(1.5, .cores)),
            ("memory(apps) < 8MiB", .metric(.memory(.apps)), .less, .literal(8_388_608, .bytes)),
            (
                "overhead(p99(response)) > -1ms", .metric(.overhead(.percentile(0.99, .response))),
                .greater, .literal(-1e6, .time)
            ),
            (
                "5ms > p99(response)", .literal(5e6, .time), .greater,
                .metric(.percentile(0.99, .response))
            ),
        ] as [(String, Term, Model.Expectation.Comparison, Term)])
    func comparisons(
        line: String, left: Term, comparison: Model.Expectation.Comparison, right: Term
    ) throws {
        let expectation = try parse(line)
        #expect(expectation.left == left)
        #expect(expectation.comparison == comparison)
        #expect(expectation.right == right)
        #expect(expectation.source == line)
        #expect(expectation.tolerance == nil && expectation.phase == nil && expectation.arm == nil)
    }

    @Test(
        arguments: [
            ("p99(response) = 5ms ± 1ms", .absolute(1e6)),
            ("p99(response) = 5ms +- 1ms", .absolute(1e6)),
            ("p99(response) = 5ms+/-5%", .relative(0.05)),
            ("share(outcome = error) = 10% ± 1.5pp", .absolute(0.015)),
            ("rate(achieved) / rate(offered) = 100% ± 1pp", .absolute(0.01)),
        ] as [(String, Model.Expectation.Tolerance)])
    func tolerances(line: String, tolerance: Model.Expectation.Tolerance) throws {
        #expect(try parse(line).tolerance == tolerance)
    }

    @Test func phasesAndArms() throws {
        let both = try parse("p99(response) < 5ms during base-1 on direct")
        #expect(both.phase == "base-1" && both.arm == .direct)
        let arm = try parse("p99(response) < 5ms on mesh")
        #expect(arm.phase == nil && arm.arm == .mesh)
    }

    @Test func timesBindTighterThanPlus() throws {
        let p50 = Term.metric(.percentile(0.5, .response))
        let p99 = Term.metric(.percentile(0.99, .response))
        #expect(
            try parse("p99(response) < 1ms + 2 * p50(response)").right
                == .sum(.literal(1e6, .time), .product(.literal(2, .one), p50)))
        #expect(
            try parse("p99(response) - p50(response) - 1ms < 1ms").left
                == .difference(.difference(p99, p50), .literal(1e6, .time)))
        #expect(
            try parse("(p99(response) - p50(response)) / 2 < 1ms").left
                == .quotient(.difference(p99, p50), .literal(2, .one)))
        #expect(try parse("p99(response) / p50(response) < 3").right == .literal(3, .one))
        #expect(
            try parse("rate(achieved) = 10/s * 2 ± 1%").right
                == .product(.literal(10, .rate), .literal(2, .one)))
        #expect(
            try parse("rate(achieved)/2 < 10/s").left
                == .quotient(.metric(.achievedRate), .literal(2, .one)))
    }

    @Test func erlangB() throws {
        #expect(
            try parse("share(flag = UO) = erlang_b(servers = 10, load = 20) ± 1.5pp").right
                == .erlangB(servers: .literal(10, .one), load: .literal(20, .one)))
    }

    @Test(
        arguments: [
            (
                "share(flag = UO) = mmck(servers = 10, capacity = 20, load = 9)", .mmck,
                [.literal(10, .one), .literal(20, .one), .literal(9, .one)]
            ),
            ("share(flag = FI) = binomial(10%)", .binomial, [.literal(0.1, .share)]),
            (
                "share(status = 429) = token_bucket(200/s, 100/s, 100, duration = 10s)",
                .tokenBucket,
                [
                    .literal(200, .rate), .literal(100, .rate), .literal(100, .one),
                    .literal(10e9, .time), .literal(0, .time),
                ]
            ),
            (
                "share(outcome = ok) = retry_success(n = 2, p = 30%)", .retrySuccess,
                [.literal(0.3, .share), .literal(2, .one)]
            ),
            (
                "rate(achieved) / rate(offered) = retry_attempts(0.3, 2)", .retryAttempts,
                [.literal(0.3, .one), .literal(2, .one)]
            ),
            (
                "p50(service) = backoff(n = 2, q = 50%)", .backoff,
                [
                    .literal(2, .one), .literal(0.5, .share), .literal(25e6, .time),
                    .literal(250e6, .time),
                ]
            ),
            (
                "rate(achieved) / rate(offered) = ejection_errors(5, 20s, base = 3s)",
                .ejectionErrors,
                [
                    .literal(5, .one), .literal(20e9, .time), .literal(1, .one),
                    .literal(3e9, .time), .literal(300e9, .time), .literal(10e9, .time),
                ]
            ),
        ] as [(String, Theory, [Term])])
    func theory(line: String, theory: Theory, arguments: [Term]) throws {
        let expectation = try parse(line)
        #expect(expectation.right == .theory(theory, arguments))
        #expect(expectation.tolerance == nil)
        #expect(expectation.isByTheory)
    }

    @Test func aNeedIsOfTheInterval() throws {
        let line = "share(flag = UO) = 1 * erlang_b(10, 20) within 2pp during base-1"
        #expect(try parse(line).need == .absolute(0.02))
        #expect(try parse(line).phase == "base-1")
        #expect(try parse("share(flag = UO) = binomial(5%) within 10%").need == .relative(0.1))
    }

    @Test(
        arguments: [
            ("count(status = 500) < 30", .count(.shareOfStatus(500))),
            ("rate(goodput) > 10/s", .goodput),
            ("requests(echo) > 5", .requests(service: "echo", replica: nil)),
            ("requests(echo/0) > 5", .requests(service: "echo", replica: 0)),
            ("retries(echo) < 5", .retries(service: "echo")),
            ("concurrency(echo) <= 10", .concurrency(service: "echo")),
            ("workload(deadline_ms, echo) > 1", .workload(.deadlineMs, service: "echo")),
            ("p99(response, main) < 5ms", .ofLoad(.percentile(0.99, .response), "main")),
            (
                "share(outcome = ok, main) > 5%", .ofLoad(.shareOfOutcome(.ok), "main")
            ),
            ("edge(load-main -> echo) > 5", .edge(from: "load-main", to: "echo")),
            ("edge(echo->echo) > 5", .edge(from: "echo", to: "echo")),
            ("attempts(mean) < 1.5", .attempts),
            ("ejections(echo) = 0 ± 1", .ejections(service: "echo", replica: nil)),
            ("ejections(echo/0) >= 1", .ejections(service: "echo", replica: 0)),
            ("worst_second(rate(goodput)) > 10/s", .worstSecond(.goodput)),
            ("worst_second(share(outcome = error)) < 5%", .worstSecond(.shareOfOutcome(.error))),
            ("worst_second(p99(response)) < 5ms", .worstSecond(.percentile(0.99, .response))),
            ("counter(requests_total) > 1", .counter("requests_total", service: nil)),
            (
                "counter(requests_total, load-main) > 1",
                .counter("requests_total", service: "load-main")
            ),
            (
                "time_to(goodput >= 99% of base-1) < 5s after warm-1",
                .timeTo(share: 0.99, of: "base-1")
            ),
        ] as [(String, Metric)])
    func evidence(line: String, metric: Metric) throws {
        let expectation = try parse(line)
        #expect(expectation.left == .metric(metric))
        if metric.isOfTime { #expect(expectation.phase == "warm-1") }
    }

    /// Columns count from the beginning of the line.
    @Test(
        arguments: [
            (
                "",
                """
                1: a number or a function such as p99(response) is expected, not the end of the \
                line
                """
            ),
            (
                "p99(response)",
                "14: a comparison (<, <=, >, >=, =) is expected, not the end of the line"
            ),
            (
                "p99(response) < ",
                """
                17: a number or a function such as p99(response) is expected, not the end of the \
                line
                """
            ),
            ("p99(respons) < 5ms", "5: unknown word 'respons'; did you mean 'response'?"),
            (
                "p99(p50) < 5ms",
                "5: unknown word 'p50' (known: response, service, lag, connect, first_byte, "
                    + "config_push)"
            ),
            ("p99 response < 5ms", "5: '(' is expected, not 'response'"),
            ("p99(response < 5ms", "14: ')' is expected, not '<'"),
            ("q99(response) < 5ms", "1: unknown function 'q99'; did you mean 'p99'?"),
            ("p100(response) < 5ms", "1: unknown function 'p100'"),
            ("shar(outcome = ok) < 5%", "1: unknown function 'shar'; did you mean 'share'?"),
            ("share(outcom = ok) < 5%", "7: unknown word 'outcom'; did you mean 'outcome'?"),
            ("share(outcome = eror) < 5%", "17: unknown word 'eror'; did you mean 'error'?"),
            (
                "share(flag = XX) < 5%",
                "14: unknown word \'XX\' (known: \(flags))"
            ),
            ("share(status = 5xx) < 5%", "16: '5' is no status from 100 to 599"),
            ("share(status = 600) < 5%", "16: '600' is no status from 100 to 599"),
            (
                "cpu(proxy) < 5m",
                "5: unknown word 'proxy' (known: proxies, apps, load, control, all)"
            ),
            (
                "p99(response) < 5",
                """
                17: a time cannot be compared with a plain number: the number needs its unit, \
                such as 5ms
                """
            ),
            ("p99(response) < 3%", "17: a time cannot be compared with a share"),
            (
                "p99(response) < 1m",
                """
                17: a time cannot be compared with CPU: 'm' is a thousandth of a core here, 60s \
                is a minute
                """
            ),
            (
                "cpu(proxies) < 60",
                """
                16: CPU cannot be compared with a plain number: the number needs its unit, such \
                as 60m
                """
            ),
            (
                "share(outcome = ok) > 0.9",
                """
                23: a share cannot be compared with a plain number: the number needs its unit, \
                such as 1%
                """
            ),
            ("p99(response) < 5mss", "18: unknown unit 'mss'; did you mean 'ms'?"),
            (
                "p99(response) < 5pp",
                "18: unknown unit 'pp': percentage points are for tolerances (±)"
            ),
            ("p99(response) + 3% < 5ms", "17: a share cannot be added to a time"),
            ("p99(response) * p50(response) < 5ms", "17: a time times a time has no meaning here"),
            ("1 / p99(response) < 5ms", "5: a plain number over a time has no meaning here"),
            ("p99(response) == 5ms", "15: equality is written with one '='"),
            (
                "p99(response) = 5ms",
                "20: '=' needs a tolerance, as in ± 5%: no measured value is exact"
            ),
            ("p99(response) < 5ms ± 1ms", "21: a tolerance goes with '=' only"),
            (
                "p99(response) = 5ms ± 1pp",
                "23: 'pp' (percentage points) is for shares, not for a time"
            ),
            ("p99(response) = 5ms ± 1/s", "23: a tolerance of a rate on a time"),
            ("p99(response) = 5ms ± fast", "23: a number with its unit is expected, not 'fast'"),
            (
                "p99(response) < 5ms during bass-1",
                "28: unknown phase 'bass-1'; did you mean 'base-1'?"
            ),
            (
                "p99(response) < 5ms during warm-1",
                "28: the phase 'warm-1' is not measured (measure: false)"
            ),
            ("p99(response) < 5ms on mess", "24: unknown arm 'mess'; did you mean 'mesh'?"),
            (
                "p99(response) < 5ms durng base-1",
                """
                21: 'during', 'on' or the end of the line is expected, not 'durng'; did you mean \
                'during'?
                """
            ),
            (
                "p99(response) < 5ms on mesh during base-1",
                "29: 'during', 'on' or the end of the line is expected, not 'during'"
            ),
            (
                "overhead(overhead(p99(response))) < 5ms",
                "10: overhead(…) is of a value of one arm, not of another difference"
            ),
            ("overhead(5ms) < 5ms", "10: a function such as p99(response) is expected, not '5ms'"),
            (
                "overhead(p99(response)) < 5ms on direct",
                "34: overhead(…) is of an arm less 'direct': 'on direct' has no meaning"
            ),
            ("1ms < 2ms", "1: nothing measured is compared here"),
            (
                "share(flag = UO) = erlang_b(servers = 1.5, load = 2) ± 1pp",
                "39: servers is a whole number from 1 to 100000"
            ),
            (
                "share(flag = UO) = erlang_b(serves = 1, load = 2) ± 1pp",
                "29: 'servers =', 'load =' is expected, not 'serves'; did you mean 'servers'?"
            ),
            (
                "share(flag = UO) = erlang_b(servers = 5ms, load = 2) ± 1pp",
                "39: servers is a plain number, not a time"
            ),
            ("share(flag = UO) = binomial(110%)", "29: p is a share from 0% to 100%"),
            ("share(flag = UO) = binomial()", "29: 'p =' is missing in binomial(…)"),
            ("share(flag = UO) = binomial(1%, 2%)", "33: ')' is expected, not '2'"),
            ("share(flag = UO) = binomial(1%, p = 2%)", "33: p is there twice"),
            (
                "share(flag = UO) = mmck(servers = 10, capacity = 5, load = 9)",
                "35: the capacity counts those in service too: it is no less than servers"
            ),
            (
                "share(flag = UO) = token_bucket(200, 100/s, 10, 10s)",
                "33: rate is a rate, not a plain number"
            ),
            (
                "share(flag = UO) = erlang_bee(servers = 1, load = 2)",
                "20: unknown function 'erlang_bee'; did you mean 'erlang_b'?"
            ),
            (
                "share(flag = UO) < erlang_b(1, 2) within 1pp",
                "35: 'within' goes with '=' and theory, such as erlang_b(…), without a ±"
            ),
            (
                "share(flag = UO) = 3% ± 1pp within 1pp",
                "29: 'within' goes with '=' and theory, such as erlang_b(…), without a ±"
            ),
            ("requests(ecko) > 1", "10: unknown service 'ecko'; did you mean 'echo'?"),
            ("requests(echo/1) > 1", "16: a replica of 'echo' from 0 to 0 is expected, not ')'"),
            (
                "counter(requests_total, main) > 1",
                "25: unknown service 'main'"
            ),
            (
                "time_to(goodput >= 99% of base-1) < 5s during base-1",
                "40: 'after' and the name of a phase is expected, not 'during'"
            ),
            (
                "time_to(goodput >= 99% of base-1) < 5s after base-1",
                "46: nothing comes after 'base-1', the last phase"
            ),
            (
                "time_to(goodput >= 99 of base-1) < 5s after warm-1",
                "20: a share such as 99% is needed"
            ),
            ("time_to(latency >= 99% of base-1) < 5s", "9: 'goodput' is expected, not 'latency'"),
            ("p99(response) < 5..5ms", "17: '5..5' is no number"),
            ("p99(response) < 99999999999999999999ms", "17: '99999999999999999999' is no number"),
        ] as [(String, String)])
    func wrongLines(line: String, error: String) {
        let text = base + "expect:\n- \"\(line)\"\n"
        let place = "13:\(4 - 1 + (Int(error.prefix { $0 != ":" }) ?? 0))"
        let message = error.drop { $0 != ":" }
        #expect(errors(text) == [place + message])
    }

    @Test func overheadNeedsBothArms() {
        let text = base + "arms: [mesh]\nexpect: [overhead(p99(response)) < 1ms]\n"
        #expect(errors(text) == ["13:10: overhead(…) needs two arms, such as arms: [direct, mesh]"])
    }

    @Test func nestingIsBounded() {
        let deep = String(repeating: "(", count: 200) + "p99(response) < 1ms"
        #expect(
            errors(base + "expect: [\"\(deep)\"]\n").first?.hasSuffix(
                "nested deeper than 32 levels") == true)
        let long = String(repeating: " ", count: 600)
        #expect(
            errors(base + "expect: [\"p99(response)\(long)< 1ms\"]\n").first?.hasSuffix(
                "longer than 500 characters") == true)
    }

    /// Where the text does not stand in the file as it is, the error is at the scalar's beginning.
    @Test func foldedLinesAndVariablesPointAtTheirBeginning() {
        #expect(
            errors(base + "expect:\n  - >-\n    p99(response)\n    < 5\n").first?.hasPrefix(
                "13:5: ") == true)
        #expect(
            errors(base + "vars: {limit: '5'}\nexpect:\n  - p99(response) < ${limit}\n").first?
                .hasPrefix("14:5: ") == true)
    }
}
