import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Rules held against clients and requests, one by one and against a plain reading of the same.
@Suite struct AuthorizerTests {
    typealias Rule = MeshAuthorization.Rule

    static func listener(
        _ authorization: ProxyConfiguration.Authorization?,
        _ speech: ProxyConfiguration.Listener.Speech = .auto
    ) -> ProxyConfiguration {
        ProxyConfiguration(
            listeners: [
                .init(
                    name: "in", address: "127.0.0.1:8080", speech: speech,
                    authorization: authorization)
            ], routes: [], clusters: [])
    }

    /// What comes of a request; a `tcp` listener has none.
    static func admits(
        _ configuration: ProxyConfiguration, _ client: String?, _ request: String = "GET /"
    ) -> Bool {
        let authorizer = Authorizer(configuration, longestPath: 8192)
        switch authorizer.standing(of: client.flatMap { SPIFFEID(rawValue: $0) }, at: 0) {
        case .allowed: return true
        case .denied: return false
        case .depends(let conditions):
            var head = Head(limits: Proxy.headLimits(ProxyLimits()))
            let lines = request.split(separator: "\n", omittingEmptySubsequences: false)
            let text =
                "\(lines[0]) HTTP/1.1\r\nhost: a\r\n"
                + lines.dropFirst().map { "\($0)\r\n" }.joined() + "\r\n"
            return Array(text.utf8).withBytes { bytes in
                guard head.parseRequest(bytes) == .complete else { return false }
                return authorizer.admits(conditions, head, bytes)
            }
        }
    }

    private static func pattern(_ text: String) -> IdentityPattern {
        IdentityPattern(rawValue: text) ?? .all
    }

    static let web = "spiffe://mesh.test/ns/shop/sa/web"
    static let cart = "spiffe://mesh.test/ns/shop/sa/cart"
    static let job = "spiffe://mesh.test/ns/batch/sa/web"

    @Test func withoutRulesAllIsLetIn() {
        #expect(Self.admits(Self.listener(nil), nil))
        #expect(Self.admits(Self.listener(.init()), nil))
        let isRestricting = Authorizer(Self.listener(nil), longestPath: 0).isRestricting
        #expect(!isRestricting)
    }

    @Test func allowWithoutRulesDeniesAll() {
        #expect(!Self.admits(Self.listener(.init(allow: [])), Self.web))
        #expect(Self.admits(Self.listener(.init(allow: [.init()])), nil))
    }

    @Test func whoIsExemptMayAskForAll() throws {
        let control = try #require(SPIFFEID(rawValue: "spiffe://mesh.test/control"))
        let rules = ProxyConfiguration.Authorization(deny: [.init()], allow: [], exempt: control)
        #expect(Self.admits(Self.listener(rules), control.rawValue))
        #expect(!Self.admits(Self.listener(rules), Self.web))
        #expect(!Self.admits(Self.listener(rules), nil))
    }

    @Test func denyWins() {
        let rules = ProxyConfiguration.Authorization(
            deny: [.init(identities: [Self.pattern("*/sa/web")])], allow: [.init()])
        #expect(!Self.admits(Self.listener(rules), Self.web))
        #expect(Self.admits(Self.listener(rules), Self.cart))
        #expect(Self.admits(Self.listener(rules), nil))
    }

    @Test(
        arguments: [
            ("*", web, true), ("*", nil, false), ("*/sa/web", web, true), ("*/sa/web", job, true),
            ("*/sa/web", cart, false), ("spiffe://mesh.test/ns/shop/*", cart, true),
            ("spiffe://mesh.test/ns/shop/*", job, false), (web, web, true), (web, cart, false),
            (web, web + "s", false), (web, "spiffe://other.test/ns/shop/sa/web", false),
        ] as [(String, String?, Bool)])
    func identities(_ pattern: String, _ client: String?, _ isAdmitted: Bool) {
        let rule = Rule(identities: [Self.pattern(pattern)])
        #expect(Self.admits(Self.listener(.init(allow: [rule])), client) == isAdmitted)
        #expect(Self.admits(Self.listener(.init(deny: [rule])), client) != isAdmitted)
    }

    @Test(
        arguments: [
            (["shop"], web, true), (["shop"], job, false), (["x", "batch"], job, true),
            (["shop"], nil, false), (["shop"], "spiffe://mesh.test/shop", false),
        ] as [([String], String?, Bool)])
    func namespaces(_ names: [String], _ client: String?, _ isAdmitted: Bool) {
        let rule = Rule(namespaces: names)
        #expect(Self.admits(Self.listener(.init(allow: [rule])), client) == isAdmitted)
    }

