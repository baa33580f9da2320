import Base
import Glibc
import Model
import Scenario
import Testing

/// What is wrong with texts of declarations, a line each; the texts are files `a`, `b` and so on.
private func errors(_ texts: [String], onto before: MeshState = .init()) -> [String] {
    let files = zip(["a", "b", "c"], texts).map { MeshFiles.Text(file: $0, $1) }
    do throws(MeshFilesError) {
        _ = try MeshFiles(texts: files, onto: before)
        return []
    } catch {
        return error.description.split(separator: "\n").map(String.init)
    }
}

/// A mesh without anything wrong; tests replace a line of it or append to it.
private let small = """
    kind: service
    name: web
    ---
    kind: service
    name: cart
    protocol: http2
    ---
    kind: service
    name: db
    protocol: tcp
    mtls: off
    ---
    kind: endpoint
    name: cart-1
    service: cart
    address: 127.0.0.1:9001
    ---
    kind: route
    name: cart
    hosts: [cart.default.mesh]
    to: [cart]
    ---

    """

@Suite struct MeshFilesTests {
    @Test func theSmallMeshIsValid() { #expect(errors([small]) == []) }

    @Test func everythingSaidArrives() throws {
        let text = """
            - {kind: service, name: cart, namespace: shop, protocol: http2, mtls: permissive,
               identity: "spiffe://meshbench.test/cart",
               health: {grpc: '', interval: 1s, timeout: 10ms, healthy: 2, unhealthy: 4}}
            - {kind: endpoint, name: e, namespace: shop, service: cart, address: "[::1]:80",
               zone: a, weight: 7, health: draining}
            - {kind: route, name: r, hosts: ["*.mesh"],
               matches: [{path: /a, methods: [GET], headers: {X-B: {present: true}, x-a: "1"}}, {}],
               to: [{service: shop/cart, weight: 0}, db], timeout: 1500us}
            - {kind: service, name: db, calls: ["*", shop/cart, "*/*", "shop/*", db]}
            - {kind: service, name: idle, calls: []}
            - {kind: policy, name: p, to: ["*", shop/cart, "*/*", "shop/*"],
               timeout: {connect: 1s, request: 0s, idle: 2s}, breaker: {connections: 1, pending: 0}}
            - {kind: authorization, name: z, namespace: shop, action: deny, to: [cart],
               rules: [{identities: ["*"], namespaces: [shop], methods: [PUT], paths: [/a],
                        prefixes: [/b], headers: {x: y}, ports: [80]}]}
            """
        let cart = MeshName("cart", in: "shop")
        let policy = MeshPolicy(
            "p",
            targets: [
                MeshName("*"), cart, MeshName("*", in: "*"), MeshName("*", in: "shop"),
            ],
            timeouts: .init(connect: .seconds(1), request: .zero, idle: .seconds(2)),
            breaker: BreakerPolicy(standard: .init(connections: 1, pending: 0)))
        let files = try MeshFiles(texts: [.init(file: "f", text)])
        #expect(
            files.declarations == [
                .service(
                    .init(
                        "cart", in: "shop", speech: .http2, mtls: .permissive,
                        identity: .init(rawValue: "spiffe://meshbench.test/cart"),
                        health: .init(
                            .grpc(service: ""), interval: .seconds(1), timeout: .milliseconds(10),
                            healthyThreshold: 2, unhealthyThreshold: 4))),
                .endpoint(
                    .init(
                        "e", in: "shop", service: "cart", address: "[::1]:80", zone: "a",
                        weight: 7, health: .draining)),
                .route(
                    .init(
                        "r", hosts: ["*.mesh"],
                        matches: [
                            .init(
                                path: .exact("/a"), methods: ["GET"],
                                headers: [
                                    .init(name: "x-a", value: "1"), .init(name: "x-b", value: nil),
                                ]), .init(),
                        ],
                        destinations: [.init(cart, weight: 0), .init(.init("db"))],
                        timeout: .microseconds(1500))),
                .service(
                    .init(
                        "db",
                        calls: [
                            .init("*"), cart, .init("*", in: "*"), .init("*", in: "shop"),
                            .init("db"),
                        ])), .service(.init("idle", calls: [])),
                .policy(policy),
                .authorization(
                    .init(
                        "z", in: "shop", .deny, targets: [cart],
                        rules: [
                            .init(
                                identities: [try #require(IdentityPattern(rawValue: "*"))],
                                namespaces: ["shop"], methods: ["PUT"], paths: ["/a"],
                                prefixes: ["/b"], headers: [.init(name: "x", value: "y")],
                                ports: [80])
                        ])),
            ])
        #expect(files.state == MeshState(files.declarations))
    }

    /// The defaults of files are those of the model.
    @Test func defaultsAreTheModels() throws {
        let text = """
            [{"kind": "service", "name": "a", "health": {}},
             {"kind": "endpoint", "name": "a", "service": "a", "address": "1.2.3.4:5"},
             {"kind": "route", "name": "a", "to": ["a"]},
             {"kind": "authorization", "name": "a", "action": "allow", "to": ["a"]}]
            """
        #expect(
            try MeshFiles(texts: [.init(file: "f", text)]).declarations == [
                .service(.init("a", health: .init())),
                .endpoint(.init("a", service: "a", address: "1.2.3.4:5")),
                .route(.init("a", destinations: [.init(.init("a"))])),
                .authorization(.init("a", .allow, targets: [.init("a")], rules: [])),
            ])
    }

