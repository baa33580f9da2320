// When the faults of a scenario are there, and whom they meet: the same in every round and, as far
// as there is somebody to meet, on every arm.

import Base

extension Experiment {
    /// When each fault is there, in the order of the beginnings. One that goes on from a phase to
    /// the next is one span.
    public var faultSpans: [FaultSpan] {
        var spans: [FaultSpan] = []
        var start = Duration.zero
        for phase in phases {
            for name in phase.faults {
                guard let fault = faults.first(where: { $0.name == name }) else { continue }
                let begin = start + fault.after
                let whole = start + phase.duration
                let end = min(whole, fault.lasts.map { begin + $0 } ?? whole)
                if let last = spans.lastIndex(where: { $0.name == name }), spans[last].end == begin
                {
                    spans[last].end = end
                } else if begin < end {
                    spans.append(FaultSpan(name, begin, end))
                }
            }
            start = start + phase.duration
        }
        return spans.enumerated().sorted {
            ($0.element.begin, $0.offset) < ($1.element.begin, $1.offset)
        }.map(\.element)
    }

    /// The hosts that a fault meets, by number, rising.
    public func hosts(of fault: FaultPlan) -> [Int] {
        let count =
            fault.point == .controlPlane
            ? mesh.control?.replicas ?? 0
            : services.first { $0.name == fault.service }?.replicas ?? 0
        let wanted: Int
        switch fault.hosts {
        case .all: return Array(0..<count)
        case .numbers(let numbers): return Set(numbers.filter { $0 < count }).sorted()
        case .count(let number): wanted = number
        case .share(let share): wanted = max(1, Int((share * Double(count)).rounded()))
        }
        var random = SeededRandom(seed: seed).split("hosts").split(fault.name)
        return (0..<count).shuffled(using: &random).prefix(wanted).sorted()
    }

    /// Those that call the fault's service and whose proxies act at a client's point: names of
    /// loads and services, as the scenario has them.
    public func callers(of fault: FaultPlan) -> [String] {
        let loads = loads.filter { $0.to == fault.service }.map(\.name)
        // Before the replicas of a gateway's mesh there is no proxy of their own.
        let services =
            mesh.mode == .gateway
            ? []
            : services.filter { service in
                service.dataplane == .reference
                    && service.calls.contains { $0 == fault.service }
            }.map(\.name)
        return (loads + services).filter { fault.from == nil || fault.from == $0 }
    }

    /// Whether somebody is there on an arm whom the fault can meet.
    public func isMet(_ fault: FaultPlan, on arm: ArmPlan) -> Bool {
        let isMesh = arm.via == .mesh && mesh.dataplane != .none
        switch fault.point {
        case .clientEgress, .perAttempt: return isMesh
        case .serverIngress, .proxy: return isMesh && mesh.mode == .sidecar
        case .app, .wire: return true
        case .controlPlane: return isJoined(arm)
        }
    }

    /// Whether some fault is one of requests: these are told apart by name then.
    public var hasRequestFaults: Bool {
        faults.contains { fault in
            if case .requests = fault.action { true } else { false }
        }
    }
}

extension FaultPlan.Action {
    /// For people: `delay 100ms, abort 503`.
    public var title: String {
        switch self {
        case .requests(let effect): effect.title
        case .kill: "kill"
        case .stop: "stop"
        case .refuse: "refuse"
        case .blackHole: "black hole"
        }
    }
}

extension FaultPlan.Effect {
    /// For people.
    fileprivate var title: String {
        var parts: [String] = []
        if let delay { parts.append("delay \(delay.title)") }
        switch abort {
        case .http(let status): parts.append("abort \(status)")
        case .grpc(let status): parts.append("abort gRPC \(status)")
        case nil: break
        }
        if let responseRate { parts.append("\(responseRate) B/s") }
        if hangs { parts.append("hang") }
        if let capacity {
            parts.append("capacity \(capacity.concurrency)+\(capacity.queue)")
        }
        return parts.joined(separator: ", ")
    }
}

extension DelayDistribution {
    /// For people: `10ms to 50ms`, `exponential 20ms`.
    fileprivate var title: String {
        switch law {
        case .exponential(let mean): "exponential \(mean.exactText)"
        case .uniform(let least, let most):
            "uniform \(least.exactText) to \(most.exactText)"
        case .normal(let mean, let deviation):
            "normal \(mean.exactText) ± \(deviation.exactText)"
        case .pareto(let least, _): "Pareto from \(least.exactText)"
        case nil: points.map(\.delay.exactText).joined(separator: " to ")
        }
    }
}
