// What no key can tell alone: names that must exist, be unique or make no circle, and sums that
// must stay within bounds. Where a name is itself wrong, what would follow from it is not reported
// again.

import Base
import Model

/// Bounds that no single key holds.
private enum Bounds {
    static let roundDuration = Duration.seconds(86_400)
    static let totalDuration = Duration.seconds(7 * 86_400)
    static let processes = 256
}

struct Consistency {
    let draft: ScenarioDraft
    /// The place of the file's first value, for what belongs nowhere else.
    let root: Place
    /// Whether every key was read: where one was not, what seems to be missing may only be wrong.
    let isWhole: Bool

    func check(_ decoding: inout Decoding) {
        refuseDuplicates(draft.services.map(\.name), "a service", &decoding)
        refuseDuplicates(draft.loads.map(\.name), "a load", &decoding)
        refuseDuplicates(draft.phases.value.map(\.name), "a phase", &decoding)
        refuseDuplicates(draft.expectations.map(\.name), "an expectation", &decoding)
        checkTargets(&decoding)
        checkCycles(&decoding)
        checkArms(&decoding)
        checkSpeech(&decoding)
        checkControl(&decoding)
        checkFaults(&decoding)
        checkRounds(&decoding)
        checkPhases(&decoding)
        draft.loads.forEach { checkRate(of: $0, &decoding) }
        draft.loads.forEach { checkConnections(of: $0, &decoding) }
        checkProcesses(&decoding)
    }

    private func checkTargets(_ decoding: inout Decoding) {
        let names = draft.services.compactMap(\.name?.value)
        guard names.count == draft.services.count, !names.isEmpty else { return }
        let targets = draft.loads.compactMap(\.to) + draft.services.flatMap(\.calls)
        for target in targets where !names.contains(target.value) {
            let hint = suggestion(for: target.value, in: names)
            decoding.report(target.place, "unknown service '\(target.value)'\(hint)")
        }
    }

    /// Calls must make a tree or at least no circle: a request would never end.
    private func checkCycles(_ decoding: inout Decoding) {
        var calls: [String: [Placed<String>]] = [:]
        for service in draft.services {
            if let name = service.name?.value { calls[name] = service.calls }
        }
        var finished: Set<String> = []
        func visit(_ name: String, _ way: [String]) {
            // Bound: the way holds each of at most 64 services once.
            for call in calls[name] ?? [] where !finished.contains(call.value) {
                if way.contains(call.value) {
                    let circle = way.drop { $0 != call.value } + [call.value]
                    let text = circle.joined(separator: " → ")
                    decoding.report(call.place, "the calls go round in a circle: \(text)")
                } else {
                    visit(call.value, way + [call.value])
                }
            }
            finished.insert(name)
        }
        for case let name? in draft.services.map(\.name?.value) where !finished.contains(name) {
            visit(name, [name])
        }
    }

    private func checkRounds(_ decoding: inout Decoding) {
        let rounds = draft.rounds.value
        guard rounds.min > rounds.max else { return }
        let place = draft.rounds.place.source == .standard ? root : draft.rounds.place
        decoding.report(place, "rounds.min (\(rounds.min)) is more than rounds.max (\(rounds.max))")
    }

    private func checkPhases(_ decoding: inout Decoding) {
        let phases = draft.phases.value
        guard !phases.isEmpty else { return }
        if !phases.contains(where: \.measure) {
            decoding.report(draft.phases.place, "no phase is measured: one needs measure: true")
        }
        let arm = phases.reduce(Duration.zero) { $0 + $1.duration }
        let round = arm * Int64(max(draft.arms.value.count + draft.controls.count, 1))
        if round > Bounds.roundDuration {
            decoding.report(
                draft.phases.place,
                "a round takes \(round.text), more than \(Bounds.roundDuration.text)")
        } else if round * Int64(draft.rounds.value.max) > Bounds.totalDuration {
            decoding.report(
                draft.phases.place,
                """
                \(draft.rounds.value.max) rounds of \(round.text) take more than \
                \(Bounds.totalDuration.text)
                """
            )
        }
    }

    private func checkRate(of load: LoadDraft, _ decoding: inout Decoding) {
        let phases = draft.phases.value
        if load.arrivals == .closed {
            let rates = [load.rate?.place].compactMap(\.self) + phases.compactMap(\.rate?.place)
            for place in rates {
                let name = load.name.map { "'\($0.value)' " } ?? ""
                decoding.report(
                    place, "the load \(name)has closed arrivals, which have no rate")
            }
        } else if isWhole, load.rate == nil, let place = load.name?.place,
            let phase = phases.first(where: { $0.rate == nil })
        {
            let name = phase.name.map { " '\($0.value)'" } ?? ""
            decoding.report(
                place, "the key 'rate' is missing: the phase\(name) has no rate of its own")
        }
    }

    /// A generator keeps a connection for each thread, and one to each address it calls: going
    /// direct, that is every replica.
    private func checkConnections(of load: LoadDraft, _ decoding: inout Decoding) {
        let isDefault = load.connections.place.source == .standard
        let own = isDefault ? load.name?.place ?? root : load.connections.place
        let service = draft.services.first { $0.name?.value == load.to?.value }
        for arm in draft.arms.value {
            let connections = arm.connections?.value ?? load.connections.value
            let place = arm.connections?.place ?? own
            if connections < load.threads {
                decoding.report(
                    place, "\(load.threads) threads need as many connections, not \(connections)")
            }
            guard let service, let name = service.name?.value, connections < service.replicas,
                arm.via == .direct
            else { continue }
            decoding.report(
                place,
                """
                \(service.replicas) replicas of '\(name)' need as many connections in the arm \
                '\(arm.name?.value ?? "")', not \(connections)
                """
            )
        }
    }

    private func checkProcesses(_ decoding: inout Decoding) {
        let replicas = draft.services.reduce(0) { $0 + $1.replicas }
        // Beside an Envoy stands an agent.
        let agents = draft.services.reduce(0) {
            $0 + ($1.dataplane.value == .envoy ? $1.replicas : 0)
        }
        let processes = 2 * replicas + 2 * draft.loads.count + agents + controlProcesses
        guard processes > Bounds.processes else { return }
        decoding.report(
            root,
            "services, proxies and loads make \(processes) processes, more than \(Bounds.processes)"
        )
    }
}

/// Reports every name that is there already. Nil: a name that is itself wrong.
/// - Parameter kind: with its article: `a service`.
func refuseDuplicates(
    _ names: [Placed<String>?], _ kind: String, _ decoding: inout Decoding
) {
    var seen: [String: Place] = [:]
    for case let name? in names {
        if let first = seen[name.value] {
            let message = "there is already \(kind) '\(name.value)', on line \(first.line)"
            decoding.report(name.place, message)
        } else {
            seen[name.value] = name.place
        }
    }
}
