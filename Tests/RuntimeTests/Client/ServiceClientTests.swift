// The client against servers that do as they are told, and against the product's own.

import Base
import Glibc
import Model
import Posix
import Secure
import Support
import Synchronization
import Testing

@testable import Runtime

private func client(
    _ server: SocketAddress, token: String? = nil, _ change: (inout ServiceClientLimits) -> Void
) throws -> ServiceClient {
    var limits = ServiceClientLimits()
    limits.answer = RawConnection.patience
    limits.silence = RawConnection.patience
    change(&limits)
    return try ServiceClient("\(server)", token: token, limits: limits)
}

private func client(_ server: SocketAddress, token: String? = nil) throws -> ServiceClient {
    try client(server, token: token) { _ in }
}

private func cause(_ body: () throws -> Void) -> ServiceClientError.Cause? {
    (#expect(throws: ServiceClientError.self) { try body() })?.cause
}

@Suite struct ServiceClientTests {
    @Test func whatIsAskedGoesOut() throws {
        let server = try TestServer.answering { _ in
            "HTTP/1.1 201 Made\r\netag: \"3\"\r\ncontent-length: 2\r\n\r\nhi"
        }
        let client = try client(server.address, token: "secret")
        let reply = try client.ask(ServiceCall("PUT", "/a?b=c", body: Array("body".utf8)))
        #expect(reply.status == 201 && reply["etag"] == "\"3\"" && reply.body == Array("hi".utf8))
        let request = try server.requests.wait(for: 1)[0]
        #expect(request.startLine == "PUT /a?b=c HTTP/1.1")
        #expect(request.body == Array("body".utf8))
        #expect(request.values("authorization") == ["Bearer secret"])
        #expect(request.values("host") == ["\(server.address)"])
        #expect(request.values("content-type") == ["application/json"])
        #expect(try client.ask(ServiceCall("GET", "/")).status == 201)
        #expect(try server.requests.wait(for: 2)[1].values("content-length") == [])
    }

    /// The second page leads on, or back to where it was asked for.
    @Test(arguments: ["c", "b", "a"])
    func pagesAreAskedForUntilTheLast(second: String) throws {
        let server = try TestServer { call throws(WireFailure) in
            let request = try call.readRequest()
            let next = request.startLine.contains("after=b") ? second : "b"
            let page =
                request.startLine.contains("after=c") ? "{}" : "{\"next\":\"\(next)\"}"
            try call.connection.send(
                "HTTP/1.1 200 OK\r\ncontent-length: \(page.utf8.count)\r\n\r\n\(page)")
        }
        let client = try client(server.address)
        if second == "c" {
            #expect(try client.pages("/v1/list").count == 3)
        } else {
            #expect(cause { _ = try client.pages("/v1/list") } == .endless)
        }
        #expect(try server.requests.wait(for: 2)[1].startLine == "GET /v1/list?after=b HTTP/1.1")
    }

    @Test func aConditionGoesWithTheCall() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 204 -\r\n\r\n")
        }
        _ = try client(server.address).ask(.init("PUT", "/", ifMatch: "\"7\""))
        #expect(try server.requests.wait(for: 1)[0].values("if-match") == ["\"7\""])
    }

    @Test func nobodyListens() throws {
        let reserved = try ReservedAddress()
        let error = #expect(throws: ServiceClientError.self) {
            try client(reserved.address).ask(ServiceCall("GET", "/"))
        }
        guard case .unreachable(let system) = error?.cause else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(system.code == ECONNREFUSED)
        #expect(error?.description.contains("Connection refused") == true)
        #expect(cause { _ = try ServiceClient("127.0.0.1").ask(.init("GET", "/")) } == .noAddress)
    }

    /// An address of a network for documentation (RFC 5737), to which nothing is sent.
    @Test func tokensStayOnThisMachineWithoutTLS() throws {
        let client = try ServiceClient("192.0.2.1:80", token: "secret")
        #expect(cause { _ = try client.ask(.init("GET", "/")) } == .exposed)
    }

    @Test func answersThatAreCutMalformedSlowOrTooLarge() throws {
        let answers: [(String, ServiceClientError.Cause)] = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", .cut), ("", .cut),
            ("220 smtp ready\r\n", .malformed("bad_version")),
            ("HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n", .tooLarge(100)),
        ]
        for (text, expected) in answers {
            let server = try TestServer { call throws(WireFailure) in
                _ = try call.readRequest()
                try call.connection.send(text)
            }
            let client = try client(server.address) { $0.bodyBytes = 100 }
            #expect(cause { _ = try client.ask(.init("GET", "/")) } == expected)
            #expect(cause { _ = try client.follow(.init("GET", "/")) { _ in true } } == expected)
        }
        let silent = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi")
            _ = try call.connection.readToEnd()
        }
        let impatient = try client(silent.address) { $0.answer = .milliseconds(50) }
        #expect(cause { _ = try impatient.ask(.init("GET", "/")) } == .timedOut)
        let watcher = try client(silent.address) { $0.silence = .milliseconds(50) }
        #expect(cause { _ = try watcher.follow(.init("GET", "/")) { _ in true } } == .timedOut)
    }

    /// A server that answers and takes no more of the body has still been understood.
    @Test func anEarlyRefusalIsRead() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.connection.read(through: "\r\n\r\n")
            try call.connection.send("HTTP/1.1 413 -\r\ncontent-length: 3\r\n\r\nbig")
        }
        let body = [UInt8](repeating: 0x20, count: 64 << 20)
        let reply = try client(server.address).ask(.init("POST", "/", body: body))
        #expect(reply.status == 413 && reply.body == Array("big".utf8))
    }

    @Test func linesComeAsTheyAreSaid() throws {
        let stop = try Wakeup()
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            let connection = call.connection
            try connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            try connection.send("2\r\non\r\n")
            try connection.send("5\r\ne\n\ntw\r\n")
            try connection.send("2\r\no\n\r\n")
            // Nothing more, until the client leaves.
            _ = try? connection.readToEnd()
        }
        var lines: [String] = []
        let end = try client(server.address).follow(.init("GET", "/"), stop: stop.descriptor) {
            lines.append(String(decoding: $0, as: UTF8.self))
            if lines.count == 2 { stop.wake() }
            return true
        }
        #expect(end == .stopped)
        #expect(lines == ["one", "two"])
        #expect(try client(server.address).follow(.init("GET", "/")) { _ in false } == .stopped)
    }

    @Test func streamsEndInOrderOrAreCut() throws {
        let streams: [(String, ServiceClientError.Cause?)] = [
            ("2\r\na\n\r\n0\r\n\r\n", nil), ("2\r\na\n\r\n", .cut),
            ("3\r\na\nb\r\n0\r\n\r\n", .cut),
        ]
        for (text, expected) in streams {
            let server = try TestServer { call throws(WireFailure) in
                _ = try call.readRequest()
                try call.connection.send(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + text)
            }
            let client = try client(server.address)
            guard let expected else {
                #expect(try client.follow(.init("GET", "/")) { _ in true } == .ended)
                continue
            }
            #expect(cause { _ = try client.follow(.init("GET", "/")) { _ in true } } == expected)
        }
        let refusing = try TestServer.answering { _ in
            "HTTP/1.1 410 Gone\r\ncontent-length: 4\r\n\r\ngone"
        }
        let end = try client(refusing.address).follow(.init("GET", "/")) { _ in true }
        guard case .refused(let reply) = end else {
            Issue.record("\(end)")
            return
        }
        #expect(reply.status == 410 && reply.body == Array("gone".utf8))
    }
}

