// The API without sockets: every answer that it can give, held against its own description.

import Base
import ControlCore
import FoundationEssentials
import Model
import Posix
import Scenario
import Support
import Testing

@testable import Runtime

private func service(_ name: String) -> String { "{\"kind\":\"service\",\"name\":\"\(name)\"}" }

private let echo = service("echo")
private let path = "/v1/services/default/echo"

private func body(_ declarations: String..., revision: Int? = nil) -> String {
    let tail = revision.map { ",\"revision\":\($0)" } ?? ""
    return "{\"declarations\":[\(declarations.joined(separator: ","))]\(tail)}"
}

private func endpoint(_ service: String) -> String {
    "{\"kind\":\"endpoint\",\"name\":\"e\",\"service\":\"\(service)\",\"address\":\"127.0.0.1:80\"}"
}

@Suite struct ControlHandlerTests {
    /// Every status of every operation, and a way to it.
    static let ways: [String: [Int: ControlAPI.Way]] = [
        "listDeclarations": [
            200: { try $0.ask("GET", "/v1/declarations?kind=service&namespace=default") },
            400: { try $0.ask("GET", "/v1/declarations?kind=servce") },
        ],
        "getDeclaration": [
            200: { try $0.ask("GET", path) },
            400: { try $0.ask("GET", path + "?x=1") },
            404: { try $0.ask("GET", path + "-x") },
            500: { api in
                try api.putBehind(path, "{")
                return try api.ask("GET", path)
            },
        ],
        "putDeclaration": [
            200: { try $0.ask("PUT", path, echo) },
            201: { try $0.ask("PUT", path + "2", service("echo2")) },
            400: { try $0.ask("PUT", path, "{") },
            412: { try $0.ask("PUT", path, echo, ["if-none-match": "*"]) },
            413: { try $0.ask("PUT", "/v1/authorizations/default/a", large) },
            422: { try $0.ask("PUT", path + "-x", echo) },
            503: { api in
                api.folder.failing = ["write"]
                return try api.ask(
                    "PUT", path, "{\"kind\":\"service\",\"name\":\"echo\",\"mtls\":\"off\"}")
            },
            507: {
                try $0.ask(
                    "PUT", "/v1/services/default/full", "{\"kind\":\"service\",\"name\":\"full\"}")
            },
        ],
        "deleteDeclaration": [
            200: { try $0.ask("DELETE", path, "", ["if-match": "\"1\", \"7\""]) },
            400: { try $0.ask("DELETE", path, "", ["if-match": "1"]) },
            404: { try $0.ask("DELETE", path + "-x") },
            412: { try $0.ask("DELETE", path, "", ["if-match": "\"9\""]) },
            422: { api in
                _ = try api.ask("PUT", "/v1/endpoints/default/e", endpoint("echo"))
                return try api.ask("DELETE", path)
            },
            503: { api in
                api.folder.failing = ["write"]
                return try api.ask("DELETE", path)
            },
        ],
        "apply": [
            200: { try $0.ask("POST", "/v1/apply?prune=true", body(echo, endpoint("echo"))) },
            400: { try $0.ask("POST", "/v1/apply?prune=yes", body(echo)) },
            409: { try $0.ask("POST", "/v1/apply", body(echo, revision: 0)) },
            422: { try $0.ask("POST", "/v1/apply", body(endpoint("nobody"))) },
            503: { api in
                api.folder.failing = ["write"]
                return try api.ask("POST", "/v1/apply", body(endpoint("echo")))
            },
            507: {
                try $0.ask("POST", "/v1/apply", body("{\"kind\":\"service\",\"name\":\"full\"}"))
            },
        ],
        "watch": [
            200: { try $0.ask("GET", "/v1/watch?after=1") },
            400: { try $0.ask("GET", "/v1/watch?after=-1") },
            410: { try $0.ask("GET", "/v1/watch?after=2") },
        ],
        "health": [
            200: { try $0.ask("GET", "/v1/health") }, 400: { try $0.ask("GET", "/v1/health?x") },
        ],
        "status": [
            200: { try $0.ask("GET", "/v1/status") }, 400: { try $0.ask("GET", "/v1/status?x") },
        ],
        "openAPI": [
            200: { try $0.ask("GET", "/v1/openapi.json") },
            400: { try $0.ask("GET", "/v1/openapi.json?x") },
        ],
        "metrics": [
            200: { try $0.ask("GET", "/metrics") }, 400: { try $0.ask("GET", "/metrics?x") },
        ],
        "listProxies": [
            200: { try $0.ask("GET", "/v1/proxies") },
            400: { try $0.ask("GET", "/v1/proxies?limit=1001") },
        ],
        "drainProxy": [
            200: { api in
                try api.connect("p", at: "127.0.0.1:9")
                return try api.ask("POST", "/v1/proxies/p/drain")
            },
            400: { try $0.ask("POST", "/v1/proxies/p/drain?x") },
            404: { try $0.ask("POST", "/v1/proxies/p/drain") },
            409: { api in
                try api.connect("p", at: nil)
                return try api.ask("POST", "/v1/proxies/p/drain")
            },
            503: { api in
                try api.connect("p", at: "127.0.0.1:9")
                api.folder.failing = ["write"]
                return try api.ask("POST", "/v1/proxies/p/drain")
            },
        ],
        "live": [200: { try $0.ask("GET", "/live") }, 400: { try $0.ask("GET", "/live?x") }],
        "ready": [
            200: { try $0.ask("GET", "/ready") }, 400: { try $0.ask("GET", "/ready?x") },
            503: { api in
                // Neither written nor taken back: the store no longer knows what the disk holds.
                api.folder.failing = ["write", "cut", "sync", "create"]
                _ = try api.ask("DELETE", path)
                return try api.ask("GET", "/ready")
            },
        ],
    ]

