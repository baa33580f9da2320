import Model

// Who may ask for what, as rules of Envoy's filters of role-based access. What one filter denies is
// denied, so that of `deny` stands before that of `allow`; and one that allows without a policy
// allows nothing. No rule means the control plane, which asks how a service is.

extension EnvoyRendering {
    /// Filters in order: what each does with those that a policy means, and the policies.
    var authorization: [(action: String, policies: EnvoyValue)] {
        let all = view.authorizations.values
            .filter { $0.targets.contains { $0.covers(own.meshName) } }
            .sorted { $0.meshName < $1.meshName }
        var filters: [(action: String, policies: EnvoyValue)] = []
        let denies = policies(all.filter { $0.action == .deny })
        if !denies.isEmpty { filters.append(("DENY", Self.policies(denies))) }
        let allows = all.filter { $0.action == .allow }
        if !allows.isEmpty {
            // No declaration has such a name.
            let control = EnvoyValue.Member(
                name: "control",
                value: ["permissions": [Self.all([])], "principals": [controlPrincipal]])
            filters.append(("ALLOW", Self.policies(policies(allows) + [control])))
        }
        return filters
    }

    /// Whether rules ask for headers. Names with `_` must then be refused: applications may take
    /// them for those with `-` (RFC 3875, 4.1.18).
    var restrictsHeaders: Bool {
        view.authorizations.values.contains { authorization in
            authorization.targets.contains { $0.covers(own.meshName) }
                && authorization.rules.contains { !$0.headers.isEmpty }
        }
    }

    private func policies(_ authorizations: [MeshAuthorization]) -> [EnvoyValue.Member] {
        var members: [EnvoyValue.Member] = []
        for authorization in authorizations {
            for (index, rule) in authorization.rules.enumerated() {
                var rule = rule
                if own.speech == .tcp, rule.asksForHTTP {
                    // As the reference proxy does: bytes may ask for what is denied.
                    guard authorization.action == .deny else { continue }
                    rule = rule.withoutHTTP
                }
                let permissions = permissions(rule, authorization.action)
                members.append(
                    .init(
                        name: "\(authorization.meshName.text)/\(index)",
                        value: [
                            "permissions": [Self.all(permissions)],
                            "principals": [principal(rule, authorization.action)],
                        ]))
            }
        }
        return members
    }

    /// In the order of their names, as Envoy holds them.
    private static func policies(_ members: [EnvoyValue.Member]) -> EnvoyValue {
        return .object(members.sorted { $0.name < $1.name })
    }

    private func permissions(
        _ rule: MeshAuthorization.Rule, _ action: MeshAuthorization.Action
    ) -> [EnvoyValue] {
        let headers =
            action == .deny
            ? Self.headersInAnyReading(rule.methods, rule.headers)
            : Self.headers(rule.methods, rule.headers)
        var all = headers.map { EnvoyValue.object([.init(name: "header", value: $0)]) }
        if !rule.paths.isEmpty || !rule.prefixes.isEmpty {
            all += action == .deny ? Self.denied(rule) : Self.allowed(rule)
        }
        let ports = rule.ports.map { port -> EnvoyValue in ["destination_port": .number(port)] }
        if !ports.isEmpty { all.append(Self.any(ports)) }
        return all
    }

    /// The paths that a rule denies, whatever a server makes of them.
    private static func denied(_ rule: MeshAuthorization.Rule) -> [EnvoyValue] {
        let patterns =
            rule.paths.map(EnvoyPaths.pattern(exact:))
            + rule.prefixes.map(EnvoyPaths.pattern(prefix:)) + [EnvoyPaths.unclear]
        return [any(patterns.map(path(like:)) + [["not_rule": path(like: EnvoyPaths.plain)]])]
    }

    /// The paths that a rule allows, as it has them.
    private static func allowed(_ rule: MeshAuthorization.Rule) -> [EnvoyValue] {
        let paths =
            rule.paths.map { path(["exact": .text($0)]) }
            + rule.prefixes.flatMap { prefix -> [EnvoyValue] in
                if prefix.hasSuffix("/") { return [path(["prefix": .text(prefix)])] }
                return [path(["exact": .text(prefix)]), path(["prefix": .text(prefix + "/")])]
            }
        return [
            any(paths), path(like: EnvoyPaths.plain),
            ["not_rule": path(like: EnvoyPaths.unclear)],
        ]
    }

    /// Envoy compares the path without the query, as the reference proxy does.
    private static func path(_ matcher: EnvoyValue) -> EnvoyValue {
        ["url_path": ["path": matcher]]
    }

    private static func path(like pattern: String) -> EnvoyValue {
        path(["safe_regex": ["regex": .text(pattern)]])
    }

    private static func all(_ rules: [EnvoyValue]) -> EnvoyValue {
        rules.isEmpty ? ["any": true] : ["and_rules": ["rules": .list(rules)]]
    }

    private static func any(_ rules: [EnvoyValue]) -> EnvoyValue {
        ["or_rules": ["rules": .list(rules)]]
    }

    private var controlPrincipal: EnvoyValue {
        Self.client(["exact": .text(SPIFFEID.control(of: view.trustDomain))])
    }

    private func principal(
        _ rule: MeshAuthorization.Rule, _ action: MeshAuthorization.Action
    ) -> EnvoyValue {
        var parts: [EnvoyValue] = []
        if action == .deny { parts.append(["not_id": controlPrincipal]) }
        if !rule.identities.isEmpty {
            parts.append(["or_ids": ["ids": .list(rule.identities.map(Self.client))]])
        }
        if !rule.namespaces.isEmpty {
            // As `SPIFFEID.namespace` has it. A label needs no quoting.
            let ids = rule.namespaces.map { namespace -> EnvoyValue in
                let pattern = "\(SPIFFEID.scheme)[^/]+/ns/\(namespace)/.+"
                return Self.client(["safe_regex": ["regex": .text(pattern)]])
            }
            parts.append(["or_ids": ["ids": .list(ids)]])
        }
        return parts.isEmpty ? ["any": true] : ["and_ids": ["ids": .list(parts)]]
    }

    private static func client(_ pattern: IdentityPattern) -> EnvoyValue {
        let text = pattern.rawValue
        // `authenticated` alone would mean certificates of nobody too.
        if text == "*" { return client(["prefix": .text(SPIFFEID.scheme)]) }
        if text.hasPrefix("*") { return client(["suffix": .text(String(text.dropFirst()))]) }
        if text.hasSuffix("*") { return client(["prefix": .text(String(text.dropLast()))]) }
        return client(["exact": .text(text)])
    }

    private static func client(_ matcher: EnvoyValue) -> EnvoyValue {
        ["authenticated": ["principal_name": matcher]]
    }
}