/// What the product's own service says to it.
private final class EchoHandler: ServiceHandler {
    func respond(to request: ServiceRequest) -> ServiceAnswer {
        if request.target.path == "/watch" {
            let watch = ServiceWatch()
            for number in 1...3 { watch.send(Array("\(number)".utf8)) }
            watch.end()
            return .watch(watch)
        }
        let who = request.peer.certificate?.uris.first ?? "nobody"
        return .text(200, "\(request.bearerToken ?? "-") \(who) \(request.body.count)")
    }
}

@Suite struct ServiceClientTLSTests {
    @Test func certificatesOnBothSides() throws {
        let folder = try CertificateFolder()
        let service = try Service(
            ServiceConfiguration(
                listen: .loopback(port: 0),
                tls: ServerTLS(
                    certificate: folder.path("server.pem"), key: folder.path("server.key"),
                    authorities: folder.authority, clientCertificate: .optional)),
            handler: EchoHandler())
        defer { service.stop() }
        var tls = ClientTLS(authorities: folder.authority)
        for host in ["localhost", "127.0.0.1"] {
            let client = try ServiceClient(
                "\(host):\(service.address.port)", tls: tls, token: "secret")
            let body = [UInt8](repeating: 1, count: 1 << 20)
            let reply = try client.ask(.init("POST", "/", body: body))
            #expect(String(decoding: reply.body, as: UTF8.self) == "secret nobody 1048576\n")
            var lines: [[UInt8]] = []
            let end = try client.follow(.init("GET", "/watch")) {
                lines.append($0)
                return true
            }
            #expect(end == .ended && lines.count == 3)
        }
        tls.certificate = folder.path("client.pem")
        tls.key = folder.path("client.key")
        let known = try ServiceClient("localhost:\(service.address.port)", tls: tls)
        #expect(
            String(decoding: try known.ask(.init("GET", "/")).body, as: UTF8.self)
                == "- spiffe://test/client 0\n")
        tls.names = ["somebody.else"]
        let wrong = try ServiceClient("localhost:\(service.address.port)", tls: tls)
        guard case .unsecured(let error) = cause({ _ = try wrong.ask(.init("GET", "/")) }) else {
            Issue.record("another server was believed")
            return
        }
        #expect(error.reason == .certificateName)
    }

    @Test func whatIsWrongIsSaid() throws {
        let folder = try CertificateFolder()
        // It does not wait for a request, which would never come.
        let plain = try TestServer { call throws(WireFailure) in
            try call.connection.send("HTTP/1.1 400 Bad Request\r\n\r\n")
            _ = try? call.connection.readToEnd()
        }
        let client = try ServiceClient(
            "\(plain.address)", tls: ClientTLS(authorities: folder.authority))
        guard case .unsecured(let plainly) = cause({ _ = try client.ask(.init("GET", "/")) }) else {
            Issue.record("cleartext was taken for TLS")
            return
        }
        #expect(plainly.reason == .notTLS)
        let missing = cause {
            _ = try ServiceClient("a:1", tls: ClientTLS(authorities: folder.path("nothing.pem")))
        }
        guard case .file(let error) = missing else {
            Issue.record("a file that is not there was read")
            return
        }
        #expect(error.file == folder.path("nothing.pem"))
    }
}
