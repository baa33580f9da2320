// A strict reader of Prometheus' text format 0.0.4, for holding /stats against it.
//
// Source: prometheus.io, "Exposition formats", text-based format.

/// The samples of one exposition.
public struct PrometheusText: Sendable {
    /// Why a text is not in the format.
    public struct Violation: Error, CustomStringConvertible {
        public var line: Int
        public var what: String
        public var description: String { "line \(line): \(what)" }
    }

    /// Values by the sample's name with its labels, as written.
    public let samples: [String: Double]
    /// `counter`, `gauge` or `histogram`, by metric name.
    public let types: [String: String]

    /// What the names of a type's samples have behind the metric's.
    private static let parts = [
        "counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"],
    ]

    public subscript(_ sample: String) -> Double? { samples[sample] }

    /// Reads a text. Every metric has its type before its samples, all of them in one group;
    /// counters end in `_total`; no sample comes twice; the text ends with a line feed.
    public init(_ text: String) throws(Violation) {
        var samples: [String: Double] = [:]
        var types: [String: String] = [:]
        var current = ""
        guard text.hasSuffix("\n") else {
            throw Violation(line: 0, what: "no line feed at the end")
        }
        for (index, line) in text.dropLast().split(
            separator: "\n", omittingEmptySubsequences: false
        ).enumerated() {
            func violation(_ what: String) -> Violation { Violation(line: index + 1, what: what) }
            if line.hasPrefix("#") {
                let words = line.split(separator: " ", omittingEmptySubsequences: false)
                guard words.count >= 4, ["TYPE", "HELP"].contains(words[1]) else {
                    throw violation("a comment that is neither TYPE nor HELP: \(line)")
                }
                guard words[1] == "TYPE" else { continue }
                current = String(words[2])
                guard Self.isName(current[...]), Self.parts[String(words[3])] != nil,
                    words.count == 4, types[current] == nil
                else { throw violation("a bad type line: \(line)") }
                guard words[3] != "counter" || current.hasSuffix("_total") else {
                    throw violation("a counter that does not end in _total: \(line)")
                }
                types[current] = String(words[3])
                continue
            }
            guard let blank = line.lastIndex(of: " ") else { throw violation("no value: \(line)") }
            let sample = line[..<blank]
            let name = sample.prefix { $0 != "{" }
            let parts = types[current].flatMap { Self.parts[$0] } ?? []
            guard parts.contains(where: { name == current + $0 }) else {
                throw violation("a sample outside its group: \(line)")
            }
            guard Self.isLabels(sample[name.endIndex...]) else {
                throw violation("bad labels: \(line)")
            }
            guard let value = Double(line[line.index(after: blank)...]), value >= 0 else {
                throw violation("a bad value: \(line)")
            }
            guard samples.updateValue(value, forKey: String(sample)) == nil else {
                throw violation("a sample that comes twice: \(line)")
            }
        }
        self.samples = samples
        self.types = types
    }

    private static func isName(_ name: Substring) -> Bool {
        guard let first = name.first, !first.isNumber else { return false }
        return name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    }

    /// Nothing, or `{name="value",…}` without escapes.
    private static func isLabels(_ text: Substring) -> Bool {
        if text.isEmpty { return true }
        guard text.hasPrefix("{"), text.hasSuffix("\"}") else { return false }
        return text.dropFirst().dropLast().split(separator: ",", omittingEmptySubsequences: false)
            .allSatisfy { pair in
                let parts = pair.split(separator: "=", maxSplits: 1)
                return parts.count == 2 && isName(parts[0]) && parts[1].hasPrefix("\"")
                    && parts[1].count >= 2 && !parts[1].dropFirst().dropLast().contains("\"")
            }
    }
}
