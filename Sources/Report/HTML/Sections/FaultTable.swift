// What was done on purpose: asked for, delivered, and whether the two agree.

import Model

extension RunResult {
    /// A row for each fault of each arm, over all rounds; nothing where there was none.
    var faultsTable: Markup {
        let summaries = faultSummaries
        guard !summaries.isEmpty else { return .none }
        var table = Table(
            [
                .init(title: "Fault"), .init(title: "Arm"), .init(title: "What"),
                .init(title: "Where"), .init(title: "When", isNumber: true),
                .init(title: "requested", isNumber: true),
                .init(title: "delivered", isNumber: true),
                .init(title: "99.99 % interval", isNumber: true),
                .init(title: "requests", isNumber: true),
                .init(title: "Evidence"),
            ],
            caption: "What was asked for, and what the processes that acted, their ledgers, access "
                + "logs and the load say was done, over all rounds. Where they disagree the run is "
                + "invalid.")
        for fault in summaries {
            table.append(
                [
                    .init(Markup(fault.name)), .init(looks[fault.arm].markup),
                    .init(Markup(fault.what)), .init(Markup(fault.place)),
                    .init(Markup(fault.when)), .init(Markup(fault.requested)),
                    .init(Markup(fault.delivered)), .init(Markup(fault.interval)),
                    .init(Markup(fault.requests)),
                    .init(Markup(fault.evidence), style: fault.problem == nil ? "" : "bad"),
                ], isClose: true)
        }
        return element("h3", [:], "Faults") + table.markup
    }

    /// One fault of one arm, over all rounds.
    struct FaultSummary: Equatable {
        var name: String
        var arm: ArmName
        var what: String
        var place: String
        var when: String
        var requested = "–"
        var delivered = "–"
        var interval = "–"
        var requests = "–"
        var evidence: String
        /// The first of what is wrong; nil: nothing is.
        var problem: String?
    }

    var faultSummaries: [FaultSummary] {
        var order: [String] = []
        var groups: [String: [Fault]] = [:]
        for fault in faults ?? [] {
            let key = "\(fault.arm.rawValue) \(fault.name) \(fault.beginSeconds)"
            if groups[key] == nil { order.append(key) }
            groups[key, default: []].append(fault)
        }
        return order.compactMap { groups[$0].map(Self.summary) }
    }

    private static func summary(_ faults: [Fault]) -> FaultSummary {
        let first = faults[0]
        let problem = faults.lazy.flatMap(\.problems).first
        let shown = first.processes.prefix(3).joined(separator: ", ")
        let more = first.processes.count > 3 ? " and \(first.processes.count - 3) more" : ""
        var summary = FaultSummary(
            name: first.name, arm: first.arm, what: first.what,
            place: "\(first.point): \(shown)\(more)",
            when: "\(fixed(first.beginSeconds, 1)) to \(fixed(first.endSeconds, 1)) s",
            evidence: problem ?? "as asked for", problem: problem)
        let requests = faults.compactMap(\.requests)
        guard let asked = requests.first else {
            let count = faults.count { $0.problems.isEmpty }
            summary.delivered = "\(count) of \(faults.count)"
            if let served = faults.compactMap(\.servedFor).max(), problem == nil {
                summary.evidence = "serving again after \(Quantity.time.text(served))"
            }
            return summary
        }
        let seen = requests.reduce(0) { $0 + $1.seen }
        let hit = requests.reduce(0) { $0 + $1.hit }
        summary.requested = Quantity.share.text(asked.requested)
        summary.requests = "\(grouped(hit)) of \(grouped(seen))"
        if seen > 0 {
            summary.delivered = Quantity.share.text(Double(hit) / Double(seen))
            let low = requests.map(\.low).min() ?? 0
            let high = requests.map(\.high).max() ?? 1
            summary.interval = "\(Quantity.share.text(low)) to \(Quantity.share.text(high))"
        }
        let lines = requests.reduce(0) { $0 + $1.lines }
        if problem == nil, lines > 0 {
            let matched = requests.compactMap(\.matched)
            summary.evidence =
                "\(grouped(lines)) lines in the ledger"
                + (matched.isEmpty
                    ? "" : ", \(grouped(matched.reduce(0, +))) requests found again")
        }
        return summary
    }
}

extension RunResult.Fault {
    /// From the end of the fault to when the last of its processes served again, nanoseconds.
    fileprivate var servedFor: Double? {
        guard let servedSeconds, let endedSeconds else { return nil }
        return max(0, servedSeconds - endedSeconds) * 1e9
    }
}
