// The commands that ask a control plane, against one that says what it is told to.

import FoundationEssentials
import Model
import Posix
import Runtime
import Scenario
import Support
import Synchronization
import Testing

@testable import meshbench

/// A test's double: answers what it was told, and notes what it is asked.
final class ScriptedPlane: ServiceHandler, Sendable {
    struct Asked: Equatable {
        var call: String
        var body: String
        var token: String?
    }

    let asked = Mutex<[Asked]>([])
    private let answers: [String: (status: Int, body: String)]

    init(_ answers: [String: (status: Int, body: String)]) { self.answers = answers }

    func respond(to request: ServiceRequest) -> ServiceAnswer {
        let query = request.target.query.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
        let call =
            "\(request.method) \(request.target.path)" + (query.isEmpty ? "" : "?\(query)")
        let body = String(decoding: request.body, as: UTF8.self)
        asked.withLock { $0.append(Asked(call: call, body: body, token: request.bearerToken)) }
        guard let answer = answers[call] else { return .text(500, "not scripted: \(call)") }
        guard request.target.path == "/v1/watch", answer.status == 200 else {
            return .json(answer.status, Array(answer.body.utf8))
        }
        let watch = ServiceWatch()
        for line in answer.body.split(separator: "\n") { watch.send(Array(line.utf8)) }
        watch.end()
        return .watch(watch)
    }
}

/// What a command says to a control plane that gives these answers, and what it asks for.
func say(
    _ command: Command, _ words: [String], _ answers: [String: (Int, String)],
    environment: [String: String] = [:],
    _ work: (Arguments, ControlClient) throws(CommandFailure) -> String
) throws -> (text: String, asked: [ScriptedPlane.Asked]) {
    let plane = ScriptedPlane(answers.mapValues { (status: $0.0, body: $0.1) })
    let service = try Service(
        ServiceConfiguration(listen: .loopback(port: 0)), handler: plane)
    defer { service.stop() }
    let arguments = try Arguments(parsing: words, for: command)
    var variables = environment
    variables["MESHBENCH_CONTROL"] = "http://\(service.address)"
    let client = try ControlClient(
        arguments, for: command.name, environment: { variables[$0] })
    let text = try work(arguments, client)
        .replacing("\(service.address)", with: "127.0.0.1:7070")
    return (text, plane.asked.withLock(\.self))
}

private let mesh = """
    {"revision":7,"declarations":[\
    {"action":"allow","kind":"authorization","name":"web","namespace":"shop",\
    "rules":[],"to":["cart"]},\
    {"address":"127.0.0.1:9001","health":"healthy","kind":"endpoint","name":"cart-1",\
    "namespace":"shop",\
    "service":"cart","weight":1,"zone":"b"},\
    {"address":"127.0.0.1:9002","health":"draining","kind":"endpoint","name":"cart-2",\
    "namespace":"shop",\
    "service":"cart","weight":2,"zone":"a"},\
    {"address":"127.0.0.1:9003","health":"healthy","kind":"endpoint","name":"cart-3",\
    "namespace":"shop",\
    "service":"cart","weight":1},\
    {"breaker":{},"kind":"policy","name":"all","namespace":"default","timeout":{},"to":["*/*"]},\
    {"hosts":["cart.shop.mesh"],"kind":"route","matches":[],"name":"cart","namespace":"shop",\
    "to":[{"service":"shop/cart","weight":95},{"service":"shop/next","weight":5}]},\
    {"kind":"service","mtls":"strict","name":"cart","namespace":"shop","protocol":"http2"},\
    {"kind":"service","mtls":"off","name":"next","namespace":"shop","protocol":"tcp",\
    "new":{"a":1}},\
    {"kind":"teapot","name":"x","namespace":"shop"}]}
    """

