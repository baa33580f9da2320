// Rules on Markdown: one title, and links that lead somewhere.

/// Exactly one title, and that in the first line.
func titleViolations(_ file: SourceText) -> [Violation] {
    let titles = headings(of: file).filter { $0.level == 1 }
    if titles.count == 1, titles[0].line == 1 { return [] }
    return [
        Violation(
            path: file.path, line: titles.dropFirst().first?.line ?? 1,
            what: "\(titles.count) titles; exactly one, in the first line")
    ]
}

/// A decision has the day on which it was made below its title, and stands in the index under that.
func decisionViolations(_ file: SourceText, index: SourceText) -> [Violation] {
    let lines = file.lines
    var found: [Violation] = []
    let date = lines.count > 2 ? lines[2].prefix(12) : ""
    let digits = date.split(separator: "-", omittingEmptySubsequences: false).map(\.count)
    if digits != [5, 2, 3] || !date.hasPrefix("*20") {
        found.append(Violation(path: file.path, line: 3, what: "no date such as *2026-11-29*"))
    }
    let title = lines[0].drop { $0 != " " }.dropFirst().drop { $0 != " " }.dropFirst()
    let name = file.path.split(separator: "/").last ?? ""
    if !index.text.contains("[\(title)](\(name))") {
        found.append(
            Violation(path: file.path, line: 1, what: "not in \(index.path) under its title"))
    }
    return found
}

/// Every relative link names a file of the tree, and its fragment a heading of that file.
func linkViolations(_ file: SourceText, in tree: [String: SourceText], folders: Set<String>)
    -> [Violation]
{
    var found: [Violation] = []
    for (line, target) in links(of: file) {
        if target.contains("://") || target.hasPrefix("mailto:") { continue }
        let halves = target.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let path =
            halves[0].isEmpty ? file.path : resolve(String(halves[0]), from: file.path)
        guard let path, tree[path] != nil || folders.contains(path) else {
            found.append(Violation(path: file.path, line: line, what: "no such file: \(target)"))
            continue
        }
        guard halves.count == 2, let page = tree[path], path.hasSuffix(".md") else { continue }
        if !headings(of: page).contains(where: { anchor($0.text) == halves[1] }) {
            found.append(
                Violation(path: file.path, line: line, what: "no such heading: \(target)"))
        }
    }
    return found
}

/// A heading of a page.
struct Heading {
    var level: Int
    var text: Substring
    var line: Int
}

/// Headings in the `#` form, outside of code blocks.
func headings(of file: SourceText) -> [Heading] {
    prose(of: file).compactMap { line, text in
        let level = text.prefix { $0 == "#" }.count
        guard (1...6).contains(level), text.dropFirst(level).first == " " else { return nil }
        return Heading(level: level, text: text.dropFirst(level + 1), line: line)
    }
}

/// Targets of inline links and images, `[text](target)`, outside of code.
func links(of file: SourceText) -> [(line: Int, target: String)] {
    var found: [(line: Int, target: String)] = []
    for (line, text) in prose(of: file) {
        // Every second piece between backticks is code.
        let spans = text.split(separator: "`", omittingEmptySubsequences: false)
        let plain = spans.enumerated().map { $0.offset % 2 == 0 ? $0.element : "`" }.joined()
        for piece in plain.split(separator: "](", omittingEmptySubsequences: false).dropFirst() {
            found.append((line, String(piece.prefix { $0 != ")" && $0 != " " })))
        }
    }
    return found
}

/// Lines outside of fenced and indented code, with their numbers from 1.
func prose(of file: SourceText) -> [(line: Int, text: Substring)] {
    var isFenced = false
    var found: [(line: Int, text: Substring)] = []
    for (index, line) in file.lines.enumerated() {
        if line.hasPrefix("```") {
            isFenced.toggle()
        } else if !isFenced, !line.hasPrefix("    ") {
            found.append((index + 1, line))
        }
    }
    return found
}

/// The fragment under which a heading is reached: lower case, spaces as hyphens, no punctuation.
private func anchor(_ heading: Substring) -> String {
    String(
        heading.lowercased().compactMap { character in
            if character == " " { return "-" }
            return character.isLetter || character.isNumber || "-_".contains(character)
                ? character : nil
        })
}

/// A path relative to the folder of `page`, from the root of the tree; nil where it leads out of
/// it.
private func resolve(_ target: String, from page: String) -> String? {
    var parts = page.split(separator: "/").dropLast().map(String.init)
    for part in target.split(separator: "/") {
        switch part {
        case ".": continue
        case "..":
            if parts.isEmpty { return nil }
            parts.removeLast()
        default: parts.append(String(part))
        }
    }
    return parts.joined(separator: "/")
}
