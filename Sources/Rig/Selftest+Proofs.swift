import Base
import Glibc
import Model
import Posix
import Report
import Stats

/// A server that is stopped for S seconds of a run of D: requests intended meanwhile wait from S
/// down to nothing, evenly, so the share S/D of all is delayed and the 99th percentile is S · (1 −
/// 0.01 · D/S). Only what was on its way when the server stopped was sent before it answered, so
/// service latency, which counts from sending, must know of no more than one request for each
/// connection.
///
/// Source: Tene, "How NOT to Measure Latency"; reference/benchmarking, section 5, point 10.
func proveStall(_ bench: Bench) throws(RigError) -> [Proof] {
    let length = Duration.seconds(10)
    let connections = 2
    // Of the stop as it really was: waking for it may come late.
    let stall = Stopwatch()
    let sample = try bench.measure(
        AppBehaviour(size: 100), rate: 1000, seconds: 10, connections: connections
    ) { server in
        [
            TurnAction(offset: .seconds(3)) { _ in
                server.process.send(SIGSTOP)
                stall.start = Clock.now()
            },
            TurnAction(offset: .milliseconds(3500)) { _ in
                stall.end = Clock.now()
                server.process.send(SIGCONT)
            },
        ]
    }
    let stalled = stall.end - stall.start
    let theory = Double((stalled - length / 100).nanoseconds)
    let response = Double(sample.tally.response.value(atQuantile: 0.99))
    let slow = sample.tally.service.count(above: UInt64((stalled / 10).nanoseconds))
    return [
        near("stall in response latency, p99", response, theory, within: 0.05, unit: "ns"),
        Proof(
            name: "stall in service latency",
            expected: "at most \(connections) requests, those in flight",
            observed: "\(slow) of \(sample.tally.service.count)",
            holds: slow >= 1 && slow <= UInt64(connections)),
    ]
}

private final class Stopwatch {
    var start = Instant.zero
    var end = Instant.zero
}

/// A server that waits 50 ms before each answer.
func proveDelay(_ bench: Bench) throws(RigError) -> [Proof] {
    let delay = Duration.milliseconds(50)
    let sample = try bench.measure(
        AppBehaviour(size: 100, delay: .fixed(delay)), rate: 200, seconds: 4, connections: 32)
    let median = Double(sample.tally.service.value(atQuantile: 0.5))
    return [
        near(
            "delay in service latency, p50", median, Double(delay.nanoseconds), within: 0.01,
            unit: "ns")
    ]
}

/// A server that burns 2 ms of CPU for each answer, less what it takes when it burns none.
func proveBurn(_ bench: Bench) throws(RigError) -> [Proof] {
    let burn = Duration.milliseconds(2)
    func cost(_ burn: Duration) throws(RigError) -> Double {
        let sample = try bench.measure(
            AppBehaviour(size: 100, burn: burn), rate: 100, seconds: 5, connections: 8)
        let completed = max(sample.tally.completed, 1)
        return sample.cpuSeconds(of: .apps) * 1e9 / Double(completed)
    }
    let difference = try cost(burn) - cost(.zero)
    return [
        near(
            "burnt CPU per request", difference, Double(burn.nanoseconds), within: 0.03, unit: "ns")
    ]
}

/// A server that answers every tenth request with 503. The interval is so wide that a right rig
/// fails one time in a thousand.
func proveErrors(_ bench: Bench) throws(RigError) -> [Proof] {
    let share = 0.1
    let sample = try bench.measure(
        AppBehaviour(size: 100, statuses: [.init(status: 503, share: share)]), rate: 1000,
        seconds: 4, connections: 16)
    let errors = sample.tally.statuses["503"] ?? 0
    let interval = Proportion.clopperPearson(
        successes: errors, trials: sample.tally.planned, confidence: 0.999)
    return [
        Proof(
            name: "share of errors",
            expected: "\(figure(share, unit: "share")) within the binomial interval",
            observed: figure(Double(errors) / Double(max(sample.tally.planned, 1)), unit: "share")
                + ", " + figureInterval(low: interval.low, high: interval.high, unit: "share"),
            holds: interval.contains(share))
    ]
}

/// A generator that is asked for more than any can offer must be called invalid, and for that
/// reason.
func proveStarvation(_ bench: Bench) throws(RigError) -> [Proof] {
    let sample = try bench.measure(
        AppBehaviour(size: 100), rate: 2_000_000, seconds: 2, connections: 4,
        timeout: .milliseconds(500))
    let trust = Trust(
        [sample], rounds: [0], limits: Bench.limits, needed: 1, arms: [.direct], phases: ["base"],
        warnings: [])
    let own: Set<Finding.Rule> = [.achieved, .lag, .generator]
    let broken = Bench.limits.findings(sample).filter { !$0.holds && own.contains($0.rule) }
    return [
        Proof(
            name: "a starved generator", expected: "invalid",
            observed: trust.validity.valid
                ? "valid"
                : "invalid: "
                    + broken.map { "\($0.rule.rawValue) \($0.observed)" }.joined(separator: ", "),
            holds: !trust.validity.valid && !broken.isEmpty)
    ]
}

private func near(
    _ name: String, _ observed: Double, _ expected: Double, within share: Double, unit: String
) -> Proof {
    let distance = (observed - expected) / expected
    return Proof(
        name: name,
        expected: "\(figure(expected, unit: unit)) ± \(figure(share, unit: "share"))",
        observed: "\(figure(observed, unit: unit)), off by \(figure(distance, unit: "share"))",
        holds: distance.magnitude <= share)
}
