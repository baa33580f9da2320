import Base
import Testing

@testable import ProxyCore

/// How requests are spread over levels.
@Suite struct LevelLoadsTests {
    private static func loads(
        _ levels: [(available: Int, all: Int)], threshold: Double = 50
    ) -> LevelLoads {
        LevelLoads(
            levels.map { .init(all: $0.all, available: $0.available) }, threshold: threshold)
    }

    /// The table of Envoy's documentation, "Priority levels": percent of the first level that are
    /// well, with the second one well, and what each gets.
    @Test(arguments: [(100, 100), (72, 100), (71, 99), (50, 70), (25, 35), (0, 0)])
    func spillsOver(_ available: Int, _ first: Int) {
        let loads = Self.loads([(available, 100), (100, 100)])
        #expect(loads.loads == [first, 100 - first])
        #expect(loads.panics == [false, false])
    }

    /// The second table, of three levels.
    @Test(arguments: [
        ([100, 100, 100], [100, 0, 0]), ([72, 72, 100], [100, 0, 0]), ([71, 71, 100], [99, 1, 0]),
        ([50, 50, 100], [70, 30, 0]), ([25, 100, 100], [35, 65, 0]),
        ([25, 25, 100], [35, 35, 30]),
        ([20, 0, 0], [100, 0, 0]), ([0, 25, 25], [0, 50, 50]),
    ])
    func spillsOverThree(_ available: [Int], _ expected: [Int]) {
        let loads = Self.loads(available.map { ($0, 100) }, threshold: 0)
        #expect(loads.loads == expected)
    }

    /// With a threshold of 50 %: up to 5 of 10 may be out, from the sixth on all are asked.
    @Test func panicIsACliff() {
        for out in 0...10 {
            let panics = Self.loads([(10 - out, 10)]).panics
            #expect(panics == [out > 5], "\(out) out")
            #expect(Self.loads([(10 - out, 10)], threshold: 0).panics == [false])
        }
    }

    /// "If the levels together are well enough, none is in panic", and "all in panic: by size".
    @Test func panicLooksAtAllLevels() {
        #expect(Self.loads([(1, 10), (10, 10)]).panics == [false, false])
        #expect(Self.loads([(4, 10), (3, 10)]).panics == [true, true])
        #expect(Self.loads([(4, 10), (0, 30)]).loads == [25, 75])
        #expect(Self.loads([(5, 10), (1, 30)]).panics == [false, true])
        #expect(Self.loads([(0, 3), (0, 0)]).loads == [100, 0])
        #expect(Self.loads([(0, 3)], threshold: 0).loads == [100])
        #expect(Self.loads([(0, 0)]).loads == [100])
    }

    /// Whatever is well: what is given out is all, and goes to nobody who is not there.
    @Test func loadsAreWhole() {
        for threshold in [0.0, 33.3, 50, 100] {
            for shape in 0..<6 * 6 * 6 * 6 * 6 * 6 {
                var rest = shape
                let levels = (0..<3).map { _ in
                    let all = rest % 6
                    let available = min(all, rest / 6 % 6)
                    rest /= 36
                    return (available, all)
                }
                let loads = Self.loads(levels, threshold: threshold)
                #expect(loads.loads.reduce(0, +) == 100)
                #expect(loads.loads.allSatisfy { $0 >= 0 })
                guard levels.contains(where: { $0.0 > 0 }) else { continue }
                for (i, level) in levels.enumerated() where loads.loads[i] > 0 {
                    #expect(level.0 > 0 || loads.panics[i] && level.1 > 0, "\(levels)")
                }
            }
        }
    }

    @Test func numbersFindTheirLevel() {
        let loads = Self.loads([(25, 100), (25, 100), (100, 100)])
        var counts = [0, 0, 0]
        for number in 0..<100 { counts[loads.level(UInt64(number))] += 1 }
        #expect(counts == [35, 35, 30])
    }
}
