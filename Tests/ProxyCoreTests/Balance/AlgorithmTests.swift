import Base
import Model
import Testing

@testable import ProxyCore

/// The algorithms, each by itself.
@Suite struct AlgorithmTests {
    // MARK: Hashes

    /// Computed with the reference implementation: bytes 3, 10, 17, …, with seeds 0 and 1.
    @Test(
        arguments: [
            (0, 0xEF46_DB37_51D8_E999, 0xD5AF_BA13_36A3_BE4B),
            (1, 0x1F25_C8D0_BC1F_4BB6, 0x610F_93F8_C898_89FE),
            (3, 0x31D2_363F_52E5_64C9, 0x2D80_E074_130D_0176),
            (4, 0x9BB6_4B7D_66EE_9FDA, 0x5EC9_FDD1_0FCB_CB0E),
            (7, 0x9A7B_1499_59CE_60D8, 0xD8B4_A941_715F_EE31),
            (8, 0xDAB9_9D95_C6F9_0092, 0xF119_F5B2_6C00_20AB),
            (15, 0x1B47_CB82_43CC_8E32, 0x7A94_EE01_6F09_B732),
            (31, 0xA2AA_5F33_CC4A_6119, 0xAACA_4E41_FFCA_E21C),
            (32, 0x23C3_C17E_F790_FD97, 0x7421_B79A_02B4_2132),
            (33, 0x50A7_CFC7_BA58_8784, 0x17B3_DF31_3DE9_A40E),
            (63, 0x5E3E_54B4_31C7_493C, 0xB1AB_B4A5_AD0E_2943),
            (64, 0x0EB6_4B3E_F6EE_B01F, 0x2D04_5794_0C5A_93F4),
            (100, 0xA61F_8D4C_170F_E531, 0x8D89_57E6_8F02_C7CE),
            (257, 0xB7B6_04F7_E4F8_22FA, 0x39B8_FB17_C8ED_8373),
        ] as [(Int, UInt64, UInt64)])
    func hashesAreXXHash(_ count: Int, _ plain: UInt64, _ seeded: UInt64) {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 + 3) }
        #expect(bytes.withBytes { XXHash64.hash($0) } == plain)
        #expect(bytes.withBytes { XXHash64.hash($0, seed: 1) } == seeded)
    }

    private static func names(_ ports: ClosedRange<Int>) -> [(name: String, weight: Double)] {
        ports.map { ("127.0.0.1:\($0)", 1) }
    }

    /// The ring that Envoy's own test has for these endpoints.
    @Test func ringIsEnvoys() {
        let ring = HashRing(Self.names(90...95), leastPoints: 12)
        #expect(ring.count == 12)
        let points: [(UInt64, Int)] = [
            (833_437_586_790_550_860, 4), (928_266_305_478_181_108, 2),
            (1_033_482_794_131_418_490, 0), (3_551_244_743_356_806_947, 5),
            (3_851_675_632_748_031_481, 3), (5_583_722_120_771_150_861, 1),
            (6_311_230_543_546_372_928, 1), (7_700_377_290_971_790_572, 3),
            (13_144_177_310_400_110_813, 5), (13_444_792_449_719_432_967, 2),
            (15_516_499_411_664_133_160, 4), (16_117_243_373_044_804_889, 0),
        ]
        for (i, point) in points.enumerated() {
            #expect(ring.member(point.0) == point.1)
            let next = points[(i + 1) % points.count].1
            #expect(ring.member(point.0 + 1) == next)
            #expect(ring.member(point.0, attempt: 1) == next)
        }
        #expect(ring.member(0) == 4)
        #expect(ring.member(.max) == 4)
    }

    /// The table that Envoy's own test has for these endpoints.
    @Test func tableIsEnvoys() {
        let table = MaglevTable(Self.names(90...95), size: 7)
        #expect(
            (0..<21).map { table.member($0) } == (0..<21).map { [2, 4, 0, 1, 5, 0, 3][$0 % 7] })
        let reversed = MaglevTable(Self.names(90...95).reversed(), size: 7)
        #expect((0..<7).map { 5 - reversed.member($0) } == [2, 4, 0, 1, 5, 0, 3])
    }

    /// Whoever goes takes only its own requests with it: all of them on a ring, nearly all in a
    /// table.
    @Test func onlyTheRequestsOfWhoGoesMove() {
        var random = SeededRandom(seed: 2)
        let all = Self.names(1...20)
        let fewer = all.filter { $0.name != "127.0.0.1:7" }
        let hashes = (0..<20_000).map { _ in random.next() }
        let (ring, ringLess) = (
            HashRing(all, leastPoints: 1024), HashRing(fewer, leastPoints: 1024)
        )
        // Points depend on the names alone where each has as many as before.
        let moved = hashes.count {
            all[ring.member($0)].name != "127.0.0.1:7"
                && all[ring.member($0)].name != fewer[ringLess.member($0)].name
        }
        #expect(Double(moved) / 20_000 < 0.06)
        let (table, tableLess) = (
            MaglevTable(all, size: 65_537), MaglevTable(fewer, size: 65_537)
        )
        let shifted = hashes.count {
            all[table.member($0)].name != "127.0.0.1:7"
                && all[table.member($0)].name != fewer[tableLess.member($0)].name
        }
        #expect(Double(shifted) / 20_000 < 0.03)
    }

    @Test func tablesAreEvenByWeight() {
        let members = (1...10).map { (name: "10.0.0.\($0):80", weight: Double($0)) }
        let table = MaglevTable(members, size: 65_537)
        var counts = [Int](repeating: 0, count: 10)
        for i in 0..<65_537 { counts[table.member(UInt64(i))] += 1 }
        for i in 0..<10 {
            let share = 65_537 * Double(i + 1) / 55
            #expect(abs(Double(counts[i]) - share) <= share * 0.01 + 2, "\(i): \(counts[i])")
        }
    }

    // MARK: Turns

    /// Over one round of all weights each has exactly its share, and on the way never a turn more
    /// than it is owed by then, or less.
    @Test func turnsAreShared() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<60 {
            let weights = (0...random.below(12)).map { _ in Double(1 + random.below(30)) }
            let sum = weights.reduce(0, +)
            var queue = TurnQueue(weights, &random)
            var counts = weights.map { _ in 0 }
            for turn in 1...3 * Int(sum) {
                let i = queue.first
                queue.advance(weights[i])
                counts[i] += 1
                let passed = Double(turn) / sum
                for (k, weight) in weights.enumerated() {
                    // The clock of a turn is known to a turn of each.
                    let slack = 1 + weight * Double(weights.count) / sum
                    #expect(abs(Double(counts[k]) - passed * weight) <= slack)
                }
                if turn % Int(sum) == 0 {
                    #expect(counts == weights.map { Int($0) * turn / Int(sum) }, "\(weights)")
                }
            }
        }
    }

    /// Turns go on as before when the clock goes round, which takes a few dozen turns of the
    /// smallest weights.
    @Test func clockGoesRound() {
        var random = SeededRandom(seed: 4)
        let weights = [1.0 / 65_536, 2.0 / 65_536, 1e-9]
        var queue = TurnQueue(weights, &random)
        var counts = [0, 0, 0]
        for _ in 0..<4_000 {
            let i = queue.first
            queue.advance(weights[i])
            counts[i] += 1
        }
        #expect(counts[1] >= 1999 && counts[1] <= 2001 && abs(counts[0] - counts[2]) <= 1)
    }

    /// The first turn falls to each as often as its weight says: many proxies that are told the
    /// same do not begin at the same endpoint.
    @Test func firstTurnsAreSpread() {
        var random = SeededRandom(seed: 5)
        var counts = [0, 0, 0]
        for _ in 0..<6_000 { counts[TurnQueue([1, 2, 3], &random).first] += 1 }
        // The least of places uniform in 1/weight; by integration 7, 16 and 31 of 54.
        for (count, share) in zip(counts, [7.0 / 54, 16.0 / 54, 31.0 / 54]) {
            let deviation = (6_000 * share * (1 - share)).squareRoot()
            #expect(abs(Double(count) - 6_000 * share) < 4 * deviation, "\(counts)")
        }
    }

    @Test func chanceFollowsWeights() {
        var random = SeededRandom(seed: 6)
        for _ in 0..<20 {
            let weights = (0...random.below(9)).map { _ in Double(1 + random.below(100)) }
            let table = AliasTable(weights)
            var counts = weights.map { _ in 0 }
            let draws = 4_000
            for _ in 0..<draws { counts[table.draw(&random)] += 1 }
            let sum = weights.reduce(0, +)
            for (count, weight) in zip(counts, weights) {
                let share = weight / sum
                let deviation = (Double(draws) * share * (1 - share)).squareRoot()
                #expect(abs(Double(count) - Double(draws) * share) <= 4.5 * deviation + 1)
            }
        }
    }

    // MARK: Latencies

    /// The example of tower's own test of its peak EWMA.
    @Test func peaksStay() {
        let decay = Duration.seconds(1)
        let standard = Duration.milliseconds(20)
        var latency = PeakLatency()
        func at(_ milliseconds: Int64) -> Instant {
            Instant(nanoseconds: milliseconds * 1_000_000)
        }
        #expect(latency.value(standard, decay, now: at(0)) == 20e6)
        let decayed = latency.value(standard, decay, now: at(100))
        #expect(decayed > 18e6 && decayed < 19e6)
        latency.note(.milliseconds(400), standard, decay, now: at(400))
        #expect(latency.value(standard, decay, now: at(400)) == 400e6)
        latency.note(.milliseconds(10), standard, decay, now: at(400))
        #expect(latency.value(standard, decay, now: at(400)) == 400e6)
        let later = latency.value(standard, decay, now: at(1400))
        #expect(abs(later - 400e6 * 0.36788) < 1e5)
        latency.note(.milliseconds(10), standard, decay, now: at(2400))
        let mixed = latency.value(standard, decay, now: at(2400))
        #expect(abs(mixed - (later * 0.36788 + 10e6 * 0.63212)) < 1e5)
        #expect(latency.value(standard, decay, now: at(10_000_000)) >= 1)
    }
}
