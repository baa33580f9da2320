// Calls of a service over real sockets.

import Base
import Glibc
import Model
import Posix
import Secure
import Support
import Synchronization
import Testing

@testable import Runtime

/// A service to call. Touched by its thread alone.
private final class CallHandler: ServiceHandler, @unchecked Sendable {
    func respond(to request: ServiceRequest) -> ServiceAnswer {
        switch request.target.path {
        case "/size": return .text(200, "\(request.speech) \(request.body.count)")
        case "/who": return .text(200, request.peer.certificate?.uris.first ?? "nobody")
        case "/large":
            return .whole(status: 200, fields: [], body: .init(repeating: 1, count: 2 << 20))
        case "/watch":
            let watch = ServiceWatch()
            // Bound: what may wait for a watch that nobody has read of yet.
            for size in [0, 1, 20_000, 400_000] {
                watch.send([UInt8](repeating: UInt8(ascii: "x"), count: size))
            }
            watch.end()
            return .watch(watch)
        default: return .text(404, "nothing here")
        }
    }
}

/// Keeps what it is told, as text.
private final class Owner: CallOwner {
    private(set) var told: [String] = []
    var whenOpen: ((CallConnection) -> Void)?

    func happened(_ event: CallEvent, on connection: CallConnection) {
        switch event {
        case .opened:
            told.append("opened")
            whenOpen?(connection)
        case .answered(let call, let status, let body):
            told.append("\(call): \(status) \(String(decoding: body, as: UTF8.self))")
        case .began(let call): told.append("\(call) began")
        case .line(let call, let line): told.append("\(call) line \(line.count)")
        case .ended(let call, let reason): told.append("\(call) ended: \(reason)")
        case .alive: told.append("alive")
        case .closed(let reason): told.append("closed: \(reason)")
        }
    }
}

@Suite struct CallLoopTests {
    private let reactor: Reactor
    private let loop: CallLoop
    private let folder: CertificateFolder

    init() throws {
        reactor = try Reactor()
        loop = CallLoop(on: reactor, capacity: 200)
        folder = try CertificateFolder()
    }

    private func serve(
        _ limits: ServiceLimits = ServiceLimits(), _ body: (Service) throws -> Void
    ) throws {
        let tls = ServerTLS(
            certificate: folder.path("server.pem"), key: folder.path("server.key"),
            authorities: folder.authority, clientCertificate: .optional)
        let service = try Service(
            ServiceConfiguration(listen: .loopback(port: 0), tls: tls, limits: limits),
            handler: CallHandler())
        defer { service.stop() }
        try body(service)
    }

    private func context(
        names: [String] = [], anybody: Bool = false, certificate: Bool = false
    ) throws -> TLSContext {
        var tls = ClientTLS(authorities: anybody ? nil : folder.authority, names: names)
        if certificate {
            tls.certificate = folder.path("client.pem")
            tls.key = folder.path("client.key")
        }
        var options = try TLSFiles.clientOptions(tls, protocols: ["h2"])
        options.believesAnybody = anybody
        return try TLSFiles.context(tls, options)
    }

    private func turn(until condition: () -> Bool) throws {
        let deadline = Clock.now() + RawConnection.patience
        while !condition() {
            try #require(Clock.now() < deadline)
            let next = loop.hasMore ? Clock.now() : Clock.now() + .milliseconds(100)
            for index in 0..<reactor.wait(until: next, now: Clock.now()) {
                #expect(loop.handle(reactor.ready(index)))
            }
            loop.end()
        }
    }

