import Base
import FoundationEssentials
import LoadCore
import Model
import Stats
import Testing

@Suite struct EventTests {
    static func result(lag: UInt64, response: UInt64, cpu: Int64) -> LoadResult {
        var tally = LoadResult.PhaseTally(
            name: "base", start: .zero, end: Instant(nanoseconds: 1_000_000_000))
        tally.planned = 1000
        tally.outcomes = ["ok": 1000]
        for _ in 0..<1000 {
            tally.lag.record(lag)
            tally.response.record(response)
        }
        return LoadResult(
            scheduleHash: "00ff", assignmentHash: "0fff", phases: [tally],
            seconds: [.init(phase: "base", offset: 0)],
            threads: [.init(wallNs: 1000, cpuNs: cpu, spinNs: 100)], partial: false)
    }

    private func line(_ event: LoadEvent) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(event), as: UTF8.self)
    }

    @Test("Events are lines of JSON with these keys")
    func lines() throws {
        #expect(try line(.ready) == #"{"event":"ready"}"#)
        #expect(try line(.late(.milliseconds(3))) == #"{"by_ns":3000000,"event":"late"}"#)
        #expect(try line(.failed("no")) == #"{"event":"error","message":"no"}"#)
        var tally = LoadResult.SecondTally(phase: "base", offset: 3)
        tally.planned = 10
        tally.completed = 9
        tally.errors = 1
        tally.response.record(1_000_000)
        let second = try line(.second(LoadEvent.Second(tally)))
        #expect(
            second.hasPrefix(#"{"completed":9,"errors":1,"event":"second","offset":3,"p99_ns":1"#))
        #expect(second.hasSuffix(#","phase":"base","planned":10}"#))
        #expect(!second.contains("\n"))
    }

    @Test("A result survives its way through JSON")
    func roundTrip() throws {
        let result = Self.result(lag: 5_000, response: 2_000_000, cpu: 500)
        let data = Data(try line(.result(result)).utf8)
        guard case .result(let read) = try JSONDecoder().decode(LoadEvent.self, from: data) else {
            Issue.record("not a result")
            return
        }
        #expect(read.scheduleHash == "00ff" && read.assignmentHash == "0fff")
        #expect(read.phases[0].lag == result.phases[0].lag)
        #expect(read.phases[0].response.count == 1000)
        #expect(read.threads == result.threads)
    }

    @Test("A job survives its way through JSON")
    func jobRoundTrip() throws {
        let job = testJob(
            testPlan(
                rate: .steps([1, 2.5]),
                request: RequestPlan(headers: [.init(name: "a", value: "b")])),
            weights: [2, 1])
        let data = try JSONEncoder().encode(job)
        #expect(try JSONDecoder().decode(LoadJob.self, from: data) == job)
    }

    @Test(
        "The generator says when it was the bottleneck",
        arguments: [
            (5_000, 2_000_000, 500, []),
            // Late, but within what the kernel's wake-ups cost.
            (400_000, 500_000, 500, []),
            (600_000, 2_000_000, 500, ["late"]),
            // Late, but little beside what is measured.
            (600_000, 20_000_000, 500, []),
            (5_000, 2_000_000, 1050, ["busiest thread"]),
            (9_000_000, 9_000_000, 1050, ["busiest thread", "late"]),
        ] as [(UInt64, UInt64, Int64, [String])])
    func saturation(lag: UInt64, response: UInt64, cpu: Int64, words: [String]) {
        let result = Self.result(lag: lag, response: response, cpu: cpu)
        let complaints = result.saturation()
        #expect(complaints.count == words.count)
        for (complaint, word) in zip(complaints, words) { #expect(complaint.contains(word)) }
        // With closed arrivals a busy thread is told, and makes nothing invalid.
        #expect(result.saturation(closed: true).isEmpty)
        #expect(result.cautions(closed: true).count == words.count { $0 == "busiest thread" })
    }

    @Test(
        "Lag that is a large part of the response is always told",
        arguments: [
            (5_000, 2_000_000, false), (190_000, 2_000_000, false), (210_000, 2_000_000, true),
            (30_000, 100_000, true),
            // Told by the complaint already.
            (600_000, 2_000_000, false),
        ] as [(UInt64, UInt64, Bool)])
    func cautions(lag: UInt64, response: UInt64, isTold: Bool) {
        let cautions = Self.result(lag: lag, response: response, cpu: 500).cautions()
        #expect(cautions.count == (isTold ? 1 : 0))
        #expect(cautions.allSatisfy { $0.contains("part of response latency") })
    }

    @Test("Latencies beyond the histograms are told")
    func clipped() {
        let result = Self.result(lag: 5_000, response: 3_600_000_000_001, cpu: 500)
        #expect(result.cautions().map { $0.contains("1000 response latencies") } == [true])
        #expect(result.cautions(closed: true).count == 1)
    }

    @Test("Connections that this machine could not open are the generator's own failure")
    func localFailures() {
        var result = Self.result(lag: 5_000, response: 2_000_000, cpu: 500)
        result.openFailures = [
            .init(code: 111, reason: "Connection refused", isLocal: false, count: 9)
        ]
        #expect(result.saturation().isEmpty)
        result.openFailures.append(
            .init(code: 24, reason: "Too many open files", isLocal: true, count: 3))
        for closed in [false, true] {
            let complaints = result.saturation(closed: closed)
            #expect(complaints.count == 1)
            #expect(complaints[0].contains("3 times (Too many open files)"))
        }
    }
}