    /// An authorization that the model takes and one value of the store does not.
    private static let large: String = {
        let paths = (0..<100).map { "\"/\($0)\(String(repeating: "x", count: 4000))\"" }
        let rule = "{\"paths\":[\(paths.joined(separator: ","))]}"
        let rules = [String](repeating: rule, count: 4).joined(separator: ",")
        return "{\"kind\":\"authorization\",\"name\":\"a\",\"action\":\"allow\",\"to\":[\"echo\"],"
            + "\"rules\":[\(rules)]}"
    }()

    /// The statuses of every operation as its own description says them.
    private func described() throws -> [String: [Int]] {
        struct Document: Decodable {
            struct Operation: Decodable {
                struct Response: Decodable {}
                var operationId: String
                var responses: [String: Response]
            }
            var openapi: String
            var paths: [String: [String: Operation]]
        }
        let text = try ControlAPI().ask("GET", "/v1/openapi.json").text
        let document = try JSONDecoder().decode(Document.self, from: Data(text.utf8))
        var found: [String: [Int]] = [:]
        for (path, methods) in document.paths {
            for (method, operation) in methods {
                let known = try #require(ControlOperation(rawValue: operation.operationId))
                #expect(known.path == path && known.method.lowercased() == method)
                found[operation.operationId] = operation.responses.keys.compactMap { Int($0) }
                    .sorted()
            }
        }
        return found
    }

