// HdrHistogram's log, version 1.3: a line for each interval of each series, the histogram
// compressed and in base64. The Java, Python, C and Go tools read it, and so can this program,
// offline, later.

import Base
public import Stats

/// Why a text is not a histogram log, or a log cannot be written.
public struct HistogramLogError: Error, Equatable, Sendable {
    public enum Reason: Equatable, Sendable {
        /// A tag with a comma, a space or a line break, or without any character.
        case badTag
        /// Not `[Tag=...,]start,length,max,histogram`, with finite numbers.
        case badLine
        /// The last field is not base64.
        case notBase64
        case histogram(HistogramCompressionError)
    }

    /// From 1; 0 where a log was to be written.
    public let line: Int
    public let reason: Reason

    public init(line: Int, reason: Reason) {
        self.line = line
        self.reason = reason
    }
}

/// The intervals of a histogram log.
public struct HistogramLog: Equatable, Sendable {
    /// What was recorded in one span of time.
    public struct Interval: Equatable, Sendable {
        /// The series it belongs to, `mesh.base`; nil: the only one.
        public var tag: String?
        /// Seconds from the log's start.
        public var start: Double
        /// Seconds.
        public var length: Double
        public var histogram: Histogram

        public init(tag: String?, start: Double, length: Double, histogram: Histogram) {
            self.tag = tag
            self.start = start
            self.length = length
            self.histogram = histogram
        }
    }

    /// Seconds since 1970, UTC; nil: the log does not say.
    public var startTime: Double?
    public var intervals: [Interval]

    public init(startTime: Double?, intervals: [Interval]) {
        self.startTime = startTime
        self.intervals = intervals
    }
}

extension HistogramLog {
    private static let legend =
        #""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""# + "\n"

    /// The lines before the first interval.
    ///
    /// - Parameters:
    ///   - startTime: seconds since 1970, UTC.
    ///   - date: the same for people, without a line break.
    public static func head(startTime: Double, date: String) -> String {
        let seconds = fixedDecimal(startTime, decimals: 3)
        return "#[Logged with meshbench; values in nanoseconds, Interval_Max in milliseconds]\n"
            + "#[Histogram log format version 1.3]\n"
            + "#[StartTime: \(seconds) (seconds since epoch), \(date)]\n" + legend
    }

    /// One interval as a line.
    public static func line(_ interval: Interval) throws(HistogramLogError) -> String {
        var fields: [String] = []
        if let tag = interval.tag {
            if tag.isEmpty || tag.utf8.contains(where: { $0 <= 0x20 || $0 == UInt8(ascii: ",") }) {
                throw HistogramLogError(line: 0, reason: .badTag)
            }
            fields.append("Tag=\(tag)")
        }
        let numbers = [interval.start, interval.length, Double(interval.histogram.max) / 1e6]
        fields += numbers.map { fixedDecimal($0, decimals: 3) }
        fields.append(Base64.encode(interval.histogram.compressedV2()))
        return fields.joined(separator: ",") + "\n"
    }

    /// Writes the whole log into a sink, line by line. Throws what the sink throws, or a
    /// `HistogramLogError` for a tag that the format cannot hold.
    public func write(date: String, to sink: (String) throws -> Void) throws {
        try sink(Self.head(startTime: startTime ?? 0, date: date))
        for interval in intervals { try sink(Self.line(interval)) }
    }
}
