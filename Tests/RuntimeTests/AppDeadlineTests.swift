// Requests that nobody waits for any longer, by the clock or because their client has left.

import Base
import Model
import Posix
import Runtime
import Testing

@Suite struct AppDeadlineTests {
    private func serve(
        _ behaviour: AppBehaviour, calls: [String: [String]] = [:],
        _ body: (AppServer, AppClient) throws -> Void
    ) throws {
        let server = try AppServer(
            AppConfiguration(listen: "127.0.0.1:0", behaviour: behaviour, calls: calls))
        defer { server.stop() }
        try body(server, try AppClient(server.address))
    }

    private func get(_ left: Int?) -> String {
        let line = left.map { "x-envoy-expected-rq-timeout-ms: \($0)\r\n" } ?? ""
        return "GET / HTTP/1.1\r\nhost: test\r\n\(line)\r\n"
    }

    private func stats(_ server: AppServer) throws -> String {
        let client = try AppClient(server.address)
        client.send("GET /app/stats HTTP/1.1\r\nhost: test\r\n\r\n")
        return try #require(client.answer()).text
    }

    private func expect(
        _ text: String, _ server: AppServer, at place: SourceLocation = #_sourceLocation
    ) throws {
        let seen = try stats(server)
        #expect(seen.contains(text), "\(seen)", sourceLocation: place)
    }

    /// Looks again and again, for at most 20 s.
    private func becomes(_ text: String, _ server: AppServer) throws {
        let end = Clock.now() + .seconds(20)
        var seen = try stats(server)
        while !seen.contains(text) {
            try #require(Clock.now() < end, "never \(text): \(seen)")
            seen = try stats(server)
        }
    }

    @Test func aDelayEndsWithTheDeadline() throws {
        let behaviour = AppBehaviour(
            size: 1, delay: .fixed(.seconds(600)), keepsDeadlines: true)
        try serve(behaviour) { server, client in
            client.send(get(30))
            #expect(client.answer()?.status == 504)
            try expect("\"deadlines\":1,\"deadline_ms\":30", server)
            try expect("\"504\":1", server)
        }
    }

    @Test(arguments: [nil, 0, 100_000, 3_600_001] as [Int?])
    func whoHasTimeIsAnswered(left: Int?) throws {
        let behaviour = AppBehaviour(
            size: 1, delay: .fixed(.milliseconds(5)), keepsDeadlines: true)
        try serve(behaviour) { server, client in
            client.send(get(left))
            #expect(client.answer()?.status == 200)
        }
    }

    @Test func deadlinesAreCountedWhereTheyAreNotKept() throws {
        try serve(AppBehaviour(size: 1, delay: .fixed(.milliseconds(50)))) { server, client in
            client.send(get(1))
            #expect(client.answer()?.status == 200)
            try expect("\"deadlines\":1,\"deadline_ms\":1,", server)
        }
    }

    /// It waits for its turn behind another.
    @Test func aTurnThatComesTooLateIsNoWork() throws {
        let behaviour = AppBehaviour(
            size: 1, delay: .fixed(.milliseconds(100)),
            capacity: .init(concurrency: 1, queue: 10), keepsDeadlines: true)
        try serve(behaviour) { server, client in
            client.send(get(nil))
            let second = try AppClient(server.address)
            try becomes("\"capacity\":{\"now\":1", server)
            second.send(get(1))
            #expect(client.answer()?.status == 200)
            #expect(second.answer()?.status == 504)
        }
    }

    @Test func aCallIsToldWhatIsLeft() throws {
        let listener = try Socket.listen(on: .loopback(port: 0), sharing: false)
        let number = listener.number
        let leaf = try Socket.localAddress(of: number).description
        let behaviour = AppBehaviour(size: 1, calls: ["leaf"], keepsDeadlines: true)
        try serve(behaviour, calls: ["leaf": [leaf]]) { server, client in
            client.send(get(60_000))
            let called = try AppClient(accepting: number)
            let head = try #require(called.requestHead())
            let name = "x-envoy-expected-rq-timeout-ms: "
            let line = try #require(head.split(separator: "\r\n").first { $0.hasPrefix(name) })
            let left = try #require(Int(line.dropFirst(name.count)))
            #expect((40_000...60_000).contains(left))
            called.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            #expect(client.answer()?.status == 200)
            // One without is told nothing, and one whose time is over is called no more.
            client.send(get(nil))
            #expect(try #require(called.requestHead()).contains(name) == false)
            called.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            #expect(client.answer()?.status == 200)
            client.send(get(20))
            #expect(try #require(called.requestHead()).contains(name) == true)
            #expect(client.answer()?.status == 504)
            #expect(called.isAtEnd())
        }
        _ = consume listener
    }

    // MARK: Clients that leave

    @Test(arguments: [true, false]) func aClientThatLeavesEndsItsWorkOrNot(abandons: Bool) throws {
        let behaviour = AppBehaviour(
            size: 1, delay: .fixed(.seconds(abandons ? 600 : 2)), abandons: abandons)
        try serve(behaviour) { server, client in
            client.send(get(nil))
            try becomes("\"concurrency\":{\"now\":1", server)
            client.reset()
            try becomes("\"concurrency\":{\"now\":0", server)
            try expect("\"wasted\":\(abandons ? 0 : 1)", server)
            // Nobody was answered.
            try expect("\"status\":{}", server)
        }
    }

    /// Its deadline ends it though it does not look for its client.
    @Test func whatEndsByItsDeadlineIsNotWasted() throws {
        let behaviour = AppBehaviour(
            size: 1, delay: .fixed(.seconds(600)), keepsDeadlines: true, abandons: false)
        try serve(behaviour) { server, client in
            client.send(get(2000))
            try becomes("\"concurrency\":{\"now\":1", server)
            client.reset()
            try becomes("\"concurrency\":{\"now\":0", server)
            try expect("\"wasted\":0", server)
        }
    }
}