    @Test(
        arguments: [
            (
                "protocol: http2", "protocol: htpp2",
                ["a:6:11: unknown word 'htpp2'; did you mean 'http2'?"]
            ),
            (
                "protocol: http2", "protocl: http2",
                ["a:6:1: unknown key 'protocl'; did you mean 'protocol'?"]
            ),
            (
                "name: web", "name: Web",
                [
                    "a:2:7: a name of lower-case letters, digits and hyphens, 63 at most, is "
                        + "needed, "
                        + "not 'Web'"
                ]
            ),
            ("name: web", "mtls: strict", ["a:1:1: the key 'name' is missing"]),
            (
                "kind: route", "kind: rout", ["a:18:7: unknown word 'rout'; did you mean 'route'?"]
            ),
            (
                "kind: route", "hosts: []",
                [
                    "a:18:1: the key 'kind' is missing (known: service, endpoint, route, policy, "
                        + "authorization)",
                    "a:20:1: the key 'hosts' is already on line 18",
                ]
            ),
            (
                "service: cart", "service: crat",
                ["a:15:10: unknown service 'crat'; did you mean 'cart'?"]
            ),
            ("to: [cart]", "to: [shop/cart]", ["a:21:6: unknown service 'shop/cart'"]),
            (
                "to: [cart]", "to: [{service: default/cat}]",
                ["a:21:16: unknown service 'cat'; did you mean 'cart'?"]
            ),
            ("to: [cart]", "to: []", ["a:21:5: at least 1 item is needed here, not 0"]),
            (
                "to: [cart]", "to: [\"*\"]",
                ["a:21:6: a service such as cart or shop/cart is needed, not '*'"]
            ),
            (
                "to: [cart]", "to: [{service: cart, weight: 0}]",
                ["a:21:5: every weight is 0: nobody would answer"]
            ),
            (
                "to: [cart]", "to: [{service: cart, weight: -1}]",
                ["a:21:30: '-1' is less than 0, the least allowed here"]
            ),
            ("to: [cart]", "to: [cart, cart]", ["a:21:12: 'default/cart' stands here already"]),
            (
                "to: [cart]", "to: [db]",
                ["a:21:6: 'default/db' is a tcp service, which takes no requests"]
            ),
            (
                "to: [cart]", "to: [cart]\nmatches: [{prefix: /}, {methods: []}]",
                ["a:22:24: this route has the same conditions for the host 'cart.default.mesh'"]
            ),
            (
                "to: [cart]", "to: [cart]\nmatches: [{headers: {A: b, a: c}}]",
                ["a:22:28: there is already a field 'a', on line 22"]
            ),
            (
                "127.0.0.1:9001", "127.0.0.1:0",
                ["a:16:10: a port from 1 to 65535 is needed, not '0'"]
            ),
            (
                "127.0.0.1:9001", "127.0.0.1:1\nweight: 0",
                ["a:17:9: '0' is less than 1, the least allowed here"]
            ),
            (
                "mtls: off", "identity: spiffe://other.test/x",
                ["a:11:11: not of this mesh, whose trust domain is 'meshbench.test'"]
            ),
            (
                "mtls: off", "identity: spiffe://meshbench.test/control",
                ["a:11:11: the control plane's own, which no service can have"]
            ),
            (
                "mtls: off", "identity: spiffe://Other/x",
                [
                    "a:11:11: a SPIFFE id such as spiffe://mesh.example/ns/shop/sa/cart is needed, "
                        + "not 'spiffe://Other/x'"
                ]
            ),
            (
                "mtls: off", "health: {grpc: x, interval: 1s, timeout: 2s}",
                [
                    "a:11:16: gRPC needs the protocol http2, and 'db' speaks tcp",
                    "a:11:42: the timeout of a check is longer than the interval",
                ]
            ),
            (
                "mtls: off", "calls: [web, cat, shop/*, a/b/c]",
                [
                    "a:11:27: a service such as cart or shop/cart, or * or */*, is needed, not "
                        + "'a/b/c'"
                ]
            ),
            (
                "mtls: off", "calls: [web, cat, shop/*]",
                [
                    "a:11:14: unknown service 'cat'; did you mean 'cart'?",
                    "a:11:19: no service is of the namespace 'shop'",
                ]
            ),
            (
                "mtls: off", "health: {grpc: x, http: /}",
                ["a:11:10: 'grpc' has no meaning beside 'http'"]
            ),
            (
                "name: cart-1", "name: db",
                []
            ),
            (
                "kind: endpoint\nname: cart-1", "kind: service\nname: web",
                [
                    "a:14:7: service default/web is already declared, on line 1",
                    "a:15:1: unknown key 'service'", "a:16:1: unknown key 'address'",
                ]
            ),
            (
                "to: [cart]", "to: [cart",
                [
                    "a:22:1: did not find expected ',' or ']' while parsing a flow sequence "
                        + "that begins on line 21"
                ]
            ),
            (
                "---\nkind: route", "...\n%YAML 9.9\n---\nkind: route",
                ["a:18:1: found incompatible YAML document"]
            ),
            (
                "---\nkind: route", "--- hello\n---\nkind: route",
                ["a:17:5: a declaration is needed (keys: kind, name…), not 'hello'"]
            ),
        ] as [(String, String, [String])])
    func wrong(part: String, other: String, expected: [String]) {
        let text = small.replacing(part, with: other, maxReplacements: 1)
        precondition(text != small, "nothing was replaced")
        #expect(errors([text]) == expected)
    }

