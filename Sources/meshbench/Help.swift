// Help is written from the tables in Command and Flag: what is parsed is what is explained.

private let margin = "  "
/// Help keeps within the width of a classic terminal.
private let width = 80

/// What `meshbench help` prints: every command and what it is for.
func overview() -> String {
    var lines = [
        "meshbench measures what a service mesh costs, and says when the measurement",
        "is not to be believed.", "", "usage: meshbench COMMAND [flags]", "", "commands:",
    ]
    lines += table(commands.map { ($0.name, $0.about) })
    lines += ["", "'meshbench help COMMAND' explains a command."]
    return lines.joined(separator: "\n")
}

extension Command {
    /// What `meshbench COMMAND --help` prints.
    func help() -> String {
        var usage = "usage: meshbench \(name)"
        if !flags.isEmpty { usage += " [flags]" }
        for place in positionals {
            let word = place.name + (place.repeats ? "..." : "")
            usage += place.isRequired ? " \(word)" : " [\(word)]"
        }
        var lines = wrap("meshbench \(name): \(about).", at: width)
        lines += ["", usage]
        if !detail.isEmpty {
            for paragraph in detail.split(separator: "\n\n", omittingEmptySubsequences: false) {
                lines.append("")
                lines += paragraphLines(paragraph)
            }
        }
        if !positionals.isEmpty {
            lines += ["", "arguments:"] + table(positionals.map { ($0.name, $0.about) })
        }
        lines += ["", "flags:"] + table((flags + [.help]).map { ($0.synopsis, $0.fullAbout) })
        return lines.joined(separator: "\n")
    }

    /// A paragraph is wrapped, unless it is indented: then it is shown as it stands.
    private func paragraphLines(_ paragraph: Substring) -> [String] {
        let lines = paragraph.split(separator: "\n").map(String.init)
        if lines.contains(where: { $0.hasPrefix(" ") }) { return lines }
        return wrap(lines.joined(separator: " "), at: width)
    }
}

extension Flag {
    fileprivate var fullAbout: String {
        var text = about
        if repeats { text += "; may be repeated" }
        if let standard { text += " (default: \(standard))" }
        return text
    }
}

/// Two columns, the second wrapped; a left cell that is too long has a line of its own.
private func table(_ rows: [(String, String)]) -> [String] {
    let longest = 24
    let column = min(rows.map(\.0.count).max() ?? 0, longest)
    let indent = margin + String(repeating: " ", count: column + 2)
    var lines: [String] = []
    for (left, right) in rows {
        var texts = wrap(right, at: width - indent.count)[...]
        let padding = String(repeating: " ", count: max(column - left.count, 0) + 2)
        if left.count > column {
            lines.append(margin + left)
        } else {
            lines.append(margin + left + padding + (texts.popFirst() ?? ""))
        }
        lines += texts.map { indent + $0 }
    }
    return lines
}

/// The words of `text` in lines of at most `width` characters (longer words apart).
private func wrap(_ text: String, at width: Int) -> [String] {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
        if !line.isEmpty, line.count + 1 + word.count > width {
            lines.append(line)
            line = ""
        }
        line += line.isEmpty ? String(word) : " \(word)"
    }
    return lines + [line]
}
