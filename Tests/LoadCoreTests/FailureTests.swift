// What is charged to whom when connections fail or the generator stands still.

import Base
import Model
import Stats
import Testing

@testable import LoadCore

@Suite struct FailureTests {
    static let untilClose = "HTTP/1.1 200 OK\r\n\r\nto the end of the connection"

    @Test("An answer up to the end of the connection is complete behind an end in order alone")
    func resets() {
        let reset = ServerModel(ending: { _, _ in .reset(Self.untilClose, share: 1) })
        #expect(Simulation(testJob(testPlan()), reset).run()[0].outcomes == ["reset": 1000])
        let half = ServerModel(ending: { _, _ in .reset(ServerModel.plain, share: 0.7) })
        #expect(Simulation(testJob(testPlan()), half).run()[0].outcomes == ["reset": 1000])
        let ended = ServerModel(
            ending: { _, _ in .answer(Self.untilClose) }, idleClose: 1)
        #expect(Simulation(testJob(testPlan()), ended).run()[0].outcomes == ["ok": 1000])
    }

    private func expect(
        _ action: LoadAction?, _ expected: LoadAction?,
        location: SourceLocation = #_sourceLocation
    ) {
        #expect(action == expected, sourceLocation: location)
    }

    /// A generator that began, with one open connection and one request of each millisecond.
    private func running() -> Generator {
        let plan = testPlan(connections: 1, timeout: .milliseconds(100))
        let job = testJob(plan)
        var generator = Generator(job: job, thread: 0, messages: LoadMessages(job))
        generator.prepare(at: start)
        expect(generator.nextAction(), .open(connection: 0, target: 0))
        generator.opened(0, at: start)
        generator.begin(at: start)
        return generator
    }

    private let start = Instant(nanoseconds: 1_000_000_000)

    private func send(_ generator: inout Generator, at now: Instant) {
        expect(generator.nextAction(), .write(connection: 0))
        expect(generator.nextAction(), nil)
        let count = generator.output(0, at: now).count
        let isMore = generator.wrote(0, count)
        #expect(count > 0 && !isMore)
    }

    @Test("Answers that lie unread while the generator stands still are no timeouts")
    func standstill() {
        var generator = running()
        generator.advance(to: start, heard: start)
        send(&generator, at: start)
        // The generator wakes up much later than the timeout; the answer has been here all along.
        let late = start + .milliseconds(300)
        generator.takeUpDue(at: late)
        generator.advance(to: late, heard: start + .milliseconds(1))
        expect(generator.nextAction(), nil)
        Array(ServerModel.plain.utf8).withBytes { generator.received(0, $0, at: late) }
        let tally = generator.tallies()[0]
        #expect(tally.count(.ok) == 1)
        #expect(tally.count(.timeout) == 0)
    }

    @Test("A request times out as soon as its answer is known to be absent")
    func knownSilence() {
        var generator = running()
        generator.advance(to: start, heard: start)
        send(&generator, at: start)
        let now = start + .milliseconds(150)
        generator.advance(to: now, heard: start + .microseconds(99_999))
        let before = generator.tallies()[0]
        #expect(before.count(.timeout) == 0)
        let next = generator.nextInstant
        #expect(next <= now)
        generator.advance(to: now, heard: start + .milliseconds(100))
        let after = generator.tallies()[0]
        #expect(after.count(.timeout) == 1)
        expect(generator.nextAction(), .close(connection: 0))
    }

    @Test("After a standstill requests are taken up in parts, none left out")
    func catchingUp() {
        let plan = testPlan(rate: .constant(100_000), connections: 1, timeout: .seconds(10))
        let job = testJob(plan)
        var generator = Generator(job: job, thread: 0, messages: LoadMessages(job))
        generator.begin(at: start)
        let end = start + .seconds(1)
        var turns = 0
        var planned: UInt64 = 0
        while planned < 100_000, turns < 100 {
            generator.advance(to: end, heard: start)
            while generator.nextAction() != nil {}
            planned = generator.tallies()[0].planned
            #expect(planned <= UInt64((turns + 1) * LoadLimits.catchUp))
            turns += 1
        }
        #expect(planned == 100_000)
    }

    @Test("A connection whose end is known takes no further request")
    func endedConnections() {
        var generator = running()
        generator.advance(to: start, heard: start)
        send(&generator, at: start)
        // The next request waits for the connection, of which the end has come with the answer.
        let now = start + .milliseconds(1)
        generator.advance(to: now, heard: now)
        generator.peerEnded(0, at: now)
        expect(generator.nextAction(), nil)
        Array(ServerModel.plain.utf8).withBytes { generator.received(0, $0, at: now) }
        expect(generator.nextAction(), .close(connection: 0))
        expect(generator.nextAction(), .open(connection: 0, target: 0))
        generator.opened(0, at: now)
        send(&generator, at: now)
        Array(ServerModel.plain.utf8).withBytes { generator.received(0, $0, at: now) }
        let tally = generator.tallies()[0]
        #expect(tally.outcomes == ["ok": 2])
        // Without a request it is let go at once.
        generator.peerEnded(0, at: now)
        expect(generator.nextAction(), .close(connection: 0))
    }

