import Testing

@testable import ControlCore

/// What the regular expressions mean that deny paths to Envoy's clients.
@Suite struct EnvoyPathsTests {
    private static func matches(_ path: String, _ pattern: String) throws -> Bool {
        try Regex(pattern).wholeMatch(in: path) != nil
    }

    @Test(arguments: [
        "/a", "/a/b", "/a/", "//a", "/./a", "/%61", "/a;x", "/a;x/b", "/;x/a", "/a%2Fb", "/a\\b",
        "/.;x//%61%3by", "/a%5cb",
    ])
    func below(_ path: String) throws {
        #expect(try Self.matches(path, EnvoyPaths.pattern(prefix: "/a")))
        #expect(try !Self.matches(path, EnvoyPaths.unclear))
    }

    @Test(arguments: ["/", "/ab", "/b/a", "/b;/a", "/%41", "/a%3Ab", "/.a"])
    func notBelow(_ path: String) throws {
        #expect(try !Self.matches(path, EnvoyPaths.pattern(prefix: "/a")))
    }

    @Test(arguments: [
        ("/v1/items:delete", "/v1/items%3Adelete", true),
        ("/v1/items:delete", "/v1/items%3adelete;x", true),
        ("/v1/items:delete", "/v1/items", false), ("/a", "/a/", false), ("/a", "/a/.", false),
        ("/a", "//%61", true), ("/a/", "/a/", true), ("/a/", "/a/./;x", true),
        ("/a/", "/a", false), ("/", "/", true), ("/", "//.", true), ("/", "/a", false),
        ("/a%20b", "/a%20b", true), ("/%61", "/a", true), ("/a.b", "/aXb", false),
    ])
    func exact(_ rule: String, _ path: String, _ isMeant: Bool) throws {
        #expect(try Self.matches(path, EnvoyPaths.pattern(exact: rule)) == isMeant)
    }

    @Test(arguments: [("/", "/a", true), ("/a/", "/a/b", true), ("/a/", "/a", false)])
    func prefixes(_ rule: String, _ path: String, _ isMeant: Bool) throws {
        #expect(try Self.matches(path, EnvoyPaths.pattern(prefix: rule)) == isMeant)
    }

    @Test(arguments: [
        "/..", "/a/..", "/a/../b", "/a/..;/b", "/%2e%2E/a", "/a%2f..%2Fb", "/a\\..\\b", "/.%2e",
        "/a/..%5cb", "/..;x", "/a;b%2Fc", "/a;b\\c", "/a%00", "/%c0%ae", "/%C1%9c",
    ])
    func nobodys(_ path: String) throws { #expect(try Self.matches(path, EnvoyPaths.unclear)) }

    @Test(arguments: ["/", "/...", "/a..", "/..a/b", "/a.b/.c", "/%2e", "/a/.../b"])
    func somebodys(_ path: String) throws {
        #expect(try !Self.matches(path, EnvoyPaths.unclear))
    }
}
