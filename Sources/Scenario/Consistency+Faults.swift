// What the keys of a fault may say together, and with the rest of the scenario: that what is to act
// is there, that it can do what it is told, and that nothing is done to what is down.

import Base
import Model

extension Consistency {
    func checkFaults(_ decoding: inout Decoding) {
        checkNamed(&decoding)
        checkIDs(&decoding)
        for fault in draft.faults where fault.target.point != nil {
            checkTarget(of: fault, &decoding)
            checkAction(of: fault, &decoding)
            checkTiming(of: fault, &decoding)
        }
    }

    private func checkNamed(_ decoding: inout Decoding) {
        let names = draft.faults.map(\.name.value)
        for phase in draft.phases.value {
            var seen: Set<String> = []
            for name in phase.faults {
                guard let fault = draft.faults.first(where: { $0.name.value == name.value }) else {
                    let hint = suggestion(for: name.value, in: names)
                    decoding.report(name.place, "unknown fault '\(name.value)'\(hint)")
                    continue
                }
                if !seen.insert(name.value).inserted {
                    decoding.report(name.place, "the phase has the fault '\(name.value)' already")
                }
                checkSpan(of: fault, in: phase, &decoding)
            }
        }
    }

    private func checkSpan(
        of fault: FaultDraft, in phase: PhaseDraft, _ decoding: inout Decoding
    ) {
        guard phase.duration > .zero, let name = phase.name?.value else { return }
        let after = fault.timing.after
        if after.value >= phase.duration {
            decoding.report(
                after.place,
                "the phase '\(name)' is over by then: it lasts \(phase.duration.text)")
        } else if let lasts = fault.timing.lasts, after.value + lasts.value > phase.duration {
            decoding.report(
                lasts.place,
                "the phase '\(name)' ends before that: it lasts \(phase.duration.text)")
        }
    }

    // MARK: Where

    private func checkTarget(of fault: FaultDraft, _ decoding: inout Decoding) {
        guard let point = fault.target.point else { return }
        if point.value == .controlPlane { return checkControlPlane(fault, point, &decoding) }
        let names = draft.services.compactMap(\.name?.value)
        guard let name = fault.target.service else {
            decoding.report(fault.name.place, "the key 'service' is missing: whose \(point.value)")
            return
        }
        guard names.count == draft.services.count else { return }
        guard let service = draft.services.first(where: { $0.name?.value == name.value }) else {
            let hint = suggestion(for: name.value, in: names)
            decoding.report(name.place, "unknown service '\(name.value)'\(hint)")
            return
        }
        checkPoint(point, service, &decoding)
        checkHosts(of: fault, point.value, replicas: service.replicas, name.value, &decoding)
        checkCaller(of: fault, point.value, name.value, &decoding)
        checkRequests(of: fault, point, name.value, &decoding)
    }

    private func checkControlPlane(
        _ fault: FaultDraft, _ point: Placed<FaultPlan.Point>, _ decoding: inout Decoding
    ) {
        for place in [fault.target.service?.place, fault.target.from?.place].compactMap(\.self) {
            decoding.report(place, "the control plane is no service: leave this out")
        }
        guard let plan = draft.mesh.plan.control else {
            decoding.report(point.place, "there is no control plane: mesh: {control: true}")
            return
        }
        checkHosts(
            of: fault, point.value, replicas: plan.replicas, "the control plane", &decoding)
        let isChanged = draft.phases.value.flatMap(\.changes).contains {
            $0.kill != nil || $0.start != nil
        }
        if isChanged {
            decoding.report(
                point.place,
                "the control plane is killed and started by changes: that, or faults, not both")
        }
    }