    @Test(
        arguments: [
            (
                "kind: policy\nname: p\nto: [cart]",
                [
                    "a:23:1: a policy that says nothing, neither `timeout` nor `retry` nor others"
                ]
            ),
            (
                "kind: policy\nname: p\nto: [cart, \"nope/*\", \"*/cart\"]\ntimeout: {connect: 0s}",
                [
                    "a:25:22: a service such as cart or shop/cart, or * or */*, is needed, not "
                        + "'*/cart'",
                    "a:26:20: '0s' is less than 1ms, the least allowed here",
                ]
            ),
            (
                "{kind: policy, name: p, to: [cart, nope/*], timeout: {idle: 1s}}\n--- \n"
                    + "{kind: policy, name: q, to: [\"*\", cart], timeout: {idle: 1s}}",
                [
                    "a:23:36: no service is of the namespace 'nope'",
                    "a:25:35: 'default/p' is a policy for 'default/cart' already",
                ]
            ),
            (
                "{kind: route, name: s, hosts: [b, cart.default.mesh], to: [web], matches: "
                    + "[{path: /}, {}]}",
                [
                    "a:23:87: the route 'default/cart' has the same conditions for the host "
                        + "'cart.default.mesh'"
                ]
            ),
            (
                "{kind: authorization, name: z, action: deny, to: [cart]}",
                ["a:23:1: a deny without rules never denies: `[{}]` denies all"]
            ),
            (
                "{kind: authorization, name: z, action: deny, to: [db], rules: [{methods: "
                    + "[GET]}, {ports: [1]}, {namespaces: [default]}]}",
                [
                    "a:23:64: never holds: TCP has no methods, paths or headers",
                    "a:23:96: never holds: with `mtls: off` nobody shows an identity",
                ]
            ),
            (
                "{kind: authorization, name: z, action: allow, to: [web], rules: [{identities: "
                    + "[\"spiffe://meshbench.test/ns/default/sa/wep\", \"spiffe://other/x\", "
                    + "\"spiffe://meshbench.test/ns/shop/*\", "
                    + "\"spiffe://meshbench.test/ns/def*\"]}, "
                    + "{namespaces: [shop]}]}",
                [
                    "a:23:80: never holds: no service has such an identity; did you mean "
                        + "'spiffe://meshbench.test/ns/default/sa/web'?",
                    "a:23:145: never holds: no service has such an identity",
                    "a:23:233: never holds: no service is of such a namespace",
                ]
            ),
            (
                "{kind: authorization, name: z, action: allow, to: [web], rules: [{identities: "
                    + "[\"spiffe://o/ns/a/sa/b\"], namespaces: [default]}, "
                    + "{identities: [\"*x*\"]}]}",
                [
                    "a:23:143: a SPIFFE id, or the beginning or end of such with a *, is "
                        + "needed, not '*x*'"
                ]
            ),
            (
                "{kind: authorization, name: z, action: allow, to: [web], rules: [{identities: "
                    + "[\"spiffe://o/ns/a/sa/b\"], namespaces: [default]}]}",
                ["a:23:66: never holds: none of its identities is of one of its namespaces"]
            ),
        ] as [(String, [String])])
    func wrongAtTheEnd(text: String, expected: [String]) {
        #expect(errors([small + text]) == expected)
    }

