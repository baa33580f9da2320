// Services over real sockets, with clients that are not ours.

import Base
import Glibc
import Model
import Posix
import Secure
import Support
import Synchronization
import Testing

@testable import Runtime

/// What an API does, in short. Touched by its service's thread alone.
private final class SocketHandler: ServiceHandler, @unchecked Sendable {
    var watches: [ServiceWatch] = []
    let endings = Mutex<[ServiceWatch.Ending]>([])

    func respond(to request: ServiceRequest) -> ServiceAnswer {
        switch request.target.path {
        case "/watch":
            let watch = ServiceWatch()
            watch.onEnd = { [unowned self] ending in endings.withLock { $0.append(ending) } }
            watch.send(Array("first".utf8))
            watches.append(watch)
            return .watch(watch)
        case "/size": return .text(200, "\(request.speech) \(request.body.count)")
        case "/who": return .text(200, "\(request.peer.certificate?.uris ?? ["nobody"])")
        case "/token": return .text(request.bearerToken == "secret" ? 200 : 401, "token")
        default: return .text(404, "nothing here")
        }
    }

    func tell(_ line: [UInt8]) {
        watches.removeAll { !$0.isOpen }
        for watch in watches { watch.send(line) }
    }
}

private func serve(
    tls: ServerTLS? = nil, _ limits: ServiceLimits = ServiceLimits(),
    _ body: (Service, SocketHandler) throws -> Void
) throws {
    let handler = SocketHandler()
    let service = try Service(
        ServiceConfiguration(listen: .loopback(port: 0), tls: tls, limits: limits),
        handler: handler)
    defer { service.stop() }
    try body(service, handler)
}

/// The lines that curl gets, the last one its exit code and the HTTP version and status.
private func curl(_ words: [String]) throws -> [String] {
    let run = try Program.run(
        "curl", ["-sS", "-m", "30", "-w", "\n%{http_version} %{http_code}"] + words)
    return run.lines.filter { !$0.isEmpty }
}

private func wait(_ what: String, _ condition: () -> Bool) throws {
    let deadline = Clock.now() + RawConnection.patience
    while !condition() {
        try #require(Clock.now() < deadline, "\(what)")
        Clock.sleep(until: Clock.now() + .milliseconds(2))
    }
}

@Suite struct ServiceSocketTests {
    @Test(arguments: [("--http1.1", "1.1", "http1"), ("--http2-prior-knowledge", "2", "http2")])
    func curlInCleartext(flag: String, version: String, speech: String) throws {
        let scratch = try Scratch()
        try serve { service, _ in
            let url = "http://\(service.address)"
            #expect(try curl([flag, url + "/token"]) == ["token", "\(version) 401"])
            #expect(
                try curl([flag, "-H", "Authorization: Bearer secret", url + "/token"])
                    == ["token", "\(version) 200"])
            for (bytes, status) in [(4 << 20, 200), ((4 << 20) + 1, 413)] {
                let file = scratch.path("body")
                try #require(
                    Program.run("dd", ["if=/dev/zero", "of=\(file)", "bs=\(bytes)", "count=1"]).end
                        == .exited(0))
                for expect in ["Expect:", "Expect: 100-continue"] {
                    let said = try curl([
                        flag, "-H", expect, "--data-binary", "@\(file)", url + "/size",
                    ])
                    #expect(said.last == "\(version) \(status)")
                    if status == 200 { #expect(said.first == "\(speech) \(bytes)") }
                }
            }
            let chunked = ["-H", "Transfer-Encoding: chunked", "-d", "abc", url + "/size"]
            if flag == "--http1.1" { #expect(try curl([flag] + chunked).first == "http1 3") }
        }
    }