@Suite struct ControlTableTests {
    @Test func everything() throws {
        let said = try say(
            .controlGet, [], ["GET /v1/declarations": (200, mesh)], getDeclarations)
        #expect(
            said.text == """
                KIND           NAMESPACE  NAME    WHAT
                authorization  shop       web     allow cart
                endpoint       shop       cart-1  cart at 127.0.0.1:9001, healthy, zone b
                endpoint       shop       cart-2  cart at 127.0.0.1:9002, draining, zone a, weight 2
                endpoint       shop       cart-3  cart at 127.0.0.1:9003, healthy
                policy         default    all     for */*
                route          shop       cart    cart.shop.mesh to shop/cart (95), shop/next (5)
                service        shop       cart    http2, mtls strict
                service        shop       next    tcp, mtls off
                teapot         shop       x

                """)
    }

    @Test func services() throws {
        let said = try say(
            .controlServices, ["--namespace", "shop"],
            [
                "GET /v1/declarations?namespace=shop": (200, mesh),
                "GET /v1/health": (200, #"{"endpoints":[]}"#),
            ], listServices)
        #expect(
            said.text == """
                NAMESPACE  NAME  PROTOCOL  MTLS    HEALTHY  ZONES
                shop       cart  http2     strict  2/3      a, b
                shop       next  tcp       off     0/0      -

                """)
    }

    @Test func servicesAsChecksFindThem() throws {
        let health = """
            {"endpoints":[{"key":"endpoints/shop/cart-1","healthy":false,"passed":0,"failed":3,\
            "reason":"status 503"},{"key":"endpoints/shop/cart-3","healthy":true}]}
            """
        let said = try say(
            .controlServices, ["--namespace", "shop"],
            [
                "GET /v1/declarations?namespace=shop": (200, mesh), "GET /v1/health": (200, health),
            ], listServices)
        #expect(said.text.contains("strict  1/3      a, b\n"), "\(said.text)")
    }

    @Test func nothing() throws {
        let none = [
            "GET /v1/declarations?kind=route": (200, #"{"revision":0,"declarations":[]}"#),
            "GET /v1/declarations": (200, #"{"revision":0,"declarations":[]}"#),
            "GET /v1/health": (200, #"{"endpoints":[]}"#),
        ]
        #expect(
            try say(.controlGet, ["routes"], none, getDeclarations).text == "nothing is declared\n")
        #expect(
            try say(.controlServices, [], none, listServices).text == "no service is declared\n")
    }

    @Test func status() throws {
        let answer = """
            {"version":"0.1.0","revision":12,"declarations":{"services":2,"endpoints":3,\
            "teapots":1},\
            "store":{"condition":"sound","keys":5,"bytes":1024},\
            "started":"2026-11-28T15:00:00Z","watches":1}
            """
        let said = try say(
            .controlStatus, [], ["GET /v1/status": (200, answer)], controlPlaneStatus)
        #expect(
            said.text == """
                server    http://127.0.0.1:7070, version 0.1.0
                started   2026-11-28T15:00:00Z
                revision  12
                declared  2 services, 3 endpoints
                store     sound, 5 keys, 1024 bytes
                watches   1

                """)
        #expect(
            try say(
                .controlStatus, ["--json"], ["GET /v1/status": (200, answer)], controlPlaneStatus
            ).text == answer + "\n")
    }

    @Test func oneDeclaration() throws {
        let service =
            #"{"kind":"service","mtls":"off","name":"db","namespace":"shop","protocol":"tcp"}"#
        let said = try say(
            .controlGet, ["services", "db", "--namespace", "shop"],
            ["GET /v1/services/shop/db": (200, service)], getDeclarations)
        #expect(said.text.contains(#""kind": "service""#))
        #expect(try MeshDeclaration(text: said.text, file: "f").json == service)
        let absent = #"{"error":"there is no service default/db","problems":[]}"#
        let failure = #expect(throws: CommandFailure.self) {
            _ = try say(
                .controlGet, ["service", "db"], ["GET /v1/services/default/db": (404, absent)],
                getDeclarations)
        }
        #expect(
            failure
                == .failed("meshbench control get: there is no service default/db (status 404)"))
    }
}

@Suite struct ControlChangeTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func file(_ text: String) throws -> String {
        let path = scratch.path("mesh.yaml")
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private static let text = """
        kind: service
        name: cart
        ---
        kind: route
        name: cart
        to:
          - cart
          - {service: crat, weight: 2}
        """

