// Lines of text for a terminal: paragraphs that are wrapped, tables whose columns line up.

/// Text of at most `width` columns, built from the top.
struct TextPage {
    static let width = 100

    private(set) var text = ""
    let colour: Bool

    init(colour: Bool) { self.colour = colour }

    /// The sign of a verdict; an invalid measurement leaves the question open, as too few samples
    /// do.
    static func mark(_ verdict: RunResult.Verdict) -> String {
        switch verdict {
        case .pass: "✓"
        case .fail: "✗"
        case .inconclusive, .invalid: "?"
        }
    }

    /// `words` in the colour of `verdict`, where colours are wanted.
    func coloured(_ words: String, _ verdict: RunResult.Verdict?) -> String {
        guard colour, let verdict else { return words }
        let code =
            switch verdict {
            case .pass: "32"
            case .fail, .invalid: "31"
            case .inconclusive: "33"
            }
        return "\u{1B}[1;\(code)m\(words)\u{1B}[0m"
    }

    mutating func line(_ words: String) { text += words + "\n" }

    mutating func section(_ title: String) { text += "\n" + title + "\n" }

    /// `words`, wrapped and indented.
    mutating func paragraph(_ words: String, indent: Int) {
        let margin = String(repeating: " ", count: indent)
        for piece in wrapped(printable(words), Self.width - indent) { line(margin + piece) }
    }

    /// `words` behind a sign, wrapped beside it.
    mutating func item(_ sign: String, _ words: String, verdict: RunResult.Verdict? = nil) {
        for (index, piece) in wrapped(printable(words), Self.width - 4).enumerated() {
            line((index == 0 ? "  " + coloured(sign, verdict) + " " : "    ") + piece)
        }
    }

    /// A table; the first `textColumns` are text and stand left, the others are numbers and stand
    /// right. Text is cut, numbers never are, so that a line fits.
    mutating func table(header: [String], rows: [[String]], textColumns: Int) {
        let cells = ([header] + rows).map { $0.map(printable) }
        var widths = header.indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
        let gaps = 2 * header.count
        for column in (0..<textColumns).reversed() {
            let excess = widths.reduce(gaps, +) - Self.width
            if excess > 0 { widths[column] = max(8, widths[column] - excess) }
        }
        for row in cells {
            var output = ""
            for (column, cell) in row.enumerated() {
                let shown =
                    cell.count > widths[column] ? cell.prefix(widths[column] - 1) + "…" : cell
                let padding = String(repeating: " ", count: widths[column] - shown.count)
                output += "  " + (column < textColumns ? shown + padding : padding + shown)
            }
            while output.last == " " { output.removeLast() }
            line(output)
        }
    }
}

/// `text` in lines of at most `width` characters, broken at spaces; a longer word is cut.
func wrapped(_ text: String, _ width: Int) -> [String] {
    precondition(width > 0, "a line of \(width) characters")
    var lines: [String] = []
    var current = ""
    for word in text.split(separator: " ") {
        var rest = word
        if !current.isEmpty && current.count + 1 + rest.count > width {
            lines.append(current)
            current = ""
        }
        while current.isEmpty && rest.count > width {
            lines.append(String(rest.prefix(width)))
            rest = rest.dropFirst(width)
        }
        current += (current.isEmpty ? "" : " ") + rest
    }
    if !current.isEmpty || lines.isEmpty { lines.append(current) }
    return lines
}
