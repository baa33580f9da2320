// The faults of a scenario as they are on one arm: when, and which of its processes they are about.

import Base
import Model

/// A fault on an arm, for one span of it.
struct ArmFault: Equatable, Sendable {
    var plan: FaultPlan
    var span: FaultSpan
    /// Whom it is done to, or who does it: names of nodes, in their order.
    var processes: [String]

    /// For people: `slow-leaf`.
    var name: String { plan.name }

    /// What each process holds that does it to requests; nil: it is done to the processes.
    /// - Parameter isJoined: whether proxies join, who name clusters in full.
    func rule(seed: UInt64, isJoined: Bool) -> FaultRule? {
        guard case .requests(let effect) = plan.action else { return nil }
        var random = SeededRandom(seed: seed).split("fault")
        var rule = FaultRule(
            name: plan.name, seed: random.next(), point: plan.point.ofRule ?? .app)
        if plan.point.isAtClient {
            rule.cluster = plan.service.map { isJoined ? MeshName($0).text : $0 }
        }
        // By the same proxy the service calls others, which are not meant.
        if plan.point == .serverIngress { rule.listener = ProxyConfiguration.inboundName }
        rule.match = plan.match
        rule.chance = plan.chance
        rule.firstAttempts = plan.firstAttempts
        rule.delay = effect.delay
        rule.abort = effect.abort
        rule.responseRate = effect.responseRate
        rule.hangs = effect.hangs
        rule.capacity = effect.capacity
        return rule
    }
}

extension Topology {
    /// Lays the faults of an experiment over the arm: marks the processes that hold rules, and
    /// those that are ended and have to come back where they were.
    mutating func lay(_ experiment: Experiment, _ arm: ArmPlan) {
        isJoined = experiment.isJoined(arm)
        logsAccess = !experiment.faults.isEmpty
        faults = experiment.faultSpans.compactMap { span in
            guard let plan = experiment.faults.first(where: { $0.name == span.name }),
                experiment.isMet(plan, on: arm)
            else { return nil }
            let names = processes(of: plan, experiment, arm)
            precondition(
                names.allSatisfy { name in nodes.contains { $0.name == name } },
                "a fault of a process that is not there: \(names)")
            return ArmFault(plan: plan, span: span, processes: names)
        }
        for fault in faults {
            for index in nodes.indices where fault.processes.contains(nodes[index].name) {
                if case .requests = fault.plan.action {
                    nodes[index].isInjected = true
                } else if fault.plan.action.endsProcess {
                    nodes[index].comesBack = true
                    // The address of an application is known to proxies that have started before.
                    if case .application = nodes[index].kind {
                        nodes[index].isAddressedEarly = true
                    }
                }
            }
        }
    }

    private func processes(
        of fault: FaultPlan, _ experiment: Experiment, _ arm: ArmPlan
    ) -> [String] {
        let hosts = experiment.hosts(of: fault)
        let service = fault.service ?? ""
        let hasSidecars =
            arm.via == .mesh && experiment.mesh.dataplane != .none
            && experiment.mesh.mode == .sidecar
        switch fault.point {
        case .clientEgress, .perAttempt:
            guard experiment.mesh.mode == .sidecar else { return [Experiment.gatewayName] }
            return experiment.callers(of: fault).flatMap { caller in
                if loads.contains(where: { $0.name == caller && $0.to == service }) {
                    return [clientProxyName(caller)]
                }
                let replicas = experiment.services.first { $0.name == caller }?.replicas ?? 0
                return (0..<replicas).map { sidecarName(caller, $0) }
            }
        case .serverIngress, .proxy: return hosts.map { sidecarName(service, $0) }
        case .app: return hosts.map { instance(service, $0) }
        case .wire:
            return hosts.map { hasSidecars ? sidecarName(service, $0) : instance(service, $0) }
        case .controlPlane: return hosts.map { controlName($0, of: experiment.mesh.control) }
        }
    }
}
