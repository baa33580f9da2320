import Model
import Testing

@testable import Report

/// What was done on purpose shows on the axis of time and in a table.
@Suite struct FaultReportTests {
    private func fault(
        _ round: Int, _ name: String, begin: Double = 2, end: Double = 4,
        requests: RunResult.Fault.Requests? = nil, problems: [String] = []
    ) -> RunResult.Fault {
        RunResult.Fault(
            arm: .mesh, round: round, name: name, what: "abort 503", point: "server-ingress",
            processes: ["server-proxy echo/0"], beginSeconds: begin, endSeconds: end,
            begunSeconds: begin + 0.001, endedSeconds: end + 0.002, requests: requests,
            problems: problems)
    }

    private func result(_ faults: [RunResult.Fault]) -> RunResult {
        var result = SampleResult().result()
        result.faults = faults
        return result
    }

    private let share = RunResult.Fault.Requests(
        requested: 0.1, seen: 1000, hit: 104, low: 0.07, high: 0.15, aborted: 104, lines: 104,
        matched: 104)

    @Test func roundsAreOneBandAndOneRow() throws {
        let result = result((1...3).map { fault($0, "cut", requests: share) })
        #expect(result.faultBands.count == 1 && result.faultBands[0].arms == [.mesh])
        let row = try #require(result.faultSummaries.first)
        #expect(result.faultSummaries.count == 1)
        #expect(row.requested == "10.0 %" && row.delivered == "10.4 %")
        #expect(row.requests == "312 of 3,000" && row.problem == nil)
        #expect(row.evidence == "312 lines in the ledger, 312 requests found again")
        let page = result.reportHTML()
        #expect(page.contains("class=\"fault-band\"") && page.contains("312 of 3,000"))
        #expect(try RunResult(json: result.json()).faults == result.faults)
        #expect(result.summaryText(colour: false).contains("cut"))
    }

    @Test func whatOverlapsHasRowsOfItsOwn() {
        let result = result([
            fault(1, "a"), fault(1, "b", begin: 3, end: 5), fault(1, "c", begin: 4, end: 6),
        ])
        #expect(result.faultBands.map(\.name) == ["a", "b", "c"])
        let page = result.reportHTML()
        #expect(page.ranges(of: ": abort 503, ").count == 3)
    }

    @Test func whatWasNotAskedForIsSaid() throws {
        let result = result([fault(1, "cut"), fault(2, "cut", problems: ["it was lost"])])
        let row = try #require(result.faultSummaries.first)
        #expect(row.delivered == "1 of 2" && row.evidence == "it was lost")
        #expect(result.reportHTML().contains("it was lost"))
        #expect(!self.result([]).reportHTML().contains("class=\"fault-band\""))
    }
}