    @Test(
        arguments: [
            (Rule(methods: ["GET", "PUT"]), "PUT /", true),
            (Rule(methods: ["GET"]), "POST /", false),
            (Rule(paths: ["/a"]), "GET /a", true), (Rule(paths: ["/a"]), "GET /a?b=/c", true),
            (Rule(paths: ["/a"]), "GET /a/b", false), (Rule(prefixes: ["/a"]), "GET /a/b", true),
            (Rule(prefixes: ["/a"]), "GET /ab", false), (Rule(prefixes: ["/"]), "OPTIONS *", true),
            (Rule(paths: ["/b"], prefixes: ["/a"]), "GET /b", true),
            (Rule(methods: ["GET"], paths: ["/b"]), "POST /b", false),
            (Rule(headers: [.init(name: "x", value: "1")]), "GET /\nX: 1", true),
            (Rule(headers: [.init(name: "x", value: "1")]), "GET /\nx: 12", false),
            (Rule(headers: [.init(name: "x", value: nil)]), "GET /\nx: 9", true),
            (Rule(headers: [.init(name: "x", value: nil)]), "GET /\ny: 9", false),
            (
                Rule(headers: [.init(name: "x", value: "1"), .init(name: "y", value: nil)]),
                "GET /\nx: 1", false
            ),
            (Rule(ports: [8080]), "GET /", true), (Rule(ports: [80, 808]), "GET /", false),
        ] as [(Rule, String, Bool)])
    func requests(_ rule: Rule, _ request: String, _ holds: Bool) {
        #expect(Self.admits(Self.listener(.init(allow: [rule])), nil, request) == holds)
        #expect(Self.admits(Self.listener(.init(deny: [rule])), nil, request) != holds)
    }

    /// What two servers may read in two ways is denied by whoever denies one of them, and allowed
    /// by who allows both.
    @Test(arguments: [
        "/debug/../api", "/debug/%2e%2e/api", "/api/../debug", "/api/%2E%2e/debug",
        "/api%2f..%2fdebug", "//debug", "/./debug", "/%64ebug", "/api\\..\\debug", "/debug//x",
        "/debug;x", "/debug;x/y", "/api/..;/debug", "/debug%3bx", "/debug%00", "//x/debug",
        "/debug%3Fx", "/debug%", "/%E0%81%A4ebug",
    ])
    func ambiguousPathsGetTheStricterAnswer(_ path: String) {
        let deny = Self.listener(.init(deny: [.init(prefixes: ["/debug"])]))
        #expect(!Self.admits(deny, nil, "GET \(path)"))
        let allow = Self.listener(.init(allow: [.init(prefixes: ["/api"])]))
        #expect(!Self.admits(allow, nil, "GET \(path)"))
    }

    @Test func oneReadingOfAPathIsNotEnoughToBeAllowed() {
        let allow = Self.listener(.init(allow: [.init(prefixes: ["/api"])]))
        for path in ["/debug%2f..%2fapi", "/x/../api", "/%61pi", "//api", "/api/..", "/api;x"] {
            #expect(!Self.admits(allow, nil, "GET \(path)"), "\(path)")
        }
    }

    @Test func bothReadingsOfAPathMayBeAllowed() {
        let allow = Self.listener(.init(allow: [.init(paths: ["/x"], prefixes: ["/api"])]))
        for path in ["/api//x", "/api/./x", "/api/a%2Fb", "/api/%7Eme", "/api/.well"] {
            #expect(Self.admits(allow, nil, "GET \(path)"), "\(path)")
        }
    }

    /// A slash at the end, and what stands behind a `;`, some servers do not look at.
    @Test func exactDenialsHoldForWhoeverReadsLess() {
        let deny = Self.listener(.init(deny: [.init(paths: ["/admin", "/x/"])]))
        for path in ["/admin/", "/admin/.", "/admin;x/y", "/admin%3Fx/y", "/x", "/x/;y/z"] {
            #expect(!Self.admits(deny, nil, "GET \(path)"), "\(path)")
        }
        for path in ["/admin/x", "/administrator", "/", "/x/y", "/y;/admin"] {
            #expect(Self.admits(deny, nil, "GET \(path)"), "\(path)")
        }
    }

