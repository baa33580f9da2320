import Base
import LoadCore
import Model
import Stats
import Testing

@Suite struct GeneratorTests {
    static func phases(_ seconds: Int64) -> [PhasePlan] {
        [PhasePlan(name: "base", duration: .seconds(seconds), measure: true, rate: nil)]
    }

    @Test("A server that answers: every request is ok, in time, on the first connections")
    func plain() {
        let simulation = Simulation(testJob(testPlan(), phases: Self.phases(3)), ServerModel())
        let tally = simulation.run()[0]
        #expect(tally.planned == 3000)
        #expect(tally.outcomes == ["ok": 3000])
        #expect(tally.statuses == ["200": 3000])
        #expect(tally.connectionsOpened == 4)
        #expect(tally.lag.max < 5_000)
        #expect(tally.service.max < 110_000)
        #expect(tally.wait.count == 0)
        #expect(simulation.seconds.map(\.planned) == [1000, 1000, 1000])
        #expect(simulation.seconds.map(\.offset) == [0, 1, 2])
    }

    @Test("A new connection each N requests")
    func requestsPerConnection() {
        let plan = testPlan(connections: 1, requestsPerConnection: 10)
        let tally = Simulation(testJob(plan), ServerModel()).run()[0]
        #expect(tally.outcomes == ["ok": 1000])
        #expect(tally.connectionsOpened == 100)
        // Opening is on demand: the request that needs the connection waits for it.
        #expect(tally.wait.count == 99)
    }

    @Test("Closed arrivals: always as many requests under way as connections")
    func closedLoop() {
        let plan = testPlan(arrivals: .closed, connections: 8)
        let phases = [
            PhasePlan(name: "base", duration: .milliseconds(200), measure: true, rate: nil)
        ]
        let simulation = Simulation(testJob(plan, phases: phases), ServerModel())
        let tally = simulation.run()[0]
        #expect(tally.planned == tally.count(.ok))
        // 8 connections, 100 µs each and up to 3 µs for each send of the one thread.
        #expect(tally.planned > 14_000 && tally.planned <= 16_008)
        #expect(tally.lag.count == 0)
        #expect(tally.response == tally.service)
    }

    @Test("Closed arrivals are idle in a phase of rate zero")
    func closedIdle() {
        let phases = [
            PhasePlan(name: "idle", duration: .milliseconds(1500), measure: true, rate: 0),
            PhasePlan(name: "base", duration: .milliseconds(200), measure: true, rate: nil),
        ]
        let job = testJob(testPlan(arrivals: .closed), phases: phases)
        let tallies = Simulation(job, ServerModel()).run()
        #expect(tallies[0].planned == 0)
        #expect(tallies[1].planned > 6000)
    }

    @Test("A target that refuses: every request is refused, and the attempts are bounded")
    func refused() {
        let model = ServerModel(refuses: { _, _ in true })
        let tally = Simulation(testJob(testPlan()), model).run()[0]
        #expect(tally.outcomes == ["refused": 1000])
        #expect(tally.sent == 0)
        let closed = Simulation(testJob(testPlan(arrivals: .closed)), model).run()[0]
        // Four connections, tried again every 10 ms.
        #expect((1...404).contains(closed.planned))
        #expect(closed.outcomes == ["refused": closed.planned])
    }

    @Test("A silent server: what was sent times out, the rest is dropped, all at the timeout")
    func silent() {
        let plan = testPlan(connections: 2, timeout: .milliseconds(100))
        let model = ServerModel(ending: { _, _ in .silence })
        let tally = Simulation(testJob(plan), model).run()[0]
        #expect(tally.count(.timeout) + tally.count(.dropped) == 1000)
        #expect(tally.count(.timeout) >= 20)
        #expect(tally.response.count == 1000)
        #expect(tally.response.min >= 99_900_000)
        #expect(tally.service.count == tally.count(.timeout))
        // Each timeout has cost its connection.
        #expect(tally.connectionsOpened >= tally.count(.timeout))
    }

    @Test("What finds the queue full is dropped at once, and counted at the timeout")
    func overflow() {
        // More waits in one timeout than the queue may hold.
        let plan = testPlan(rate: .constant(300_000), connections: 1, timeout: .seconds(1))
        let phases = [
            PhasePlan(name: "base", duration: .milliseconds(900), measure: true, rate: nil)
        ]
        let model = ServerModel(ending: { _, _ in .silence })
        let simulation = Simulation(testJob(plan, phases: phases), model)
        let tally = simulation.run()[0]
        #expect(tally.planned == 270_000)
        #expect(tally.count(.dropped) + tally.count(.timeout) == 270_000)
        #expect(tally.response.count == 270_000)
        #expect(tally.response.min >= 999_000_000)
        // They ended when they came, not a timeout later.
        #expect(simulation.seconds[0].errors == 270_000 - 262_144 - 1)
    }

