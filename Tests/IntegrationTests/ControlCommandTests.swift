// The control plane as a process, with a client that is not ours.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

private struct Answer: Equatable {
    var status: String
    var tag: String
    var body: String
}

private func service(_ name: String, _ more: String = "") -> String {
    "{\"kind\":\"service\",\"name\":\"\(name)\"\(more)}"
}

private func endpoint(_ name: String, of service: String, port: Int) -> String {
    "{\"kind\":\"endpoint\",\"name\":\"\(name)\",\"service\":\"\(service)\","
        + "\"address\":\"127.0.0.1:\(port)\"}"
}

private func body(_ declarations: [String], _ more: String = "") -> String {
    "{\"declarations\":[\(declarations.joined(separator: ","))]\(more)}"
}

@Suite struct ControlCommandTests {
    let scratch: Scratch
    var data: String { scratch.path("data") }

    init() throws { scratch = try Scratch() }

    /// What curl gets.
    private func curl(
        _ control: RunningControl, _ words: [String], token: String? = nil
    ) throws -> Answer {
        let authorization = "authorization: Bearer \(token ?? control.token)"
        let (_, lines) = try Program.run(
            "curl",
            ["-sS", "-m", "30", "-H", authorization, "-w", "\n%{http_code}\n%header{etag}\n"]
                + words)
        guard lines.count >= 2 else { throw WireFailure.unexpected("\(lines)") }
        let text = lines.dropLast(2).joined(separator: "\n")
        return Answer(status: lines[lines.count - 2], tag: lines[lines.count - 1], body: text)
    }

    private func url(_ control: RunningControl, _ path: String) -> String {
        "http://\(control.address)\(path)"
    }