    @Test func methodsAreDeniedInAnyCase() {
        let rule = Rule(methods: ["DELETE"])
        #expect(!Self.admits(Self.listener(.init(deny: [rule])), nil, "delete /"))
        #expect(!Self.admits(Self.listener(.init(allow: [rule])), nil, "delete /"))
    }

    /// The target of CONNECT is a host; what is asked for there nobody knows.
    @Test func tunnelsMayLeadToWhatIsDenied() {
        let rule = Rule(paths: ["/admin"])
        let request = "CONNECT a"
        #expect(!Self.admits(Self.listener(.init(deny: [rule])), nil, request))
        #expect(!Self.admits(Self.listener(.init(allow: [rule])), nil, request))
    }

    /// Applications join lines, take lists apart, and take `_` for `-`.
    @Test(arguments: [
        "x-role: guest, admin", "x-role: admin,", "x-role: guest;\tadmin ,x", "x_role: admin",
        "X-Role: guest\nx-role: admin",
    ])
    func aValueInAnyReadingIsDenied(_ lines: String) {
        let rule = Rule(headers: [.init(name: "x-role", value: "admin")])
        #expect(!Self.admits(Self.listener(.init(deny: [rule])), nil, "GET /\n\(lines)"))
        #expect(!Self.admits(Self.listener(.init(allow: [rule])), nil, "GET /\n\(lines)"))
    }

    @Test(arguments: ["x-role: administrator", "x-role: a dmin", "x-roles: admin", "x-role: "])
    func otherValuesAreNotDenied(_ line: String) {
        let rule = Rule(headers: [.init(name: "x-role", value: "admin")])
        #expect(Self.admits(Self.listener(.init(deny: [rule])), nil, "GET /\n\(line)"))
    }

    @Test func anotherFieldUnderTheNameIsNotAllowed() {
        let rule = Rule(headers: [.init(name: "x-role", value: "user")])
        let allow = Self.listener(.init(allow: [rule]))
        #expect(Self.admits(allow, nil, "GET /\nx-role: user"))
        #expect(!Self.admits(allow, nil, "GET /\nx-role: user\nx_role: admin"))
    }

    @Test func aFieldOnSeveralLinesGetsTheStricterAnswer() {
        let rule = Rule(headers: [.init(name: "x", value: "1")])
        let request = "GET /\nx: 1\nx: 2"
        #expect(!Self.admits(Self.listener(.init(allow: [rule])), nil, request))
        #expect(!Self.admits(Self.listener(.init(deny: [rule])), nil, request))
    }

