import Base
import FoundationEssentials
import Model
import Posix
import Testing

@testable import Runtime

/// What is said to a process of its faults.
@Suite struct FaultDeskTests {
    private let start = Instant(nanoseconds: 1_000_000_000)

    private func put(
        _ name: String, _ rule: FaultRule, _ ttl: Int, at now: Instant, to desk: inout FaultDesk
    ) throws -> (status: Int?, isChanged: Bool) {
        let body = try JSONEncoder().encode(FaultOrder(rule: rule, ttlMs: ttl))
        let request = ServiceRequest(
            method: "PUT", target: try #require(ServiceTarget("/faults/\(name)")), fields: [],
            body: [UInt8](body), peer: ServicePeer(address: .loopback(port: 1), isSecure: false),
            speech: .http1, now: now)
        var isChanged = false
        let answer = desk.answer(request, ledger: nil, isChanged: &isChanged)
        guard case .whole(let status, _, _)? = answer else { return (nil, isChanged) }
        return (status, isChanged)
    }

    /// Whoever clears away what has ended has to say so: a capacity that is gone would hold on.
    @Test(arguments: [204, 400])
    func anEndIsNotLostToTheNextOrder(status: Int) throws {
        var desk = FaultDesk(isProxy: false, now: start)
        let capacity = FaultRule(
            name: "", seed: 1, point: .app, capacity: AppCapacity(concurrency: 1, queue: 1))
        let down = FaultRule(name: "", seed: 1, point: .app, abort: .http(503))
        #expect(try put("small", capacity, 100, at: start, to: &desk) == (204, true))
        #expect(try put("down", down, 1000, at: start, to: &desk) == (204, true))
        let soon = start + .milliseconds(99)
        #expect(try put("down", down, 1000, at: soon, to: &desk) == (204, false))
        let end = start + .milliseconds(100)
        let next = try put("down", down, status == 204 ? 1000 : 0, at: end, to: &desk)
        #expect(next == (status, true))
    }
}
