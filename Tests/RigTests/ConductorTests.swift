import Base
import FoundationEssentials
import Model
import Posix
import Runtime
import Scenario
import Synchronization
import Testing

@testable import Rig

/// When a change is in force, by what a control plane says of its proxies.
@Suite struct MeshStandingTests {
    private func proxy(
        _ name: String, sent: UInt64, acknowledged: UInt64, at instant: Int64? = nil
    ) -> MeshStanding.Proxy {
        .init(proxy: name, sent: sent, acknowledged: acknowledged, acknowledgedNs: instant)
    }

    private func inForce(_ standing: MeshStanding, _ revision: UInt64 = 7) -> Int64? {
        standing.inForce(revision, proxies: 2, answered: Instant(nanoseconds: 5))?.nanoseconds
    }

    @Test func theLastAcknowledgementCounts() {
        let both = [
            proxy("a", sent: 7, acknowledged: 7, at: 20),
            proxy("b", sent: 8, acknowledged: 8, at: 30),
        ]
        #expect(inForce(.init(revision: 8, proxies: both)) == 30)
    }

    @Test func whoNeedsNothingOfItIsNotWaitedFor() {
        let one = [
            proxy("a", sent: 7, acknowledged: 7, at: 20),
            proxy("b", sent: 3, acknowledged: 3, at: 2),
        ]
        #expect(inForce(.init(revision: 7, proxies: one)) == 20)
        let none = [
            proxy("a", sent: 3, acknowledged: 3, at: 1), proxy("b", sent: 3, acknowledged: 3),
        ]
        #expect(inForce(.init(revision: 7, proxies: none)) == 5, "in force when it is held")
    }

    @Test func notBeforeAllHaveIt() {
        let done = proxy("a", sent: 7, acknowledged: 7, at: 20)
        #expect(inForce(.init(revision: 7, proxies: [done])) == nil, "one has not come back")
        let behind = proxy("b", sent: 7, acknowledged: 6, at: 10)
        #expect(inForce(.init(revision: 7, proxies: [done, behind])) == nil)
        #expect(
            inForce(.init(revision: 6, proxies: [done, done])) == nil,
            "whom to tell is not settled")
    }

    /// Each proxy is connected to one of them, or in the lists of two while it moves.
    @Test func replicasAreHeardTogether() throws {
        let (a, b) = (
            proxy("a", sent: 7, acknowledged: 7, at: 20),
            proxy("b", sent: 9, acknowledged: 9, at: 30)
        )
        let whole = try #require(
            MeshStanding([
                .init(revision: 9, proxies: [a]), .init(revision: 8, proxies: [b]),
                .init(revision: 2, proxies: []),
            ]))
        #expect(whole.revision == 8, "one that has no proxy holds up nothing")
        #expect(inForce(whole, 8) == 30)
        #expect(inForce(whole, 9) == nil, "one that has is not as far")
        #expect(inForce(.init(revision: 9, proxies: [a, a])) == nil, "one proxy in two lists")
        #expect(MeshStanding([.init(revision: 3, proxies: [])])?.revision == 3)
        #expect(MeshStanding([]) == nil)
    }

    /// For an Envoy its agent joins, which has nothing to take up.
    @Test func anEnvoyCountsFromWhenItHasAsked() {
        let agent = proxy("a", sent: 7, acknowledged: 7, at: 20)
        let other = proxy("b", sent: 7, acknowledged: 7, at: 30)
        func inForce(_ proxies: [MeshStanding.Proxy]) -> Int64? {
            MeshStanding(revision: 7, proxies: proxies)
                .inForce(7, proxies: 2, envoys: 1, answered: .zero)?.nanoseconds
        }
        #expect(inForce([agent, other]) == nil)
        var envoy = agent
        envoy.dataplane = "envoy"
        #expect(inForce([envoy, other]) == 30)
    }

    /// At its start an arm waits for the last that any replica has been told.
    @Test func theNewestRevisionIsThatOfAnyReplica() throws {
        let a = proxy("a", sent: 7, acknowledged: 7, at: 20)
        let whole = try #require(
            MeshStanding([
                .init(revision: 7, proxies: [a]), .init(revision: 9, proxies: []),
            ]))
        #expect(whole.revision == 7 && whole.newest == 9)
    }

    @Test func theAnswerIsReadAsItComes() throws {
        let text = """
            {"revision": 9, "proxies": [
              {"proxy": "echo-0", "service": "default/echo", "sent": 9, "acknowledged": 8,
               "acknowledged_ns": 12, "refused": {"version": 9, "error": "no room"}}]}
            """
        let standing = try JSONDecoder().decode(MeshStanding.self, from: Data(text.utf8))
        #expect(standing.proxies[0].acknowledgedNs == 12)
        #expect(standing.complaint == "echo-0 refuses version 9: no room")
    }
}