    @Test func applyTellsWhatHasChanged() throws {
        let path = try file(Self.text)
        let answer = """
            {"revision":8,"created":["services/default/cart"],"changed":["routes/default/cart"],\
            "unchanged":3,"deleted":["policies/shop/all"]}
            """
        let said = try say(
            .controlApply, [path, "--prune"], ["POST /v1/apply?prune=true": (200, answer)],
            environment: ["MESHBENCH_CONTROL_TOKEN": "secret"], applyDeclarations)
        #expect(
            said.text == """
                created  services/default/cart
                changed  routes/default/cart
                deleted  policies/shop/all
                1 created, 1 changed, 1 deleted, 3 unchanged; revision 8

                """)
        #expect(said.asked.count == 1)
        #expect(said.asked.first?.token == "secret")
        #expect(
            said.asked.first?.body.hasPrefix(
                #"{"declarations":[{"kind":"service","mtls":"strict","name":"cart","#) == true)
        let dry = try say(
            .controlApply, [path, "--dry-run"],
            [
                "POST /v1/apply?dry_run=true": (
                    200, #"{"revision":7,"created":[],"changed":[],"unchanged":2,"deleted":[]}"#
                )
            ], applyDeclarations)
        #expect(dry.text == "2 unchanged; nothing was changed (--dry-run)\n")
    }

    @Test func problemsAreBroughtBackToTheirLines() throws {
        let path = try file(Self.text)
        let answer = """
            {"error":"nothing was changed","problems":[\
            {"key":"routes/default/cart","path":["to","1","service"],\
            "message":"unknown service 'crat'"},\
            {"key":"services/shop/db","path":[],"message":"is needed by others"},\
            {"key":"","path":["revision"],"message":"a whole number is needed"}]}
            """
        let failure = #expect(throws: CommandFailure.self) {
            _ = try say(
                .controlApply, [path], ["POST /v1/apply": (422, answer)], applyDeclarations)
        }
        #expect(failure?.code == .badScenario)
        #expect(
            failure?.message == """
                \(path):8:15: unknown service 'crat'
                service shop/db: is needed by others
                revision: a whole number is needed
                """)
    }

    /// Nobody listens: nothing is sent.
    @Test(
        arguments: [
            ("kind: service\nname: cart\nprotocol: htpp2\n", "3:11: ", ExitCode.badScenario),
            ("kind: service\nname: Cart\n", "2:7: ", .badScenario),
            ("# nothing\n", "", .badScenario),
            (nil, "", .failed),
        ] as [(String?, String, ExitCode)])
    func wrongFilesAreFoundBeforeAnythingIsSent(
        text: String?, place: String, code: ExitCode
    ) throws {
        let path = try text.map(file) ?? scratch.path("nothing.yaml")
        let reserved = try ReservedAddress()
        let arguments = try Arguments(
            parsing: [path, "--prune", "--server", "http://\(reserved.address)"],
            for: .controlApply)
        let client = try ControlClient(
            arguments, for: "control apply", environment: { _ in nil })
        let failure = #expect(throws: CommandFailure.self) {
            _ = try applyDeclarations(arguments, client)
        }
        #expect(failure?.code == code)
        let start = place.isEmpty ? path : "\(path):\(place)"
        #expect(failure?.message.contains(start) == true, "\(failure?.message ?? "")")
        #expect(failure?.message.contains("cannot connect") == false)
    }

    @Test func nobodyListens() throws {
        let reserved = try ReservedAddress()
        let arguments = try Arguments(
            parsing: ["--server", "http://\(reserved.address)/"], for: .controlStatus)
        let client = try ControlClient(
            arguments, for: "control status", environment: { _ in nil })
        let failure = #expect(throws: CommandFailure.self) {
            _ = try controlPlaneStatus(arguments, client)
        }
        #expect(
            failure
                == .failed(
                    "meshbench control status: cannot connect to \(reserved.address): "
                        + "Connection refused"))
    }

    @Test func delete() throws {
        let said = try say(
            .controlDelete, ["service", "shop/cart"],
            ["DELETE /v1/services/shop/cart": (200, #"{"revision":9}"#)], deleteDeclaration)
        #expect(said.text == "deleted  services/shop/cart; revision 9\n")
        let answer = """
            {"error":"nothing was changed","problems":[\
            {"key":"routes/shop/r","path":["to","0"],"message":"unknown service 'cart'"}]}
            """
        let failure = #expect(throws: CommandFailure.self) {
            _ = try say(
                .controlDelete, ["services", "cart", "--namespace=shop"],
                ["DELETE /v1/services/shop/cart": (422, answer)], deleteDeclaration)
        }
        #expect(failure?.code == .badScenario)
        #expect(
            failure?.message == """
                meshbench control delete: nothing was changed (status 422)
                route shop/r: to.0: unknown service 'cart'
                """)
    }
}