    @Test(arguments: ["--http1.1", "--http2-prior-knowledge"])
    func oneDeclaration(version: String) throws {
        let control = try RunningControl(data: data)
        let echo = url(control, "/v1/services/default/echo")
        func ask(_ words: String...) throws -> Answer { try curl(control, [version] + words) }
        #expect(try ask(echo).status == "404")
        #expect(
            try ask("-X", "PUT", "-d", service("echo"), echo)
                == Answer(status: "201", tag: "\"1\"", body: "{\"revision\":1}"))
        let whole =
            "{\"kind\":\"service\",\"mtls\":\"strict\",\"name\":\"echo\","
            + "\"namespace\":\"default\",\"protocol\":\"http1\"}"
        #expect(try ask(echo) == Answer(status: "200", tag: "\"1\"", body: whole))
        let tcp = service("echo", ",\"protocol\":\"tcp\"")
        #expect(try ask("-X", "PUT", "-d", tcp, "-H", "if-none-match: *", echo).status == "412")
        #expect(try ask("-X", "PUT", "-d", tcp, "-H", "if-match: \"2\"", echo).status == "412")
        #expect(
            try ask("-X", "PUT", "-d", tcp, "-H", "if-match: \"1\"", echo)
                == Answer(status: "200", tag: "\"2\"", body: "{\"revision\":2}"))
        #expect(try ask("-X", "DELETE", "-H", "if-match: \"1\"", echo).status == "412")
        #expect(try ask("-X", "DELETE", echo).body == "{\"revision\":3}")
        #expect(try ask("-X", "DELETE", echo).status == "404")
        #expect(
            try ask(url(control, "/v1/declarations")).body
                == "{\"revision\":3,\"declarations\":[]}")
        #expect(try ask("-I", url(control, "/v1/status")).status == "200")
    }

    @Test func onlyTheTokenLetsIn() throws {
        let control = try RunningControl(data: data)
        #expect(control.token.count == 64)
        let status = url(control, "/v1/status")
        #expect(try curl(control, [status]).status == "200")
        let wrong = try curl(control, [status], token: String(repeating: "0", count: 64))
        #expect(wrong.status == "401" && wrong.body.contains("\"error\""))
        #expect(
            try curl(control, ["-X", "DELETE", url(control, "/v1/services/a/b")], token: "x").status
                == "401")
        for path in ["/live", "/ready", "/metrics", "/v1/openapi.json"] {
            #expect(try curl(control, [url(control, path)], token: "").status == "200", "\(path)")
        }
    }

    @Test func anApplyIsDoneWholeOrNotAtAll() throws {
        let control = try RunningControl(data: data)
        func apply(_ query: String, _ body: String) throws -> Answer {
            try curl(control, ["-d", body, url(control, "/v1/apply\(query)")])
        }
        let first = [service("a"), service("b"), endpoint("a-1", of: "a", port: 80)]
        let keys = "\"endpoints/default/a-1\",\"services/default/a\",\"services/default/b\""
        let dry = try apply("?dry_run=true", body(first))
        #expect(
            dry.body == "{\"revision\":0,\"created\":[\(keys)],\"changed\":[],"
                + "\"unchanged\":0,\"deleted\":[]}")
        #expect(
            try apply("", body(first)).body == "{\"revision\":1,\"created\":[\(keys)],"
                + "\"changed\":[],\"unchanged\":0,\"deleted\":[]}")
        let before = try curl(control, [url(control, "/v1/declarations")])
        let wrong = try apply(
            "",
            body([
                service("c"), endpoint("x", of: "nobody", port: 80),
                endpoint("a-2", of: "a", port: 80), service("a", ",\"mtls\":\"of\""),
            ]))
        #expect(wrong.status == "422" && wrong.body.contains("did you mean 'off'"))
        let dangling = try apply(
            "", body([endpoint("x", of: "nobody", port: 80), endpoint("a-2", of: "a", port: 80)]))
        #expect(dangling.status == "422")
        for key in ["endpoints/default/x", "endpoints/default/a-2"] {
            #expect(dangling.body.contains("\"key\":\"\(key)\""), "\(dangling.body)")
        }
        #expect(try curl(control, [url(control, "/v1/declarations")]) == before)
        #expect(try apply("", body([service("c")], ",\"revision\":0")).status == "409")
        #expect(
            try apply("?prune=true", body([service("b"), service("c")], ",\"revision\":1")).body
                == "{\"revision\":2,\"created\":[\"services/default/c\"],\"changed\":[],"
                + "\"unchanged\":1,\"deleted\":[\"endpoints/default/a-1\",\"services/default/a\"]}")
    }

    @Test func aWatchSeesChangesInOrderAndGoesOnWhereItWas() throws {
        let control = try RunningControl(data: data)
        func watch(after: Int) throws -> Process {
            try Process(
                ProcessCommand(
                    name: "curl", program: "curl",
                    arguments: [
                        "-sSN", "-H", "authorization: Bearer \(control.token)",
                        url(control, "/v1/watch?after=\(after)"),
                    ], output: .pipe))
        }
        func line(_ process: Process) throws -> String? {
            try Program.nextLine(of: process).map { String(decoding: $0, as: UTF8.self) }
        }
        func change(_ revision: Int, _ name: String) throws {
            let put = try control.ask("PUT", "/v1/services/default/\(name)", service(name))
            #expect(put.text == "{\"revision\":\(revision)}")
        }
        try change(1, "a")
        let first = try watch(after: 0)
        #expect(try line(first)?.hasPrefix("{\"revision\":1,\"changes\":[{\"op\":\"put\"") == true)
        for number in 2...20 { try change(number, "s\(number)") }
        for number in 2...20 {
            let line = try line(first)
            #expect(line?.contains("\"revision\":\(number),") == true)
            #expect(line?.contains("\"key\":\"services/default/s\(number)\"") == true)
        }
        #expect(try control.ask("DELETE", "/v1/services/default/a").status == 200)
        #expect(
            try line(first) == "{\"revision\":21,\"changes\":[{\"op\":\"delete\","
                + "\"key\":\"services/default/a\"}]}")
        first.send(SIGKILL)
        // Another goes on in the middle.
        let second = try watch(after: 19)
        #expect(try line(second)?.contains("\"revision\":20,") == true)
        #expect(try line(second)?.contains("\"revision\":21,") == true)
        #expect(try control.ask("GET", "/v1/watch?after=22").status == 410)
        // The end of the control plane is an orderly end of the watch.
        control.process.send(SIGTERM)
        #expect(control.process.wait(until: Clock.now() + .seconds(20)) == .exited(0))
        #expect(second.wait(until: Clock.now() + .seconds(20)) == .exited(0))
    }

    @Test func aRestartKeepsEverything() throws {
        var control = try RunningControl(data: data)
        for number in 1...3 {
            let put = try control.ask(
                "PUT", "/v1/services/default/s\(number)", service("s\(number)"))
            #expect(put.status == 201)
        }
        let before = try control.ask("GET", "/v1/declarations").text
        let token = control.token
        control.process.send(SIGTERM)
        #expect(control.process.wait(until: Clock.now() + .seconds(20)) == .exited(0))
        control = try RunningControl(data: data)
        #expect(control.token == token)
        #expect(try control.ask("GET", "/v1/declarations").text == before)
        #expect(try control.ask("GET", "/v1/services/default/s2")["etag"] == "\"2\"")
        // The history is there too: whoever watched goes on.
        let connection = try RawConnection(to: control.address)
        try connection.send(control.request("GET", "/v1/watch?after=2"))
        _ = try connection.read(through: "\"revision\":3,")
    }

    @Test func certificatesInPlaceOfTheToken() throws {
        let folder = try CertificateFolder()
        let control = try RunningControl(
            data: data,
            [
                "--tls-cert", folder.path("server.pem"), "--tls-key", folder.path("server.key"),
                "--client-ca", folder.authority,
            ])
        let status = "https://localhost:\(control.address.port)/v1/status"
        let trust = [
            "-sS", "-m", "30", "-o", "/dev/null", "-w", "%{http_version} %{http_code}\n",
            "--cacert", folder.authority,
        ]
        let identity = ["--cert", folder.path("client.pem"), "--key", folder.path("client.key")]
        #expect(try Program.run("curl", trust + identity + [status]).lines == ["2 200"])
        let with = ["-H", "authorization: Bearer \(control.token)"]
        #expect(
            try Program.run("curl", trust + with + [status]).lines.last?.hasSuffix(" 000") == true)
        // New files at SIGHUP.
        let other = try CertificateFolder("another authority")
        for name in ["server.pem", "server.key"] {
            let bytes = try Data(contentsOf: URL(filePath: other.path(name)))
            try folder.write(Array(bytes), name)
        }
        control.process.send(SIGHUP)
        let deadline = Clock.now() + .seconds(20)
        var lines: [String] = []
        while Clock.now() < deadline, lines.last?.hasSuffix(" 000") != true {
            lines = try Program.run("curl", trust + identity + [status]).lines
        }
        #expect(lines.last?.hasSuffix(" 000") == true)
        let renewed = ["--cacert", other.authority]
        #expect(try Program.run("curl", trust + renewed + identity + [status]).lines == ["2 200"])
    }
}

