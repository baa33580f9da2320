// What a run will do, before it does it.

import Base
import Model

extension ScenarioFile {
    /// The services, loads, timeline and order of arms, the requests to be offered and the time
    /// needed.
    public var plan: String {
        let sections = [
            headline, servicesPlan, loadsPlan, armsPlan, timelinePlan, changesPlan, faultsPlan,
            roundsPlan, expectationsPlan, controlsPlan, warningsPlan,
        ]
        return sections.filter { !$0.isEmpty }.map { $0.joined(separator: "\n") + "\n" }
            .joined(separator: "\n")
    }

    private var headline: [String] {
        let about = experiment.about.isEmpty ? "" : ": \(experiment.about)"
        let proven = MeshFeature.all.filter { experiment.proves.contains($0.number) }
        return ["\(experiment.name)\(about)", "seed \(experiment.seed), scenario \(hash)"]
            + (proven.isEmpty
                ? []
                : ["proves " + proven.map { "\($0.number) \($0.title)" }.joined(separator: "; ")])
    }

    private var servicesPlan: [String] {
        let mesh = experiment.mesh
        let threads = mesh.workers == 1 ? "1 worker" : "\(mesh.workers) workers"
        let proxies =
            switch mesh.mode {
            case .sidecar: "one before each load, one before each replica, \(threads) each"
            case .gateway: "one before all replicas of each service, \(threads)"
            }
        let plane =
            mesh.dataplane == .none
            ? "mesh: none" : "mesh: \(mesh.dataplane.rawValue), \(mesh.mode.rawValue): \(proxies)"
        let control = mesh.control.map { "; they join \($0.summary)" } ?? ""
        return [plane + control, "services:"]
            + rows(experiment.services.map { [$0.name, "×\($0.replicas)", $0.summary] })
    }

    private var loadsPlan: [String] {
        ["load:"]
            + rows(
                experiment.loads.map { load in
                    [
                        "\(load.name) → \(load.to)",
                        schedule(of: load),
                        resources(of: load),
                        "\(load.request.method) \(load.request.path)",
                    ]
                })
    }

    private var armsPlan: [String] {
        ["arms:"]
            + rows(
                experiment.arms.map { arm in
                    let way = arm.via == .direct ? "straight to the service" : "through the mesh"
                    return [arm.name.rawValue, way, experiment.speech(in: arm)]
                })
    }

    private func schedule(of load: LoadPlan) -> String {
        if load.arrivals == .closed { return "closed loop" }
        let isOwn = experiment.phases.contains { $0.rate == nil }
        let rate = isOwn ? load.rate.summary : "each phase's rate"
        return "\(rate), \(load.arrivals.rawValue)"
    }

    private func resources(of load: LoadPlan) -> String {
        let threads = "\(load.threads) \(noun("thread", load.threads))"
        let connections = "\(load.connections) \(noun("connection", load.connections))"
        return "\(connections), \(threads), timeout \(load.timeout.text)"
    }

    private var timelinePlan: [String] {
        var start = Duration.zero
        var lines: [[String]] = []
        for phase in experiment.phases {
            let end = start + phase.duration
            let requests =
                experiment.plannedRequests(in: phase).map { "\(decimal($0, digits: 0)) requests" }
                ?? "as many requests as are answered"
            lines.append([
                phase.name, "\(start.text) to \(end.text)", requests,
                phase.measure ? "measured" : "not measured",
            ])
            start = end
        }
        return ["each arm of each round, \(experiment.armDuration.text):"] + rows(lines)
    }

    /// Those that come again and again stand there a few times only.
    private var changesPlan: [String] {
        let shown = 12
        let changes = experiment.changes
        guard !changes.isEmpty else { return [] }
        var lines = changes.prefix(shown).map { ["at \($0.offset.text)", $0.title] }
        if changes.count > shown { lines.append(["…", "\(changes.count) in all"]) }
        return ["changes in each arm with a control plane:"] + rows(lines)
    }

