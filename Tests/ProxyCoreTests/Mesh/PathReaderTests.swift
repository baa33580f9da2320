import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// What lenient servers take paths for.
@Suite struct PathReaderTests {
    private static func reading(_ path: String) -> String? {
        let bytes = Array(path.utf8)
        let reader = PathReader(longest: bytes.count)
        return bytes.withBytes {
            switch reader.read($0) {
            case .plain: "plain"
            case .coarsest(let form): form.text
            case .unclear: nil
            }
        }
    }

    @Test(arguments: [
        ("/a/./b", "/a/b"), ("/a/.", "/a/"), ("/./a", "/a"), ("/.", "/"), ("//a", "/a"),
        ("/a//", "/a/"), ("/a///b", "/a/b"), ("///", "/"), ("/%61", "/a"), ("/%7Ea%2D", "/~a-"),
        ("/a%2fb", "/a/b"), ("/a%5Cb", "/a/b"), ("/a\\b", "/a/b"), ("/a/%2E", "/a/"),
        ("/a%3Adelete", "/a:delete"), ("/a%20b", "/a b"), ("/%252e", "/%2e"), ("/a%", "/a%"),
        ("/a%4", "/a%4"), ("/a%zz", "/a%zz"), ("/.well-known", "/.well-known"), ("/...", "/..."),
        ("/a/..b/", "/a/..b/"), ("/a;b", "/a"), ("/a;b/c", "/a/c"), ("/a;b=/c;d", "/a/c"),
        ("/;a/b", "/b"), ("/a%3bb/c", "/a/c"), ("/.;a/b", "/b"),
        ("/a;", "/a"), ("/a/;", "/a/"),
    ])
    func severalReadings(_ path: String, _ coarsest: String) {
        #expect(Self.reading(path) == coarsest)
    }

    @Test(arguments: ["/", "/a", "/a/b/", "/a.b", "/a-b~c", "*", "", "a//b", "/a:b@c"])
    func oneReading(_ path: String) { #expect(Self.reading(path) == "plain") }

    @Test(arguments: [
        "/..", "/a/..", "/a/../b", "/a/..;/b", "/%2e%2e/a", "/a%2f..%2Fb", "/a\\..\\b", "/.%2e",
        "/a;x%2f../b", "/a/..%5cb", "/a;b%2Fc", "/a;b\\c", "/..;x", "/a%00", "/%c0%ae%C0%AE/a",
        "/%C1%9c",
    ])
    func noReading(_ path: String) { #expect(Self.reading(path) == nil) }

    /// What a server does with a path, step by step, in an order and with a choice of its own.
    private struct Server {
        let decodes: Bool
        let decodesSlashes: Bool
        let takesBackslashes: Bool
        let dropsParameters: Bool
        let merges: Bool
        let resolves: Bool

        func reading(_ path: String) -> String {
            var path = path
            if decodes { path = decoded(path) }
            if takesBackslashes { path = path.replacing("\\", with: "/") }
            var segments: [Substring] = []
            for segment in path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
            {
                let kept = dropsParameters ? segment.prefix { $0 != ";" } : segment
                segments.append(kept)
            }
            let last = segments.last
            segments = segments.dropLast().filter {
                !(merges && $0.isEmpty) && !(resolves && $0 == ".")
            }
            if let last { segments.append(resolves && last == "." ? "" : last) }
            return "/" + segments.joined(separator: "/")
        }

        private func decoded(_ path: String) -> String {
            let escapes = [
                ("%61", "a"), ("%2e", "."), ("%3b", ";"), ("%5c", "\\"), ("%3A", ":"),
            ]
            var path = path
            for (escape, text) in escapes { path.replace(escape, with: text) }
            if decodesSlashes { path.replace("%2F", with: "/") }
            return path
        }
    }

    /// Whatever a server takes a path for, a `deny` of that finds it, and what an `allow` lets in
    /// no server takes for something else.
    @Test func rulesHoldWhateverTheServer() {
        let budget = FuzzBudget.current(seed: 1, steps: 4_000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("PathReaderTests"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        let pieces = [
            "/", "/", ".", "a", "b", ":", ";", "\\", "%61", "%2e", "%2F", "%3b", "%5c", "%3A",
        ]
        let rules = ["/a", "/a/b", "/ab", "/a/", "/b:a", "/", "/a.b", "/:"]
        let parts = rules.map { rule in
            (
                rule,
                (
                    MeshAuthorization.Rule(paths: [rule]), MeshAuthorization.Rule(prefixes: [rule])
                )
            )
        }
        for _ in 0..<steps {
            let path =
                "/"
                + (0..<random.below(9)).map { _ in pieces[random.below(pieces.count)] }.joined()
            let server = Server(
                decodes: random.below(4) > 0, decodesSlashes: random.below(2) == 0,
                takesBackslashes: random.below(2) == 0, dropsParameters: random.below(2) == 0,
                merges: random.below(2) == 0, resolves: random.below(2) == 0)
            let read = server.reading(path)
            let leadsUpwards = read.split(separator: "/").contains("..")
            let (rule, (exact, prefix)) = parts[random.below(parts.count)]
            let isBelow = read == rule || read.hasPrefix(rule.hasSuffix("/") ? rule : rule + "/")
            for (rule, isMeant) in [(exact, read == rule), (prefix, isBelow)] {
                let isDenied = !AuthorizerTests.admits(
                    AuthorizerTests.listener(.init(deny: [rule])), nil, "GET \(path)")
                if isMeant, !isDenied { return "\(path) is \(read), and let in by deny \(rule)" }
                let isAllowed = AuthorizerTests.admits(
                    AuthorizerTests.listener(.init(allow: [rule])), nil, "GET \(path)")
                if isAllowed, !isMeant || leadsUpwards {
                    return "\(path) is \(read), and let in by allow \(rule)"
                }
            }
        }
        return nil
    }
}