    @Test func asksManyThingsAtOnce() throws {
        try serve { service in
            let owner = Owner()
            owner.whenOpen = { connection in
                let body = [UInt8](repeating: 7, count: 300_000)
                #expect(
                    connection.ask(
                        CallRequest(method: "POST", path: "/size", body: body), number: 1))
                #expect(connection.ask(CallRequest(method: "GET", path: "/who"), number: 2))
                #expect(connection.ask(CallRequest(method: "GET", path: "/nowhere"), number: 3))
                connection.probe()
            }
            let connection = try loop.open(
                to: service.address, context(certificate: true), owner: owner)
            try turn { owner.told.count == 5 }
            #expect(owner.told.first == "opened")
            #expect(
                owner.told.sorted() == [
                    "1: 200 http2 300000\n", "2: 200 spiffe://test/client\n",
                    "3: 404 nothing here\n", "alive", "opened",
                ])
            connection.close()
            #expect(!connection.ask(CallRequest(method: "GET", path: "/who"), number: 4))
        }
    }

    /// Lines come whole however they were cut, and empty ones too: they say that all is well.
    @Test func followsAStream() throws {
        var limits = ServiceLimits()
        limits.stall = .seconds(5)
        try serve(limits) { service in
            let owner = Owner()
            owner.whenOpen = {
                _ = $0.ask(CallRequest(method: "POST", path: "/watch", isStream: true), number: 9)
            }
            let connection = try loop.open(to: service.address, context(), owner: owner)
            try turn { owner.told.last?.contains("ended") == true }
            #expect(
                owner.told == [
                    "opened", "9 began", "9 line 0", "9 line 1", "9 line 20000", "9 line 400000",
                    "9 ended: the server has ended it",
                ])
            connection.close()
        }
    }

    @Test func answersAreBounded() throws {
        try serve { service in
            let owner = Owner()
            owner.whenOpen = { _ = $0.ask(CallRequest(method: "GET", path: "/large"), number: 1) }
            let connection = try loop.open(to: service.address, context(), owner: owner)
            try turn { owner.told.count == 2 }
            #expect(owner.told[1] == "1 ended: an answer of more than 1048576 bytes")
            // The connection lives.
            #expect(connection.ask(CallRequest(method: "GET", path: "/who"), number: 2))
            try turn { owner.told.last == "2: 200 nobody\n" }
            connection.close()
        }
    }

    @Test func whoIsNotWantedIsNotTalkedTo() throws {
        try serve { service in
            let cases: [(TLSContext, String)] = [
                (try context(names: ["spiffe://test/control"]), "closed: TLS: "),
                (try context(names: ["localhost"]), "opened"),
                (try context(anybody: true), "opened"),
            ]
            for (context, expected) in cases {
                let owner = Owner()
                let connection = try loop.open(to: service.address, context, owner: owner)
                try turn { !owner.told.isEmpty }
                #expect(owner.told[0].hasPrefix(expected), "\(owner.told)")
                connection.close()
            }
        }
    }

    @Test func endsAreTold() throws {
        let nobody = try ReservedAddress()
        let owner = Owner()
        _ = try loop.open(to: nobody.address, context(), owner: owner)
        try turn { !owner.told.isEmpty }
        #expect(owner.told == ["closed: Connection refused"])
        let other = Owner()
        try serve { service in
            let connection = try loop.open(to: service.address, context(), owner: other)
            try turn { !other.told.isEmpty }
            // A server that ends before it has read all resets the connection. What a client says
            // by itself, to acknowledge settings, stands before the second request at the latest.
            for number in 1...2 {
                #expect(connection.ask(CallRequest(method: "GET", path: "/who"), number: number))
                try turn { other.told.count == number + 1 }
            }
        }
        try turn { other.told.count == 4 }
        #expect(other.told.last == "closed: the server has ended it")
        // Their slots are free again.
        try turn { !loop.hasMore }
    }

    /// What a bench with many light proxies needs.
    @Test func oneThreadHoldsMany() throws {
        try serve { service in
            let context = try context()
            let owners = (0..<200).map { _ in Owner() }
            var connections: [CallConnection] = []
            for owner in owners {
                owner.whenOpen = { _ = $0.ask(CallRequest(method: "GET", path: "/who"), number: 1) }
                connections.append(
                    try loop.open(to: service.address, context, owner: owner))
            }
            #expect(throws: SystemError.self) {
                try loop.open(to: service.address, context, owner: owners[0])
            }
            try turn { owners.allSatisfy { $0.told.count == 2 } }
            #expect(owners.allSatisfy { $0.told[1] == "1: 200 nobody\n" })
            for connection in connections { connection.close() }
        }
    }
}