    @Test(arguments: [("--http1.1", "1.1"), ("--http2", "2")])
    func curlWithCertificates(flag: String, version: String) throws {
        let folder = try CertificateFolder()
        var tls = ServerTLS(
            certificate: folder.path("server.pem"), key: folder.path("server.key"),
            authorities: folder.authority, clientCertificate: .optional)
        let (url, more): ((SocketAddress) -> String, [String]) = (
            { "https://localhost:\($0.port)/who" }, [flag, "--cacert", folder.authority]
        )
        let identity = ["--cert", folder.path("client.pem"), "--key", folder.path("client.key")]
        try serve(tls: tls) { service, _ in
            #expect(try curl(more + [url(service.address)]) == ["[\"nobody\"]", "\(version) 200"])
            #expect(
                try curl(more + identity + [url(service.address)])
                    == ["[\"spiffe://test/client\"]", "\(version) 200"])
            // Cleartext is not for this port, and whoever tries holds nobody up.
            #expect(try curl(["http://\(service.address)/who"]).last?.hasSuffix(" 000") == true)
            try folder.issue("server", hosts: ["localhost"], addresses: ["127.0.0.1"])
            try service.renew(tls)
            #expect(try curl(more + [url(service.address)]).last == "\(version) 200")
        }
        tls.clientCertificate = .required
        try serve(tls: tls) { service, _ in
            let without = try curl(more + [url(service.address)])
            #expect(without.last?.hasSuffix(" 000") == true)
            let with = try curl(more + identity + [url(service.address)])
            #expect(with.last == "\(version) 200")
        }
        tls.key = folder.authority
        #expect(throws: ServiceError.self) { try serve(tls: tls) { _, _ in } }
    }

    @Test func aTakenAddressIsAFailure() throws {
        try serve { service, _ in
            #expect(throws: ServiceError.self) {
                _ = try Service(
                    ServiceConfiguration(listen: service.address), handler: SocketHandler())
            }
        }
    }

    /// Who dawdles is told so; meanwhile others are served, though all places are taken.
    @Test func dawdlersHoldNobodyUp() throws {
        var limits = ServiceLimits()
        limits.connections = 3
        limits.arrival = .milliseconds(500)
        try serve(limits) { service, _ in
            let idle = try RawConnection(to: service.address)
            let dawdlers = try (0..<2).map { _ in
                let dawdler = try RawConnection(to: service.address)
                try dawdler.send("GET /tok")
                return dawdler
            }
            // The idle one makes room.
            let fourth = try RawConnection(to: service.address)
            try fourth.send("GET /token HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try fourth.readAnswer().status == 401)
            #expect(idle.endsWithoutMore())
            for dawdler in dawdlers {
                #expect(try dawdler.readAnswer().status == 408)
                #expect(dawdler.endsWithoutMore())
            }
            // Nobody is idle: whoever comes waits until somebody leaves.
            let crowd = try (0..<6).map { _ in
                let client = try RawConnection(to: service.address)
                try client.send("GET /token HTTP/1.1\r\nhost: a\r\n")
                return client
            }
            for client in crowd { #expect(try client.readAnswer().status == 408) }
        }
    }

    /// Whoever connects and says nothing has no place for as long as a request may take.
    @Test func silentHandshakesKeepNobodyOut() throws {
        let folder = try CertificateFolder()
        var limits = ServiceLimits()
        limits.connections = 4
        try serve(
            tls: ServerTLS(
                certificate: folder.path("server.pem"), key: folder.path("server.key")),
            limits
        ) { service, _ in
            let silent = try (0..<4).map { _ in try RawConnection(to: service.address) }
            let began = Clock.now()
            #expect(
                try curl(["-k", "https://localhost:\(service.address.port)/token"]).last?
                    .hasSuffix(" 401") == true)
            #expect(Clock.now() - began < limits.arrival / 2)
            #expect(silent[0].endsWithoutMore())
        }
    }

    /// One reader reads and gets all of it, another has stalled and is cut off.
    @Test func aStalledWatcherIsCutOffAndAnotherIsNot() throws {
        try serve { service, handler in
            let stalled = try RawConnection(to: service.address)
            try stalled.send("GET /watch HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try stalled.readHead().status == 200)
            let reader = try RawConnection(to: service.address)
            try reader.send("GET /watch HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try reader.readHead().status == 200)
            let line = [UInt8](repeating: UInt8(ascii: "x"), count: 50_000)
            var lines = 0
            var received = 0
            // Bound: beyond what the kernel holds for a socket.
            while handler.endings.withLock({ $0.isEmpty }), lines < 2000 {
                service.perform { handler.tell(line) }
                lines += 1
                received += try reader.discard(40_000)
                // At its own pace: behind by less than a backlog.
                while received < lines * 50_000 - 400_000 { received += try reader.discard(40_000) }
            }
            try wait("the stalled one is cut off") { handler.endings.withLock { !$0.isEmpty } }
            #expect(handler.endings.withLock { $0 } == [.slow])
            service.perform { handler.tell(Array("last".utf8)) }
            _ = try reader.read(through: "last\n")
            // The other one was reset, and cannot take what it got for all there was.
            #expect(throws: WireFailure.reset) { _ = try stalled.discard() }
        }
    }

    @Test func stoppingEndsWatchesInOrder() throws {
        try serve { service, handler in
            let watcher = try RawConnection(to: service.address)
            try watcher.send("GET /watch HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try watcher.readHead().status == 200)
            let url = "http://\(service.address)/watch"
            let second = try Posix.Process(
                ProcessCommand(
                    name: "curl", program: "curl",
                    arguments: ["-sS", "-N", "--http2-prior-knowledge", url],
                    output: .pipe))
            #expect(try Program.nextLine(of: second) == Array("first".utf8))
            let halfway = try RawConnection(to: service.address)
            try halfway.send("POST /size HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na")
            let idle = try RawConnection(to: service.address)
            try wait("all are in") { watcher.isReadable(within: .zero) }
            let stopping = JoinableThread(try Posix.Thread(name: "stop") { service.stop() })
            #expect(idle.endsWithoutMore())
            #expect(String(decoding: try watcher.readToEnd(), as: UTF8.self).hasSuffix("0\r\n\r\n"))
            try halfway.send("bc")
            let answer = try halfway.readAnswer()
            #expect(answer.text == "http1 3\n")
            #expect(answer["connection"] == "close")
            stopping.join()
            #expect(second.wait(until: Clock.now() + .seconds(20)) == .exited(0))
            #expect(handler.endings.withLock { $0 } == [.stopped, .stopped])
            #expect(!service.perform {})
            #expect(throws: WireFailure.self) { _ = try RawConnection(to: service.address) }
        }
    }
}