@Suite struct ControlWatchTests {
    private let news = """
        {"revision":8,"changes":[{"op":"put","key":"services/shop/cart","declaration":{}},\
        {"op":"delete","key":"routes/shop/cart"}]}
        {"revision":10,"changes":[{"op":"put","key":"policies/default/all","declaration":{}}]}
        """

    private func watch(_ words: [String], _ answers: [String: (Int, String)]) throws -> String {
        try say(.controlWatch, words, answers) { arguments, client throws(CommandFailure) in
            var text = ""
            try watchDeclarations(arguments, client, stop: -1) {
                text += $0
                // The last line that was scripted: nobody listens any more.
                return !text.contains("10")
            }
            return text
        }.text
    }

    @Test func aLineForEachChange() throws {
        #expect(
            try watch(["--after", "7"], ["GET /v1/watch?after=7": (200, news)]) == """
                8  put     services/shop/cart
                8  delete  routes/shop/cart
                10  put  policies/default/all

                """)
        #expect(
            try watch(["--json"], ["GET /v1/watch": (200, news)]) == news + "\n")
    }

    @Test(
        arguments: [
            (200, #"{"revision":8,"changes":[]}"#, "has ended the watch"),
            (200, "nonsense", "is no answer of a control plane"),
            (410, #"{"error":"too old","problems":[]}"#, "too old (status 410)"),
        ])
    func ends(status: Int, body: String, says: String) throws {
        let failure = #expect(throws: CommandFailure.self) {
            _ = try watch([], ["GET /v1/watch": (status, body)])
        }
        #expect(failure?.code == .failed)
        #expect(failure?.message.contains(says) == true, "\(failure?.message ?? "")")
    }
}

