// Scenarios that are right by every rule and yet will not tell what their author hopes. Each trap
// is one function; `plan` and the report show what they say.

import Base
public import Model

extension Experiment {
    /// What a reader should know before running this, each a sentence.
    public var warnings: [String] {
        [
            unsupportedPercentiles, shortPhases, missingWarmUp, closedLoopResponse, fewRounds,
            pastSaturation, unlikeClients, policyTraps, scaledTime, idleFaults,
            misplacedFaults,
        ].flatMap(\.self)
    }

    /// Whoever reads of ejections must know that they were shorter than it says.
    private var scaledTime: [String] {
        guard mesh.timeScale != 1 else { return [] }
        return [
            "the mesh's own times are \(decimal(mesh.timeScale)) of what its policies say "
                + "(mesh.time_scale): ejections, sweeps, checks, windows and slow starts"
        ]
    }

    /// A percentile needs samples beyond it.
    private var unsupportedPercentiles: [String] {
        expectations.flatMap { expectation in
            let metrics = expectation.left.metrics + expectation.right.metrics
            return metrics.compactMap { metric -> String? in
                guard let quantile = metric.quantile, quantile > 0, quantile < 1 else { return nil }
                let isPush = metric.latency == .configPush
                guard
                    let samples = isPush ? pushes(for: expectation) : leastSamples(for: expectation)
                else { return nil }
                let beyond = Int((samples * (1 - quantile)).rounded(.down))
                guard beyond < limits.minTailSamples else { return nil }
                let needed = Double(limits.minTailSamples) / (1 - quantile)
                return """
                    '\(expectation.source)' needs \(decimal(needed, digits: 0)) \
                    \(isPush ? "changes" : "requests") to have \
                    \(limits.minTailSamples) beyond its percentile; \
                    \(decimal(samples, digits: 0)) are planned
                    """
            }
        }
    }

    /// Requests of one arm in the least number of rounds; nil where no plan tells.
    private func leastSamples(for expectation: Expectation) -> Double? {
        let phases = phases.filter {
            $0.measure && (expectation.phase == nil || expectation.phase == $0.name)
        }
        var total = 0.0
        for phase in phases {
            guard let requests = plannedRequests(in: phase) else { return nil }
            total += requests
        }
        return total * Double(rounds.min)
    }

    /// The same of changes of which proxies are told.
    private func pushes(for expectation: Expectation) -> Double? {
        Double(pushes(during: expectation.phase) * rounds.min)
    }

    private var shortPhases: [String] {
        phases.filter { $0.measure && $0.duration < .seconds(1) }.map {
            "the phase '\($0.name)' is measured for \($0.duration.text): below 1s, starting up and "
                + "the clock ticks of CPU accounting weigh too much"
        }
    }

    private var missingWarmUp: [String] {
        guard let first = phases.first, first.measure else { return [] }
        return [
            "the first phase '\(first.name)' is measured: connections, caches and memory are still "
                + "cold; put a phase with measure: false before it"
        ]
    }

    /// A closed loop waits for the slow answer before it asks again: coordinated omission.
    private var closedLoopResponse: [String] {
        guard loads.contains(where: { $0.arrivals == .closed }) else { return [] }
        return expectations.filter { expectation in
            (expectation.left.metrics + expectation.right.metrics).contains(where: \.isResponse)
        }
        .map {
            """
            '\($0.source)': with closed arrivals no request is sent while one is slow, so response \
            latency hides what users would wait
            """
        }
    }

    private var fewRounds: [String] {
        let compares = expectations.contains {
            ($0.left.metrics + $0.right.metrics).contains(where: \.isDifference)
        }
        guard compares, rounds.min < 4 else { return [] }
        return [
            """
            \(rounds.min) rounds give no useful interval for an overhead: the bootstrap over \
            rounds needs at least 4, better 6
            """
        ]
    }