/// What cannot begin says why.
@Suite struct ControlStartTests {
    let scratch: Scratch
    var data: String { scratch.path("data") }

    init() throws { scratch = try Scratch() }

    private func start(_ words: [String]) throws -> (end: ProcessEnd?, said: String) {
        let log = scratch.path("stderr")
        let process = try Process(
            ProcessCommand(
                name: "control", program: Program.meshbench(), arguments: ["control"] + words,
                output: .file(scratch.path("stdout")), errorLog: log))
        let end = process.wait(until: Clock.now() + .seconds(20))
        return (end, try String(contentsOfFile: log, encoding: .utf8))
    }

    @Test func aWrongCommandLine() throws {
        for (words, text) in [
            ([], "give --data"),
            (["--data", data, "--listen", "echo:7070"], "a numeric address with a port"),
            (["--data", data, "--listen", "0.0.0.0:0"], "need TLS: --tls-cert and --tls-key"),
            (["--data", data, "--listen", "[::]:0"], "need TLS"),
            (["--data", data, "--tls-cert", "x"], "'--tls-cert' goes with"),
            (["--data", data, "--client-ca", "x"], "'--client-ca' goes with"),
        ] {
            let (end, said) = try start(words)
            #expect(end == .exited(64), "\(words)")
            #expect(said.contains(text), "\(said)")
        }
        let (end, said) = try start([
            "--data", data, "--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key",
        ])
        #expect(end == .exited(65) && said.contains("/nowhere.pem"), "\(said)")
    }

    @Test func whatIsTakenAlready() throws {
        let control = try RunningControl(data: data)
        let (end, said) = try start(["--data", data, "--listen", "127.0.0.1:0"])
        #expect(end == .exited(1))
        #expect(said.contains("\(data): the store is in use by process \(control.process.pid)"))
        let other = try start(["--data", scratch.path("b"), "--listen", "\(control.address)"])
        #expect(other.end == .exited(1))
        #expect(other.said.contains("bind \(control.address)"), "\(other.said)")
        #expect(other.said.contains("in use"), "\(other.said)")
        // Neither has hurt the first.
        #expect(try control.ask("GET", "/v1/status").status == 200)
    }