/// Changes against a control plane that is not what it should be.
@Suite struct ConductorTests {
    /// Says 503 to the first calls, and of its proxies that they lag for as many.
    private final class Plane: ServiceHandler, Sendable {
        struct Seen {
            var calls: [String] = []
            var bodies: [String] = []
            var unwilling: Int
            var lagging: Int
            var revision: UInt64 = 0
            /// What is trusted, and whether the answer to a rotation is to be lost.
            var roots = ["a"]
            var losesRotation = false
            /// What a condition must be; others have been quicker so often.
            var tag = 5
            var overtakings = 0
        }

        let seen: Mutex<Seen>
        let refuses: Bool

        init(unwilling: Int = 0, lagging: Int = 0, refuses: Bool = false) {
            seen = Mutex(Seen(unwilling: unwilling, lagging: lagging))
            self.refuses = refuses
        }

        func respond(to request: ServiceRequest) -> ServiceAnswer {
            seen.withLock { seen in
                if request.target.path == "/v1/proxies" { return standing(&seen) }
                if request.target.path == "/v1/certificates" {
                    let roots = seen.roots.map { "\"\($0)\"" }.joined(separator: ",")
                    return .text(200, "{\"authority\":{\"roots\":[\(roots)]}}")
                }
                seen.calls.append("\(request.method) \(request.target.path)")
                if request.method == "GET" { return endpoint(&seen) }
                if request.method == "PUT" {
                    let tags = request.fields.filter { $0.name == "if-match" }.map(\.value)
                    guard tags == ["\"\(seen.tag)\""] else { return .text(412, "{}") }
                }
                if request.target.path == "/v1/authority/rotate" {
                    guard seen.roots.count == 1 else { return .text(409, "{}") }
                    seen.roots.append("b")
                    if seen.losesRotation { return .text(503, "{\"error\":\"lost\"}") }
                }
                if let body = String(bytes: request.body, encoding: .utf8), !body.isEmpty {
                    seen.bodies.append(body)
                }
                guard !refuses else { return .text(422, "{\"error\":\"no\"}") }
                guard seen.unwilling == 0 else {
                    seen.unwilling -= 1
                    return .text(503, "{\"error\":\"later\"}")
                }
                seen.revision += 1
                return .text(200, "{\"revision\":\(seen.revision)}")
            }
        }

        /// Whom others declare anew as soon as it has been read, as often as they are quicker.
        private func endpoint(_ seen: inout Seen) -> ServiceAnswer {
            let tag = seen.tag
            if seen.overtakings > 0 {
                seen.overtakings -= 1
                seen.tag += 1
            }
            return .text(
                200,
                #"{"kind":"endpoint","name":"echo-1","service":"echo","#
                    + #""address":"127.0.0.1:9","health":"draining"}"#,
                fields: [ServiceField("etag", "\"\(tag)\"")])
        }

        private func standing(_ seen: inout Seen) -> ServiceAnswer {
            let behind: UInt64 = seen.lagging > 0 ? 1 : 0
            seen.lagging = max(0, seen.lagging - 1)
            let revision = seen.revision
            let instant = Clock.now().nanoseconds
            return .text(
                200,
                "{\"revision\":\(revision),\"proxies\":[{\"proxy\":\"echo-0\",\"sent\":\(revision),"
                    + "\"acknowledged\":\(revision - behind),\"acknowledged_ns\":\(instant)}]}")
        }
    }

    private let change = ChangePlan(
        offset: .zero,
        action: .apply([
            .policy(
                MeshPolicy(
                    "a", targets: [MeshName("echo")], timeouts: .init(request: .seconds(1))))
        ]))

    /// - Parameter dead: whether there is a replica before this one, at which nobody answers.
    private func conduct(
        _ plane: Plane, _ changes: [ChangePlan], dead: Bool = false
    ) throws -> Conductor {
        let service = try Service(
            ServiceConfiguration(listen: .loopback(port: 0)), name: "plane", handler: plane)
        let address = "\(service.address)"
        let desk =
            dead
            ? try MeshDesk("127.0.0.1:1", token: "t", proxies: 1).with(address)
            : try MeshDesk(address, token: "t", proxies: 1)
        let conductor = try Conductor(desk, changes, from: Clock.now())
        let deadline = Clock.now() + .seconds(20)
        while !conductor.isOver, Clock.now() < deadline {
            Clock.sleep(until: Clock.now() + .milliseconds(1))
        }
        conductor.stop()
        service.stop()
        return conductor
    }

