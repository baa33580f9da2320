import Base
import Model
import Testing

@testable import ProxyCore

/// What routes do with requests and answers beside where they send them.
@Suite struct ActionTests {
    typealias Route = ProxyConfiguration.Route

    private static func scene(
        headers: HeaderPolicy = .init(), _ change: (inout Route) -> Void
    ) -> Scene {
        var configuration = Scene.configuration(accessLog: true, headers: headers)
        change(&configuration.routes[0])
        return Scene(configuration)
    }

    /// What the server gets of a request.
    private static func sent(
        _ target: String, host: String = "a", fields: String = "", headers: HeaderPolicy = .init(),
        _ change: (inout Route) -> Void
    ) -> String {
        let scene = scene(headers: headers, change)
        let client = scene.client()
        scene.send("GET \(target) HTTP/1.1\r\nhost: \(host)\r\n\(fields)\r\n", by: client)
        return scene.servers.first.map { scene.received($0) } ?? scene.received(client)
    }

    @Test(
        arguments: [
            (.prefix("/v1"), .prefix("/v2"), "/v1/users?x=1", "/v2/users?x=1"),
            (.prefix("/v1"), .prefix("/"), "/v1/users", "/users"),
            (.prefix("/v1"), .prefix("/"), "/v1", "/"),
            (.prefix("/v1/"), .prefix("/v2"), "/v1/users", "/v2/users"),
            (.prefix("/"), .prefix("/api"), "/users", "/api/users"),
            (.exact("/old"), .prefix("/new"), "/old?y", "/new?y"),
            (.prefix("/"), .path("/all"), "/a/b/c?z=1", "/all?z=1"),
            (.prefix("/"), .regex("/v([0-9]+)/", substitution: #"/api/\1/"#), "/v2/x", "/api/2/x"),
            (.prefix("/"), .regex("a", substitution: "bb"), "/a/xa?a", "/bb/xbb?a"),
            (.prefix("/"), .regex("^/", substitution: ""), "/x", "/x"),
            (.prefix("/"), .regex("^/.*", substitution: "x"), "/abc", "/x"),
            (.prefix("/"), .regex(".*", substitution: ""), "/abc?q", "/?q"),
            (.prefix("/"), .regex("x*", substitution: "-"), "/ab", "/-/-a-b-"),
            (.prefix("/"), .regex("nope", substitution: "x"), "/abc", "/abc"),
        ] as [(ProxyConfiguration.PathMatch, PathRewrite, String, String)])
    func pathsAreRewritten(
        _ match: ProxyConfiguration.PathMatch, _ rewrite: PathRewrite, _ target: String,
        _ expected: String
    ) {
        let sent = Self.sent(target) {
            $0.path = match
            $0.rewrite = rewrite
        }
        #expect(sent.hasPrefix("GET \(expected) HTTP/1.1\r\n"), "\(sent)")
        #expect(sent.contains("x-envoy-original-path: \(target)\r\n"))
    }

    /// Bound: `RouteActions.replacementsMost`.
    @Test func soManyPartsAreReplacedAndNoMore() {
        let sent = Self.sent("/" + String(repeating: "a", count: 40)) {
            $0.rewrite = .regex("a", substitution: "b")
        }
        let expected = String(repeating: "b", count: 32) + String(repeating: "a", count: 8)
        #expect(sent.hasPrefix("GET /\(expected) "), "\(sent)")
    }

    @Test func aPathThatGrowsTooLongIsAnswered() {
        let answer = Self.sent("/" + String(repeating: "a", count: 30)) {
            $0.rewrite = .regex("a", substitution: String(repeating: "b", count: 1000))
        }
        #expect(answer.hasPrefix("HTTP/1.1 414"))
    }

    /// Nor by a prefix, which takes a proxy that lets long targets in.
    @Test(arguments: [false, true], [12_000, 13_000])
    func aPathThatAPrefixMakesTooLongIsAnswered(_ redirects: Bool, _ length: Int) {
        var configuration = Scene.configuration()
        configuration.limits.targetBytes = 16 * 1024
        let prefix = PathRewrite.prefix("/" + String(repeating: "b", count: 4095))
        if redirects {
            configuration.routes[0].redirect = Redirect(path: prefix)
            configuration.routes[0].shares = []
        } else {
            configuration.routes[0].rewrite = prefix
        }
        let scene = Scene(configuration)
        let client = scene.client()
        let path = "/" + String(repeating: "a", count: length - 1)
        scene.send("GET \(path) HTTP/1.1\r\nhost: a\r\n\r\n", by: client)
        let isTooLong = length + 4096 > 16 * 1024
        let answer = scene.received(client)
        if isTooLong || redirects {
            #expect(answer.hasPrefix("HTTP/1.1 \(isTooLong ? 414 : 301) "))
            #expect(scene.servers.isEmpty)
        } else {
            #expect(scene.servers.count == 1 && answer.isEmpty)
        }
    }

    @Test func hostsAreRewritten() {
        let sent = Self.sent("/", host: "www.example.org:80") { $0.hostRewrite = "inner:8080" }
        #expect(sent.contains("\r\nhost: inner:8080\r\n"))
        #expect(!sent.contains("www.example.org"))
    }

    // MARK: Fields

    private static func changes(
        set: [(String, String)] = [], add: [(String, String)] = [], remove: [String] = []
    ) -> HeaderChanges {
        HeaderChanges(
            set: set.map { .init($0, $1) }, add: add.map { .init($0, $1) }, remove: remove)
    }

    @Test func fieldsOfRequestsAreChanged() {
        let sent = Self.sent("/", fields: "X-A: 1\r\nx-b: 2\r\nx-C: 3\r\n") {
            $0.requestHeaders = Self.changes(
                set: [("x-a", "9")], add: [("x-b", "8")], remove: ["x-c"])
        }
        #expect(!sent.contains("X-A: 1") && !sent.contains("x-C"))
        #expect(sent.contains("x-b: 2\r\n") && sent.contains("x-a: 9\r\nx-b: 8\r\n"))
    }

    /// The share first, then the route, then the proxy: the last has its way.
    @Test func theProxysChangesAreTheLast() {
        var headers = HeaderPolicy()
        headers.request = Self.changes(set: [("x-all", "proxy")], remove: ["x-gone"])
        let sent = Self.sent("/", fields: "x-gone: 1\r\n", headers: headers) {
            $0.requestHeaders = Self.changes(
                set: [("x-all", "route"), ("x-two", "route")], add: [("x-gone", "2")])
            $0.shares[0].requestHeaders = Self.changes(
                set: [("x-two", "share"), ("x-one", "share")])
        }
        #expect(sent.contains("x-all: proxy\r\n") && sent.contains("x-two: route\r\n"))
        #expect(sent.contains("x-one: share\r\n"))
        #expect(!sent.contains("x-gone") && !sent.contains("x-all: route"))
    }

    /// What the proxy adds by itself stands back behind what a route says of the same field.
    @Test func whatTheProxyAddsIsChangedToo() {
        let headers = HeaderPolicy(forwardedFor: true, requestID: true)
        let fields = "x-forwarded-for: 9.9.9.9\r\nX-Request-ID: theirs\r\n"
        let bare = Self.sent("/", fields: fields, headers: headers) { _ in }
        #expect(bare.contains("x-forwarded-for: 9.9.9.9, ") && bare.contains("ID: theirs"))
        let removed = Self.sent("/", fields: fields, headers: headers) {
            $0.requestHeaders = Self.changes(remove: ["x-forwarded-for", "x-request-id"])
        }
        #expect(!removed.contains("9.9.9.9") && !removed.contains("x-forwarded-for"))
        #expect(!removed.lowercased().contains("x-request-id"))
        let set = Self.sent("/", fields: fields, headers: headers) {
            $0.requestHeaders = Self.changes(
                set: [("x-forwarded-for", "8.8.8.8"), ("x-request-id", "ours")])
        }
        #expect(set.ranges(of: "x-forwarded-for: 8.8.8.8\r\n").count == 1)
        #expect(!set.contains("9.9.9.9") && !set.contains("theirs"))
        #expect(set.lowercased().ranges(of: "x-request-id").count == 1)
    }

    @Test func fieldsOfAnswersAreChanged() {
        let scene = Self.scene {
            $0.answerHeaders = Self.changes(set: [("server", "x")], remove: ["x-secret"])
        }
        let (client, server) = scene.get()
        scene.send(
            "HTTP/1.1 200 OK\r\nServer: y\r\nx-secret: 1\r\ncontent-length: 0\r\n\r\n", by: server)
        let answer = scene.received(client)
        #expect(answer == "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nserver: x\r\n\r\n")
    }

    /// A route that moves in the list is known again; what a request has met, it keeps.
    @Test func answersKeepTheirRouteAcrossAReload() {
        let scene = Self.scene { $0.answerHeaders = Self.changes(set: [("x-a", "1")]) }
        let (client, server) = scene.get()
        var configuration = scene.proxy.configuration
        configuration.routes.insert(Route(path: .exact("/new"), cluster: "c"), at: 0)
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        scene.send(okAnswer, by: server)
        #expect(scene.received(client).contains("x-a: 1"))
    }

    // MARK: From here

    @Test(
        arguments: [
            (Redirect(scheme: "https"), "/x?y=1", "a:8080", "https://a/x?y=1"),
            (Redirect(host: "b"), "/x", "a:8080", "http://b/x"),
            (Redirect(port: 81), "/x", "a:8080", "http://a:81/x"),
            (Redirect(path: .path("/p"), stripsQuery: true), "/x?y", "a", "http://a/p"),
            (Redirect(path: .prefix("/q")), "/x/y", "a", "http://a/q/x/y"),
            (
                Redirect(path: .regex("/(.)", substitution: #"/\1\1"#)), "/x/y?z", "a",
                "http://a/xx/yy?z"
            ),
            (Redirect(scheme: "https", host: "[::1]", port: 8443), "/", "a", "https://[::1]:8443/"),
            (Redirect(), "/", "a:1", "http://a:1/"),
        ])
    func clientsAreSentElsewhere(
        _ redirect: Redirect, _ target: String, _ host: String, _ location: String
    ) {
        for status in Redirect.statuses {
            let answer = Self.sent(target, host: host) {
                $0.redirect = redirect
                $0.redirect?.status = status
                $0.shares = []
            }
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
            #expect(answer.contains("\r\nlocation: \(location)\r\n"), "\(answer)")
        }
    }

    @Test func theProxyAnswersItself() {
        let scene = Self.scene {
            $0.answer = DirectAnswer(status: 503, body: #"{"down":true}"#)
            $0.answerHeaders = Self.changes(set: [("content-type", "application/json")])
            $0.shares = []
        }
        let client = scene.client()
        // The connection goes on.
        for _ in 0..<2 {
            scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: client)
            #expect(
                scene.received(client)
                    == "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 13\r\n"
                    + "content-type: application/json\r\n\r\n{\"down\":true}")
        }
        #expect(scene.servers.isEmpty && scene.proxy.counters[.serverError] == 2)
        let details = #""details":"direct_response""#
        #expect(scene.simulation.logLines.allSatisfy { $0.contains(details) })
    }

    @Test func anAnswerWithoutContentHasNoLength() {
        let answer = Self.sent("/") {
            $0.answer = DirectAnswer(status: 204)
            $0.shares = []
        }
        #expect(answer == "HTTP/1.1 204 No Content\r\n\r\n")
    }
}
