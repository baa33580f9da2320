import Testing

@testable import ControlCore

/// What the regular expressions mean that deny paths to Envoy's clients.
@Suite struct EnvoyPathsTests {
    private static func matches(_ path: String, _ pattern: String) throws -> Bool {
        try Regex(pattern).wholeMatch(in: path) != nil
    }

    @Test(arguments: [
        "/a", "/a/b", "/a/", "/.//a", "/./a", "/%61", "/a;x", "/a;x/b", "/;x/a", "/a%2Fb", "/a\\b",
        "/.;x//%61%3by", "/a%5cb", "/a%3Fx", "/a%23",
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
        ("/v1/items:delete", "/v1/items", false), ("/a", "/a/", true), ("/a", "/a/.", true),
        ("/a", "/.//%61", true), ("/a/", "/a/", true), ("/a/", "/a/./;x", true),
        ("/a/", "/a", true), ("/", "/", true), ("/", "/.", true), ("/", "/a", false),
        ("/a", "/a;x/y", true), ("/a", "/a/b", false), ("/a", "/a%3Fx/y", true),
        ("/a%20b", "/a%20b", true), ("/%61", "/a", true), ("/a.b", "/aXb", false),
    ])
    func exact(_ rule: String, _ path: String, _ isMeant: Bool) throws {
        #expect(try Self.matches(path, EnvoyPaths.pattern(exact: rule)) == isMeant)
    }

    @Test(arguments: [
        ("/", "/a", true), ("/", "*", true), ("/a/", "/a/b", true), ("/a/", "/a", true),
        ("/a/", "/ab", false),
    ])
    func prefixes(_ rule: String, _ path: String, _ isMeant: Bool) throws {
        #expect(try Self.matches(path, EnvoyPaths.pattern(prefix: rule)) == isMeant)
    }

    @Test(arguments: [
        "/..", "/a/..", "/a/../b", "/a/..;/b", "/%2e%2E/a", "/a%2f..%2Fb", "/a\\..\\b", "/.%2e",
        "/a/..%5cb", "/..;x", "/a;b%2Fc", "/a;b\\c", "/a%00", "/%c0%ae", "/%C1%9c", "//a", "/%2fa",
        "/\\a", "/a%", "/a%4", "/a%zz/b", "/%u0061",
        "/%E0%80%AE", "/%f0%80%80%ae", "/%F5", "/a/..%3Fx",
    ])
    func nobodys(_ path: String) throws { #expect(try Self.matches(path, EnvoyPaths.unclear)) }

    @Test(arguments: [
        "/", "/...", "/a..", "/..a/b", "/a.b/.c", "/%2e", "/a/.../b", "/a%20b", "/%c3%a9",
        "/%E4%80%80", "/a//b",
    ])
    func somebodys(_ path: String) throws {
        #expect(try !Self.matches(path, EnvoyPaths.unclear))
    }
}
