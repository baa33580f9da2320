import Base
import Glibc
import Report
import Stats
import Testing

/// Against Python's hdrhistogram, both ways. Needs the Python of scripts/test; fails without it.
@Suite struct HistogramInteropTests {
    /// What interop.py prints of an interval.
    private func summary(_ interval: HistogramLog.Interval) -> [String] {
        let histogram = interval.histogram
        let quantiles = [0, 0.25, 0.5, 0.75, 1].map { histogram.value(atQuantile: $0) }
        let numbers = [histogram.count, histogram.min, histogram.max] + quantiles
        return [interval.tag ?? "-", fixed(interval.start), fixed(interval.length)]
            + numbers.map(String.init)
            + histogram.buckets.map { "\($0.highest):\($0.count)" }
    }

    private func fixed(_ seconds: Double) -> String {
        let thousandths = Int((seconds * 1000).rounded())
        let rest = String(thousandths % 1000 + 1000).dropFirst()
        return "\(thousandths / 1000).\(rest)"
    }

    /// Compares lines of interop.py with intervals read or written here.
    private func compare(_ lines: [[String]], _ intervals: [HistogramLog.Interval]) throws {
        try #require(lines.count == intervals.count)
        for (line, interval) in zip(lines, intervals) {
            // The mean and the standard deviation stand before the buckets, in floating point.
            #expect(Array(line[..<11] + line[13...]) == summary(interval))
            let mean = try #require(Double(line[11]))
            let deviation = try #require(Double(line[12]))
            #expect(abs(interval.histogram.mean - mean) <= 1e-5 * mean)
            #expect(abs(interval.histogram.standardDeviation - deviation) <= 1e-5 * deviation)
        }
    }

    private func lines(_ output: String) -> [[String]] {
        output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    }

    @Test func pythonReadsWhatSwiftWrites() throws {
        var log = HistogramLog(startTime: 1_700_000_000, intervals: [])
        for second in 0..<5 {
            let first = UInt64(second) * 1000
            var histogram = HistogramGoldenTests.latencies(first..<first + 1000)
            // A multiple of four: the ranks of the quartiles are whole.
            histogram.record(7, count: 4 - histogram.count % 4)
            histogram.record(.max, count: 4)
            log.intervals.append(
                .init(
                    tag: second == 2 ? nil : "direct.base", start: Double(second), length: 1,
                    histogram: histogram))
        }
        let directory = try ScratchDirectory()
        defer { directory.remove() }
        var text = ""
        try log.write(date: "2023-11-14T22:13:20Z") { text += $0 }
        try directory.write(text, to: "swift.hlog")
        let path = directory.path("swift.hlog")
        try compare(lines(python("summary", path)), log.intervals)

        var total = Histogram()
        for interval in log.intervals { total.merge(interval.histogram) }
        try directory.write(
            HistogramText.percentiles(of: total), to: "swift.hgrm")
        let verdict = try python("distribution", path, directory.path("swift.hgrm"))
        #expect(verdict.hasPrefix("agreed"))
    }

    @Test(arguments: 1...3)
    func swiftReadsWhatPythonWrites(seed: Int) throws {
        let directory = try ScratchDirectory()
        defer { directory.remove() }
        let path = directory.path("python.hlog")
        let written = try lines(python("write", path, String(seed)))
        let log = try HistogramLog(reading: textOfFile(path))
        #expect(log.startTime == 1_700_000_000)
        try compare(written, log.intervals)
    }
}

/// Runs interop.py with the Python that scripts/test has prepared, and returns what it prints.
private func python(_ arguments: String...) throws -> String {
    let home = unsafe getenv("HOME").map { unsafe String(cString: $0) } ?? ""
    let named = unsafe getenv("MESHBENCH_PYTHON").map { unsafe String(cString: $0) }
    let python = named ?? home + "/.cache/meshbench/venv/bin/python"
    if unsafe access(python, X_OK) != 0 {
        throw Missing(
            description: "no Python with hdrhistogram at \(python): run scripts/test, or set "
                + "MESHBENCH_PYTHON")
    }
    let words = [python, fixture("interop.py")] + arguments
    let command = words.map { "'\($0)'" }.joined(separator: " ") + " 2>&1"
    guard let pipe = unsafe popen(command, "r") else { throw Missing(description: "popen") }
    var output: [UInt8] = []
    while true {
        let byte = unsafe fgetc(pipe)
        if byte < 0 { break }
        output.append(UInt8(byte))
    }
    let text = String(decoding: output, as: UTF8.self)
    if unsafe pclose(pipe) != 0 { throw Missing(description: "\(command): \(text)") }
    return text
}