    @Test func aChangeIsTriedUntilItIsTakenAndLookedAtUntilItIsInForce() throws {
        let plane = Plane(unwilling: 3, lagging: 2)
        let records = try conduct(plane, [change, change]).finish()
        #expect(plane.seen.withLock { $0.calls.count } == 5, "three in vain, and two")
        #expect(records.count == 2)
        for record in records {
            let answered = try #require(record.answered)
            let inForce = try #require(record.inForce)
            #expect(record.due <= answered && record.due <= inForce)
            #expect(record.latency(until: .distantFuture) == inForce - record.due)
        }
    }

    @Test func aRotationIsDoneAndNothingIsAwaited() throws {
        let plane = Plane()
        let rotation = ChangePlan(offset: .zero, action: .rotateAuthority)
        let records = try conduct(
            plane, [rotation, .init(offset: .zero, action: .killControl(replica: nil))]
        ).finish()
        #expect(plane.seen.withLock { $0.calls } == ["POST /v1/authority/rotate"])
        #expect(records.count == 1, "what ends processes is another's")
        #expect(records[0].latency(until: .distantFuture) == nil)
    }

    @Test func anotherReplicaIsAskedWhereOneIsDead() throws {
        let plane = Plane()
        let records = try conduct(plane, [change], dead: true).finish()
        #expect(plane.seen.withLock { $0.calls } == ["POST /v1/apply"])
        #expect(records.first?.inForce != nil)
    }

    @Test func whatWasDrainedIsDeclaredAsItWasAndHealthy() throws {
        let plane = Plane()
        _ = try conduct(
            plane, [.init(offset: .zero, action: .undrain(service: "echo", replica: 1))]
        ).finish()
        let (calls, bodies) = plane.seen.withLock { ($0.calls, $0.bodies) }
        let path = "/v1/endpoints/default/echo-1"
        #expect(calls == ["GET \(path)", "PUT \(path)"])
        let endpoint = MeshEndpoint("echo-1", service: "echo", address: "127.0.0.1:9")
        #expect(bodies == [MeshDeclaration.endpoint(endpoint).json])
    }

    /// An endpoint is changed as it was read, or read anew.
    @Test(arguments: [
        ChangePlan.Action.undrain(service: "echo", replica: 1),
        .drain(service: "echo", replica: 1),
    ])
    func whatOthersDeclareMeanwhileIsNotUndone(action: ChangePlan.Action) throws {
        let plane = Plane()
        plane.seen.withLock { $0.overtakings = 2 }
        let records = try conduct(plane, [.init(offset: .zero, action: action)]).finish()
        #expect(records.first?.inForce != nil)
        #expect(plane.seen.withLock { $0.calls.count } == 6, "in vain twice")
        #expect(plane.seen.withLock { $0.tag } == 7)
    }

    /// The answer may be lost when the rotation has been made: it is refused from then on.
    @Test func aRotationWhoseAnswerIsLostIsDone() throws {
        let plane = Plane()
        plane.seen.withLock { $0.losesRotation = true }
        let rotation = ChangePlan(offset: .zero, action: .rotateAuthority)
        let records = try conduct(plane, [rotation, change]).finish()
        #expect(
            plane.seen.withLock { $0.calls } == ["POST /v1/authority/rotate", "POST /v1/apply"])
        #expect(records.allSatisfy { $0.answered != nil && $0.complaint == nil })
    }

    /// Replicas that take calls and never answer leave the others their part of the time.
    @Test func replicasThatHangAreNotWaitedForOneByOne() throws {
        let service = try Service(
            ServiceConfiguration(listen: .loopback(port: 0)), name: "plane", handler: Plane())
        defer { service.stop() }
        let hung = try Socket.listen(on: .loopback(port: 0), sharing: false)
        let address = "\(try Socket.localAddress(of: hung.number))"
        let desk = try MeshDesk(address, token: "t", proxies: 1).with(address)
            .with("\(service.address)")
        let start = Clock.now()
        let standing = try desk.standing(within: .milliseconds(300))
        #expect(standing.proxies.map(\.proxy) == ["echo-0"])
        #expect(Clock.now() - start < .seconds(5), "each alone would be given as long")
    }

    @Test func aRefusalFailsTheRun() throws {
        let conductor = try conduct(Plane(refuses: true), [change, change])
        #expect(throws: RigError.self) { try conductor.finish() }
    }

    @Test func whatIsNotInForceCountsWithWhatItReached() {
        let start = Instant(nanoseconds: 1_000)
        let record = ChangeRecord(plan: change, due: start)
        #expect(record.latency(until: start + .seconds(3)) == .seconds(3))
    }
}
