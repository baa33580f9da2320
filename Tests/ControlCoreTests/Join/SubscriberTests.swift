import Base
import Model
import Testing

@testable import ControlCore

@Suite struct SubscriberTests {
    @Test func joinsInThreeSteps() {
        var simulation = SubscriberSimulation(seed: 1)
        simulation.run(for: .seconds(1))
        #expect(simulation.connects.map(\.trust) == [.anybody, .authorities, .mutual])
        #expect(simulation.subscriber.isWatching && simulation.subscriber.trouble == nil)
        #expect(simulation.subscriber.view.mesh == simulation.mesh)
        #expect(simulation.acknowledged == simulation.version)
        #expect(!simulation.registered && simulation.mistakes.isEmpty)
    }

    /// It registers once it serves, and goes on from the version that it has.
    @Test func registersWhenItServes() {
        var simulation = SubscriberSimulation(seed: 2)
        simulation.run(for: .seconds(1))
        simulation.serves()
        simulation.run(for: .seconds(1))
        #expect(simulation.registered && simulation.snapshots == 1)
        simulation.run(for: .seconds(20))
        #expect(simulation.heartbeatGap < .milliseconds(3100))
        simulation.leave()
        simulation.run(for: .milliseconds(100))
        #expect(simulation.left && !simulation.registered)
        #expect(simulation.subscriber.deadline == .distantFuture)
    }

    /// Nobody is there who could be told: it leaves all the same, and at once.
    @Test func leavesWithoutAServer() {
        var simulation = SubscriberSimulation(seed: 3)
        simulation.run(for: .seconds(5))
        simulation.set(0, .down)
        simulation.run(for: .seconds(1))
        simulation.leave()
        simulation.run(for: .zero)
        #expect(simulation.left)
        var other = SubscriberSimulation(seed: 3)
        other.run(for: .seconds(5))
        other.set(0, .hung)
        other.leave()
        other.run(for: .milliseconds(1100))
        #expect(other.left)
    }

    /// A server that dies, or says nothing more, is left for another within 2 s.
    @Test(arguments: [SubscriberSimulation.Health.down, .hung], 0..<20)
    func movesWithinTwoSeconds(fault: SubscriberSimulation.Health, seed: Int) throws {
        var simulation = SubscriberSimulation(seed: UInt64(seed), servers: 3)
        simulation.run(for: .seconds(10))
        let first = try #require(simulation.connectedTo)
        simulation.set(first, fault)
        simulation.run(for: .seconds(2))
        let second = try #require(simulation.connectedTo)
        #expect(second != first && simulation.subscriber.isWatching)
        simulation.declare()
        simulation.run(for: .milliseconds(100))
        #expect(simulation.acknowledged == simulation.version)
    }

    /// 60 s without any, and it is well within 5 s of its return; the waits are spread.
    @Test func comesBackAfterAnOutage() {
        var waits: [Duration] = []
        for seed in 0..<50 {
            var simulation = SubscriberSimulation(seed: UInt64(seed))
            simulation.run(for: .seconds(5))
            simulation.set(0, .down)
            simulation.run(for: .seconds(60))
            #expect(simulation.subscriber.trouble == "refused")
            simulation.declare()
            simulation.set(0, .up)
            let back = simulation.now
            simulation.run(for: .seconds(5))
            #expect(simulation.acknowledged == simulation.version, "seed \(seed)")
            if let since = simulation.watchingSince { waits.append(since - back) }
        }
        let early = waits.filter { $0 < .milliseconds(500) }.count
        let late = waits.filter { $0 > .milliseconds(1500) }.count
        #expect(early >= 2 && late >= 2 && waits.allSatisfy { $0 < .seconds(4) })
    }

    @Test func renewsAtHalfLife() throws {
        var simulation = SubscriberSimulation(seed: 5)
        simulation.run(for: .seconds(300))
        let expiry = try #require(simulation.expiry)
        #expect(expiry > simulation.now + SubscriberSimulation.certificateLife / 3)
        // On the connection that there is.
        #expect(simulation.connects.count == 3)
    }

    /// Its certificate ends while nobody renews it: then it joins anew.
    @Test func joinsAnewWithoutACertificate() {
        var simulation = SubscriberSimulation(seed: 6)
        simulation.run(for: .seconds(5))
        simulation.set(0, .down)
        simulation.run(for: .seconds(100))
        simulation.set(0, .up)
        simulation.run(for: .seconds(5))
        #expect(simulation.connects.suffix(2).map(\.trust) == [.authorities, .mutual])
        #expect(simulation.acknowledged == simulation.version && simulation.mistakes.isEmpty)
    }
}

