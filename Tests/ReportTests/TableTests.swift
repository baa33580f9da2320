import Testing

@testable import Report

@Suite("CSV and terminal")
struct TableTests {
    @Test("summary.csv", arguments: [SampleVariant.whole, .invalid, .nothingRecorded, .oneArm])
    func summaryCSV(variant: SampleVariant) throws {
        try expectGolden(variant.result.summaryCSV(), "summary-\(variant.rawValue).csv")
    }

    @Test("rounds.csv", arguments: [SampleVariant.partial, .nothingRecorded])
    func roundsCSV(variant: SampleVariant) throws {
        try expectGolden(variant.result.roundsCSV(), "rounds-\(variant.rawValue).csv")
    }

    @Test("The terminal summary", arguments: SampleVariant.allCases)
    func summaryText(variant: SampleVariant) throws {
        let text = variant.result.summaryText(colour: false)
        try expectGolden(text, "summary-\(variant.rawValue).txt")
        for line in text.split(separator: "\n") {
            #expect(line.count <= 100, "\(line)")
        }
        #expect(!text.contains("\u{1B}"))
    }

    @Test("Colour is only added, and only where asked for")
    func colour() {
        let result = SampleVariant.whole.result
        let coloured = result.summaryText(colour: true)
        #expect(coloured.contains("\u{1B}[1;31m"))
        #expect(
            coloured.replacing(/\u{1B}\[[0-9;]*m/, with: "") == result.summaryText(colour: false))
    }

    @Test("An invalid run states no latency and no cost", arguments: [SampleVariant.invalid])
    func invalidStatesNothing(variant: SampleVariant) {
        let result = variant.result
        let text = result.summaryText(colour: false)
        #expect(text.contains("INVALID"))
        for reason in result.validity.reasons {
            #expect(text.contains(reason.prefix(40)))
        }
        for overhead in result.overheads {
            let quantity = Quantity(unit: overhead.unit)
            #expect(!text.contains(quantity.value(of: overhead.difference)))
            #expect(!text.contains(quantity.value(of: overhead.value)))
        }
        for expectation in result.expectations { #expect(!text.contains(expectation.observed)) }
    }

    @Test("Every row of a CSV has as many fields as its header", arguments: SampleVariant.allCases)
    func rectangular(variant: SampleVariant) {
        for text in [variant.result.summaryCSV(), variant.result.roundsCSV()] {
            let rows = parseCSV(text)
            #expect(rows.count > 1)
            for row in rows { #expect(row.count == rows[0].count) }
        }
    }

    @Test(
        "RFC 4180 quoting",
        arguments: [
            ("plain", "plain"), ("", ""), ("a,b", "\"a,b\""), ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""), ("cr\r\nlf", "\"cr\r\nlf\""), (" space ", " space "),
        ])
    func quoting(field: String, expected: String) {
        #expect(CSV.quoted(field) == expected)
        #expect(parseCSV(CSV.quoted(field) + ",x\n") == [[field, "x"]])
    }
}

/// A reader of RFC 4180, written from the RFC and not from the writer.
private func parseCSV(_ text: String) -> [[String]] {
    var rows: [[String]] = []
    var row: [String] = []
    var field = String.UnicodeScalarView()
    var isQuoted = false
    var scalars = Array(text.unicodeScalars)[...]
    while let scalar = scalars.popFirst() {
        if isQuoted {
            if scalar != "\"" {
                field.append(scalar)
            } else if scalars.first == "\"" {
                field.append(scalars.removeFirst())
            } else {
                isQuoted = false
            }
        } else if scalar == "\"" {
            isQuoted = true
        } else if scalar == "," || scalar == "\n" {
            row.append(String(field))
            field = .init()
            if scalar == "\n" {
                rows.append(row)
                row = []
            }
        } else {
            field.append(scalar)
        }
    }
    return rows
}