    @Test func aDamagedLog() throws {
        let control = try RunningControl(data: data)
        for name in ["a", "b", "c"] {
            _ = try control.ask("PUT", "/v1/services/default/\(name)", service(name))
        }
        control.kill()
        let log = "\(data)/log-0000000000000000"
        var bytes = try Data(contentsOf: URL(filePath: log))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(filePath: log))
        let (end, said) = try start(["--data", data, "--listen", "127.0.0.1:0"])
        #expect(end == .exited(1))
        #expect(
            said.contains("\(data): the store's file log-0000000000000000: log, byte "), "\(said)")
        #expect(said.contains("damaged"), "\(said)")
    }

    @Test func aFolderThatOthersMayWriteTo() throws {
        _ = try Program.run("mkdir", ["-m", "777", data])
        let (end, said) = try start(["--data", data, "--listen", "127.0.0.1:0"])
        #expect(end == .exited(1) && said.contains("chmod 700"), "\(said)")
    }
}

/// Killed in the middle of writing, over and over.
@Suite struct ControlKillFuzz {
    /// Each apply makes one mesh: a number of endpoints that depends on its own number, all of this
    /// weight; those of the apply before that are not in it are removed.
    private static func mesh(_ number: Int) -> String {
        let count = 20 + number % 7 * 20
        let endpoints = (0..<count).map { index in
            "{\"kind\":\"endpoint\",\"name\":\"e\(index)\",\"service\":\"s\","
                + "\"address\":\"127.0.0.1:\(index + 1)\",\"weight\":\(number)}"
        }
        return body([service("s")] + endpoints)
    }

    /// The number of the apply that the mesh is of; nil: it is of none, but a mixture.
    private static func number(_ text: String) -> Int? {
        let parts = text.split(separator: "\"weight\":", omittingEmptySubsequences: false)
        let weights = parts.dropFirst().compactMap { Int($0.prefix(while: \.isNumber)) }
        guard let first = weights.first else { return 0 }
        let isWhole =
            weights.allSatisfy { $0 == first } && weights.count == 20 + first % 7 * 20
        return isWhole ? first : nil
    }

    @Test func everythingAcknowledgedIsThereAndNothingHalf() throws {
        let budget = FuzzBudget.current(steps: 6)
        var random = SeededRandom(seed: budget.seed)
        let scratch = try Scratch()
        let data = scratch.path("data")
        var sent = 0
        var acknowledged = 0
        /// How long the last apply took, from which the instant of the kill is drawn.
        var took = Duration.milliseconds(20)
        var unanswered = 0
        var survived = 0
        for step in 0..<budget.steps {
            let hint = "step \(step); \(budget.rerun("ControlKillFuzz"))"
            let control = try RunningControl(data: data)
            let found = try control.ask("GET", "/v1/declarations").text
            let number = try #require(Self.number(found), "half an apply: \(hint)")
            try #require(acknowledged <= number && number <= sent, "\(number), \(hint)")
            if number > acknowledged { survived += 1 }
            acknowledged = number
            let connection = try RawConnection(to: control.address)
            for _ in 0..<random.below(3) {
                sent += 1
                let began = Clock.now()
                try connection.send(
                    control.request("POST", "/v1/apply?prune=true", Self.mesh(sent)))
                let answer = try connection.readAnswer()
                try #require(answer.status == 200, "\(answer.text)")
                acknowledged = sent
                took = Clock.now() - began
            }
            sent += 1
            try connection.send(control.request("POST", "/v1/apply?prune=true", Self.mesh(sent)))
            let share = Double(random.below(1300)) / 1000
            Clock.sleep(until: Clock.now() + .nanoseconds(Int64(Double(took.nanoseconds) * share)))
            control.kill()
            // What was answered before the end counts.
            if let answer = try? connection.readAnswer(), answer.status == 200 {
                acknowledged = sent
            } else {
                unanswered += 1
            }
        }
        if budget.steps >= 50 {
            // The kills did hit: before an answer, and some after the change was safe.
            #expect(unanswered > budget.steps / 4)
            print("kills \(budget.steps), unanswered \(unanswered), of these done \(survived)")
        }
    }
}