    @Test("A connection that the server closes while idle is no error")
    func staleConnections() {
        let model = ServerModel(idleClose: 1)
        let plan = testPlan(rate: .constant(10), connections: 2)
        let tally = Simulation(testJob(plan, phases: Self.phases(10)), model).run()[0]
        #expect(tally.outcomes == ["ok": 100])
        #expect(tally.connectionsOpened > 90)
    }

    @Test("Statuses and flags are counted")
    func statuses() {
        let body = "content-length: 0\r\n\r\n"
        let model = ServerModel(ending: { random, _ in
            random.unit() < 0.5
                ? .answer("HTTP/1.1 503 No\r\nx-response-flags: UO\r\n\(body)")
                : .answer("HTTP/1.1 302 Found\r\nx-response-flags: UF\r\n\(body)")
        })
        let tally = Simulation(testJob(testPlan()), model).run()[0]
        #expect(tally.count(.ok) + tally.count(.error) == 1000)
        #expect(tally.statuses["503"] == tally.count(.error))
        #expect(tally.statuses["302"] == tally.count(.ok))
        // Flags are told of errors only.
        #expect(tally.flags == ["UO": tally.count(.error)])
    }

    @Test("An answer before the end of the request closes the connection")
    func earlyAnswer() {
        // One send in ten is completed late, after a microsecond; the answer comes at once.
        let model = ServerModel(delay: { _, _ in .nanoseconds(10) })
        let tally = Simulation(testJob(testPlan(connections: 1)), model).run()[0]
        #expect(tally.outcomes == ["ok": 1000])
        #expect(tally.connectionsOpened > 50)
    }

    @Test(
        "Stopped early: what was offered until then has an outcome, and the rest was never planned")
    func stopped() {
        let job = testJob(testPlan(), phases: Self.phases(10))
        let simulation = Simulation(job, ServerModel())
        simulation.stopAt = simulation.now + .milliseconds(2501)
        let tally = simulation.run()[0]
        let partial = simulation.generator.isPartial
        #expect(partial)
        #expect((2499...2501).contains(tally.planned))
        #expect(tally.outcomes == ["ok": tally.planned])
        #expect((tally.end - tally.start).seconds > 2.49)
        #expect((tally.end - tally.start).seconds < 2.51)
        let hashes = simulation.generator.scheduleHashes()
        #expect(
            hashes.instants
                == Schedule(plan: job.plan, phases: job.phases, rotation: [0], seed: job.seed)
                .hashes().instants)
    }

    @Test("Requests go to targets by weight, also where one target stands still")
    func targets() {
        let plan = testPlan(connections: 4, timeout: .milliseconds(200))
        let job = testJob(plan, weights: [3, 1])
        let simulation = Simulation(job, ServerModel())
        let tally = simulation.run()[0]
        #expect(tally.outcomes == ["ok": 1000])
    }

    @Test(
        "A server that stalls: response latency follows theory, service latency does not see it",
        arguments: [(60, 1.2), (20, 1.0)] as [(Int64, Double)],
        [LoadPlan.Arrivals.constant, .poisson])
    func stall(run: (seconds: Int64, stall: Double), arrivals: LoadPlan.Arrivals) {
        // A share S/D of the requests falls into the stall, and waits a uniform part of it:
        // p99 = S·(1 − 0.01·D/S).
        let from = Instant(nanoseconds: 5_000_000_000)
        let until = from + .fractionalSeconds(run.stall)
        let model = ServerModel(delay: { _, now in
            now >= from && now < until ? until - now : .microseconds(20)
        })
        let plan = testPlan(arrivals: arrivals, connections: 16, timeout: .seconds(10))
        let simulation = Simulation(testJob(plan, phases: Self.phases(run.seconds)), model)
        let tally = simulation.run()[0]
        #expect(tally.count(.ok) == tally.planned)
        let theory = run.stall * (1 - 0.01 * Double(run.seconds) / run.stall)
        let observed = Double(tally.response.value(atQuantile: 0.99)) / 1e9
        // Random arrivals: √n of the n requests beyond p99 more or fewer, each 1/rate of the
        // stall's time.
        let spread = (0.01 * Double(tally.planned)).squareRoot() / 1000
        let tolerance = arrivals == .poisson ? 5 * spread : 0.005 * theory
        #expect(abs(observed - theory) < tolerance, "\(observed) s, theory says \(theory) s")
        #expect(tally.service.value(atQuantile: 0.99) < 1_000_000)
        // The generator was not late: the wait is the server's.
        #expect(tally.lag.value(atQuantile: 0.99) < 10_000)
        #expect(tally.wait.max > UInt64(run.stall * 0.9e9))
    }

    @Test("A generator that is woken late shows it as lag, not as service time")
    func lateGenerator() {
        let model = ServerModel(lateness: { $0.unit() < 0.1 ? .milliseconds(20) : .zero })
        let plan = testPlan(rate: .constant(100), connections: 16)
        let tally = Simulation(testJob(plan, phases: Self.phases(20)), model).run()[0]
        #expect(tally.outcomes == ["ok": 2000])
        #expect(tally.lag.value(atQuantile: 0.99) > 15_000_000)
        #expect(tally.response.value(atQuantile: 0.99) > 15_000_000)
    }
}