    @Test func everyAnswerIsInTheDescriptionAndTheOtherWayRound() throws {
        let described = try described()
        #expect(Set(described.keys) == Set(ControlOperation.allCases.map(\.rawValue)))
        for (name, statuses) in described {
            let operation = try #require(ControlOperation(rawValue: name))
            var ways = try #require(
                Self.ways[name] ?? identityWays[name] ?? pushWays[name], "\(name)")
            if operation.needsToken {
                let path =
                    operation.path == "/v1/{kind}/{namespace}/{name}"
                    ? path : operation.path.replacing("{serial}", with: "40")
                ways[401] = { api in
                    api.token = "secreT"
                    return try api.ask(operation.method, path)
                }
            }
            let isSmall = ways[507] != nil
            if operation.commits {
                let success = try #require(ways[201] ?? ways[200], "\(name)")
                ways.merge(try refusals(success)) { own, _ in own }
            }
            #expect(ways.keys.sorted() == statuses, "\(name)")
            for (status, way) in ways {
                var limits = StoreLimits()
                // The service and the head of the mesh; the authority and the key of tokens.
                if status == 507, isSmall {
                    limits.keys = ["join": 5, "watchPushes": 6][name] ?? 2
                }
                let api = try ControlAPI.withEcho(limits)
                let answer = try way(api)
                #expect(answer.status == status, "\(name): \(answer.text)")
                if status >= 400 {
                    #expect(answer.text.hasPrefix("{\"error\":\""), "\(name): \(answer.text)")
                }
                api.store.state.checkInvariants()
            }
        }
    }

    @Test func whatIsNotThereIsToldOnlyToThoseWhoMayAsk() throws {
        let api = try ControlAPI()
        for (method, target, status) in [
            ("GET", "/", 404), ("GET", "/v1/services/default", 404), ("GET", "/v1/pods/a/b", 404),
            ("GET", "/v1/services/A/b", 404), ("GET", "/v1/apply", 405), ("POST", path, 405),
            ("POST", "/v1/services%2Fdefault/a/b", 404), ("GET", "/v1%2Fstatus", 404),
            ("GET", "/v1/status/", 404), ("GET", "//v1/status", 404),
        ] {
            #expect(try api.ask(method, target).status == status, "\(method) \(target)")
            api.token = nil
            #expect(try api.ask(method, target).status == 401, "\(method) \(target)")
            api.token = "secret"
        }
        #expect(try api.ask("PATCH", path)["allow"] == "GET, HEAD, PUT, DELETE")
    }

    @Test func certificatesCountWhereTheyAreRequired() throws {
        for (trusts, isSecure, status) in [
            (true, true, 200), (true, false, 401), (false, true, 401),
        ] {
            let api = try ControlAPI(trustsCertificates: trusts)
            api.token = nil
            #expect(try api.ask("GET", "/v1/status", isSecure: isSecure).status == status)
        }
    }

    @Test func tagsAreTheRevisionsThatChangedAKey() throws {
        let api = try ControlAPI()
        #expect(try api.ask("PUT", path, echo)["etag"] == "\"1\"")
        _ = try api.ask(
            "PUT", "/v1/services/default/other", "{\"kind\":\"service\",\"name\":\"other\"}")
        // Nothing is changed, and the tag is still that of the last change.
        let same = try api.ask("PUT", path, echo)
        #expect(same.status == 200 && same["etag"] == "\"1\"" && same.text == "{\"revision\":2}")
        let got = try api.ask("GET", path)
        #expect(got["etag"] == "\"1\"")
        #expect(
            got.text == "{\"kind\":\"service\",\"mtls\":\"strict\",\"name\":\"echo\","
                + "\"namespace\":\"default\",\"protocol\":\"http1\"}")
        let tcp = "{\"kind\":\"service\",\"name\":\"echo\",\"protocol\":\"tcp\"}"
        let changed = try api.ask("PUT", path, tcp, ["if-match": "\"1\""])
        #expect(changed.status == 200 && changed["etag"] == "\"3\"")
        #expect(try api.ask("PUT", path, echo, ["if-match": "\"1\""]).status == 412)
        #expect(
            try api.ask("GET", "/v1/declarations?kind=endpoint").text
                == "{\"revision\":3,\"declarations\":[]}")
        #expect(
            try api.ask("GET", "/v1/declarations?namespace=other").text
                == "{\"revision\":3,\"declarations\":[]}")
    }

    @Test func allThatIsWrongIsSaidWithItsPlace() throws {
        let api = try ControlAPI()
        let wrong = body(
            "{\"kind\":\"service\",\"name\":\"a\",\"protocol\":\"htpp\","
                + "\"health\":{\"http\":5,\"x\":1}}",
            "{\"kind\":\"servce\"}", "7", "{\"kind\":\"service\",\"name\":\"A b\"}",
            "{\"kind\":\"route\",\"name\":\"r\",\"to\":[{\"service\":\"a\",\"weight\":-1}]}",
            "{\"kind\":\"service\",\"name\":\"a\"}")
        let answer = try api.ask("POST", "/v1/apply", wrong)
        #expect(answer.status == 422)
        for place in [
            #""key":"services/default/a","path":["protocol"]"#,
            #""key":"services/default/a","path":["health","x"]"#,
            #""key":"","path":["declarations","1","kind"]"#,
            #""key":"","path":["declarations","2"]"#,
            #""key":"","path":["declarations","3","name"]"#,
            #""key":"routes/default/r","path":["to","0","weight"]"#,
            #""key":"","path":["declarations","5"]"#,
        ] {
            #expect(answer.text.contains(place), "\(place) in \(answer.text)")
        }
        #expect(api.store.state.revision == 0)
        for text in [
            "", "{", "[]", "{}", "{\"declarations\":{}}", "{\"declaration\":[]}",
            "{\"declarations\":[],\"revision\":-1}", "\u{0}",
        ] {
            let status = try api.ask("POST", "/v1/apply", text).status
            #expect(status == 400 || status == 422, "\(text)")
        }
    }

    @Test func metricsAndStatus() throws {
        let api = try ControlAPI()
        _ = try api.ask("POST", "/v1/apply", body(echo, endpoint("echo")))
        _ = try api.ask("GET", "/v1/nothing")
        _ = try api.ask("GET", "/v1/watch")
        let metrics = try PrometheusText(api.ask("GET", "/metrics").text)
        #expect(metrics["meshbench_control_revision"] == 1)
        #expect(metrics["meshbench_control_declarations{kind=\"endpoint\"}"] == 1)
        #expect(metrics["meshbench_control_watches"] == 1)
        #expect(metrics["meshbench_control_commits_total"] == 1)
        #expect(metrics["meshbench_control_answers_total{status=\"404\"}"] == 1)
        #expect(metrics["meshbench_control_store_writable"] == 1)
        struct Status: Decodable {
            struct Store: Decodable { var condition: String, keys: Int, bytes: Int }
            var version: String, revision: Int, declarations: [String: Int]
            var store: Store, started: String, watches: Int
        }
        let text = try api.ask("GET", "/v1/status").text
        let status = try JSONDecoder().decode(Status.self, from: Data(text.utf8))
        #expect(status.version == "1.2.3" && status.revision == 1 && status.watches == 1)
        #expect(
            status.declarations == [
                "services": 1, "endpoints": 1, "routes": 0, "policies": 0, "authorizations": 0,
            ])
        #expect(status.store.condition == "sound" && status.store.keys == 3)
        #expect(status.started.hasSuffix("Z") && status.started.hasPrefix("20"))
    }

    @Test func watchesAreFedAsMuchAsTheyTake() throws {
        let api = try ControlAPI()
        let watch = try #require(try api.ask("GET", "/v1/watch?after=0").watch)
        // Some 180 bytes each: more than a watch is given ahead.
        for number in 0..<2000 {
            let mtls = number % 2 == 0 ? "strict" : "permissive"
            let echo = "{\"kind\":\"service\",\"name\":\"echo\",\"mtls\":\"\(mtls)\"}"
            #expect(try api.ask("PUT", path, echo).status == (number == 0 ? 201 : 200))
        }
        #expect(watch.isOpen && watch.waiting > 256 * 1024 && watch.waiting < 257 * 1024)
        // What is taken makes room for the rest, in order and without a gap.
        var taken: [UInt8] = []
        while watch.waiting > 0 {
            var output = ServiceOutput()
            watch.backlog.move(.max, to: &output)
            output.withFirst { _ in }
            while !output.isEmpty {
                let count = output.withFirst { first in
                    unsafe taken.append(contentsOf: first.raw)
                    return first.count
                }
                output.drop(count)
            }
            watch.onDrained?()
        }
        let lines = String(decoding: taken, as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 2000)
        for (index, line) in lines.enumerated() {
            #expect(line.hasPrefix("{\"revision\":\(index + 1),\"changes\":[{\"op\":\"put\","))
        }
    }

    @Test func aWatchThatFellBehindIsEnded() throws {
        var limits = StoreLimits()
        limits.historyChanges = 10
        let api = try ControlAPI(limits)
        let watch = try #require(try api.ask("GET", "/v1/watch").watch)
        // More than it is given ahead, in one revision; what follows waits in the history.
        let many = (0..<3000).map { "{\"kind\":\"service\",\"name\":\"s\($0)\"}" }
        // A revision larger than the whole history is forgotten at once.
        _ = try api.ask("POST", "/v1/apply", "{\"declarations\":[\(many.joined(separator: ","))]}")
        #expect(!watch.isOpen && watch.waiting == 0)
        #expect(try api.ask("GET", "/v1/watch?after=0").status == 410)
        #expect(try api.ask("GET", "/v1/watch?after=1").status == 200)
    }
}

