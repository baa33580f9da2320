import Base
import Testing

@testable import Report

@Suite("Axes")
struct ScaleTests {
    @Test(
        "Linear axes end on round numbers",
        arguments: [
            ([3.0, 870], 0, 1000), ([1000, 1000], 0, 1000), ([0.0123], 0, 0.015), ([], 0, 1),
            ([0, 0], 0, 1), ([4.1], 0, 6),
        ] as [([Double], Double, Double)])
    func fromZero(values: [Double], lower: Double, upper: Double) {
        let scale = Scale.fromZero(to: values)
        #expect(scale.lower == lower)
        #expect((scale.upper - upper).magnitude < 1e-9)
    }

    @Test(
        "Ticks are round, in order, and within",
        arguments: [
            (Scale(.linear, lower: 0, upper: 1000), 5, [0, 200, 400, 600, 800, 1000]),
            (Scale(.linear, lower: 997, upper: 1003), 3, [998, 1000, 1002]),
            (Scale(.linear, lower: -1, upper: 1), 4, [-1, -0.5, 0, 0.5, 1]),
            (Scale(.logarithmic, lower: 200, upper: 5000), 6, [200, 500, 1000, 2000, 5000]),
            (Scale(.logarithmic, lower: 1e3, upper: 1e9), 6, [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]),
            (Scale(.tail, lower: 0, upper: 0.9999), 8, [0.5, 0.9, 0.99, 0.999, 0.9999]),
        ] as [(Scale, Int, [Double])])
    func ticks(scale: Scale, count: Int, expected: [Double]) {
        let ticks = scale.ticks(about: count)
        #expect(ticks.count == expected.count, "\(ticks)")
        for (tick, wanted) in zip(ticks, expected) {
            #expect((tick - wanted).magnitude <= 1e-9 * max(1, wanted.magnitude))
        }
    }

    @Test("Each nine takes the same space")
    func tail() {
        let scale = Scale(.tail, lower: 0, upper: 0.9999)
        for (quantile, place) in [(0, 0.0), (0.9, 0.25), (0.99, 0.5), (0.999, 0.75), (1, 1)] {
            #expect((scale.position(quantile) - place).magnitude < 1e-9)
        }
    }

    @Test(
        "A logarithmic axis holds all that is above zero",
        arguments: [
            ([354_000.0, 12_800_000], 200_000.0, 20_000_000.0), ([1000, 1000], 1000, 2000),
            ([0, 3], 2, 5), ([], 1, 10),
        ] as [([Double], Double, Double)])
    func logarithmic(values: [Double], lower: Double, upper: Double) {
        let scale = Scale.logarithmic(around: values)
        #expect((scale.lower / lower - 1).magnitude < 1e-9)
        #expect((scale.upper / upper - 1).magnitude < 1e-9)
    }

    @Test(arguments: [(0.7, 1.0), (1, 1), (1.1, 2), (3, 5), (6, 10), (0.0021, 0.005), (2e9, 2e9)])
    func steps(least: Double, expected: Double) {
        #expect((roundStep(least) / expected - 1).magnitude < 1e-9)
    }

    @Test("Any values: an axis that holds them, and few ticks", arguments: 0..<8)
    func anyValues(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let size = 1 / (random.unit() + 1e-9)
            let values = (0..<(1 + random.below(5))).map { _ in random.unit() * size * size }
            for scale in [
                Scale.fromZero(to: values), .around(values), .logarithmic(around: values),
            ] {
                for value in values where value > 0 {
                    #expect(scale.lower <= value * 1.000001 && scale.upper >= value * 0.999999)
                    #expect((0...1).contains(scale.position(value)))
                }
                let ticks = scale.ticks(about: 5)
                #expect((1...14).contains(ticks.count), "\(scale) \(ticks) seed \(seed)")
            }
        }
    }

    @Test("Labels keep their order and their distance", arguments: 0..<8)
    func labels(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<200 {
            let wanted = (0..<(1 + random.below(6))).map { _ in random.unit() * 200 }
            let places = spread(wanted, gap: 15, within: 0...200)
            let pairs = zip(wanted, places).sorted { $0.0 < $1.0 }.map(\.1)
            for (one, next) in zip(pairs, pairs.dropFirst()) { #expect(next - one >= 15 - 1e-9) }
            for place in places { #expect((-1e-9...200 + 1e-9).contains(place), "seed \(seed)") }
        }
        #expect(spread([10, 100], gap: 15, within: 0...200) == [10, 100])
        #expect(spread([50, 50], gap: 10, within: 0...200) == [45, 55])
    }

    @Test(arguments: [(0.0, "0"), (1.25, "1.3"), (-0.04, "0"), (-12.34, "-12.3"), (100, "100")])
    func coordinates(value: Double, expected: String) { #expect(coordinate(value) == expected) }

    @Test(
        "Labels of ticks lose the zeros that tell nothing",
        arguments: [
            (Quantity.time, 1e6, "1 ms"), (.time, 1.5e6, "1.5 ms"), (.time, 200_000, "200 µs"),
            (.cores, 0.05, "50 mCPU"), (.rate, 1000, "1,000/s"), (.time, 0, "0"),
            (.rate, 0.5, "0.5/s"), (.plain(""), 2.5, "2.5"),
        ] as [(Quantity, Double, String)])
    func tickLabels(quantity: Quantity, value: Double, expected: String) {
        #expect(quantity.tick(value).label == expected)
    }
}