/// One step at a time, by hand.
@Suite struct SubscriberStepTests {
    private static func member(
        view: ProxyView = ProxyView(trustDomain: "mesh.test"), canJoin: Bool = false
    ) -> Subscriber {
        Subscriber(
            servers: 1, view: view, trusts: true,
            membership: (.zero + .seconds(1000), .zero + .seconds(2000)), canJoin: canJoin,
            registers: false, now: .zero, random: SeededRandom(seed: 1))
    }

    private static func watching() -> Subscriber {
        var subscriber = member()
        subscriber.tick(.zero)
        subscriber.connected(.zero)
        subscriber.watchBegan(.zero)
        _ = subscriber.take()
        return subscriber
    }

    private static func push(
        _ version: UInt64, isSnapshot: Bool = true, _ names: String...
    ) -> MeshPush {
        MeshPush(
            version: version, isSnapshot: isSnapshot, authorities: isSnapshot ? "roots" : nil,
            puts: names.map { .service(MeshService($0)) })
    }

    private static func stranger(servers: Int = 1) -> Subscriber {
        Subscriber(
            servers: servers, view: ProxyView(trustDomain: "mesh.test"), trusts: true,
            membership: nil, canJoin: true, registers: false, now: .zero,
            random: SeededRandom(seed: 1))
    }

    /// Lets it try to join once more, which is refused.
    private static func refuse(
        _ subscriber: inout Subscriber, _ refusal: SubscriberRefusal
    ) -> (server: Int, said: [SubscriberCommand]) {
        let now = subscriber.deadline
        subscriber.tick(now)
        subscriber.connected(now)
        let server = subscriber.server
        #expect(subscriber.take() == [.connect(server: server, .authorities), .call(.join)])
        subscriber.refused(.join, "403: used", refusal, now)
        return (server, subscriber.take())
    }

    /// A proxy that is refused for what it is says so, and does not go on asking; but each server
    /// has to have said it, and more than once where there are few: one that lags behind the others
    /// does not know yet what a token is for.
    @Test(arguments: [1, 2, 3, 6])
    func refusals(servers: Int) {
        var subscriber = Self.stranger(servers: servers)
        let most = max(servers, 3)
        var asked: Set<Int> = []
        for attempt in 1...most {
            let (server, said) = Self.refuse(&subscriber, .forbidden)
            asked.insert(server)
            let reason = "the request to join: 403: used"
            #expect(said == (attempt < most ? [.disconnect] : [.disconnect, .giveUp(reason)]))
        }
        #expect(asked.count == servers && subscriber.deadline == .distantFuture)
    }

    /// What is of the moment is asked for until it is there.
    @Test func whatIsOfTheMomentIsNoRefusal() {
        var subscriber = Self.stranger()
        for _ in 0..<100 {
            #expect(Self.refuse(&subscriber, .passing).said == [.disconnect])
        }
        for _ in 0..<2 { _ = Self.refuse(&subscriber, .lasting) }
        #expect(subscriber.deadline < .distantFuture)
        #expect(Self.refuse(&subscriber, .lasting).said.count == 2)
    }

    /// One that has something to serve does not give up, whatever it is told.
    @Test func servesOnWhereItIsRefused() throws {
        var view = ProxyView(trustDomain: "mesh.test")
        try view.apply(Self.push(3, "cart"))
        var subscriber = Subscriber(
            servers: 1, view: view, trusts: true, membership: nil, canJoin: true,
            registers: false, now: .zero, random: SeededRandom(seed: 1))
        for _ in 0..<9 {
            #expect(Self.refuse(&subscriber, .forbidden).said == [.disconnect])
        }
        #expect(subscriber.deadline < .distantFuture)
    }