    private var roundsPlan: [String] {
        let rounds = experiment.rounds
        let shown = 6
        var lines = (0..<min(rounds.max, shown)).map { round in
            let order = experiment.turns(ofRound: round).map(\.name.rawValue).joined(
                separator: ", ")
            return ["round \(round + 1)", order, round < rounds.min ? "" : "only if undecided"]
        }
        if rounds.max > shown { lines.append(["…", "", ""]) }
        let least = experiment.duration(rounds: rounds.min).text
        let most = experiment.duration(rounds: rounds.max).text
        let range = rounds.min == rounds.max ? least : "\(least) to \(most)"
        let count = rounds.min == rounds.max ? "\(rounds.min)" : "\(rounds.min) to \(rounds.max)"
        let head = "rounds: \(count), \(range) in all"
        return ["\(head) and the time to start and stop processes"] + rows(lines)
    }

    private var expectationsPlan: [String] {
        guard !experiment.expectations.isEmpty else { return [] }
        return ["expectations:"]
            + experiment.expectations.map { expectation in
                "  " + (expectation.name.map { "\($0): " } ?? "") + expectation.source
            }
    }

    /// What is run again without something, and what must fail then.
    private var controlsPlan: [String] {
        guard !experiment.controls.isEmpty else { return [] }
        return ["controls:"]
            + rows(
                experiment.controls.map { control in
                    let names = control.mustFail.map { index in
                        experiment.expectations[index].name ?? ""
                    }
                    return [
                        control.arm.name.rawValue,
                        "\(control.of.rawValue) \(control.changes.joined(separator: ", "))",
                        "must fail \(names.joined(separator: ", "))",
                    ]
                })
    }

    private var warningsPlan: [String] {
        let warnings = experiment.warnings
        return warnings.isEmpty ? [] : ["warnings:"] + warnings.map { "  \($0)" }
    }
}

/// Cells in columns, indented by two.
func rows(_ cells: [[String]]) -> [String] {
    let columns = cells.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in cells.map { $0[column].count }.max() ?? 0 }
    return cells.map { row in
        let line = zip(row, widths).map { padded($0, $1) }.joined(separator: "  ")
        return "  " + String(line.reversed().drop { $0 == " " }.reversed())
    }
}

private func noun(_ word: String, _ count: Int) -> String { count == 1 ? word : word + "s" }

extension ControlPlan {
    fileprivate var summary: String {
        switch (replicas, store) {
        case (1, .folder): "a control plane"
        case (1, .etcd): "a control plane over an etcd"
        default: "a control plane of \(replicas) replicas over an etcd"
        }
    }
}

extension ServicePlan {
    fileprivate var summary: String {
        let answer =
            switch kind {
            case .command(let plan): plan.arguments.joined(separator: " ")
            case .builtin(let behaviour): behaviour.summary
            }
        return dataplane == .envoy ? "\(answer), beside an Envoy" : answer
    }
}

extension AppBehaviour {
    fileprivate var summary: String {
        var parts = ["built in", "\(size) B" + (chunked ? " chunked" : "")]
        if !delay.points.isEmpty {
            let points = delay.points.map { point in
                delay.points.count == 1
                    ? point.delay.text
                    : "p\(decimal(point.quantile * 100, digits: 4)) \(point.delay.text)"
            }
            parts.append("delay \(points.joined(separator: " "))")
        }
        if burn > .zero { parts.append("burn \(burn.text)") }
        parts += statuses.map { "\(decimal($0.share * 100, digits: 4))% status \($0.status)" }
        if !calls.isEmpty { parts.append("calls \(calls.joined(separator: ", "))") }
        return parts.joined(separator: ", ")
    }
}

extension RateShape {
    fileprivate var summary: String {
        switch self {
        case .constant(let rate): "\(decimal(rate))/s"
        case .ramp(let start, let end): "\(decimal(start))/s to \(decimal(end))/s"
        case .steps(let rates): rates.map { "\(decimal($0))/s" }.joined(separator: ", ")
        }
    }
}
