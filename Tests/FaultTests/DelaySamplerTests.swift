import Base
import Fault
import Model
import Testing

@Suite struct DelaySamplerTests {
    private func draw(_ distribution: DelayDistribution, _ count: Int = 40_000) -> [Double] {
        let sampler = DelaySampler(distribution)
        var random = SeededRandom(seed: 11)
        return (0..<count).map { _ in sampler.next(&random).seconds }
    }

    private func mean(_ values: [Double]) -> Double {
        values.reduce(0, +) / Double(values.count)
    }

    /// Mean and standard deviation, each within four standard errors.
    private func holds(_ values: [Double], mean: Double, deviation: Double) -> Bool {
        let found = self.mean(values)
        let variance = self.mean(values.map { ($0 - found) * ($0 - found) })
        let error = 4 * deviation / Double(values.count).squareRoot()
        return abs(found - mean) < error && abs(variance.squareRoot() - deviation) < 3 * error
    }

    @Test func exponential() {
        let values = draw(.init(.exponential(mean: .milliseconds(20))))
        #expect(holds(values, mean: 0.02, deviation: 0.02))
        // Without memory: the median is ln 2 of the mean.
        let below = values.count { $0 < 0.0138629 }
        #expect(abs(below - 20_000) < 400)
    }

    @Test func uniform() {
        let values = draw(.init(.uniform(least: .milliseconds(10), most: .milliseconds(40))))
        #expect(holds(values, mean: 0.025, deviation: 0.03 / 12.0.squareRoot()))
        #expect(values.allSatisfy { (0.01...0.04).contains($0) })
    }

    @Test func normal() {
        let values = draw(.init(.normal(mean: .milliseconds(50), deviation: .milliseconds(5))))
        #expect(holds(values, mean: 0.05, deviation: 0.005))
        let within = values.count { abs($0 - 0.05) < 0.005 }
        #expect(abs(within - 27_308) < 400)
    }

    @Test func whatWouldBeBelowZeroIsZero() {
        let values = draw(.init(.normal(mean: .zero, deviation: .milliseconds(5))))
        #expect(values.allSatisfy { $0 >= 0 })
        #expect(abs(values.count { $0 == 0 } - 20_000) < 400)
    }

    @Test func pareto() {
        let values = draw(.init(.pareto(least: .milliseconds(1), shape: 3)))
        #expect(values.allSatisfy { $0 >= 0.001 })
        // P(X > x) = (least/x)^shape.
        let beyond = values.count { $0 > 0.002 }
        #expect(abs(beyond - 5000) < 270)
        let heavy = draw(.init(.pareto(least: .seconds(1), shape: 0.01)), 1000)
        #expect(heavy.allSatisfy { $0 <= 3600 })
    }
}