    @Test func asksForWhatItLacks() {
        var subscriber = Self.watching()
        subscriber.pushed(Self.push(5, "cart"), .zero)
        subscriber.adopted(error: nil, .zero)
        #expect(subscriber.take() == [.adopt, .call(.ack(version: 5, error: nil))])
        subscriber.disconnected("gone", .zero)
        subscriber.tick(.zero + .seconds(1))
        subscriber.connected(.zero + .seconds(1))
        #expect(
            subscriber.take()
                == [.connect(server: 0, .mutual), .call(.watch(held: 5, registers: false))])
    }

    /// What does not follow on what is held is not taken, and asked for anew as a whole; what was
    /// held stays.
    @Test func asksForAllWhereAChangeDoesNotFit() {
        var subscriber = Self.watching()
        subscriber.pushed(Self.push(5, "cart"), .zero)
        _ = subscriber.take()
        subscriber.pushed(Self.push(4, isSnapshot: false, "web"), .zero)
        #expect(subscriber.take() == [.disconnect])
        #expect(subscriber.view.mesh.services.keys.sorted() == [MeshName("cart")])
        subscriber.tick(.zero + .seconds(1))
        subscriber.connected(.zero + .seconds(1))
        #expect(subscriber.take().last == .call(.watch(held: nil, registers: false)))
    }

    /// Acknowledgements do not pile up: while one is under way, the last of all others waits.
    @Test func acknowledgesTheLast() {
        var subscriber = Self.watching()
        for version in UInt64(1)...4 {
            subscriber.pushed(Self.push(version, "cart"), .zero)
            subscriber.adopted(error: version == 4 ? "no" : nil, .zero)
        }
        let calls = subscriber.take().filter { $0 != .adopt }
        #expect(calls == [.call(.ack(version: 1, error: nil))])
        subscriber.answered(.ack(version: 1, error: nil), .zero)
        #expect(subscriber.take() == [.call(.ack(version: 4, error: "no"))])
        subscriber.answered(.ack(version: 4, error: "no"), .zero)
        #expect(subscriber.take() == [])
    }

    /// A renewal that is refused is asked for again, and costs no connection.
    @Test func renewalsAreAskedForAgain() {
        var subscriber = Self.watching()
        let due = Instant.zero + .seconds(1000)
        subscriber.tick(due)
        #expect(subscriber.take().contains(.call(.certificate)))
        subscriber.answered(.heartbeat, due)
        subscriber.refused(.certificate, "503", .passing, due)
        #expect(subscriber.take() == [] && subscriber.isWatching)
        subscriber.tick(due + .milliseconds(500))
        #expect(subscriber.take() == [.call(.certificate)])
    }

    @Test func aClockThatJumpsHastensARenewal() {
        var subscriber = Self.watching()
        subscriber.tick(.zero + .seconds(1))
        #expect(subscriber.take() == [])
        subscriber.renewSoon(.zero + .seconds(1))
        subscriber.tick(.zero + .seconds(1))
        #expect(subscriber.take() == [.call(.certificate)])
    }

    /// Whatever makes a renewal urgent, and however often: none is asked for sooner than there may
    /// be one, nor before the wait after a refusal is over.
    @Test func hasteHasItsBounds() {
        var subscriber = Self.watching()
        /// - Returns: how often a certificate is asked for within a second.
        func hasten(from start: Instant, _ answer: (inout Subscriber, Instant) -> Void) -> Int {
            var asked = 0
            for step in 0..<1000 {
                let now = start + .milliseconds(Int64(step))
                subscriber.renewSoon(now)
                subscriber.tick(now)
                for command in subscriber.take() {
                    guard case .call(let call) = command else { continue }
                    if call == .certificate {
                        asked += 1
                        answer(&subscriber, now)
                    } else {
                        subscriber.answered(call, now)
                    }
                }
            }
            return asked
        }
        let life = Duration.seconds(1000)
        let granted = hasten(from: .zero) { subscriber, now in
            subscriber.certified(renewal: now + life, expiry: now + life, now)
        }
        #expect(granted == 1)
        // Waits of 0.25 s, 0.5 s, 1 s and more on average.
        let refused = hasten(from: .zero + .seconds(1)) { subscriber, now in
            subscriber.refused(.certificate, "503", .passing, now)
        }
        #expect((1...12).contains(refused))
    }

    /// A clock that is ahead makes every certificate look as if it had ended. They are asked for
    /// once a second, and not one after the other without end.
    @Test func certificatesThatHaveEndedAreNotAskedForWithoutEnd() {
        var subscriber = Self.watching()
        var asked = 0
        for step in 0..<1000 {
            let now = Instant.zero + .seconds(1000) + .milliseconds(Int64(step))
            subscriber.tick(now)
            for command in subscriber.take() {
                guard case .call(let call) = command else { continue }
                if call == .certificate {
                    asked += 1
                    subscriber.certified(renewal: now, expiry: now, now)
                } else {
                    subscriber.answered(call, now)
                }
            }
        }
        #expect(asked == 1)
    }

    /// A service was given another identity: the certificate that is shown no longer lets the
    /// watch begin, and the next one does. Once only: else the server may have other reasons.
    @Test func aWatchThatIsRefusedIsTriedWithANewCertificate() {
        var subscriber = Self.member()
        subscriber.tick(.zero)
        subscriber.connected(.zero)
        let watch = SubscriberCall.watch(held: nil, registers: false)
        #expect(subscriber.take().last == .call(watch))
        subscriber.refused(watch, "403", .forbidden, .zero)
        #expect(subscriber.take() == [.call(.certificate)])
        subscriber.certified(
            renewal: .zero + .seconds(500), expiry: .zero + .seconds(1000), .zero)
        #expect(subscriber.take() == [.disconnect, .connect(server: 0, .mutual)])
        subscriber.connected(.zero)
        #expect(subscriber.take() == [.call(watch)])
        subscriber.refused(watch, "403", .forbidden, .zero)
        #expect(subscriber.take() == [.disconnect])
        // A refusal of the certificate is one of the watch.
        var other = Self.member()
        other.tick(.zero)
        other.connected(.zero)
        other.refused(watch, "403", .forbidden, .zero)
        other.refused(.certificate, "403", .forbidden, .zero)
        #expect(other.take().last == .disconnect)
    }

    /// Another certificate changes nothing where it is something else that is refused.
    @Test(arguments: [SubscriberRefusal.lasting, .passing])
    func aWatchThatIsRefusedForAnotherReasonIsLeft(refusal: SubscriberRefusal) {
        var subscriber = Self.member()
        subscriber.tick(.zero)
        subscriber.connected(.zero)
        _ = subscriber.take()
        subscriber.refused(.watch(held: nil, registers: false), "409", refusal, .zero)
        #expect(subscriber.take() == [.disconnect])
        #expect(subscriber.deadline < .distantFuture)
    }

    /// A token may name newer roots than those that were kept, or older ones.
    @Test func authoritiesOfTheTokenComeBeforeThoseOfThePast() throws {
        var view = ProxyView(trustDomain: "mesh.test")
        try view.apply(Self.push(3, "cart"))
        func start() -> Subscriber {
            var subscriber = Subscriber(
                servers: 1, view: view, trusts: false, hasOthers: true,
                membership: (.zero, .zero), canJoin: true, registers: false, now: .zero,
                random: SeededRandom(seed: 1))
            subscriber.tick(.zero)
            subscriber.connected(.zero)
            return subscriber
        }
        var newer = start()
        #expect(newer.take() == [.connect(server: 0, .anybody), .call(.authorities)])
        newer.trusted(.zero)
        #expect(newer.take() == [.disconnect, .connect(server: 0, .authorities)])
        var older = start()
        _ = older.take()
        older.refused(.authorities, "none that the token names", .lasting, .zero)
        #expect(older.take() == [.disconnect])
        older.tick(older.deadline)
        #expect(older.take() == [.connect(server: 0, .authorities)])
    }

    /// A server that does not know of the watch is left.
    @Test func anUnknownWatchIsBegunAnew() {
        var subscriber = Self.watching()
        subscriber.tick(.zero + .seconds(3))
        #expect(subscriber.take() == [.call(.heartbeat)])
        subscriber.refused(.heartbeat, "404", .lasting, .zero + .seconds(3))
        #expect(subscriber.take() == [.disconnect] && !subscriber.isWatching)
    }

    @Test func backoffIsBounded() {
        let backoff = FullJitter(base: .milliseconds(250), cap: .seconds(3))
        #expect(
            (0..<6).map(backoff.bound)
                == [250, 500, 1000, 2000, 3000, 3000].map { .milliseconds($0) })
        #expect(backoff.bound(.max) == .seconds(3))
        var random = SeededRandom(seed: 1)
        let drawn = (0..<1000).map { _ in backoff.delay(2, &random) }
        #expect(drawn.allSatisfy { $0 >= .zero && $0 <= .seconds(1) })
        let mean = drawn.reduce(Duration.zero, +).seconds / 1000
        #expect((0.45...0.55).contains(mean))
    }
}
