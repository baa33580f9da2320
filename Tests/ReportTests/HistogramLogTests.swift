import Base
import Report
import Stats
import Support
import Testing

@Suite struct HistogramLogTests {
    private func log(seconds: Int, seed: UInt64) -> HistogramLog {
        var random = SeededRandom(seed: seed)
        var log = HistogramLog(startTime: 1_700_000_000.25, intervals: [])
        for second in 0..<seconds {
            var histogram = Histogram()
            for _ in 0..<random.below(300) {
                histogram.record(random.next() >> UInt64(random.below(64)), count: 4)
            }
            log.intervals.append(
                .init(
                    tag: second % 3 == 0 ? nil : "mesh.phase-\(second % 3)",
                    start: Double(second), length: 1, histogram: histogram))
        }
        return log
    }

    private func text(_ log: HistogramLog) throws -> String {
        var text = ""
        try log.write(date: "2023-11-14T22:13:20Z") { text += $0 }
        return text
    }

    @Test func aLogIsReadAsItWasWritten() throws {
        let log = log(seconds: 30, seed: 1)
        let text = try text(log)
        #expect(try HistogramLog(reading: text) == log)
        // Windows line ends, as other tools may leave them.
        let windows = text.split(separator: "\n").joined(separator: "\r\n")
        #expect(try HistogramLog(reading: windows) == log)
        let lines = text.split(separator: "\n")
        #expect(lines[1] == "#[Histogram log format version 1.3]")
        #expect(
            lines[2]
                == "#[StartTime: 1700000000.250 (seconds since epoch), 2023-11-14T22:13:20Z]")
        #expect(lines[4].hasPrefix("0.000,1.000,"))
        #expect(lines[4].contains(",HISTFAAA"))
        #expect(lines[5].hasPrefix("Tag=mesh.phase-1,1.000,1.000,"))
    }

    @Test func startsSince1970AreMadeRelative() throws {
        var absolute = log(seconds: 3, seed: 2)
        let relative = absolute
        for index in absolute.intervals.indices {
            absolute.intervals[index].start += 1_700_000_000.25
        }
        #expect(try HistogramLog(reading: text(absolute)) == relative)
        let withBase = try text(relative).replacing(
            first: "\"StartT", with: "#[BaseTime: 1700000001.250 (seconds since epoch)]\n\"StartT")
        #expect(try HistogramLog(reading: withBase).intervals.map(\.start) == [1, 2, 3])
    }

    @Test(arguments: ["", "a,b", "a b", "a\nb"])
    func tagsThatTheFormatCannotHold(tag: String) {
        let interval = HistogramLog.Interval(
            tag: tag, start: 0, length: 1, histogram: Histogram())
        #expect(throws: HistogramLogError(line: 0, reason: .badTag)) {
            try HistogramLog.line(interval)
        }
    }

    @Test(
        arguments: [
            ("x", .badLine), ("1,2,3", .badLine), ("1,2,3,4,5", .badLine),
            ("1,nan,3,AAAA", .badLine),
            ("Tag=a,1,inf,3,AAAA", .badLine), ("1,2,3,A", .notBase64),
            ("1,2,3,", .histogram(.length)), ("1,2,3,AAAA", .histogram(.length)),
            ("1,2,3,AAAAAAAAAAA=", .histogram(.unknownCookie(0))),
            ("1,2,3,HISTFAAAAAE=", .histogram(.length)),
            ("1,2,3,HISTFAAAAAQBAgME", .histogram(.damaged)),
        ] as [(String, HistogramLogError.Reason)])
    func badLinesAreRefusedWithTheirNumber(line: String, reason: HistogramLogError.Reason) {
        #expect(throws: HistogramLogError(line: 2, reason: reason)) {
            try HistogramLog(reading: "#comment\n\(line)\n")
        }
    }

    /// A kilobyte that would inflate to a thousand, more than any histogram has.
    @Test func aCompressionBombIsRefused() throws {
        var histogram = Histogram()
        histogram.record(1)
        var bytes = try #require(
            Base64.decode(try textOfFile(fixture("bomb.base64")).dropLast().utf8))
        #expect(bytes.count < 2000)
        #expect(throws: HistogramCompressionError.damaged) {
            try Histogram(decompressingV2: bytes)
        }
        // A byte behind the compressed part.
        bytes = histogram.compressedV2() + [0]
        bytes[7] += 1
        #expect(throws: HistogramCompressionError.damaged) {
            try Histogram(decompressingV2: bytes)
        }
    }

    @Test func damagedLogsAreRefusedOrRead() throws {
        try fuzzDamagedLogs(.current(steps: 2000))
    }

    /// Fuzz twin: damage to a log is an error or another log, never a crash, and what is read can
    /// be written and read again.
    private func fuzzDamagedLogs(_ budget: FuzzBudget) throws {
        var random = SeededRandom(seed: budget.seed)
        let whole = Array(try text(log(seconds: 4, seed: budget.seed)).utf8)
        for step in 0..<budget.steps {
            var bytes = whole
            for _ in 0...random.below(3) {
                switch random.below(3) {
                case 0: bytes[random.below(bytes.count)] = UInt8(random.below(256))
                case 1: bytes.removeSubrange(random.below(bytes.count)...)
                default:
                    bytes.insert(bytes[random.below(bytes.count)], at: random.below(bytes.count))
                }
                if bytes.isEmpty { bytes = whole }
            }
            guard
                let read = try? HistogramLog(reading: String(decoding: bytes, as: UTF8.self)),
                let again = try? HistogramLog(reading: text(read))
            else { continue }
            #expect(
                again.intervals.map(\.histogram) == read.intervals.map(\.histogram),
                "step \(step): \(budget.rerun("HistogramLogTests"))")
        }
    }
}

extension String {
    fileprivate func replacing(first: String, with other: String) -> String {
        guard let range = self.firstRange(of: first) else { return self }
        return String(self[..<range.lowerBound] + other + self[range.upperBound...])
    }
}
