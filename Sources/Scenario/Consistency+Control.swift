// What only a mesh with a control plane can do. What proxies that join it cannot stands in
// `Consistency+Joined.swift`.

import Base
import Model

/// Changes of one arm: each stands in the results for each round.
private let mostChanges = 2_000

extension Consistency {
    func checkControl(_ decoding: inout Decoding) {
        let counts = draft.phases.value.map { checkChanges(of: $0, &decoding) }
        let count = counts.reduce(0, +)
        if count > mostChanges, let phase = counts.firstIndex(where: { $0 > 0 }),
            let place = draft.phases.value[phase].changes.first?.place
        {
            decoding.report(place, "\(count) changes of one arm are more than \(mostChanges)")
        } else {
            checkCuts(&decoding)
        }
        checkEnvoys(&decoding)
        let control = draft.mesh.control
        if draft.mesh.dataplane == .none, control.value != nil, control.place.source != .standard {
            decoding.report(
                control.place, "without a mesh (dataplane: none) there is nothing to control")
        }
        if draft.mesh.plan.control == nil {
            checkUncontrolled(&decoding)
        } else {
            checkJoined(&decoding)
        }
    }

    /// Processes of the control plane, its store among them.
    var controlProcesses: Int {
        guard let plan = draft.mesh.plan.control else { return 0 }
        return plan.replicas + (plan.store == .etcd ? 1 : 0)
    }

    private var killsControl: Bool {
        draft.phases.value.flatMap(\.changes).contains { $0.kill != nil }
    }

    private func checkEnvoys(_ decoding: inout Decoding) {
        for service in draft.services where service.dataplane.value == .envoy {
            let place = service.dataplane.place
            if draft.mesh.mode == .gateway {
                decoding.report(place, "with mode: gateway no proxy stands beside a replica")
            } else if draft.mesh.dataplane == .none {
                decoding.report(place, "without a mesh (dataplane: none) there is no proxy")
            } else if draft.mesh.plan.control == nil {
                decoding.report(
                    place, "a control plane tells an Envoy what to serve: mesh: {control: true}")
            } else if let plan = draft.mesh.plan.control, plan.replicas > 1, killsControl {
                // Its questions go to two of them for a while, and which of both answers counts
                // cannot be told.
                decoding.report(
                    place,
                    "an Envoy of several control planes cannot be told to have a change in "
                        + "force while one of them is killed")
            }
        }
    }

    /// Nobody would be told.
    private func checkUncontrolled(_ decoding: inout Decoding) {
        let scale = draft.mesh.timeScale
        if scale.value != 1, scale.place.source != .standard {
            decoding.report(
                scale.place,
                "only declarations have times to scale: mesh: {control: true}")
        }
        let changes = draft.phases.value.flatMap(\.changes).map(\.place)
        let rules =
            draft.policies.map(\.node.place) + draft.routes.map(\.node.place)
            + draft.authorizations.map(\.node.place)
            + draft.services.compactMap(\.health?.place)
        let advice =
            draft.mesh.dataplane == .none
            ? "and without a mesh (dataplane: none) there is none" : "mesh: {control: true}"
        for place in rules + changes {
            decoding.report(place, "only a control plane can tell proxies of this: \(advice)")
        }
        let modes = [draft.mesh.hopSecurity] + draft.arms.value.compactMap(\.hopSecurity)
        for mode in modes where mode.value == .permissive {
            decoding.report(
                mode.place, "permissive is for proxies that join: mesh: {control: true}")
        }
        guard draft.mesh.dataplane != .none, draft.mesh.mode == .sidecar else { return }
        for callee in draft.services.flatMap(\.calls) where callee.value == Experiment.ownCluster {
            decoding.report(
                callee.place,
                "without a control plane a proxy calls the process beside it '\(callee.value)': "
                    + "give the service another name, or write mesh: {control: true}")
        }
    }

    /// - Returns: how many there are.
    private func checkChanges(of phase: PhaseDraft, _ decoding: inout Decoding) -> Int {
        var count = 0
        for change in phase.changes {
            if change.at.value >= phase.duration, phase.duration > .zero {
                let place = change.at.place.source == .standard ? change.place : change.at.place
                decoding.report(
                    place, "the phase is over by then: it lasts \(phase.duration.text)")
                continue
            }
            count += change.offsets(within: phase.duration).count
            for drain in [change.drain, change.undrain] {
                if let drain { checkReplica(drain, &decoding) }
            }
            for control in [change.kill, change.start] {
                if let control { checkReplica(control, &decoding) }
            }
        }
        return count
    }

    /// Whoever kills what is down, or starts what runs, has meant something else: nothing would
    /// happen. Only the first of them is told: what follows would follow from it.
    private func checkCuts(_ decoding: inout Decoding) {
        guard let plan = draft.mesh.plan.control else { return }
        let all = Set(0..<plan.replicas)
        var running = all
        for (_, change) in draft.dueChanges {
            for (named, isStart) in [(change.kill, false), (change.start, true)] {
                guard let named else { continue }
                let meant = named.value.replica.map { [$0] } ?? all
                guard meant.isSubset(of: all) else { return }
                if meant.isDisjoint(with: isStart ? all.subtracting(running) : running) {
                    let what = named.value.replica.map { "control/\($0)" } ?? "control"
                    decoding.report(
                        named.place,
                        isStart
                            ? "'\(what)' runs by then: start is for what was killed"
                            : "'\(what)' is down by then: it was killed and not started again")
                    return
                }
                if isStart { running.formUnion(meant) } else { running.subtract(meant) }
            }
        }
    }