    private func checkPoint(
        _ point: Placed<FaultPlan.Point>, _ service: ServiceDraft, _ decoding: inout Decoding
    ) {
        let name = service.name?.value ?? ""
        switch point.value {
        case .clientEgress, .perAttempt, .serverIngress, .proxy:
            if draft.mesh.dataplane == .none {
                decoding.report(
                    point.place, "without a mesh (dataplane: none) there is no proxy")
                return
            }
            if !draft.arms.value.contains(where: { $0.via == .mesh }) {
                decoding.report(point.place, "no arm goes through the mesh, so none has a proxy")
                return
            }
        case .app, .wire, .controlPlane: break
        }
        let isBeside = point.value == .serverIngress || point.value == .proxy
        if isBeside, draft.mesh.mode == .gateway {
            decoding.report(point.place, "with mode: gateway no proxy stands beside a replica")
        }
        let isWire = point.value == .wire && draft.mesh.mode == .sidecar
        if service.dataplane.value == .envoy, isBeside || isWire {
            decoding.report(
                point.place, "beside '\(name)' stands an Envoy, which meshbench gives no faults")
        }
        // Behind a sidecar the wire is the sidecar's.
        let isBare =
            draft.mesh.mode == .gateway || draft.arms.value.contains { $0.via == .direct }
        if service.command != nil, point.value == .app || point.value == .wire && isBare {
            decoding.report(
                point.place,
                "'\(name)' is a program of yours: faults are for the built-in workload")
        }
    }

    private func checkHosts(
        of fault: FaultDraft, _ point: FaultPlan.Point, replicas: Int, _ name: String,
        _ decoding: inout Decoding
    ) {
        guard let hosts = fault.target.hosts else { return }
        if point.isAtClient {
            decoding.report(
                hosts.place, "at a caller's proxy no host is chosen yet: leave this out")
            return
        }
        let most: Int
        switch hosts.value {
        case .all, .share: return
        case .count(let count): most = count
        case .numbers(let numbers):
            if Set(numbers).count < numbers.count {
                decoding.report(hosts.place, "a host stands there twice")
            }
            most = (numbers.max() ?? 0) + 1
        }
        guard most > replicas else { return }
        let count = replicas == 1 ? "1 replica" : "\(replicas) replicas"
        decoding.report(hosts.place, "'\(name)' has \(count), counted from 0")
    }

    private func checkCaller(
        of fault: FaultDraft, _ point: FaultPlan.Point, _ service: String,
        _ decoding: inout Decoding
    ) {
        guard point.isAtClient else {
            if let from = fault.target.from {
                decoding.report(from.place, "who calls is known at the callers' proxies only")
            }
            return
        }
        let loads = draft.loads.filter { $0.to?.value == service }.compactMap(\.name?.value)
        let services = draft.services.filter { caller in
            draft.mesh.mode == .sidecar && caller.dataplane.value == .reference
                && caller.calls.contains { $0.value == service }
        }.compactMap(\.name?.value)
        let callers = loads + services
        if let from = fault.target.from, !callers.contains(from.value) {
            let hint = suggestion(for: from.value, in: callers)
            decoding.report(
                from.place, "'\(from.value)' does not call '\(service)' by a proxy\(hint)")
        } else if callers.isEmpty, let name = fault.target.service {
            decoding.report(name.place, "nobody calls '\(service)' by a proxy of meshbench's")
        }
    }

    /// Only what speaks HTTP has requests.
    private func checkRequests(
        of fault: FaultDraft, _ point: Placed<FaultPlan.Point>, _ service: String,
        _ decoding: inout Decoding
    ) {
        guard case .requests? = fault.action.plan else { return }
        for load in draft.loads where load.to?.value == service {
            guard [.tcp, .websocket, .websocketHTTP2].contains(load.speech) else { continue }
            decoding.report(
                point.place,
                "the load '\(load.name?.value ?? "")' speaks \(load.speech.rawValue), which has no "
                    + "requests to meet")
        }
    }

    /// Requests are told apart by it.
    private func checkIDs(_ decoding: inout Decoding) {
        let hasRequests = draft.faults.contains {
            if case .requests? = $0.action.plan { true } else { false }
        }
        guard hasRequests else { return }
        for load in draft.loads
        where load.request.headers.contains(where: { $0.name.lowercased() == "x-request-id" }) {
            decoding.report(
                load.name?.place ?? root,
                "faults tell requests apart by their x-request-id, which the load then sets itself")
        }
    }

    // MARK: What

