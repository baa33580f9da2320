import Base
import Support
import Testing

@testable import ProxyCore

/// What lenient servers take paths for.
@Suite struct PathReaderTests {
    private static func reading(_ path: String) -> String? {
        let bytes = Array(path.utf8)
        let reader = PathReader(longest: bytes.count)
        return bytes.withBytes { reader.otherReading(of: $0)?.text }
    }

    @Test(arguments: [
        ("/a/./b", "/a/b"), ("/a/.", "/a/"), ("/./a", "/a"), ("/.", "/"),
        ("/a/../b", "/b"), ("/a/..", "/"), ("/a/b/..", "/a/"), ("/..", "/"), ("/../../a", "/a"),
        ("/a/b/../../../c/./d", "/c/d"), ("//a", "/a"), ("/a//", "/a/"), ("/a///b", "/a/b"),
        ("///", "/"), ("/a//../b", "/b"), ("/%61", "/a"), ("/%7Ea%2D", "/~a-"),
        ("/a%2fb", "/a/b"), ("/a%5Cb", "/a/b"), ("/a\\b", "/a/b"), ("/a%2f..%2Fb", "/b"),
        ("/%2e%2e/a", "/a"), ("/a/%2E", "/a/"), ("/%e4%c3", "/%E4%C3"), ("/a%20b", "/a%20b"),
        ("/%252e", "/%252e"), ("/a%25%32", "/a%252"), ("/a%", "/a%"), ("/a%4", "/a%4"),
        ("/a%zz", "/a%zz"), ("/.well-known", "/.well-known"), ("/...", "/..."),
        ("/a/..b/", "/a/..b/"),
    ])
    func severalReadings(_ path: String, _ other: String) {
        #expect(Self.reading(path) == other)
    }

    @Test(arguments: ["/", "/a", "/a/b/", "/a.b", "/a-b~c", "*", "", "a//b"])
    func oneReading(_ path: String) { #expect(Self.reading(path) == nil) }

    /// A reading has only one itself, and nothing in it that says where to go.
    @Test func readingsAreFinal() {
        let budget = FuzzBudget.current(seed: 1, steps: 20_000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("PathReaderTests"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        let pieces = ["/", ".", "..", "%", "2", "e", "E", "f", "5c", "\\", "a", "b", "%2e", "%2F"]
        for _ in 0..<steps {
            let path =
                "/"
                + (0..<random.below(12)).map { _ in pieces[random.below(pieces.count)] }.joined()
            guard let other = reading(path) else { continue }
            let segments = other.split(separator: "/", omittingEmptySubsequences: false)
            let isClean =
                other.hasPrefix("/") && other.utf8.count <= path.utf8.count
                && !segments.dropFirst().dropLast().contains { ["", ".", ".."].contains($0) }
                && !segments.dropFirst().suffix(1).contains { [".", ".."].contains($0) }
            guard isClean else { return "\(path) is read as \(other)" }
            // What was decoded is not decoded again: %2%35 becomes %25, which stays.
            if !other.contains("%"), let again = reading(other), again != other {
                return "\(path) is read as \(other), and that as \(again)"
            }
        }
        return nil
    }
}
