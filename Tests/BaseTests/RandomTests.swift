import Base
import Testing

@Suite struct RandomTests {
    /// The generator's published values for the seed 1234567.
    @Test func agreesWithTheReferenceImplementation() {
        var random = SeededRandom(seed: 1_234_567)
        let expected: [UInt64] = [
            6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
        ]
        for value in expected { #expect(random.next() == value) }
    }

    @Test func partsAreIndependentAndRepeatable() {
        let random = SeededRandom(seed: 9)
        var parts = [random.split("a"), random.split("b"), random.split(0), random.split(1)]
        let drawn = parts.indices.map { parts[$0].next() }
        #expect(Set(drawn).count == 4)
        var again = random.split("a")
        #expect(again.next() == drawn[0])
    }

    @Test(arguments: [1, 2, 3, 7, 100])
    func boundedDrawsAreUniform(_ bound: Int) {
        var random = SeededRandom(seed: 3)
        var counts = [Int](repeating: 0, count: bound)
        let draws = 20_000
        for _ in 0..<draws { counts[random.below(bound)] += 1 }
        let expected = Double(draws) / Double(bound)
        // Six standard deviations of a binomial count.
        let tolerance = 6 * (expected * (1 - 1 / Double(bound))).squareRoot() + 1e-9
        #expect(counts.allSatisfy { abs(Double($0) - expected) <= tolerance })
    }

    @Test func unitsAreBelowOne() {
        var random = SeededRandom(seed: 4)
        let units = (0..<10_000).map { _ in random.unit() }
        #expect(units.allSatisfy { $0 >= 0 && $0 < 1 })
        #expect(abs(units.reduce(0, +) / 10_000 - 0.5) < 0.02)
    }
}

@Suite struct TimeTests {
    @Test func arithmetic() {
        let start = Instant(nanoseconds: 5)
        #expect(start + .microseconds(2) == Instant(nanoseconds: 2005))
        #expect(start - .nanoseconds(6) < .zero)
        #expect(Instant(nanoseconds: 9) - start == .nanoseconds(4))
        #expect(Duration.seconds(2) - .milliseconds(500) == .milliseconds(1500))
        #expect(Duration.milliseconds(3) * 2 / 4 == .microseconds(1500))
        #expect(Duration.fractionalSeconds(1.5e-9) == .nanoseconds(2))
        #expect(Duration.milliseconds(1500).seconds == 1.5)
        #expect(start + Duration.infinite < .distantFuture)
    }
}
