// The table of docs/SEMANTICS.md: what it names as a proof must be there.

/// One row of the table, by what its last cell names.
struct SemanticsRow {
    var line: Int
    var number: String
    var name: String
    /// `Module.Suite` of tests.
    var suites: [String] = []
    var scenarios: [String] = []
    /// Whether it says that something is open.
    var isOpen: Bool
}

/// The rows of the table.
func semanticsRows(_ page: SourceText) -> [SemanticsRow] {
    prose(of: page).compactMap { line, text in
        let cells = text.split(separator: "|", omittingEmptySubsequences: false)
            .map { $0.trimming(" ") }
        guard cells.count == 9, Int(cells[1]) != nil else { return nil }
        var row = SemanticsRow(
            line: line, number: cells[1], name: cells[2].trimming("`"),
            isOpen: cells[7].contains("open"))
        // Every second piece between backticks is code.
        let pieces = cells[7].split(separator: "`", omittingEmptySubsequences: false)
        for (place, piece) in pieces.enumerated() where place % 2 == 1 {
            if pieces[place - 1].contains("scenario") || !piece.contains(".") {
                row.scenarios.append(String(piece))
            } else {
                row.suites.append(String(piece))
            }
        }
        return row
    }
}

/// Every proof is a suite of tests or a scenario of the tree, and what has none says so.
func semanticsViolations(
    _ page: SourceText, in tree: [String: SourceText]
) -> [Violation] {
    var found: [Violation] = []
    func violation(_ row: SemanticsRow, _ what: String) {
        found.append(Violation(path: page.path, line: row.line, what: "row \(row.number): \(what)"))
    }
    let tests = tree.values.filter { $0.path.hasPrefix("Tests/") }
    for row in semanticsRows(page) {
        if row.suites.isEmpty, row.scenarios.isEmpty, !row.isOpen {
            violation(row, "neither a proof nor open")
        }
        for suite in row.suites {
            let parts = suite.split(separator: ".")
            let isThere =
                parts.count == 2
                && tests.contains {
                    $0.path.hasPrefix("Tests/\(parts[0])/")
                        && $0.text.contains("struct \(parts[1])")
                }
            if !isThere { violation(row, "no such suite: \(suite)") }
        }
        for name in row.scenarios {
            let paths = ["scenarios/resilience/\(name).yaml", "scenarios/\(name).yaml"]
            if !paths.contains(where: { tree[$0] != nil }) {
                violation(row, "no such scenario: \(name)")
            }
        }
    }
    return found
}

extension StringProtocol {
    fileprivate func trimming(_ character: Character) -> String {
        String(drop { $0 == character }.reversed().drop { $0 == character }.reversed())
    }
}
