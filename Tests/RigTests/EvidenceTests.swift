import Base
import Glibc
import LoadCore
import Model
import Posix
import Report
import Stats
import Testing

@testable import Rig

/// What processes count themselves, and how a run goes on after a phase.
@Suite struct EvidenceTests {
    @Test func aWorkloadTellsRequestsAttemptsAndHowManyAtOnce() throws {
        let body = """
            {"name":"echo/0","requests":12,"refused":0,"concurrency":{"now":1,"max":7},\
            "attempts":{"1":8,"2":3,"3":1},"status":{"200":10,"503":2},\
            "wasted":3,"deadlines":4,"deadline_ms":900,"grpc":{"cancelled":0,"status":{}}}

            """
        let reading = try #require(EvidenceReading(application: Array(body.utf8)))
        #expect(reading.counts["requests"] == 12)
        #expect(reading.counts["retries"] == 4)
        #expect(reading.counts["answers{status=\"503\"}"] == 2)
        #expect(reading.counts["wasted"] == 3 && reading.counts["deadline_ms"] == 900)
        #expect(reading.peaks["concurrency"] == 7)
        #expect(EvidenceReading(application: Array("no".utf8)) == nil)
    }

    @Test func aProxyTellsItsCounters() throws {
        let body = """
            # TYPE meshbench_proxy_requests_total counter
            meshbench_proxy_requests_total 120
            # TYPE meshbench_proxy_upstream_connections gauge
            meshbench_proxy_upstream_connections 3
            # TYPE meshbench_proxy_response_flags_total counter
            meshbench_proxy_response_flags_total{flag="UO"} 5
            meshbench_proxy_response_flags_total{flag="UH"} 1

            """
        let reading = try #require(EvidenceReading(proxy: Array(body.utf8)))
        #expect(
            reading.counts == [
                "requests_total": 120, "response_flags_total{flag=\"UO\"}": 5,
                "response_flags_total{flag=\"UH\"}": 1,
            ])
        let evidence = Evidence(
            process: "client-proxy", service: "load-main", group: .proxies,
            counts: reading.counts, peaks: [:])
        #expect(evidence.count("response_flags_total") == 6)
        #expect(evidence.count("response_flags") == nil, "a name is whole")
        #expect(EvidenceReading(proxy: Array("# nothing".utf8)) == nil)
    }

    /// What a load's proxy counts.
    private func counted(_ factor: Double) -> [String: Double] {
        let (echo, other) = ("cluster=\"default/echo\"", "cluster=\"default/other\"")
        var counts = ["pending_overflow_total": 40.0]
        counts["cluster_upstream_rq_total{\(echo)}"] = 500 * factor
        // Mirrors.
        counts["cluster_upstream_rq_total{\(other)}"] = 9000
        counts["route_attempts_total{route=\"a\"}"] = 500 * factor
        counts["route_attempts_total{route=\"b\"}"] = 100
        counts["route_upstream_rq_completed_total{route=\"a\"}"] = 390
        counts["route_upstream_rq_completed_total{route=\"b\"}"] = 100
        counts["route_unanswered_total{route=\"a\"}"] = 10
        counts["outlier_ejections_enforced_total{\(echo),reason=\"a\"}"] = 3
        counts["outlier_ejections_enforced_total{\(echo),reason=\"b\"}"] = 1
        counts["outlier_ejections_enforced_total{\(other),reason=\"b\"}"] = 9
        counts["host_ejections_total{\(echo),upstream=\"127.0.0.1:7\"}"] = 1
        counts["host_ejections_total{\(echo),upstream=\"127.0.0.1:77\"}"] = 3
        return counts
    }

    /// Two rounds of two replicas and a proxy.
    private var evaluation: Evaluation {
        let samples = (0..<2).map { round -> Sample in
            var sample = Made.sample(round: round)
            let factor = Double(round + 1)
            sample.evidence =
                [(0, 100.0), (1, 300)].map { replica, requests in
                    Evidence(
                        process: "echo/\(replica)", service: "echo", group: .apps,
                        counts: [
                            "requests": requests * factor, "retries": 10, "wasted": factor,
                        ],
                        peaks: ["concurrency": factor + Double(replica)])
                } + [
                    Evidence(
                        process: "client-proxy", service: "load-main", group: .proxies,
                        counts: counted(factor), peaks: [:]),
                    Evidence(
                        process: "echo/1 proxy", service: "echo", group: .proxies, counts: [:],
                        peaks: [:], inbound: "127.0.0.1:77", replica: 1),
                ]
            return sample
        }
        return Evaluation(
            samples: samples, rounds: [0, 1], arms: [.mesh], minTailSamples: 10,
            random: SeededRandom(seed: 1))
    }

    @Test(
        arguments: [
            (.requests(service: "echo", replica: nil), 600),
            (.requests(service: "echo", replica: 1), 450), (.retries(service: "echo"), 20),
            (.concurrency(service: "echo"), 3), (.workload(.wasted, service: "echo"), 3),
            (.counter("pending_overflow_total", service: nil), 40),
            (.counter("pending_overflow_total", service: "load-main"), 40),
            (.count(.shareOfStatus(200)), 10_000),
            (.edge(from: "load-main", to: "echo"), 750), (.edge(from: "echo", to: "echo"), 0),
            // 600 and 1,100 attempts of 500 requests each.
            (.attempts, 1.7), (.ejections(service: "echo", replica: nil), 4),
            (.ejections(service: "echo", replica: 1), 3),
        ] as [(Metric, Double)])
    func countsAreThoseOfARound(metric: Metric, value: Double) {
        let statistic = evaluation.pool(.mesh, nil).statistic(metric)
        #expect(statistic.problem == nil)
        #expect(abs(statistic.value([0, 1]) - value) < 1e-9, "\(statistic.value([0, 1]))")
    }

    /// Each load by itself, and none where it is the only one.
    @Test func valuesAreOfOneLoadWhereAskedFor() {
        var sample = Made.sample()
        var (first, second) = (Tally(), Tally())
        (first.planned, second.planned) = (100, 300)
        first.outcomes = ["ok": 90]
        second.outcomes = ["ok": 30]
        sample.tally = first
        sample.tally.merge(second)
        sample.tallies = ["first": first, "second": second]
        func value(_ metric: Metric) -> Double {
            Evaluation(
                samples: [sample], rounds: [0], arms: [.mesh], minTailSamples: 10,
                random: SeededRandom(seed: 1)
            ).pool(.mesh, nil).statistic(metric).value([0])
        }
        #expect(value(.shareOfOutcome(.ok)) == 0.3)
        #expect(value(.ofLoad(.shareOfOutcome(.ok), "first")) == 0.9)
        #expect(value(.ofLoad(.count(.shareOfOutcome(.ok)), "second")) == 30)
        sample.tallies = [:]
        #expect(value(.ofLoad(.shareOfOutcome(.ok), "main")) == 0.3)
    }

    /// First attempts are the requests less the retries, and that many samples.
    @Test func whatIsLeftOfCountsRestsOnWhatIsLeft() {
        let all = Term.metric(.requests(service: "echo", replica: nil))
        let firsts = Term.difference(all, .metric(.retries(service: "echo")))
        #expect(firsts.isCount)
        let judgement = evaluation.judge(
            Expectation(
                source: "attempts", left: .quotient(all, firsts), comparison: .equal,
                right: .theory(.retryAttempts, [.literal(0.0333, .share), .literal(1, .one)]),
                tolerance: nil, phase: nil, arm: nil))
        #expect(judgement.result.samples == 1160, "1200 requests, of which 40 are retries")
        #expect(judgement.result.verdict == .pass, "\(judgement.result)")
    }

    /// None is a number, where somebody has counted.
    @Test func noRequestsAreCountedToo() {
        var sample = Made.sample()
        sample.evidence = [("old", 100.0), ("new", 0)].map { service, requests in
            Evidence(
                process: "\(service)/0", service: service, group: .apps,
                counts: ["requests": requests], peaks: [:])
        }
        let evaluation = Evaluation(
            samples: [sample], rounds: [0], arms: [.mesh], minTailSamples: 10,
            random: SeededRandom(seed: 1))
        let new = Term.metric(.requests(service: "new", replica: nil))
        let judgement = evaluation.judge(
            Expectation(
                source: "none",
                left: .quotient(
                    new, .sum(new, .metric(.requests(service: "old", replica: nil)))),
                comparison: .equal, right: .theory(.binomial, [.literal(0.5, .share)]),
                tolerance: nil, need: .absolute(0.2), phase: nil, arm: nil))
        #expect(judgement.result.verdict == .fail, "\(judgement.result)")
        #expect(judgement.result.samples == 100)
    }

    @Test(
        arguments: [
            .requests(service: "front", replica: nil), .counter("no_such_total", service: nil),
            .counter("pending_overflow_total", service: "echo"), .concurrency(service: "front"),
            .edge(from: "front", to: "echo"), .ejections(service: "echo", replica: 0),
        ] as [Metric])
    func whatNobodyCountsIsNoZero(metric: Metric) {
        #expect(evaluation.pool(.mesh, nil).statistic(metric).value([0, 1]).isNaN)
    }

    /// Without a proxy beside it a replica is asked at its own address.
    @Test func aGatewayEjectsTheProcessItself() {
        var sample = Made.sample()
        sample.evidence = [
            Evidence(
                process: "echo/1", service: "echo", group: .apps, counts: [:], peaks: [:],
                inbound: "127.0.0.1:77", replica: 1),
            Evidence(
                process: "gateway", service: "gateway", group: .proxies, counts: counted(1),
                peaks: [:]),
        ]
        #expect(sample.ejections("echo", 1) == 3)
        #expect(sample.ejections("echo", 0) == nil, "nobody knows where that is")
        sample.evidence.append(
            Evidence(
                process: "echo/1 proxy", service: "echo", group: .proxies, counts: [:],
                peaks: [:], inbound: "127.0.0.1:7", replica: 1))
        #expect(sample.ejections("echo", 1) == 1)
    }

    /// What the others have counted would look like the sum of all.
    @Test func withoutOneOfThemThereIsNoSum() {
        var sample = Made.sample()
        sample.evidence = [("echo/0", 10.0), ("echo/1", nil)].map { process, requests in
            Evidence(
                process: process, service: "echo", group: .apps,
                counts: requests.map { ["requests": $0] }, peaks: ["concurrency": 1])
        }
        sample.evidence.append(
            Evidence(
                process: "proxy", service: "echo", group: .proxies, counts: nil, peaks: [:]))
        sample.evidence.append(
            Evidence(
                process: "client-proxy", service: "load-main", group: .proxies,
                counts: ["requests_total": 10], peaks: [:]))
        #expect(sample.ofWorkloads("requests", "echo") == nil)
        #expect(sample.ofWorkloads("requests", "echo", replica: 0) == 10)
        #expect(sample.ofWorkloads("requests", "echo", replica: 1) == nil)
        #expect(sample.peak("concurrency", "echo") == nil)
        #expect(sample.ofProxies("requests_total", nil) == nil)
        #expect(sample.ofProxies("requests_total", "load-main") == 10)
    }

    /// One that was started anew has counted from the start, more than before or not.
    @Test func whatAnotherProcessCountedIsNotAdded() {
        let start = EvidenceReading(pid: 7, counts: ["requests": 3])
        let end = EvidenceReading(pid: 7, counts: ["requests": 10, "retries": 1])
        #expect(end.grown(since: start) == ["requests": 7, "retries": 1])
        let another = EvidenceReading(pid: 8, counts: ["requests": 10])
        #expect(another.grown(since: start) == nil)
    }

    /// The share of one replica, held against what each request by itself would give.
    @Test func theSharesOfReplicasAreByTheory() {
        func verdict(_ share: Double) -> RunResult.Verdict {
            evaluation.judge(
                Expectation(
                    source: "\(share)",
                    left: .quotient(
                        .metric(.requests(service: "echo", replica: 1)),
                        .metric(.requests(service: "echo", replica: nil))),
                    comparison: .equal, right: .theory(.binomial, [.literal(share, .share)]),
                    tolerance: nil, phase: nil, arm: nil)
            ).result.verdict
        }
        #expect(verdict(0.75) == .pass)
        #expect(verdict(0.6) == .fail)
        // The sample is the whole, 1,200 requests: of the part alone it would be too few.
        #expect(verdict(0.71) == .inconclusive)
    }

    // MARK: The course of a run

    /// Of 100 that were due.
    private static func due(good: UInt64) -> LoadResult.DueTally {
        var due = LoadResult.DueTally()
        due.planned = 100
        due.good = good
        return due
    }

    /// 3 s of base, 2 s of hurt, 8 s of heal at 100/s, of which so many are good in each.
    private func course(_ good: [UInt64]) -> Course {
        let phases = [("base", 3), ("hurt", 2), ("heal", 8)].map {
            PhasePlan(name: $0.0, duration: .seconds(Int64($0.1)), measure: true, rate: nil)
        }
        let names = phases.flatMap { phase in
            Array(repeating: phase.name, count: Int(phase.duration.seconds))
        }
        let seconds = zip(names, good).enumerated().map { index, second in
            ArmRecord.Second(
                phase: second.0, offset: Double(index), planned: 100, completed: 100, errors: 0,
                response: Histogram(), good: second.1, due: Self.due(good: second.1))
        }
        var record = Made.record(Made.sample())
        record.seconds = seconds
        return Course(record, phases)
    }

    @Test(
        arguments: [
            ([100, 100, 100, 20, 20, 100, 100, 100, 100, 100, 100, 100, 100], 0),
            ([100, 100, 100, 20, 20, 40, 90, 100, 100, 100, 100, 100, 100], 2),
            // One good second is none.
            ([100, 100, 100, 20, 20, 100, 20, 20, 20, 100, 100, 100, 100], 4),
            ([100, 100, 100, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20], 8),
            // What fails again has not come back.
            ([100, 100, 100, 20, 20, 100, 100, 100, 20, 20, 20, 20, 20], 8),
            // As good as before, which was not all.
            ([80, 80, 80, 20, 20, 80, 80, 80, 80, 80, 80, 80, 80], 0),
        ] as [([UInt64], Double)])
    func aRunIsGoodAgainWhenItStaysSo(good: [UInt64], seconds: Double) {
        #expect(course(good).seconds(to: 0.99, of: "base", after: "hurt") == seconds)
    }

    /// What comes late for what was asked before makes nothing good that is asked now.
    @Test func lateAnswersAreOfTheirOwnSeconds() {
        var made = course([100, 100, 100, 20, 20, 92, 92, 92, 92, 92, 92, 92, 92])
        for index in made.seconds.indices where made.seconds[index].offset >= 5 {
            made.seconds[index].good += 30
        }
        #expect(made.seconds(to: 0.99, of: "base", after: "hurt") == 8)
        #expect(made.worst(.shareOfOutcome(.ok), during: "heal") == 0.92)
        // What was answered by an error, and not what was not answered.
        made.seconds[5].due.errors = 3
        #expect(made.worst(.shareOfOutcome(.error), during: "heal") == 0.03)
    }

    @Test(
        arguments: [
            (.goodput, nil, 20), (.goodput, "base", 80), (.goodput, "heal", 90),
            (.achievedRate, "hurt", 100), (.shareOfOutcome(.ok), "hurt", 0.2),
            (.shareOfOutcome(.error), nil, 0),
        ] as [(Metric, String?, Double)])
    func theWorstSecondIsOfItsPhase(metric: Metric, phase: String?, value: Double) {
        let good: [UInt64] = [90, 80, 100, 20, 30, 100, 100, 90, 100, 100, 100, 100, 100]
        #expect(course(good).worst(metric, during: phase) == value)
    }

    /// Of a phase that does not end with a second, the last is none.
    @Test func aPartOfASecondIsNone() {
        let phases = [("base", 2500), ("heal", 1500)].map {
            PhasePlan(name: $0.0, duration: .milliseconds(Int64($0.1)), measure: true, rate: nil)
        }
        var record = Made.record(Made.sample())
        record.seconds = [50, 60, 10, 70].enumerated().map { index, good in
            ArmRecord.Second(
                phase: "", offset: Double(index), planned: 100, completed: 100, errors: 0,
                response: Histogram(), good: good, due: Self.due(good: good))
        }
        let course = Course(record, phases)
        #expect(course.worst(.goodput, during: "base") == 50)
        #expect(course.worst(.goodput, during: "heal") == 70)
        #expect(course.worst(.percentile(0.99, .response), during: nil) == nil)
        #expect(course.worst(.goodput, during: "none") == nil)
    }

    @Test func theWorstSecondIsTheMeanOfTheRounds() {
        var evaluation = evaluation
        evaluation.courses = ([(0, 20), (1, 40)] as [(Int, UInt64)]).map { round, worst in
            var course = course([100, 100, 100, worst, 90, 100, 100, 100, 100, 100, 100, 100, 100])
            course.round = round
            return course
        }
        typealias Comparison = Model.Expectation.Comparison
        func verdict(_ comparison: Comparison, _ limit: Double) -> RunResult.Verdict {
            evaluation.judge(
                Expectation(
                    source: "\(limit)", left: .metric(.worstSecond(.goodput)),
                    comparison: comparison, right: .literal(limit, .rate), tolerance: nil,
                    phase: "hurt", arm: nil)
            ).result.verdict
        }
        #expect(verdict(.greater, 15) == .pass && verdict(.less, 45) == .pass)
        #expect(verdict(.less, 15) == .fail && verdict(.less, 30) == .inconclusive)
    }

    /// Those that hang are waited for together, and keep nobody from being heard.
    @Test func allAreAskedAtOnce() throws {
        let hung = try (0..<8).map { _ in
            try Socket.listen(on: try #require(SocketAddress("127.0.0.1:0")), sharing: false)
                .release()
        }
        defer { for socket in hung { close(socket) } }
        let sources = try hung.enumerated().map { index, socket in
            EvidenceSource(
                process: "\(index)", service: "s", group: .apps, pid: getpid(),
                address: "\(try Socket.localAddress(of: socket))", path: "/stats",
                read: { _ in EvidenceReading() })
        }
        let start = Clock.now()
        #expect(sources.readings().isEmpty)
        // One after the other they would take 4 s.
        #expect(Clock.now() - start < .seconds(3))
    }

    @Test func whatHasNotGrownIsNotWrittenDown() {
        let evidence = Evidence(
            process: "p", service: "s", group: .proxies,
            counts: ["a": 0, "b{c=\"d\"}": 0, "b{c=\"e\"}": 1], peaks: [:])
        #expect(evidence.brief.counts == ["a": 0, "b{c=\"e\"}": 1])
    }

    @Test func whatWasNeverGoodHasNoTime() {
        let none = course([UInt64](repeating: 0, count: 13))
        #expect(none.seconds(to: 0.99, of: "base", after: "hurt") == nil)
        #expect(none.seconds(to: 0.99, of: "absent", after: "hurt") == nil)
    }

    @Test func theTimeIsTheMeanOfTheRounds() {
        let slow = course([100, 100, 100, 20, 20, 40, 90, 100, 100, 100, 100, 100, 100])
        var evaluation = evaluation
        evaluation.courses = [0, 1].map { round in
            var course = slow
            course.round = round
            return course
        }
        let judgement = evaluation.judge(
            Expectation(
                source: "time", left: .metric(.timeTo(share: 0.99, of: "base")),
                comparison: .less, right: .literal(2.5e9, .time), tolerance: nil, phase: "hurt",
                arm: nil))
        #expect(judgement.result.verdict == .pass)
        #expect(judgement.result.observed == "2 s" || judgement.result.observed == "2.00 s")
    }
}
