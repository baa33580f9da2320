import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// What routes ask of requests, and finding the first that means one among many.
@Suite struct MatchTests {
    typealias Route = ProxyConfiguration.Route

    /// The place of the route that a request takes; nil: none.
    private static func place(
        _ routes: [Route], _ request: String, indexed: Int = .max
    ) -> Int? {
        var configuration = Scene.configuration()
        configuration.routes = routes
        return place(Router(configuration, indexed: indexed), request)
    }

    private static func place(_ router: borrowing Router, _ request: String) -> Int? {
        var random = SeededRandom(seed: 1)
        var head = Head(limits: Proxy.headLimits(ProxyLimits()))
        return Array(request.utf8).withBytes { bytes in
            guard head.parseRequest(bytes) == .complete else { return -2 }
            return router.match(head, bytes, &random).map { Int($0.route) }
        }
    }

    private static func takes(_ route: Route, _ target: String, _ fields: String...) -> Bool {
        let lines = ["GET \(target) HTTP/1.1", "host: a"] + fields
        return place([route], (lines + ["", ""]).joined(separator: "\r\n")) == 0
    }

    private static func route(
        _ tests: [ProxyConfiguration.HeaderMatch] = [],
        query: [ProxyConfiguration.ParameterMatch] = [],
        cookies: [ProxyConfiguration.ParameterMatch] = []
    ) -> Route {
        var route = Route(headers: tests, cluster: "c")
        route.query = query
        route.cookies = cookies
        return route
    }

    @Test(
        arguments: [
            (.present, false, "x: 1", true), (.present, false, "y: 1", false),
            (.absent, false, "x: 1", false), (.absent, false, "y: 1", true),
            (.exact("1"), false, "X: 1", true), (.exact("1"), false, "x: 12", false),
            (.prefix("ab"), false, "x: abc", true), (.prefix("ab"), false, "x: a", false),
            (.suffix("bc"), false, "x: abc", true), (.suffix("bc"), false, "x: bcd", false),
            (.contains("bc"), false, "x: abbcd", true), (.contains("bc"), false, "x: bbdc", false),
            (.regex("[0-9]+"), false, "x: 17", true), (.regex("[0-9]+"), false, "x: 17a", false),
            (.range(-3, 10), false, "x: -3", true), (.range(-3, 10), false, "x: 10", false),
            (.range(-3, 10), false, "x: 5x", false), (.range(-3, 10), false, "x: ", false),
            (.range(0, .max), false, "x: 9223372036854775806", true),
            (.range(0, .max), false, "x: 9223372036854775808", false),
            (.range(.min, 0), false, "x: -9223372036854775808", true),
            (.range(.min, .max), false, "x: 99999999999999999999999999999", false),
            // What is inverted has to be there (Envoy).
            (.exact("1"), true, "x: 2", true), (.exact("1"), true, "x: 1", false),
            (.exact("1"), true, "y: 2", false), (.regex("a.*"), true, "x: b", true),
            (.exact("1"), true, "x: 2\r\nx: 1", false), (.exact("1"), false, "x: 2\r\nx: 1", true),
        ] as [(ProxyConfiguration.ValueTest, Bool, String, Bool)])
    func fieldsAreHeldAgainst(
        _ test: ProxyConfiguration.ValueTest, _ isInverted: Bool, _ field: String, _ takes: Bool
    ) {
        let route = Self.route([.init("x", test, isInverted: isInverted)])
        #expect(Self.takes(route, "/", field) == takes, "\(test) \(isInverted) \(field)")
    }

    @Test(
        arguments: [
            (.exact("1"), "/?a=1", true), (.exact("1"), "/?b=2&a=1", true),
            (.exact("1"), "/?a=2&a=1", false), (.exact("1"), "/?A=1", false),
            (.exact(""), "/?a", true), (.present, "/?a", true), (.present, "/?aa=1", false),
            (.absent, "/?aa=1", true), (.absent, "/", true), (.exact("1=2"), "/?a=1=2", true),
            (.exact("%31"), "/?a=%31", true), (.regex("x+"), "/?&&a=xx&", true),
            (.range(1, 3), "/p?a=2", true), (.present, "/a=1", false),
        ] as [(ProxyConfiguration.ValueTest, String, Bool)])
    func parametersAreHeldAgainst(
        _ test: ProxyConfiguration.ValueTest, _ target: String, _ takes: Bool
    ) {
        #expect(Self.takes(Self.route(query: [.init("a", test)]), target) == takes)
    }