@Suite struct ControlTokenTests {
    @Test func aTokenIsMadeOnceAndKept() throws {
        let scratch = try Scratch()
        let token = try ControlToken(folder: scratch.root)
        let text = try String(contentsOfFile: scratch.path("token"), encoding: .utf8)
        #expect(text.count == 65 && text.hasSuffix("\n"))
        let word = String(text.dropLast())
        #expect(word.allSatisfy(\.isHexDigit) && token.matches(word))
        #expect(!token.matches(word + "0") && !token.matches("") && !token.matches(text))
        #expect(try ControlToken(folder: scratch.root).matches(word))
        let other = try Scratch()
        #expect(try !ControlToken(folder: other.root).matches(word))
    }

    @Test(arguments: [
        "", "short", String(repeating: "x", count: 300), "two words \(UInt64.max)aaaaaaaa",
    ])
    func whatIsNoTokenIsRefused(text: String) throws {
        let scratch = try Scratch()
        try text.write(toFile: scratch.path("token"), atomically: true, encoding: .utf8)
        _ = try Program.run("chmod", ["600", scratch.path("token")])
        #expect(throws: ControlTokenError.self) { try ControlToken(folder: scratch.root) }
    }

    @Test func aTokenThatOthersMayReadIsRefused() throws {
        let scratch = try Scratch()
        _ = try ControlToken(folder: scratch.root)
        _ = try Program.run("chmod", ["640", scratch.path("token")])
        #expect(throws: ControlTokenError.self) { try ControlToken(folder: scratch.root) }
    }
}

extension ControlAPI {
    /// A proxy of `echo` watches.
    fileprivate func connect(_ proxy: String, at address: String?) throws {
        let more = address.map { ",\"address\":\"\($0)\"" } ?? ""
        let request = ServiceRequest(
            method: "POST", target: try #require(ServiceTarget("/v1/proxy/watch")), fields: [],
            body: Array("{\"proxy\":\"\(proxy)\",\"service\":\"default/echo\"\(more)}".utf8),
            peer: ServicePeer(address: .loopback(port: 1), isSecure: true), speech: .http2,
            now: .zero)
        let answer = pushes.respond(
            to: request, .watchPushes, from: .of("default/echo", proxy))
        guard answer.status == 200 else { throw WireFailure.unexpected("\(answer)") }
    }
}