    /// Escapes in a rule mean the octets.
    @Test func rulesMayBeEscaped() {
        let deny = Self.listener(.init(deny: [.init(paths: ["/v1/items:delete", "/a%20b"])]))
        for path in ["/v1/items:delete", "/v1/items%3Adelete", "/a%20b", "/%61%20b"] {
            #expect(!Self.admits(deny, nil, "GET \(path)"), "\(path)")
        }
        let allow = Self.listener(.init(allow: [.init(paths: ["/a%20b"], prefixes: ["/%61"])]))
        for path in ["/a%20b", "/%61/b"] { #expect(Self.admits(allow, nil, "GET \(path)")) }
        for path in ["/%61%20b", "/a/b"] { #expect(!Self.admits(allow, nil, "GET \(path)")) }
    }

    /// Bytes have no path: whoever may not ask for one may send none, and being allowed to ask for
    /// one allows none.
    @Test func rulesAboutRequestsGiveBytesTheStricterAnswer() {
        let rule = Rule(prefixes: ["/"])
        #expect(!Self.admits(Self.listener(.init(deny: [rule]), .tcp), nil))
        #expect(!Self.admits(Self.listener(.init(allow: [rule]), .tcp), nil))
        let web = Rule(identities: [Self.pattern("*/sa/web")])
        #expect(Self.admits(Self.listener(.init(allow: [rule, web]), .tcp), Self.web))
        let some = Rule(identities: [Self.pattern("*/sa/web")], methods: ["PUT"])
        #expect(!Self.admits(Self.listener(.init(deny: [some]), .tcp), Self.web))
        #expect(Self.admits(Self.listener(.init(deny: [some]), .tcp), Self.cart))
        let other = Rule(methods: ["PUT"], ports: [1])
        #expect(Self.admits(Self.listener(.init(deny: [other]), .tcp), nil))
    }

    /// Rules about clients alone are settled with the connection.
    @Test func whatClientsAloneDecideIsSettledOnce() {
        let rules = ProxyConfiguration.Authorization(
            deny: [.init(identities: [Self.pattern("*/sa/job")], methods: ["PUT"])],
            allow: [.init(namespaces: ["shop"]), .init(paths: ["/healthz"])])
        let authorizer = Authorizer(Self.listener(rules), longestPath: 8192)
        func standing(_ client: String?, at listener: Int = 0) -> Standing {
            authorizer.standing(of: client.flatMap { SPIFFEID(rawValue: $0) }, at: listener)
        }
        #expect(standing(Self.web) == .allowed)
        #expect(standing(nil) == .depends(Conditions(deny: [], allow: [2])))
        #expect(
            standing("spiffe://mesh.test/ns/shop/sa/job")
                == .depends(Conditions(deny: [0], allow: nil)))
        #expect(standing(nil, at: 7) == .allowed)
    }
}

extension IdentityPattern {
    /// Every identity.
    fileprivate static var all: IdentityPattern {
        guard let all = IdentityPattern(rawValue: "*") else { preconditionFailure("* is one") }
        return all
    }
}

/// The compiled rules against `MeshAuthorization`'s three sentences, read word by word.
@Suite struct AuthorizerFuzz {
    @Test func rulesMeanWhatTheySay() {
        let budget = FuzzBudget.current(seed: 1, steps: 4000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("AuthorizerFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        func pick<T>(_ all: [T]) -> T { all[random.below(all.count)] }
        func some<T>(_ all: [T]) -> [T] {
            random.below(2) == 0 ? [] : (0...random.below(2)).map { _ in pick(all) }
        }
        func rule() -> MeshAuthorization.Rule {
            MeshAuthorization.Rule(
                identities: some([
                    "*", "*/sa/web", "spiffe://m/ns/shop/*", "spiffe://m/ns/a/sa/web",
                ])
                .compactMap { IdentityPattern(rawValue: $0) },
                namespaces: some(["shop", "a"]), methods: some(["GET", "PUT"]),
                paths: some(["/", "/a", "/a/b"]), prefixes: some(["/", "/a", "/b/"]),
                headers: random.below(3) == 0 ? [.init(name: "x", value: pick([nil, "1"]))] : [],
                ports: some([8080, 80]))
        }
        for step in 0..<steps {
            let authorization = ProxyConfiguration.Authorization(
                deny: (0..<random.below(3)).map { _ in rule() },
                allow: random.below(3) == 0 ? nil : (0..<random.below(4)).map { _ in rule() })
            let client = pick([
                nil, "spiffe://m/ns/shop/sa/web", "spiffe://m/ns/a/sa/web", "spiffe://m/x",
            ])
            let method = pick(["GET", "PUT", "POST"])
            let path = pick(["/", "/a", "/a/b", "/ab", "/b", "/b/c"])
            let field = pick([nil, "1", "2"])
            func means(_ rule: MeshAuthorization.Rule, denying: Bool) -> Bool {
                let identity = client.flatMap { SPIFFEID(rawValue: $0) }
                func below(_ prefix: String) -> Bool {
                    // Some servers take no notice of a slash at the end.
                    denying && prefix == path + "/" || path == prefix
                        || path.hasPrefix(prefix.hasSuffix("/") ? prefix : prefix + "/")
                }
                return
                    (rule.identities.isEmpty
                    || rule.identities.contains { pattern in identity.map(pattern.matches) ?? false
                    })
                    && (rule.namespaces.isEmpty
                        || rule.namespaces.contains { $0 == identity?.namespace.map(String.init) })
                    && (rule.methods.isEmpty || rule.methods.contains(method))
                    && (rule.paths.isEmpty && rule.prefixes.isEmpty || rule.paths.contains(path)
                        || rule.prefixes.contains(where: below))
                    && rule.headers.allSatisfy {
                        field != nil && ($0.value == nil || $0.value == field)
                    }
                    && (rule.ports.isEmpty || rule.ports.contains(8080))
            }
            let expected =
                !authorization.deny.contains { means($0, denying: true) }
                && (authorization.allow.map { $0.contains { means($0, denying: false) } } ?? true)
            let request = "\(method) \(path)" + (field.map { "\nx: \($0)" } ?? "")
            let found = AuthorizerTests.admits(
                AuthorizerTests.listener(authorization), client, request)
            guard found == expected else {
                return
                    "step \(step): \(client ?? "nobody") \(request): \(found) by \(authorization)"
            }
        }
        return nil
    }
}
