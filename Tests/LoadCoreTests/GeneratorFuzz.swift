import Base
import LoadCore
import Model
import Stats
import Support
import Testing

/// Drives a generator against a hostile server and checks that nothing is lost.
///
/// Every choice is a function of the seed. To rerun one, `scripts/fuzz GeneratorFuzz SEED 1` with
/// the seed of the message.
func fuzzGenerator(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let arrivals = LoadPlan.Arrivals.allCases[random.below(4)]
    let weights = (0..<1 + random.below(3)).map { _ in 1 + random.below(4) }
    let speech = [LoadPlan.Speech.http1, .tcp, .websocket][random.below(3)]
    let plan = testPlan(
        rate: .ramp(start: Double(random.below(3000)), end: Double(random.below(8000))),
        arrivals: arrivals, connections: weights.count + random.below(12),
        timeout: .microseconds(Int64(200 + random.below(40_000))),
        request: RequestPlan(method: random.below(8) == 0 ? "HEAD" : "GET"),
        requestsPerConnection: random.below(3) == 0 ? 1 + random.below(5) : 0,
        threads: 1 + random.below(3), speech: speech,
        streams: speech == .http1 ? 1 : 1 + random.below(4))
    let phases = (0..<1 + random.below(3)).map { i in
        PhasePlan(
            name: "\(i)", duration: .milliseconds(Int64(20 + random.below(600))), measure: true,
            rate: random.below(4) == 0 ? 0 : nil)
    }
    let job = testJob(plan, phases: phases, weights: weights, seed: random.next())
    var total: [LoadResult.PhaseTally] = []
    var planned: UInt64 = 0
    let stops = random.below(4) == 0
    for thread in 0..<job.threadCount {
        let simulation = Simulation(
            job, thread: thread, hostileServer(random.next()), seed: random.next())
        simulation.checksInvariants = true
        if stops { simulation.stopAt = simulation.now + .milliseconds(Int64(random.below(900))) }
        let tallies = simulation.run()
        check(tallies, simulation.seconds, plan, seed: seed)
        if total.isEmpty {
            total = tallies
        } else {
            for i in total.indices { total[i].merge(tallies[i]) }
        }
        planned += tallies.reduce(0) { $0 + $1.planned }
    }
    if arrivals != .closed, !stops {
        var schedule = Schedule(
            plan: plan, phases: phases, rotation: targetRotation(weights: weights), seed: job.seed)
        var offered = [UInt64](repeating: 0, count: phases.count)
        while let request = schedule.next() { offered[request.phase] += 1 }
        #expect(total.map(\.planned) == offered, "seed \(seed)")
    }
}

/// What holds for every run: each request has one outcome, and each outcome is where it belongs.
private func check(
    _ tallies: [LoadResult.PhaseTally], _ seconds: [LoadResult.SecondTally], _ plan: LoadPlan,
    seed: UInt64
) {
    let closed = plan.arrivals == .closed
    for tally in tallies {
        let name: Comment = "seed \(seed), phase \(tally.name)"
        #expect(tally.planned == tally.outcomes.values.reduce(0, +), name)
        let answered = tally.completed
        let unsent = tally.count(.dropped) + tally.count(.refused)
        #expect(tally.sent == tally.planned - unsent, name)
        let statuses = tally.statuses.values.reduce(0, +)
        #expect(statuses == (plan.speech == .http1 ? answered : 0), name)
        #expect(tally.service.count == answered + tally.count(.timeout), name)
        #expect(tally.response.count == tally.service.count + tally.count(.dropped), name)
        #expect(tally.lag.count == (closed ? 0 : tally.planned), name)
        #expect(tally.firstByte.count <= tally.sent && tally.firstByte.count >= answered, name)
        // Every request waits longer from its instant than from its sending, so every quantile
        // does.
        for quantile in [0, 0.1, 0.5, 0.9, 0.99, 1] where tally.count(.dropped) == 0 {
            #expect(
                tally.response.value(atQuantile: quantile)
                    >= tally.service.value(atQuantile: quantile), name)
        }
    }
    #expect(seconds.reduce(0) { $0 + $1.planned } == tallies.reduce(0) { $0 + $1.planned })
    #expect(seconds.reduce(0) { $0 + $1.completed } == tallies.reduce(0) { $0 + $1.completed })
    let errors = tallies.reduce(0) { $0 + $1.planned - $1.count(.ok) }
    #expect(seconds.reduce(0) { $0 + $1.errors } == errors, "seed \(seed)")
    for (i, second) in seconds.enumerated() { #expect(second.offset == Double(i)) }
}

/// A server that is slow, closes, cuts, stays silent, refuses and talks nonsense.
private func hostileServer(_ seed: UInt64) -> ServerModel {
    var random = SeededRandom(seed: seed)
    let refusal = random.unit() * random.unit()
    let cut = random.unit() * 0.3
    let silence = random.unit() * 0.1
    let slow = Double(random.below(20_000))
    let late = random.below(2_000)
    let lack = random.below(4) == 0 ? random.unit() * 0.5 : 0
    let texts = [
        ServerModel.plain,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nx-response-flags: UO\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more",
        "HTTP/1.1 9999\r\n",
    ]
    return ServerModel(
        connectDelay: { .nanoseconds(Int64($0.below(300_000))) },
        refuses: { random, _ in random.unit() < refusal },
        lacks: { random, _ in random.unit() < lack },
        delay: { random, _ in .nanoseconds(Int64(random.unit() * slow * 1000)) },
        ending: { random, _ in
            let u = random.unit()
            if u < cut { return .cut(texts[random.below(3)]) }
            if u < cut + silence { return .silence }
            if u > 0.95 {
                return .reset(texts[random.below(texts.count)], share: random.unit())
            }
            return .answer(texts[random.below(random.below(3) == 0 ? texts.count : 3)])
        },
        pieces: 1 + random.below(4), idleClose: random.unit() * 0.2,
        lateness: { .nanoseconds(Int64($0.below(late + 1)) * 100) })
}

@Suite struct GeneratorFuzz {
    @Test("Nothing is lost against a hostile server")
    func conservation() {
        let budget = FuzzBudget.current(steps: 50)
        for step in 0..<budget.steps { fuzzGenerator(seed: budget.seed &+ UInt64(step)) }
    }
}
