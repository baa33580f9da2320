// What a run will do to itself on purpose: what, to whom, and when.

import Base
import Model

extension ScenarioFile {
    /// The faults of each arm, with the hosts that the seed has drawn.
    var faultsPlan: [String] {
        let spans = experiment.faultSpans
        guard !spans.isEmpty else { return [] }
        let lines = spans.compactMap { span -> [String]? in
            guard let fault = experiment.faults.first(where: { $0.name == span.name }) else {
                return nil
            }
            let arms = experiment.arms.filter { experiment.isMet(fault, on: $0) }
            let isAll = arms.count == experiment.arms.count
            return [
                span.name, "\(span.begin.text) to \(span.end.text)", fault.action.title,
                fault.reach, target(of: fault),
                isAll ? "" : "on " + arms.map(\.name.rawValue).joined(separator: ", "),
            ]
        }
        return ["faults, from the start of each arm:"] + rows(lines)
    }

    private func target(of fault: FaultPlan) -> String {
        let point = fault.point.rawValue
        switch fault.point {
        case .clientEgress, .perAttempt:
            let callers = experiment.callers(of: fault).joined(separator: ", ")
            return "\(point): \(callers) → \(fault.service ?? "")"
        case .controlPlane:
            let plan = experiment.mesh.control
            let names = experiment.hosts(of: fault).map { replica in
                plan?.replicas == 1 ? "control" : "control/\(replica)"
            }
            return names.joined(separator: ", ")
        case .serverIngress, .app, .proxy, .wire:
            let hosts = experiment.hosts(of: fault).map { "\(fault.service ?? "")/\($0)" }
            return "\(point): \(hosts.joined(separator: ", "))"
        }
    }
}

extension FaultPlan {
    /// How many of the requests it means.
    fileprivate var reach: String {
        guard case .requests = action else { return "" }
        var words = chance < 1 ? "\(decimal(chance * 100, digits: 4))% of requests" : "all requests"
        if let firstAttempts {
            words += firstAttempts == 1 ? ", first attempts" : ", attempts 1 to \(firstAttempts)"
        }
        return match.isAny ? words : words + " that match"
    }
}