    /// Not the first error only, and each in its own file.
    @Test func allErrorsOfAllFilesAtOnce() {
        let other = """
            {kind: service, name: cart}
            ---
            {kind: endpoint, name: cart-1, service: cart, address: nowhere}
            ---
            {kind: endpoint, name: cart-3, service: cat, address: "127.0.0.1:9001"}
            ---
            {kind: endpoint, name: cart-4, service: cart, address: "127.0.0.1:9001"}
            """
        #expect(
            errors([small, other, "kind: service\nname: web\n"]) == [
                "b:1:23: service default/cart is already declared, on line 4 of a",
                "b:3:24: endpoint default/cart-1 is already declared, on line 13 of a",
                "b:3:56: an address such as 127.0.0.1:8080 or [::1]:8080 is needed, not 'nowhere'",
                "b:5:41: unknown service 'cat'; did you mean 'cart'?",
                "b:7:56: the endpoint 'default/cart-1' has this address already",
                "c:2:7: service default/web is already declared, on line 1 of a",
            ])
    }

    @Test func whatWasThereBeforeIsCheckedToo() throws {
        let before = try MeshFiles(texts: [.init(file: "a", small)]).state
        #expect(errors(["{kind: service, name: cart, mtls: off}"], onto: before) == [])
        #expect(
            errors(["{kind: service, name: cart, protocol: tcp}"], onto: before) == [
                "route default/cart: to.0.service: 'default/cart' is a tcp service, which takes no "
                    + "requests"
            ])
    }

    @Test func foldersAreReadInTheOrderOfNames() throws {
        let folder = try Folder()
        try folder.write("b.yaml", "{kind: service, name: b}")
        try folder.write("a.yml", "{kind: service, name: a}\n---\n{kind: service, name: z}")
        try folder.write("C.json", "{\"kind\": \"service\", \"name\": \"c\"}")
        try folder.write(".hidden.yaml", "nonsense")
        try folder.write("notes.txt", "nonsense")
        let files = try MeshFiles(paths: [folder.path])
        #expect(files.declarations.map(\.key.name.name) == ["c", "a", "z", "b"])
        try folder.write("d.yaml", "{kind: service, name: a, mtls: of}")
        let error = #expect(throws: MeshFilesError.self) {
            try MeshFiles(paths: [folder.path, "/no/such"])
        }
        #expect(error?.isUnreadable == true)
        #expect(
            error?.description == """
                \(folder.path)/d.yaml:1:23: service default/a is already declared, on line \
                1 of \(folder.path)/a.yml
                \(folder.path)/d.yaml:1:32: unknown word 'of'; did you mean 'off'?
                /no/such: No such file or directory
                """)
        let empty = try Folder()
        #expect(
            #expect(throws: MeshFilesError.self) { try MeshFiles(paths: [empty.path]) }?.description
                == "\(empty.path): no file whose name ends in .yaml, .yml or .json")
    }

    @Test func anchorsAreOfTheirDocument() {
        let text = "kind: service\nname: &n a\n---\nkind: service\nname: *n\n"
        #expect(errors([text]) == ["a:5:7: '*n' names no anchor before it"])
    }

    @Test func boundsHold() throws {
        let many = (0..<150).map { "{kind: service, name: A\($0)}" }.joined(separator: "\n---\n")
        #expect(errors([many]).count == Limits.diagnostics)
        #expect(errors([String(repeating: "x", count: 1 << 20 + 1)]).count == 1)
        let long = String(repeating: "a", count: 64)
        #expect(errors(["{kind: service, name: \(long)}"]).count == 1)
        #expect(errors(["{kind: service, name: \(long.dropLast())}"]) == [])
        let one = try MeshDeclaration(text: "{kind: service, name: a}", file: "f")
        #expect(one == .service(.init("a")))
        for text in ["", "{kind: service, name: a}\n---\n{kind: service, name: b}"] {
            #expect(throws: MeshFilesError.self) { try MeshDeclaration(text: text, file: "f") }
        }
    }
}

/// A folder that goes with the test.
private final class Folder {
    let path: String
    private var names: [String] = []

    init() throws {
        var template = Array("/tmp/meshbench-test-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw MissingFile(path: "/tmp") }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    func write(_ name: String, _ text: String) throws {
        names.append(name)
        guard let file = unsafe fopen("\(path)/\(name)", "w") else {
            throw MissingFile(path: name)
        }
        unsafe fputs(text, file)
        unsafe fclose(file)
    }

    deinit {
        for name in names { unsafe unlink("\(path)/\(name)") }
        unsafe rmdir(path)
    }
}
