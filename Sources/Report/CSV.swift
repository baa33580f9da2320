// Comma-separated values as RFC 4180 quotes them, with lines ended by a bare line feed: what the
// tools of this platform expect.

/// Rows of text under a header.
struct CSV {
    private(set) var text = ""
    private let columns: Int

    init(header: [String]) {
        columns = header.count
        append(header)
    }

    /// - Precondition: as many fields as the header has.
    mutating func append(_ row: [String]) {
        precondition(row.count == columns, "a row of \(row.count) fields under \(columns) columns")
        text += row.map(Self.quoted).joined(separator: ",") + "\n"
    }

    /// RFC 4180, 2: a field with a comma, a quote or a line break stands in quotes, its own
    /// doubled.
    static func quoted(_ field: String) -> String {
        let needsQuotes = field.unicodeScalars.contains {
            $0 == "," || $0 == "\"" || $0 == "\n" || $0 == "\r"
        }
        guard needsQuotes else { return field }
        var result = "\""
        for scalar in field.unicodeScalars {
            if scalar == "\"" { result += "\"" }
            result.unicodeScalars.append(scalar)
        }
        return result + "\""
    }
}

/// A number as machines read it: the shortest text that gives the same number, no grouping, no
/// unit.
func exact(_ value: Double) -> String {
    precondition(value.isFinite, "a number that is not finite: \(value)")
    if value == value.rounded(), value.magnitude < 0x1p53 { return String(Int64(value)) }
    return value.description
}

/// As `exact(_:)`; empty where there is no number.
func exact(_ value: Double?) -> String { value.map { exact($0) as String } ?? "" }
