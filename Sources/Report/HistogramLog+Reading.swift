import Base
import Stats

extension HistogramLog {
    /// Reads a whole log. Starts are given relative to the log's start time, whether the log has
    /// them so or since 1970.
    ///
    /// Source: HdrHistogram 2.1, `HistogramLogReader`.
    // Bound: as long as the text. Each histogram is kept packed, in no more bytes than it inflates
    // to.
    public init(reading text: String) throws(HistogramLogError) {
        self.init(startTime: nil, intervals: [])
        var baseTime: Double?
        var number = 0
        let newline = UInt8(ascii: "\n")
        for whole in text.utf8.split(separator: newline, omittingEmptySubsequences: false) {
            number += 1
            let bytes = whole.last == UInt8(ascii: "\r") ? whole.dropLast() : whole
            let line = Substring(bytes)
            if line.isEmpty || line.hasPrefix("\"StartTimestamp\"") { continue }
            if line.hasPrefix("#") {
                if let time = Self.time(line, after: "#[StartTime:") { startTime = time }
                if let time = Self.time(line, after: "#[BaseTime:") { baseTime = time }
                continue
            }
            do throws(Failure) {
                intervals.append(try Self.interval(line))
            } catch {
                throw HistogramLogError(line: number, reason: error.reason)
            }
        }
        makeRelative(baseTime: baseTime)
    }

    private struct Failure: Error {
        let reason: HistogramLogError.Reason
    }

    /// Takes the start time off starts that count from 1970.
    private mutating func makeRelative(baseTime: Double?) {
        guard let first = intervals.first?.start else { return }
        let start = startTime ?? first
        // The rule of the original: a start more than a year before the start time is not since
        // 1970.
        let isRelative = first < start - 365 * 24 * 3600
        let base = baseTime ?? (isRelative ? start : 0)
        startTime = start
        for index in intervals.indices { intervals[index].start += base - start }
    }

    /// The number after a word of a comment.
    private static func time(_ line: Substring, after word: String) -> Double? {
        guard line.hasPrefix(word) else { return nil }
        let rest = line.dropFirst(word.count).drop { $0 == " " }
        return Double(rest.prefix { $0 != " " && $0 != "]" }).flatMap { $0.isFinite ? $0 : nil }
    }

    private static func interval(_ line: Substring) throws(Failure) -> Interval {
        var fields = line.split(separator: ",", omittingEmptySubsequences: false)
        var tag: String?
        if let first = fields.first, first.hasPrefix("Tag=") {
            tag = String(first.dropFirst(4))
            fields.removeFirst()
        }
        let numbers = fields.prefix(3).compactMap { Double($0) }
        guard fields.count == 4, numbers.count == 3, numbers.allSatisfy(\.isFinite) else {
            throw Failure(reason: .badLine)
        }
        guard let bytes = Base64.decode(fields[3].utf8) else { throw Failure(reason: .notBase64) }
        do throws(HistogramCompressionError) {
            return Interval(
                tag: tag, start: numbers[0], length: numbers[1],
                histogram: try Histogram(decompressingV2: bytes))
        } catch {
            throw Failure(reason: .histogram(error))
        }
    }
}
