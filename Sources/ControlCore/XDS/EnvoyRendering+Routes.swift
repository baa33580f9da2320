import Base
import Model

// Which requests go where. A mesh holds its conditions against a request one after the other, most
// particular first; Envoy first chooses a virtual host by the request's host, and then a route of
// it. So the virtual host of a pattern has all conditions whose hosts cover it, in their order:
// whoever finds none of its own falls through to the wider ones, as in the reference proxy.

extension EnvoyRendering {
    private struct Entry {
        let condition: MeshRoute.Condition
        let route: EnvoyValue
        let clusters: [String]
    }

    func routes() throws(EnvoyRefusal) -> EnvoyContent {
        let entries = try entries()
        var hosts = Set(entries.map { $0.condition.host ?? "*" })
        hosts.insert("*")
        let virtualHosts = hosts.sorted().map { host -> EnvoyValue in
            let routes = entries.filter { Self.covers($0.condition.host, host) }.map(\.route)
            return ["name": .text(host), "domains": [.text(host)], "routes": .list(routes)]
        }
        let table = EnvoyValue.typed(
            EnvoyType.routes.message,
            [
                "name": .text(Self.outboundName), "ignore_port_in_host_matching": true,
                "virtual_hosts": .list(virtualHosts),
            ])
        return EnvoyContent(
            .routes, Self.outboundName, table, uses: Set(entries.flatMap(\.clusters)))
    }

    /// Those that are declared, and for each service one by its own name; of two alike, the one
    /// that is declared comes first.
    private func entries() throws(EnvoyRefusal) -> [Entry] {
        var all: [(isNamed: Bool, entry: Entry)] = []
        for (condition, name) in view.conditions {
            guard let route = view.routes[name] else { continue }
            all.append((false, try entry(condition, route)))
        }
        for service in services {
            let name = service.meshName
            var hosts = ["\(name.name).\(name.namespace)", "\(name.name).\(name.namespace).mesh"]
            if name.namespace == own.namespace { hosts.append(name.name) }
            for host in hosts {
                let condition = MeshRoute.Condition(host: host, match: .init())
                let action = action(carriage(name)).with("cluster", .text(name.text))
                all.append(
                    (
                        true,
                        Entry(
                            condition: condition,
                            route: ["match": ["prefix": "/"], "route": action],
                            clusters: [name.text])
                    ))
            }
        }
        return all.sorted { a, b in
            a.entry.condition == b.entry.condition
                ? !a.isNamed && b.isNamed : a.entry.condition < b.entry.condition
        }.map(\.entry)
    }

    private func entry(
        _ condition: MeshRoute.Condition, _ route: MeshRoute
    ) throws(EnvoyRefusal) -> Entry {
        let shares = route.destinations.filter { $0.weight > 0 }
        let asked = shares.map(\.service) + route.mirrors.map(\.target)
        for service in asked where view.services[service]?.speech ?? .tcp == .tcp {
            throw EnvoyRefusal(
                "the route \(route.meshName.text) leads to \(service.text), which cannot be "
                    + "a destination")
        }
        var value: EnvoyValue = [
            "match": try Self.match(condition.match, of: route.meshName)
        ]
        if let answer = Self.answer(route, condition.match.path) {
            value = value.merging(answer)
        } else {
            value = value.with("route", try action(route, shares, condition.match.path))
        }
        value = value.merging(Self.changes(route.requestHeaders, route.answerHeaders))
        try Self.refuse(route.globalRateLimit, of: "the route \(route.meshName.text)")
        if let limits = try Self.rateLimits(ofRoute: route) {
            value = value.with("typed_per_filter_config", limits)
        }
        return Entry(
            condition: condition, route: value,
            clusters: route.isAnsweredHere ? [] : asked.map(\.text))
    }

    /// What is to become of the requests of a declared route.
    private func action(
        _ route: MeshRoute, _ shares: [MeshRoute.Destination], _ path: ProxyConfiguration.PathMatch
    ) throws(EnvoyRefusal) -> EnvoyValue {
        let carriages = shares.map { carriage($0.service) }
        guard var carriage = carriages.first else {
            preconditionFailure("a route to nowhere was declared")
        }
        let differing = "the destinations of the route \(route.meshName.text) have different"
        guard route.timeout != nil || carriages.allSatisfy({ $0.timeout == carriage.timeout })
        else {
            let list = zip(shares, carriages).map {
                "\($0.service.text) \(EnvoyValue.seconds($1.timeout))"
            }
            throw EnvoyRefusal(
                "\(differing) request timeouts (\(list.joined(separator: ", "))), and Envoy has "
                    + "one for a route: say `timeout`")
        }
        guard route.retry != nil || carriages.allSatisfy({ $0.retry == carriage.retry }) else {
            throw EnvoyRefusal(
                "\(differing) policies of retries, and Envoy has one for a route: say `retry`")
        }
        guard carriages.allSatisfy({ $0.streamIdle == carriage.streamIdle }) else {
            throw EnvoyRefusal("\(differing) `stream_idle`, and Envoy has one for a route")
        }
        guard carriages.allSatisfy({ $0.hash == carriage.hash }) else {
            throw EnvoyRefusal("\(differing) hashes, and Envoy has one for a route")
        }
        if let own = route.retry, own.isOn || own.budget != nil,
            !carriages.allSatisfy({ $0.retry?.budget == own.budget })
        {
            // Without one of its own, its retries would be held against that of the cluster.
            throw EnvoyRefusal(
                "the route \(route.meshName.text) has "
                    + (own.budget == nil
                        ? "no retry budget, and policies of its destinations have one: "
                        : "a retry budget that the policies of its destinations have not: ")
                    + "Envoy has one for a service")
        }
        carriage.timeout = route.timeout ?? carriage.timeout
        carriage.retry = route.retry ?? carriage.retry
        return action(carriage, route.priority)
            .merging(Self.clusters(shares)).merging(Self.rewrite(route, path))
            .merging(Self.mirrors(route.mirrors))
    }

    /// Whether a condition's host (nil: any) means every host that a pattern does.
    private static func covers(_ host: String?, _ pattern: String) -> Bool {
        guard let host, host != pattern else { return true }
        // `*.a.b` means what ends in `.a.b` and has more before it.
        return host.hasPrefix("*.") && pattern.count >= host.count
            && pattern.hasSuffix(host.dropFirst())
    }
}
