import ProxyCore

/// What the workers count by name, as `/stats` tells it. The text is made on the main thread, apart
/// from the workers, which go on counting meanwhile.
struct TrafficStatistics {
    private struct Entry {
        let thing: CountedThing
        let labels: String
        let lines: [CountLine]
        /// Endpoints that requests have shown to be left out.
        var isEjected = false
        var ejections = 0
        /// What comes first where there are too many.
        var isWanted = true
        var requests: UInt64 = 0
        /// Of a cluster.
        var members = 0
        var healthyMembers = 0
    }

    /// Things of each kind in one answer. Bound: an answer of some megabytes, whatever there is.
    static let most = 500

    private var entries: [CountedThing.Kind: [Entry]] = [:]
    private var leftOut: [CountedThing.Kind: Int] = [:]

    /// - Parameters:
    ///   - counts: the workers'.
    ///   - filter: things with this text in their labels come first where there are too many;
    ///     empty: those with the most requests.
    init(_ counts: [TrafficCounts], _ boards: [HostBoard], filter: String) {
        var lines: [CountedThing: [CountLine]] = [:]
        for worker in counts {
            for (thing, line) in worker.lines { lines[thing, default: []].append(line) }
        }
        var ejected: [String: Set<String>] = [:]
        var ejections: [String: [String: Int]] = [:]
        for board in boards where board.judges {
            ejected[board.cluster, default: []].formUnion(board.leftOut)
            ejections[board.cluster, default: [:]].merge(board.ejections, uniquingKeysWith: +)
        }
        var members: [String: (all: Int, healthy: Int)] = [:]
        for kind in CountedThing.Kind.allCases { entries[kind] = [] }
        for (thing, lines) in lines {
            var entry = Entry(thing: thing, labels: Self.labels(thing), lines: lines)
            if thing.kind == .host {
                entry.isEjected = ejected[thing.cluster]?.contains(thing.part) == true
                entry.ejections = ejections[thing.cluster]?[thing.part] ?? 0
                let isHealthy = Self.value(HostCount.isHealthy, lines) > 0 && !entry.isEjected
                members[thing.cluster, default: (0, 0)].all += 1
                members[thing.cluster, default: (0, 0)].healthy += isHealthy ? 1 : 0
            }
            entries[thing.kind, default: []].append(entry)
        }
        for kind in CountedThing.Kind.allCases { choose(kind, filter) }
        for i in (entries[.cluster] ?? []).indices {
            guard let name = entries[.cluster]?[i].thing.cluster, let found = members[name] else {
                continue
            }
            entries[.cluster]?[i].members = found.all
            entries[.cluster]?[i].healthyMembers = found.healthy
        }
    }

    /// Leaves out what is too much, and puts the rest in the order of its labels.
    private mutating func choose(_ kind: CountedThing.Kind, _ filter: String) {
        var chosen = entries[kind] ?? []
        if chosen.count > Self.most {
            leftOut[kind] = chosen.count - Self.most
            for i in chosen.indices {
                chosen[i].isWanted = filter.isEmpty || chosen[i].labels.contains(filter)
                chosen[i].requests = chosen[i].lines.reduce(0) { $0 &+ $1.requests }
            }
            chosen.sort(by: Self.comesBefore)
            chosen.removeLast(chosen.count - Self.most)
        }
        entries[kind] = chosen.sorted { $0.labels < $1.labels }
    }

    private static func comesBefore(_ a: Entry, _ b: Entry) -> Bool {
        if a.isWanted != b.isWanted { return a.isWanted }
        return a.requests == b.requests ? a.labels < b.labels : a.requests > b.requests
    }

    /// Prometheus' text format.
    var prometheus: String {
        var text = ""
        add(ClusterCount.self, .cluster, to: &text)
        add(PolicyCount.self, .cluster, to: &text)
        addAnswers(.cluster, to: &text)
        add("cluster_membership_total", "gauge", .cluster, to: &text) { UInt64($0.members) }
        add("cluster_membership_healthy", "gauge", .cluster, to: &text) {
            UInt64($0.healthyMembers)
        }
        add(RouteCount.self, .route, to: &text)
        add(PolicyCount.self, .route, to: &text)
        addAnswers(.route, to: &text)
        add(ListenerCount.self, .listener, to: &text)
        add(HostCount.self, .host, to: &text)
        add("host_ejections_total", "counter", .host, to: &text) { UInt64($0.ejections) }
        add("host_ejected", "gauge", .host, to: &text) { $0.isEjected ? 1 : 0 }
        text += "# TYPE meshbench_proxy_stats_left_out gauge\n"
        for kind in CountedThing.Kind.allCases {
            text += "meshbench_proxy_stats_left_out{kind=\"\(kind.rawValue)\"} "
            text += "\(leftOut[kind] ?? 0)\n"
        }
        return text
    }

    private func add<Name: CountName>(
        _: Name.Type, _ kind: CountedThing.Kind, to text: inout String
    ) {
        for count in Name.allCases {
            // Envoy's names; where they lack the ending that Prometheus wants of counters, with it.
            var name = "\(kind.rawValue)_\(count.name)"
            if count.form == .counter, !name.hasSuffix("_total") { name += "_total" }
            let type = count.form == .counter ? "counter" : "gauge"
            add(name, type, kind, to: &text) { Self.value(count, $0.lines) }
        }
    }

    /// Answers by class, and all of them.
    private func addAnswers(_ kind: CountedThing.Kind, to text: inout String) {
        let prefix = "\(kind.rawValue)_upstream_rq"
        add("\(prefix)_completed_total", "counter", kind, to: &text) {
            $0.lines.reduce(0) { $0 &+ $1.completed }
        }
        for statusClass in StatusClass.allCases {
            add("\(prefix)_\(statusClass.name)_total", "counter", kind, to: &text) {
                $0.lines.reduce(0) { $0 &+ $1[statusClass] }
            }
        }
    }

    private func add(
        _ name: String, _ type: String, _ kind: CountedThing.Kind, to text: inout String,
        _ value: (Entry) -> UInt64
    ) {
        guard let entries = entries[kind], !entries.isEmpty else { return }
        text += "# TYPE meshbench_proxy_\(name) \(type)\n"
        for entry in entries {
            text += "meshbench_proxy_\(name){\(entry.labels)} \(value(entry))\n"
        }
    }

    private static func value(_ count: some CountName, _ lines: [CountLine]) -> UInt64 {
        switch count.form {
        case .counter, .gauge: lines.reduce(0) { $0 &+ $1[count] }
        // A worker that has not yet gone over to a new configuration tells the old state.
        case .state: lines.map { $0[count] }.min() ?? 0
        }
    }

    private static func labels(_ thing: CountedThing) -> String {
        switch thing.kind {
        case .cluster: "cluster=\"\(escaped(thing.cluster))\""
        case .host:
            "cluster=\"\(escaped(thing.cluster))\",upstream=\"\(escaped(thing.part))\""
        case .route: "route=\"\(escaped(thing.part))\""
        case .listener: "listener=\"\(escaped(thing.part))\""
        }
    }

    private static func escaped(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 == 0x22 || $0 == 0x5C || $0 == 0x0A }) else {
            return text
        }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": escaped += "\\\""
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// The lines of an answer with a text in them, and what they are.
    static func lines(of text: String, with filter: String) -> String {
        var kept = ""
        var type: Substring?
        for line in text.split(separator: "\n") {
            if line.hasPrefix("#") {
                type = line
            } else if line.contains(filter) {
                if let type { kept += type + "\n" }
                type = nil
                kept += line + "\n"
            }
        }
        return kept
    }
}