    @Test(
        arguments: [
            (.exact("1"), "cookie: a=1", true), (.exact("1"), "Cookie: b=2; a=1", true),
            (.exact("1"), "cookie: b=2\r\ncookie: a=1", true),
            (.exact("1"), "cookie: a=2; a=1", false), (.exact("1"), #"cookie: a="1""#, true),
            (.present, "cookie: ab=1", false), (.present, "cookie: a", false),
            (.absent, "x: y", true), (.prefix("x"), "cookie: ;; a=xy ;", true),
        ] as [(ProxyConfiguration.ValueTest, String, Bool)])
    func cookiesAreHeldAgainst(
        _ test: ProxyConfiguration.ValueTest, _ field: String, _ takes: Bool
    ) {
        #expect(Self.takes(Self.route(cookies: [.init("a", test)]), "/", field) == takes)
    }

    @Test func pathsFitExpressions() {
        let route = Route(path: .regex("/users/[0-9]+(/.*)?"), cluster: "c")
        for (target, takes) in [
            ("/users/1", true), ("/users/1/x?y=z", true), ("/users/x", false), ("/users/1x", false),
        ] {
            #expect(Self.takes(route, target) == takes, "\(target)")
        }
    }

    /// Whoever sends thousands of values is looked at once for each.
    @Test func hostileValuesMeanNothing() {
        let route = Self.route(
            [.init("x", .regex("(a+)+b"))], query: [.init("q", .exact("1"))],
            cookies: [.init("c", .present)])
        let query = "/?" + String(repeating: "&q", count: 2000)
        let cookie = "cookie: " + String(repeating: ";=;c", count: 2000)
        let field = "x: " + String(repeating: "a", count: 8000)
        #expect(!Self.takes(route, query, field, cookie))
    }

    // MARK: Many routes

    /// Routes in random order mean the same whether they are looked up or tried one after the
    /// other.
    @Test func lookingUpChangesNothing() {
        let budget = FuzzBudget.current(seed: 5, steps: 4000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("lookingUpChangesNothing"))")
        }
    }

    private static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        let hosts = ["a", "b", "a.b", "c.a.b", "*.b", "*.a.b", "d", "[::1]"]
        let asked = ["a", "A", "b:80", "a.b", "C.a.B", "x.b", "d", "[::1]:1", "e", "x.c.a.b"]
        let paths: [ProxyConfiguration.PathMatch] = [
            .prefix("/"), .prefix("/x"), .prefix("/x/"), .prefix("/x/y"), .exact("/x"),
            .exact("/x/y"), .exact("/"), .regex("/x.*"), .regex(".*y"), .regex("/x/[yz]"),
            .regex("(/x)+"),
        ]
        let targets = [
            "/", "/x", "/xx", "/x/", "/x/y", "/x/y/z", "/x/yz", "/x/x", "/y", "/x?y", "*",
        ]
        for _ in 0..<steps / 40 {
            let routes = (0..<random.below(25)).map { _ in
                Route(
                    hosts: (0..<random.below(3)).map { _ in hosts[random.below(hosts.count)] },
                    path: paths[random.below(paths.count)],
                    methods: random.below(4) == 0 ? ["OPTIONS"] : [], cluster: "c")
            }
            var configuration = Scene.configuration()
            configuration.routes = routes
            let indexed = Router(configuration, indexed: 0)
            let plain = Router(configuration, indexed: .max)
            for _ in 0..<40 {
                let (host, target) = (
                    asked[random.below(asked.count)], targets[random.below(targets.count)]
                )
                let method = target == "*" ? "OPTIONS" : "GET"
                let request = "\(method) \(target) HTTP/1.1\r\nhost: \(host)\r\n\r\n"
                let found = place(indexed, request)
                let expected = place(plain, request)
                guard found != expected else { continue }
                return "\(host) \(target): \(found as Any), not \(expected as Any) of \(routes)"
            }
        }
        return nil
    }

    /// Of ten thousand routes of one host no more are tried than of ten.
    @Test(arguments: [10, 10_000])
    func fewRoutesAreTried(_ count: Int) {
        // Numbers of one length, so that none begins another.
        let first = 100_000
        var routes = (first..<first + count).map { number -> Route in
            let path: ProxyConfiguration.PathMatch =
                switch (number - first) % 3 {
                case 0: .exact("/exact/\(number)")
                case 1: .prefix("/prefix/\(number)")
                default: .regex("/regex/\(number)/[0-9]+")
                }
            return Route(
                hosts: number % 2 == 0 ? ["a"] : [], path: path, cluster: "c")
        }
        routes.append(Route(cluster: "c"))
        let index = RouteIndex(routes)
        let last = first + (count - 1) / 3 * 3
        for path in [
            "/exact/\(last)", "/prefix/\(last - 2)/x", "/regex/\(last - 1)/17", "/nothing",
        ] {
            let tried = Array(path.utf8).withBytes { path in
                let groups = index.groups(of: Bytes("a"), path)
                var tried = 0
                while index.next(groups) != nil { tried += 1 }
                return tried
            }
            #expect(tried == (path == "/nothing" ? 1 : 2), "\(path) of \(count): \(tried)")
        }
    }
}
