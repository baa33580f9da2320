import Base
import Scenario
import Testing

@Suite struct QuantityTests {
    @Test(
        arguments: [
            ("0s", 0), ("1ns", 1), ("5us", 5_000), ("5µs", 5_000), ("5μs", 5_000),
            ("1.5ms", 1_500_000), ("1.1s", 1_100_000_000), ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000), ("0.4ns", 0), ("0.6ns", 1),
        ] as [(String, Int64)])
    func durations(text: String, nanoseconds: Int64) throws {
        #expect(try Quantity.duration(text) == .nanoseconds(nanoseconds))
    }

    @Test(
        arguments: [
            ("0B", 0), ("1KiB", 1024), ("1KB", 1000), ("1.5MiB", 1_572_864),
            ("2GiB", 2_147_483_648),
            ("3GB", 3_000_000_000), ("1MB", 1_000_000),
        ] as [(String, Int)])
    func sizes(text: String, bytes: Int) throws {
        #expect(try Quantity.size(text) == bytes)
    }

    @Test func ratesAndShares() throws {
        #expect(try Quantity.rate("0.5/s") == 0.5)
        #expect(try Quantity.percent("12.5%") == 0.125)
    }

    @Test(
        arguments: [
            ("", "a duration such as 250ms is needed, not ''"),
            ("ms", "a duration such as 250ms is needed, not 'ms'"),
            ("-5ms", "a duration such as 250ms is needed, not '-5ms'"),
            (
                "1e3s",
                """
                a duration such as 250ms is needed: 'e3s' is no unit of it (known: ns, us, µs, \
                μs, ms, s, m, h)
                """
            ),
            (".5s", "a duration such as 250ms is needed, not '.5s'"),
            ("1.2.3s", "a duration such as 250ms is needed, not '1.2.3s'"),
            ("inf", "a duration such as 250ms is needed, not 'inf'"),
            ("5", "a duration such as 250ms is needed: '5' has no unit"),
            (
                "5 ms",
                "a duration such as 250ms is needed: ' ms' is no unit of it; did you mean 'ms'?"
            ),
            (
                "5mss",
                "a duration such as 250ms is needed: 'mss' is no unit of it; did you mean 'ms'?"
            ),
            ("999999999999999h", "'999999999999999h' is longer than 73 years"),
        ] as [(String, String)])
    func wrongDurations(text: String, message: String) {
        let error = #expect(throws: QuantityError.self) { try Quantity.duration(text) }
        #expect(error?.message == message)
    }

    @Test(
        arguments: [
            (0, "0s"), (1, "1ns"), (1_500, "1us 500ns"), (250_000_000, "250ms"),
            (80_000_000_000, "1m 20s"), (3_600_000_000_000, "1h"), (-5_000_000, "-5ms"),
        ] as [(Int64, String)])
    func durationsForPeople(nanoseconds: Int64, text: String) {
        #expect(Duration.nanoseconds(nanoseconds).text == text)
    }
}

@Suite struct SpellingTests {
    private let words = ["rounds", "rate", "reference", "none", "mesh"]

    @Test(
        arguments: [
            ("roudns", "rounds"), ("ruonds", "rounds"), ("round", "rounds"), ("Rounds", "rounds"),
            ("refrence", "reference"), ("rte", "rate"), ("mseh", "mesh"),
        ] as [(String, String)])
    func misspelt(word: String, meant: String) {
        #expect(nearest(to: word, in: words) == meant)
    }

    @Test(arguments: ["", "x", "zebra", "ab", "raaaaate"])
    func unlikeAny(word: String) {
        #expect(nearest(to: word, in: words) == nil)
    }

    @Test func longWordsAreNoMisspellings() {
        #expect(nearest(to: String(repeating: "a", count: 100_000), in: words) == nil)
    }
}