    /// Going direct, the client itself spreads its connections over the replicas; through the mesh
    /// they all go to one proxy: part of the difference is then the client's.
    private var unlikeClients: [String] {
        let ways = Set(arms.map(\.via))
        guard ways.count > 1, mesh.dataplane != .none else { return [] }
        return loads.compactMap { load in
            let replicas = services.first { $0.name == load.to }?.replicas ?? 1
            guard replicas > 1 else { return nil }
            return """
                the load '\(load.name)' has \(replicas) targets on arms that go direct and one on \
                those through the mesh: with replicas: 1 its connections would be the same in both
                """
        }
    }

    /// Faults that no phase has.
    private var idleFaults: [String] {
        let named = Set(phases.flatMap(\.faults))
        return faults.map(\.name).filter { !named.contains($0) }.map {
            "the fault '\($0)' is in no phase, so it will not be"
        }
    }

    /// Faults at a caller's proxy that stand on the wrong side of its retries.
    private var misplacedFaults: [String] {
        guard let arm = arms.first(where: { $0.via == .mesh }) else { return [] }
        let mesh = MeshState(isJoined(arm) ? declarations(in: arm) : [])
        return faults.compactMap { fault in
            guard let name = fault.service, case .requests(let effect) = fault.action else {
                return nil
            }
            let service = MeshName(name)
            let isRetried =
                mesh.policy(for: service)?.retry?.isOn == true
                || mesh.routes.values.contains { route in
                    route.retry?.isOn == true
                        && route.destinations.contains { $0.service == service }
                }
            switch fault.point {
            case .clientEgress where isRetried && effect.abort != nil:
                return """
                    the fault '\(fault.name)' answers requests before they meet the retries of \
                    '\(name)', which none of them will: point: per-attempt is behind these
                    """
            case .perAttempt where !isRetried:
                return """
                    the fault '\(fault.name)' is of attempts, and requests to '\(name)' are sent \
                    once: no retry will meet it
                    """
            default: return nil
            }
        }
    }

    /// What the mesh is declared to be, as the control plane would warn of it.
    private var policyTraps: [String] {
        guard let arm = arms.first(where: isJoined) else { return [] }
        let traps = MeshState(declarations(in: arm)).traps { name in
            services.first { $0.name == name.name }?.replicas
        }
        return traps.map(\.description)
    }

    /// Each connection carries one request at a time, so an answer's delay bounds what can be
    /// reached.
    private var pastSaturation: [String] {
        loads.compactMap { load in
            guard
                case .builtin(let behaviour)? = services.first(where: { $0.name == load.to })?.kind,
                load.arrivals != .closed, let delay = behaviour.delay.leastMedian, delay > .zero
            else { return nil }
            let reachable = Double(load.connections) / delay.seconds
            let peak = phases.map { $0.rate ?? load.rate.peak }.max() ?? 0
            guard peak > reachable else { return nil }
            return """
                the load '\(load.name)' asks \(decimal(peak))/s of \(load.connections) \
                connections, which a delay of \(delay.text) lets through at \
                \(decimal(reachable, digits: 0))/s at most: requests will wait
                """
        }
    }
}

extension Metric {
    fileprivate var quantile: Double? {
        switch self {
        case .percentile(let quantile, _): quantile
        case .overhead(let metric), .step(let metric): metric.quantile
        default: nil
        }
    }

    fileprivate var isResponse: Bool {
        switch self {
        case .percentile(_, .response), .mean(.response): true
        case .overhead(let metric), .step(let metric): metric.isResponse
        default: false
        }
    }
}

extension RateShape {
    fileprivate var peak: Double {
        switch self {
        case .constant(let rate): rate
        case .ramp(let start, let end): max(start, end)
        case .steps(let rates): rates.max() ?? 0
        }
    }
}

extension DelayDistribution {
    /// Half of all answers wait at least this long; nil where no point says.
    fileprivate var leastMedian: Duration? {
        points.last { $0.quantile <= 0.5 }?.delay
    }
}
