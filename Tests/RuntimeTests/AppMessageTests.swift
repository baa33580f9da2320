import Base
import Model
import Support
import Testing

@testable import Runtime

/// The workload over TCP. Its WebSockets are held against an independent client in
/// IntegrationTests.
@Suite struct AppMessageTests {
    private func server(_ behaviour: AppBehaviour) throws -> AppServer {
        try AppServer(
            AppConfiguration(listen: "127.0.0.1:0", speech: .tcp, behaviour: behaviour))
    }

    private func answer(_ size: Int) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) }
    }

    @Test(arguments: [0, 1, 4096, 4097, 3_000_000])
    func everyRequestIsAnsweredWithTheSetSize(size: Int) throws {
        let server = try server(AppBehaviour(size: size))
        let client = try RawConnection(to: server.address)
        // Nothing, something in pieces, and two at once.
        try client.send([0, 0, 0, 0])
        #expect(try client.read(4) == answer(size))
        #expect(try client.read(size).count == size)
        for piece in [[0, 0], [0, 3, 1], [2, 3]] as [[UInt8]] { try client.send(piece) }
        #expect(try client.read(4) == answer(size))
        #expect(try client.read(size).count == size)
        try client.send([0, 0, 0, 1, 7, 0, 0, 0, 2, 7, 7])
        for _ in 0..<2 {
            #expect(try client.read(4) == answer(size))
            #expect(try client.read(size).count == size)
        }
        client.endSending()
        #expect(client.endsWithoutMore())
        server.stop()
    }

    @Test func aRequestBeyondTheBoundEndsTheConnection() throws {
        let server = try server(AppBehaviour(size: 1))
        let client = try RawConnection(to: server.address)
        try client.send([4, 0, 0, 1])
        #expect(client.endsWithoutMore())
        server.stop()
    }

    @Test func stoppingEndsIdleConnectionsAndAnswersTheOthers() throws {
        let server = try server(AppBehaviour(size: 1, delay: .fixed(.milliseconds(50))))
        let idle = try RawConnection(to: server.address)
        let busy = try RawConnection(to: server.address)
        try busy.send([0, 0, 0, 0])
        server.stop()
        #expect(idle.endsWithoutMore())
        #expect(try busy.readToEnd().prefix(4) == [0, 0, 0, 1])
    }

    @Test func callsAreOnlyForHTTP() {
        #expect(throws: AppError.configuration("calls: only over HTTP")) {
            var configuration = AppConfiguration(listen: "127.0.0.1:0", speech: .tcp)
            configuration.behaviour.calls = ["a"]
            configuration.calls = ["a": ["127.0.0.1:1"]]
            _ = try AppServer(configuration)
        }
    }
}
