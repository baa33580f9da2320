// Three control planes over an etcd, as processes that are killed.

import Base
import FoundationEssentials
import Glibc
import Posix
import Runtime
import Support
import Testing

private func service(_ name: String) -> String { "{\"kind\":\"service\",\"name\":\"\(name)\"}" }

private func endpoint(_ name: String, of service: String) -> String {
    "{\"kind\":\"endpoint\",\"name\":\"\(name)\",\"service\":\"\(service)\","
        + "\"address\":\"127.0.0.1:8080\"}"
}

@Suite struct EtcdControlTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func control(_ id: Int, _ etcd: RunningEtcd) throws -> RunningControl {
        try RunningControl(data: scratch.path("c\(id)"), ["--etcd", etcd.urls])
    }

    private func declarations(_ control: RunningControl) throws -> String {
        let answer = try control.ask("GET", "/v1/declarations")
        #expect(answer.status == 200)
        let text = String(decoding: answer.body, as: UTF8.self)
        return String(text.drop { $0 != "[" })
    }

    /// Whether something comes to be in time.
    private func eventually(
        within time: Duration = .seconds(10), _ isThere: () throws -> Bool
    ) rethrows -> Bool {
        let deadline = Clock.now() + time
        while Clock.now() < deadline {
            if try isThere() { return true }
            usleep(20_000)
        }
        return false
    }

    @Test func theySayTheSame() throws {
        let etcd = try RunningEtcd(folder: scratch.root)
        let controls = try (0..<3).map { try control($0, etcd) }
        // Whichever answers, the token is the same.
        #expect(Set(controls.map(\.token)).count == 1)
        let client = try ServiceClient("\(controls[2].address)", token: controls[2].token)
        for index in 0..<30 {
            // On a busy machine etcd may take longer than a change waits.
            let isThere = try eventually {
                let answer = try controls[index % 3].ask(
                    "PUT", "/v1/services/default/s\(index)", service("s\(index)"))
                return [200, 201].contains(answer.status)
            }
            #expect(isThere)
        }
        #expect(
            try eventually {
                try Set(controls.map(declarations)).count == 1
                    && declarations(controls[0]).split(separator: "\"name\"").count == 31
            })
        // Each revision is told once, in order, whoever made it.
        let first = try controls[2].ask("GET", "/v1/services/default/s0")["etag"]
        let after = try #require(first.flatMap { UInt64($0.filter(\.isNumber)) })
        var lines: [String] = []
        let end = try client.follow(ServiceCall("GET", "/v1/watch?after=\(after)")) { line in
            lines.append(String(decoding: line, as: UTF8.self))
            return lines.count < 29
        }
        #expect(end == .stopped)
        for (index, line) in lines.enumerated() {
            #expect(line.contains("services/default/s\(index + 1)\""), "\(line)")
        }
    }

    /// Each by itself would hold together; both would not.
    @Test func twoChangesThatDoNotGoTogether() throws {
        let etcd = try RunningEtcd(folder: scratch.root)
        let controls = try (0..<3).map { try control($0, etcd) }
        for round in 0..<20 {
            let name = "r\(round)"
            #expect(
                try controls[0].ask("PUT", "/v1/services/default/\(name)", service(name)).status
                    == 201)
            #expect(
                try eventually {
                    try controls.allSatisfy {
                        try $0.ask("GET", "/v1/services/default/\(name)").status == 200
                    }
                })
            let put = try RawConnection(to: controls[1].address)
            let delete = try RawConnection(to: controls[2].address)
            try put.send(
                controls[1].request(
                    "PUT", "/v1/endpoints/default/\(name)-1", endpoint("\(name)-1", of: name)))
            try delete.send(controls[2].request("DELETE", "/v1/services/default/\(name)"))
            let statuses = [try put.readAnswer().status, try delete.readAnswer().status]
            #expect(statuses == [201, 422] || statuses == [422, 200], "\(statuses)")
        }
    }

    @Test func nothingThatWasAnsweredIsLost() throws {
        let etcd = try RunningEtcd(folder: scratch.root)
        var controls = try (0..<3).map { try control($0, etcd) }
        var random = SeededRandom(seed: 7)
        var answered: Set<String> = []
        var sent: Set<String> = []
        for round in 0..<12 {
            for step in 0..<5 {
                let name = "s\(round)-\(step)"
                let control = controls[random.below(3)]
                let answer = try control.ask(
                    "PUT", "/v1/services/default/\(name)", service(name))
                // 503 where etcd takes longer than a change waits, and then nobody knows.
                #expect([201, 503].contains(answer.status), "\(answer)")
                if answer.status == 201 { answered.insert(name) } else { sent.insert(name) }
            }
            // One is killed in the middle of a change, of which nobody knows.
            let victim = random.below(3)
            let name = "s\(round)-open"
            let connection = try RawConnection(to: controls[victim].address)
            try connection.send(
                controls[victim].request("PUT", "/v1/services/default/\(name)", service(name)))
            usleep(UInt32(random.below(8000)))
            controls[victim].kill()
            sent.insert(name)
            // The others go on meanwhile.
            let other = controls[(victim + 1) % 3]
            let between = "s\(round)-between"
            #expect(
                try eventually {
                    let answer = try other.ask(
                        "PUT", "/v1/services/default/\(between)", service(between))
                    return [200, 201].contains(answer.status)
                })
            answered.insert(between)
            controls[victim] = try control(victim, etcd)
        }
        #expect(try eventually { try Set(controls.map(declarations)).count == 1 })
        let text = try declarations(controls[0])
        for name in answered { #expect(text.contains("\"name\":\"\(name)\""), "\(name)") }
        let count = text.split(separator: "\"kind\":\"service\"").count - 1
        #expect((answered.count...answered.count + sent.count).contains(count))
        #expect(answered.count > sent.count)
    }

    @Test func aMemberDiesAndThenTheMajority() throws {
        let etcd = try RunningEtcd(folder: scratch.root, members: 3)
        let controls = try (0..<3).map { try control($0, etcd) }
        func put(_ index: Int, _ name: String) throws -> Int {
            try controls[index].ask("PUT", "/v1/services/default/\(name)", service(name)).status
        }
        #expect(try put(0, "before") == 201)
        etcd.kill(0)
        // Another leader may have to be found first.
        for index in controls.indices {
            let name = "after-\(index)"
            let isDone = try eventually {
                let status = try put(index, name)
                return status == 201 || status == 200
            }
            #expect(isDone)
        }
        #expect(try eventually { try Set(controls.map(declarations)).count == 1 })
        etcd.kill(1)
        #expect(try put(0, "never") == 503)
        #expect(try eventually { try controls[0].ask("GET", "/ready").status == 503 })
        let status = try controls[0].ask("GET", "/v1/status")
        #expect(String(decoding: status.body, as: UTF8.self).contains("\"suspended\""))
        #expect(try declarations(controls[0]).contains("\"name\":\"after-2\""))
        try etcd.start(0)
        try etcd.start(1)
        try etcd.waitUntilHealthy(2)
        #expect(
            try eventually {
                let status = try put(0, "again")
                return status == 201 || status == 200
            })
        #expect(try eventually { try Set(controls.map(declarations)).count == 1 })
    }

    /// An etcd that lets in nobody without a certificate of its authority's.
    @Test func overTLSWithCertificates() throws {
        let certificates = try CertificateFolder()
        let etcd = try RunningEtcd(folder: scratch.root, certificates: certificates)
        let words = [
            "--etcd", etcd.urls, "--etcd-cacert", certificates.authority,
            "--etcd-cert", certificates.path("client.pem"),
            "--etcd-key", certificates.path("client.key"),
        ]
        let controls = try RunningControl.several((0..<2).map { scratch.path("c\($0)") }, words)
        #expect(
            try controls[0].ask("PUT", "/v1/services/default/a", service("a")).status == 201)
        #expect(
            try eventually {
                try controls[1].ask("GET", "/v1/services/default/a").status == 200
            })
    }

    @Test(
        arguments: [
            (["--etcd", "ftp://127.0.0.1:1"], 64), (["--etcd", ""], 64),
            (["--etcd-cert", "x"], 64),
            (["--etcd", "http://127.0.0.1:1", "--etcd-key", "x"], 64),
            (["--etcd", "http://127.0.0.1:1,https://127.0.0.1:2"], 64),
            (["--etcd", "https://127.0.0.1:1", "--etcd-cacert", "/nowhere"], 65),
        ] as [([String], Int32)])
    func whatDoesNotStart(words: [String], code: Int32) throws {
        let (end, _) = try Program.run(
            Program.meshbench(),
            ["control", "--data", scratch.path("data"), "--listen", "127.0.0.1:0"] + words)
        #expect(end == .exited(code))
    }
}