    private func checkReplica(
        _ drain: Placed<ChangeDraft.ReplicaName>, _ decoding: inout Decoding
    ) {
        let names = draft.services.compactMap(\.name?.value)
        guard names.count == draft.services.count else { return }
        guard let service = draft.services.first(where: { $0.name?.value == drain.value.service })
        else {
            let hint = suggestion(for: drain.value.service, in: names)
            decoding.report(drain.place, "unknown service '\(drain.value.service)'\(hint)")
            return
        }
        guard drain.value.replica >= service.replicas else { return }
        decoding.report(
            drain.place,
            "'\(drain.value.service)' has \(counted(service.replicas)), counted from 0")
    }

    private func checkReplica(
        _ control: Placed<ChangeDraft.ControlName>, _ decoding: inout Decoding
    ) {
        guard let replica = control.value.replica, let plan = draft.mesh.plan.control,
            replica >= plan.replicas
        else { return }
        decoding.report(
            control.place, "the control plane has \(counted(plan.replicas)), counted from 0")
    }
}

private func counted(_ replicas: Int) -> String {
    replicas == 1 ? "1 replica" : "\(replicas) replicas"
}

/// The mesh that a scenario declares, held against the rules of meshes as the control plane will
/// hold it.
struct MeshConsistency {
    let draft: ScenarioDraft
    let experiment: Experiment
    let root: Place

    func check(_ decoding: inout Decoding) {
        for arm in experiment.arms where experiment.isJoined(arm) {
            checkDeclarations(of: arm, &decoding)
        }
        checkExpectations(&decoding)
    }

    private func checkDeclarations(of arm: ArmPlan, _ decoding: inout Decoding) {
        let declarations = experiment.declarations(in: arm)
        var seen: Set<MeshKey> = []
        var state = MeshState()
        for declaration in declarations {
            if !seen.insert(declaration.key).inserted {
                decoding.report(
                    place(of: declaration.key, last: true),
                    "there is already a \(declaration.key.title)")
            }
            state.declare(declaration)
        }
        let problems = state.check()
        for problem in problems { decoding.report(place(of: problem), problem.message) }
        guard problems.isEmpty else { return }
        checkChanges(of: state, &decoding)
    }

    /// Each change once, in the order of their first instants.
    private func checkChanges(of state: MeshState, _ decoding: inout Decoding) {
        var state = state
        for phase in draft.phases.value {
            for change in phase.changes.sorted(by: { $0.at.value < $1.at.value }) {
                let applied = change.apply ?? []
                for declaration in applied { state.declare(declaration.value) }
                let problems = state.check(changed: Set(applied.map(\.value.key)))
                for problem in problems {
                    let own = applied.last { $0.value.key == problem.key }
                    decoding.report(
                        own?.node.place(of: problem.path) ?? change.place,
                        own == nil ? problem.description : problem.message)
                }
                if !problems.isEmpty { return }
            }
        }
    }

    private func place(of problem: MeshProblem) -> Place {
        node(of: problem.key)?.place(of: problem.path) ?? place(of: problem.key)
    }

    private func place(of key: MeshKey, last: Bool = false) -> Place {
        let control = draft.mesh.control.place
        return node(of: key, last: last)?.place ?? (control.source == .standard ? root : control)
    }

    private func node(of key: MeshKey, last: Bool = false) -> Node? {
        let nodes =
            draft.policies.filter { $0.value.key == key }.map(\.node)
            + draft.routes.filter { $0.value.key == key }.map(\.node)
            + draft.authorizations.filter { $0.value.key == key }.map(\.node)
        return last ? nodes.last : nodes.first
    }

    // MARK: Expectations

    private func checkExpectations(_ decoding: inout Decoding) {
        for (expectation, line) in zip(experiment.expectations, draft.expectations) {
            let metrics = expectation.left.metrics + expectation.right.metrics
            guard metrics.contains(where: { $0.latency == .configPush }) else { continue }
            let name = expectation.arm ?? experiment.armNames.subject
            guard let arm = experiment.arms.first(where: { $0.name == name }) else { continue }
            if !experiment.isJoined(arm) || metrics.contains(where: \.isDifference) {
                decoding.report(
                    line.node.place,
                    "config_push is of one arm whose proxies join a control plane")
            } else if !experiment.isPushed(during: expectation.phase) {
                decoding.report(
                    line.node.place, "config_push of what? Nothing is applied or drained then")
            }
        }
    }
}

extension Experiment {
    /// Whether proxies are told of a change that is due in a phase, or in any measured one.
    fileprivate func isPushed(during name: String?) -> Bool { pushes(during: name) > 0 }

    /// Changes of which proxies are told, in a phase or in all measured ones.
    func pushes(during name: String?) -> Int {
        var start = Duration.zero
        var count = 0
        for phase in phases {
            let end = start + phase.duration
            if phase.measure, name == nil || name == phase.name {
                count += changes.count { $0.isPushed && start <= $0.offset && $0.offset < end }
            }
            start = end
        }
        return count
    }
}
