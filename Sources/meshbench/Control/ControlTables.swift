// What a control plane holds, for people: tables whose first line names the columns, and whose
// order is that of the names.

import Model

/// Columns with two blanks between, each as wide as its widest cell.
func columns(_ rows: [[String]]) -> String {
    let count = rows.map(\.count).max() ?? 0
    let widths = (0..<count).map { column in
        rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0
    }
    let lines = rows.map { row in
        let cells = zip(row, widths).map { cell, width in
            cell + String(repeating: " ", count: width - cell.count)
        }
        let line = cells.joined(separator: "  ")
        return String(line.reversed().drop { $0 == " " }.reversed())
    }
    return lines.map { $0 + "\n" }.joined()
}

extension ControlListing {
    /// Every declaration, in the order in which it came, and what cannot be read.
    var table: String {
        let notes = (damaged ?? []).map { "\($0.key) cannot be read: \($0.reason)\n" }.joined()
        guard !declarations.isEmpty else { return "nothing is declared\n" + notes }
        let rows = declarations.map { [$0.kind, $0.namespace, $0.name, $0.detail.summary] }
        return columns([["KIND", "NAMESPACE", "NAME", "WHAT"]] + rows) + notes
    }

    /// Every service with what answers for it: healthy is what is declared to be, and no check
    /// finds unhealthy.
    func services(_ checked: ControlHealth) -> String {
        let unhealthy = checked.unhealthy
        var endpoints: [MeshName: [(health: String, zone: String?)]] = [:]
        for declaration in declarations {
            guard case .endpoint(let service, _, let health, let zone, _) = declaration.detail
            else { continue }
            let name = MeshName(service, in: declaration.namespace)
            let key = MeshKey(
                .endpoint, MeshName(declaration.name, in: declaration.namespace))
            let isWell = !unhealthy.contains(key.path)
            endpoints[name, default: []].append(
                (isWell ? health : MeshEndpoint.Health.unhealthy.rawValue, zone))
        }
        var rows: [[String]] = []
        for declaration in declarations {
            guard case .service(let speech, let mtls) = declaration.detail else { continue }
            let all = endpoints[MeshName(declaration.name, in: declaration.namespace)] ?? []
            let healthy = all.count { $0.health == MeshEndpoint.Health.healthy.rawValue }
            let zones = Set(all.compactMap(\.zone)).sorted()
            rows.append([
                declaration.namespace, declaration.name, speech, mtls, "\(healthy)/\(all.count)",
                zones.isEmpty ? "-" : zones.joined(separator: ", "),
            ])
        }
        guard !rows.isEmpty else { return "no service is declared\n" }
        return columns([["NAMESPACE", "NAME", "PROTOCOL", "MTLS", "HEALTHY", "ZONES"]] + rows)
    }
}

extension ControlListed.Detail {
    /// What it says, in short.
    var summary: String {
        switch self {
        case .service(let speech, let mtls): return "\(speech), mtls \(mtls)"
        case .endpoint(let service, let address, let health, let zone, let weight):
            var text = "\(service) at \(address), \(health)"
            if let zone { text += ", zone \(zone)" }
            if weight != 1 { text += ", weight \(weight)" }
            return text
        case .route(let hosts, let to):
            let from = hosts.isEmpty ? "any host" : hosts.joined(separator: ", ")
            let targets = to.map { to.count == 1 ? $0.service : "\($0.service) (\($0.weight))" }
            return "\(from) to \(targets.joined(separator: ", "))"
        case .policy(let to): return "for \(to.joined(separator: ", "))"
        case .authorization(let action, let to): return "\(action) \(to.joined(separator: ", "))"
        case .other: return ""
        }
    }
}

extension ControlApplied {
    /// A line for each declaration that is another now, and one for all.
    func text(dryRun: Bool) -> String {
        let lists = [("created", created), ("changed", changed), ("deleted", deleted)]
        let rows = lists.flatMap { word, keys in keys.map { [word, $0] } }
        var counts = lists.filter { !$0.1.isEmpty }.map { "\($0.1.count) \($0.0)" }
        if unchanged > 0 || counts.isEmpty { counts.append("\(unchanged) unchanged") }
        let end = dryRun ? "; nothing was changed (--dry-run)" : "; revision \(revision)"
        let warned = (warnings ?? []).map { "warning: \($0)\n" }.joined()
        return columns(rows) + warned + counts.joined(separator: ", ") + end + "\n"
    }
}

extension ControlStatus {
    func text(of url: String) -> String {
        let counts = MeshKind.allCases.map(\.plural).compactMap { kind in
            declarations[kind].map { "\($0) \(kind)" }
        }
        var state = "\(store.condition), \(store.keys) keys, \(store.bytes) bytes"
        if let failure = store.failure { state += ": \(failure)" }
        return columns([
            ["server", "\(url), version \(version)"],
            ["started", started],
            ["revision", "\(revision)"],
            ["declared", counts.joined(separator: ", ")],
            ["store", state],
            ["watches", "\(watches)"],
        ])
    }
}

extension ControlNews {
    /// A line for each change: the revision, what was done, and to what.
    var text: String { columns(changes.map { ["\(revision)", $0.op, $0.key] }) }
}
