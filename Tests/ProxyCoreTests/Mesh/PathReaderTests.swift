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
            case .coarsest(let form, let cut):
                cut < form.count
                    ? "\(form[0..<cut].text)|\(form[cut..<form.count].text)" : form.text
            case .unclear: nil
            }
        }
    }

    @Test(arguments: [
        ("/a/./b", "/a/b"), ("/a/.", "/a/"), ("/./a", "/a"), ("/.", "/"), ("/a//", "/a/"),
        ("/a///b", "/a/b"), ("/%61", "/a"), ("/%7Ea%2D", "/~a-"), ("/a%2fb", "/a/b"),
        ("/a%5Cb", "/a/b"), ("/a\\b", "/a/b"), ("/a/%2E", "/a/"), ("/a%3Adelete", "/a:delete"),
        ("/a%20b", "/a b"), ("/%252e", "/%2e"), ("/.well-known", "/.well-known"), ("/...", "/..."),
        ("/a/..b/", "/a/..b/"), ("/a;b", "/a"), ("/a;b/c", "/a|/c"), ("/a;b=/c;d", "/a|/c"),
        ("/;a/b", "/|b"), ("/a%3bb/c", "/a|/c"), ("/.;a/b", "/|b"), ("/a;", "/a"), ("/a/;", "/a/"),
        ("/a/.;x/b", "/a/|b"), ("/a%3Fb/c", "/a|?b/c"), ("/a%23", "/a|#"), ("/a/.%3F", "/a/|.?"),
        ("/%E4%80%80", "/\u{4000}"), ("/%c3%a9", "/é"),
    ])
    func severalReadings(_ path: String, _ coarsest: String) {
        #expect(Self.reading(path) == coarsest)
    }

    @Test(arguments: ["/", "/a", "/a/b/", "/a.b", "/a-b~c", "*", "", "a//b", "/a:b@c"])
    func oneReading(_ path: String) { #expect(Self.reading(path) == "plain") }

    @Test(arguments: [
        "/..", "/a/..", "/a/../b", "/a/..;/b", "/%2e%2e/a", "/a%2f..%2Fb", "/a\\..\\b", "/.%2e",
        "/a;x%2f../b", "/a/..%5cb", "/a;b%2Fc", "/a;b\\c", "/..;x", "/a/..%3Fx", "/a/..%23",
        "//a", "//", "/%2fa", "/\\a", "/%5c", "/a%", "/a%4", "/a%zz", "/%u0061",
        "/a%00", "/%c0%ae%C0%AE/a", "/%C1%9c", "/%E0%80%AE", "/%F0%80%80%AE", "/%F5", "/%ff",
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
        let takesHosts: Bool
        let cutsAtSemicolon: Bool
        let dropsLastSlash: Bool

        init(_ random: inout SeededRandom) {
            decodes = random.below(4) > 0
            decodesSlashes = random.below(2) == 0
            takesBackslashes = random.below(2) == 0
            dropsParameters = random.below(2) == 0
            merges = random.below(2) == 0
            resolves = random.below(2) == 0
            takesHosts = random.below(2) == 0
            cutsAtSemicolon = random.below(4) == 0
            dropsLastSlash = random.below(2) == 0
        }

        func reading(_ path: String) -> String {
            var path = path
            if takesHosts, path.hasPrefix("//") {
                path = "/" + path.dropFirst(2).drop { $0 != "/" }.dropFirst()
            }
            if decodes { path = decoded(path) }
            if takesBackslashes { path = path.replacing("\\", with: "/") }
            if cutsAtSemicolon { path = String(path.prefix { $0 != ";" && $0 != "?" }) }
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
            let read = "/" + segments.joined(separator: "/")
            return dropsLastSlash && read.count > 1 && read.hasSuffix("/")
                ? String(read.dropLast()) : read
        }

        private func decoded(_ path: String) -> String {
            let escapes = [
                ("%61", "a"), ("%2e", "."), ("%3b", ";"), ("%5c", "\\"), ("%3A", ":"),
                ("%3F", "?"),
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
            "%3F",
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
            let server = Server(&random)
            let read = server.reading(path)
            let leadsUpwards = read.split(separator: "/").contains("..")
            let (rule, (exact, prefix)) = parts[random.below(parts.count)]
            // A server that drops the slash at a path's end has none that ends in one.
            let meant =
                server.dropsLastSlash && rule.count > 1 && rule.hasSuffix("/")
                ? String(rule.dropLast()) : rule
            let isBelow =
                read == meant || read.hasPrefix(meant.hasSuffix("/") ? meant : meant + "/")
            for (rule, isMeant) in [(exact, read == meant), (prefix, isBelow)] {
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
