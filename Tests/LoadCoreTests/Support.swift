import Base
import LoadCore
import Model

/// A load plan with defaults for everything that a test does not say.
func testPlan(
    rate: RateShape = .constant(1000), arrivals: LoadPlan.Arrivals = .constant,
    connections: Int = 4, timeout: Duration = .seconds(1), request: RequestPlan = RequestPlan(),
    requestsPerConnection: Int = 0, threads: Int = 1, speech: LoadPlan.Speech = .http1,
    streams: Int = 1
) -> LoadPlan {
    LoadPlan(
        name: "main", to: "echo", rate: rate, arrivals: arrivals, connections: connections,
        timeout: timeout, request: request, requestsPerConnection: requestsPerConnection,
        threads: threads, speech: speech, streams: streams)
}

/// A job of one phase against `targets` targets.
func testJob(
    _ plan: LoadPlan,
    phases: [PhasePlan] = [
        PhasePlan(name: "base", duration: .seconds(1), measure: true, rate: nil)
    ], weights: [Int] = [1], seed: UInt64 = 42
) -> LoadJob {
    LoadJob(
        plan: plan,
        targets: weights.map { .init(address: "127.0.0.1:80", host: "echo", weight: $0) },
        phases: phases, start: nil, seed: seed, spin: .zero)
}