    @Test(
        "What the generator's own machine cannot open refuses nothing",
        arguments: [LoadPlan.Arrivals.constant, .closed])
    func localFailures(arrivals: LoadPlan.Arrivals) {
        // No connection in the first 300 ms.
        let from = Instant(nanoseconds: 1_300_000_000)
        let model = ServerModel(lacks: { _, now in now < from })
        let plan = testPlan(arrivals: arrivals, timeout: .seconds(10))
        let simulation = Simulation(testJob(plan), model)
        let tally = simulation.run()[0]
        #expect(tally.outcomes == ["ok": tally.planned])
        if arrivals == .constant {
            #expect(tally.planned == 1000)
            #expect(tally.wait.max > 290_000_000)
        } else {
            #expect(tally.planned > 10_000)
        }
        // Attempts are bounded by the pause, not by requests: each brings a step or two.
        #expect(simulation.steps < 60_000)
    }

    @Test("What is answered late is of the second in which it was due")
    func answersByTheSecondOfTheRequest() {
        // Each answer takes a second and a half; those to the first 100 requests are errors.
        let failing = Instant(nanoseconds: 2_000_500_000)
        let model = ServerModel(
            delay: { _, _ in .milliseconds(1500) },
            ending: { _, now in
                .answer(
                    now < failing
                        ? "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n" : ServerModel.plain)
            })
        let plan = testPlan(rate: .constant(100), connections: 400, timeout: .seconds(10))
        let phase = PhasePlan(name: "base", duration: .seconds(3), measure: true, rate: nil)
        let simulation = Simulation(testJob(plan, phases: [phase]), model)
        _ = simulation.run()
        let due = simulation.generator.dueTallies
        #expect(due.map(\.planned) == [100, 100, 100])
        #expect(due.map(\.errors) == [100, 0, 0])
        #expect(due.map(\.good) == [0, 100, 100])
        // By the clock none of these is: the last come when the job is over.
        #expect(simulation.seconds.first?.errors == 0)
        #expect(simulation.seconds.dropFirst(3).reduce(0) { $0 + $1.good } > 100)
    }

    @Test("Of a stopped run, what waits is timed at what it reached")
    func stoppedWhileWaiting() {
        let plan = testPlan(rate: .constant(100), connections: 1, timeout: .seconds(30))
        let model = ServerModel(ending: { _, _ in .silence })
        let simulation = Simulation(testJob(plan), model)
        simulation.stopAt = simulation.now + .milliseconds(501)
        let tally = simulation.run()[0]
        #expect(tally.count(.dropped) >= 49)
        #expect(tally.planned == tally.count(.dropped) + tally.count(.timeout))
        // One second is left to what is under way, and nothing else has waited longer than that.
        #expect(tally.response.max < 1_600_000_000)
        #expect(tally.response.value(atQuantile: 0.5) < 501_000_000)
    }

    @Test("Limits that a job may not pass")
    func limits() {
        func message(_ plan: LoadPlan, weights: [Int] = [1]) -> String? {
            do {
                try testJob(plan, weights: weights).validate()
                return nil
            } catch { return error.description }
        }
        #expect(message(testPlan()) == nil)
        #expect(message(testPlan(rate: .constant(2_000_000))) == nil)
        #expect(message(testPlan(rate: .constant(2_000_001)))?.contains("2000000") == true)
        #expect(message(testPlan(rate: .ramp(start: 1, end: 1e12)))?.contains("2000000") == true)
        #expect(message(testPlan(rate: .constant(.infinity)))?.contains("2000000") == true)
        #expect(message(testPlan(timeout: .seconds(3600))) == nil)
        #expect(message(testPlan(timeout: .seconds(3601)))?.contains("3600 s") == true)
        let large = RequestPlan(method: "POST", bodySize: 64 << 20)
        let many = [Int](repeating: 1, count: 17)
        #expect(message(testPlan(connections: 17, request: large), weights: many) != nil)
    }

    @Test("The queues of all targets together have a bound")
    func waitingBound() {
        let limit = LoadLimits.waiting
        #expect(LoadLimits.waiting(due: 1e9, part: 1) == limit)
        #expect(LoadLimits.waiting(due: 0, part: 1) == 1024)
        let parts = (0..<LoadLimits.targets).map { _ in 1 / Double(LoadLimits.targets) }
        let sum = parts.reduce(0) { $0 + LoadLimits.waiting(due: 1e9, part: $1) }
        #expect(sum <= limit + LoadLimits.targets * LoadLimits.waitingPerTarget)
    }

    /// With these rates rounding leaves less than zero under the root.
    @Test(
        "The end of a ramp to zero is a number",
        arguments: [
            (3887.2085142972164, 1684), (1816.8561837786513, 533), (2893.0702407341314, 1375),
        ] as [(Double, Int64)])
    func rampToZero(rate: Double, milliseconds: Int64) throws {
        let duration = Duration.milliseconds(milliseconds)
        let curve = RateCurve(.ramp(start: rate, end: 0), over: duration)
        var hint = 0
        let time = try #require(curve.time(owing: curve.total.nextDown, hint: &hint))
        #expect(abs(time - duration.seconds) < 1e-6)
    }
}