    private func checkAction(of fault: FaultDraft, _ decoding: inout Decoding) {
        guard let point = fault.target.point?.value, let action = fault.action.plan else { return }
        let place = fault.action.place
        guard case .requests(let effect) = action else {
            let points: [FaultPlan.Point] =
                action == .kill || action == .stop ? [.app, .proxy, .controlPlane] : [.wire]
            if !points.contains(point) {
                let list = points.map(\.rawValue).joined(separator: ", ")
                let word = fault.action.verb?.rawValue ?? ""
                decoding.report(
                    place, "'\(word)' is of a process, not of requests: point: \(list)")
            }
            checkIsNoShare(fault, &decoding)
            return
        }
        switch point {
        case .clientEgress, .perAttempt, .serverIngress:
            if effect.hangs || effect.capacity != nil {
                decoding.report(
                    fault.action.capacity?.place ?? place,
                    "'\(effect.hangs ? "hang" : "capacity")' is of the workload: point: app")
            }
        case .app:
            if let rate = fault.action.responseRate {
                decoding.report(
                    rate.place, "'response_rate' is of proxies: point: server-ingress")
            }
            if let capacity = fault.action.capacity {
                if effect.delay != nil || effect.abort != nil {
                    decoding.report(
                        capacity.place, "'capacity' is of a whole process, and stands alone")
                }
                checkIsNoShare(fault, &decoding)
            }
        case .proxy, .wire, .controlPlane:
            let words = point == .wire ? "refuse, black-hole" : "kill, stop"
            decoding.report(
                place, "no request can be told apart at \(point.rawValue): do: \(words)")
        }
        if point == .clientEgress, let attempts = fault.timing.firstAttempts {
            decoding.report(
                attempts.place, "before retries there are no attempts: point: per-attempt")
        }
    }

    /// What is done to a process is done to all of its requests.
    private func checkIsNoShare(_ fault: FaultDraft, _ decoding: inout Decoding) {
        let places = [
            fault.timing.chance?.place, fault.timing.firstAttempts?.place,
            fault.target.match?.place,
        ]
        for place in places.compactMap(\.self) {
            decoding.report(place, "what is done to a whole process meets all of its requests")
        }
    }

    private func checkTiming(of fault: FaultDraft, _ decoding: inout Decoding) {
        if let chance = fault.timing.chance, chance.value == 0 {
            decoding.report(chance.place, "with a chance of 0% nothing would be done")
        }
    }
}

/// Whether faults of processes go together with others, which can be told once hosts have been
/// drawn.
struct FaultConsistency {
    let draft: ScenarioDraft
    let experiment: Experiment

    /// Who kills what is down, or would have it do something to requests, has meant something else:
    /// nothing would happen.
    func check(_ decoding: inout Decoding) {
        struct Hold {
            var fault: FaultPlan
            var span: FaultSpan
            var processes: Set<FaultedProcess>
        }
        var holds: [Hold] = []
        for span in experiment.faultSpans {
            guard let fault = experiment.faults.first(where: { $0.name == span.name }) else {
                continue
            }
            let processes = experiment.processes(of: fault)
            let clash = holds.first { hold in
                span.begin < hold.span.end && (fault.isOfProcess || hold.fault.isOfProcess)
                    && hold.fault.name != fault.name && !hold.processes.isDisjoint(with: processes)
            }
            if let clash, let place = draft.faults.first(where: { $0.name.value == fault.name }) {
                decoding.report(
                    place.name.place,
                    "'\(clash.fault.name)' has the same process at the time "
                        + "(\(span.begin.text) from the start of the arm)")
                return
            }
            holds.append(Hold(fault: fault, span: span, processes: processes))
        }
    }
}

/// A process that faults are about.
private enum FaultedProcess: Hashable {
    case application(String, Int)
    case proxy(String, Int)
    case control(Int)
}

extension FaultPlan {
    fileprivate var isOfProcess: Bool {
        if case .requests = action { false } else { true }
    }
}

extension Experiment {
    /// Those that a fault is done to, or that do it to requests.
    fileprivate func processes(of fault: FaultPlan) -> Set<FaultedProcess> {
        let hosts = hosts(of: fault)
        let service = fault.service ?? ""
        let applications = hosts.map { FaultedProcess.application(service, $0) }
        let proxies = hosts.map { FaultedProcess.proxy(service, $0) }
        return switch fault.point {
        case .app: Set(applications)
        case .serverIngress, .proxy: Set(proxies)
        // What stands at a host's address is one of its two processes, on one arm or another.
        case .wire: Set(applications + proxies)
        case .controlPlane: Set(hosts.map { .control($0) })
        case .clientEgress, .perAttempt:
            Set(
                services.filter { callers(of: fault).contains($0.name) }.flatMap { caller in
                    (0..<caller.replicas).map { .proxy(caller.name, $0) }
                })
        }
    }
}
