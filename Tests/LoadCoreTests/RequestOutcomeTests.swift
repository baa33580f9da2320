import Base
import LoadCore
import Model
import Testing

/// What became of each request, for who looks for one of them elsewhere.
@Suite struct RequestOutcomeTests {
    private func ends(_ model: ServerModel, asked: Bool = true) -> [RequestOutcome] {
        var job = testJob(testPlan())
        job.outcomes = asked ? "somewhere" : nil
        let simulation = Simulation(job, model)
        #expect(simulation.run()[0].planned == 1000)
        return simulation.generator.requestOutcomes
    }

    @Test("Every request has one end")
    func whole() {
        let ends = ends(ServerModel())
        #expect(Set(ends.map(\.number)) == Set(0..<1000) && ends.count == 1000)
        #expect(ends.allSatisfy { $0.outcome == .ok && $0.status == 200 })
        #expect(self.ends(ServerModel(), asked: false).isEmpty)
    }

    @Test("Those without an answer too")
    func failures() {
        let ends = ends(ServerModel(refuses: { _, _ in true }))
        #expect(Set(ends.map(\.number)).count == 1000 && ends.count == 1000)
        #expect(ends.allSatisfy { $0.outcome != .ok && $0.status == 0 })
    }

    @Test("A line says it all")
    func line() {
        let flag = UInt32(1) << UInt32(ResponseFlag.FI.index)
        let end = RequestOutcome(number: 42, outcome: .error, status: 503, flags: flag)
        let id = RequestIdentity.text(seed: 7, number: 42)
        #expect(end.text(seed: 7) == "\(id) error 503 FI")
        #expect(RequestOutcome(number: 42, outcome: .timeout).text(seed: 7) == "\(id) timeout 0 ")
    }
}
