// Golden files: what an output was when someone last looked at it and found it right.

import FoundationEssentials
import Testing

/// Holds `text` against `Tests/Fixtures/report/<name>`.
///
/// With MESHBENCH_UPDATE_FIXTURES=1 in the environment the file is written instead, and the test
/// fails, so that nobody takes a run that compared nothing for a pass.
func expectGolden(
    _ text: String, _ name: String, sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Fixtures/report/" + name).standardized
    if ProcessInfo.processInfo.environment["MESHBENCH_UPDATE_FIXTURES"] == "1" {
        try Data(text.utf8).write(to: file)
        Issue.record("wrote \(name): look at the difference", sourceLocation: sourceLocation)
        return
    }
    let golden = String(decoding: try Data(contentsOf: file), as: UTF8.self)
    guard text != golden else { return }
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    let goldenLines = golden.split(separator: "\n", omittingEmptySubsequences: false)
    let first = zip(lines, goldenLines).enumerated().first { $1.0 != $1.1 }
    let number = first?.offset ?? min(lines.count, goldenLines.count)
    Issue.record(
        """
        \(name) differs from line \(number + 1):
        golden: \(number < goldenLines.count ? goldenLines[number] : "(ends)")
        now:    \(number < lines.count ? lines[number] : "(ends)")
        MESHBENCH_UPDATE_FIXTURES=1 swift test --filter ReportTests writes it anew.
        """, sourceLocation: sourceLocation)
}