@Suite struct ControlClientTests {
    @Test(
        arguments: [
            (["x"], "unexpected word"), (["--server", "127.0.0.1:7070"], "is no URL"),
            (["--server", "http://a/v1"], "is no URL"), (["--server", "tcp://a:1"], "is no URL"),
            (["--cacert", "f"], "is for an https URL"),
            (["--server", "https://a", "--cert", "f"], "go together"),
        ])
    func wrongWords(words: [String], says: String) {
        let failure = #expect(throws: CommandFailure.self) {
            _ = try ControlClient(
                try Arguments(parsing: words, for: .controlStatus), for: "control status",
                environment: { _ in nil })
        }
        #expect(failure?.code == .usage)
        #expect(failure?.message.contains(says) == true, "\(failure?.message ?? "")")
    }

    @Test func proxies() throws {
        let body = """
            {"revision":9,"proxies":[\
            {"proxy":"web-1","service":"shop/web","sent":9,"acknowledged":8,"refusals":1,\
            "refused":{"version":9,"error":"no memory"}},\
            {"proxy":"cart-2","service":"shop/cart","sent":9,"acknowledged":7,"refusals":0,\
            "address":"127.0.0.1:9002","health":"draining"},\
            {"proxy":"cart-1","service":"shop/cart","sent":9,"acknowledged":9,"refusals":0,\
            "address":"127.0.0.1:9001","health":"healthy"},\
            {"proxy":"db-1","service":"db/db","sent":1,"acknowledged":1,"refusals":0}]}
            """
        let answers = ["GET /v1/proxies": (200, body)]
        #expect(
            try say(.controlProxies, ["--namespace", "shop"], answers, listProxies).text == """
                PROXY   SERVICE    ADDRESS         HEALTH    VERSION  STATE
                cart-1  shop/cart  127.0.0.1:9001  healthy   9        current
                cart-2  shop/cart  127.0.0.1:9002  draining  7        behind, told 9
                web-1   shop/web   -               -         8        refused 9: no memory

                """)
        #expect(
            try say(.controlProxies, ["--namespace", "x"], answers, listProxies).text
                == "no proxy is connected\n")
        #expect(
            try say(.controlProxies, ["--json"], answers, listProxies).text == body + "\n")
        let pages = [
            "GET /v1/proxies": (200, #"{"revision":9,"proxies":[],"next":"a"}"#),
            "GET /v1/proxies?after=a": (200, body),
        ]
        let second = try say(.controlProxies, ["--namespace", "db"], pages, listProxies).text
        #expect(second.contains("db-1"))
        let drained = try say(
            .controlDrain, ["cart-1"],
            ["POST /v1/proxies/cart-1/drain": (200, #"{"revision":10}"#)], drainProxy)
        #expect(drained.text == "draining  cart-1; revision 10\n")
        let failure = #expect(throws: CommandFailure.self) {
            _ = try say(.controlDrain, ["a/b"], [:], drainProxy)
        }
        #expect(failure?.code == .usage)
    }

    @Test(
        arguments: [
            (["servce"], "unknown kind 'servce'; did you mean 'service'?"),
            (["service", "Cart"], "'Cart' is no name"), (["service", "a/b/c"], "is no name"),
            (["service", "shop/cart", "--namespace", "other"], "is not of the namespace 'other'"),
            (["--namespace", "a&b"], "is no name"),
        ])
    func wrongNames(words: [String], says: String) {
        let failure = #expect(throws: CommandFailure.self) {
            _ = try say(.controlGet, words, [:], getDeclarations)
        }
        #expect(failure?.code == .usage)
        #expect(failure?.message.contains(says) == true, "\(failure?.message ?? "")")
    }

    @Test func tokens() throws {
        let scratch = try Scratch()
        let path = scratch.path("token")
        try "0123456789abcdef\n".write(toFile: path, atomically: true, encoding: .utf8)
        let empty = #"{"revision":0,"declarations":[]}"#
        let said = try say(
            .controlGet, ["--token-file", path], ["GET /v1/declarations": (200, empty)],
            environment: ["MESHBENCH_CONTROL_TOKEN": "another"], getDeclarations)
        #expect(said.asked.map(\.token) == ["0123456789abcdef"])
        for text in ["", "\n", "two words\n", "two\nlines\n"] {
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            let failure = #expect(throws: CommandFailure.self) {
                _ = try say(.controlGet, ["--token-file", path], [:], getDeclarations)
            }
            #expect(failure?.code == .badScenario)
        }
        let absent = #expect(throws: CommandFailure.self) {
            _ = try say(.controlGet, ["--token-file", path + "x"], [:], getDeclarations)
        }
        #expect(absent == .failed("\(path)x: No such file or directory"))
        let refused = #expect(throws: CommandFailure.self) {
            _ = try say(
                .controlGet, [],
                ["GET /v1/declarations": (401, #"{"error":"the token is needed"}"#)],
                getDeclarations)
        }
        #expect(refused?.code == .failed)
        #expect(
            refused?.message.hasPrefix(
                "meshbench control get: the token is needed (status 401)\ngive --token-file")
                == true)
    }

    @Test func answersThatAreNone() throws {
        for (status, body, says) in [
            (200, "hello", "is no answer of a control plane"), (200, "{}", "is no answer"),
            (502, "<html>\nbad gateway", "<html> (status 502)"), (500, "", "status 500"),
        ] {
            let failure = #expect(throws: CommandFailure.self) {
                _ = try say(
                    .controlGet, [], ["GET /v1/declarations": (status, body)], getDeclarations)
            }
            #expect(failure?.code == .failed)
            #expect(failure?.message.contains(says) == true, "\(failure?.message ?? "")")
        }
    }
}
