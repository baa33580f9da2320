import Model

// Who may ask for what, as rules of Envoy's filters of role-based access. What one filter denies is
// denied, so that of `deny` stands before that of `allow`; and one that allows without a policy
// allows nothing.

extension EnvoyRendering {
    /// Filters in order: what each does with those that a policy means, and the policies.
    var authorization: [(action: String, policies: EnvoyValue)] {
        let all = view.authorizations.values
            .filter { $0.targets.contains { $0.covers(own.meshName) } }
            .sorted { $0.meshName < $1.meshName }
        var filters: [(action: String, policies: EnvoyValue)] = []
        let denies = policies(all.filter { $0.action == .deny })
        if denies != [:] { filters.append(("DENY", denies)) }
        let allows = all.filter { $0.action == .allow }
        if !allows.isEmpty { filters.append(("ALLOW", policies(allows))) }
        return filters
    }

    private func policies(_ authorizations: [MeshAuthorization]) -> EnvoyValue {
        var members: [EnvoyValue.Member] = []
        for authorization in authorizations {
            for (index, rule) in authorization.rules.enumerated() {
                // Bytes have no methods, paths or headers: such a rule means none of them.
                if own.speech == .tcp, rule.asksForHTTP { continue }
                members.append(
                    .init(
                        name: "\(authorization.meshName.text)/\(index)",
                        value: [
                            "permissions": [Self.all(permissions(rule))],
                            "principals": [principal(rule)],
                        ]))
            }
        }
        // In the order of their names, as Envoy holds them.
        return .object(members.sorted { $0.name < $1.name })
    }

    private func permissions(_ rule: MeshAuthorization.Rule) -> [EnvoyValue] {
        var all = Self.headers(rule.methods, rule.headers).map {
            EnvoyValue.object([
                .init(name: "header", value: $0)
            ])
        }
        let paths =
            rule.paths.map { Self.path(["exact": .text($0)]) }
            + rule.prefixes.flatMap { prefix -> [EnvoyValue] in
                if prefix.hasSuffix("/") { return [Self.path(["prefix": .text(prefix)])] }
                return [
                    Self.path(["exact": .text(prefix)]), Self.path(["prefix": .text(prefix + "/")]),
                ]
            }
        if !paths.isEmpty { all.append(Self.any(paths)) }
        let ports = rule.ports.map { port -> EnvoyValue in ["destination_port": .number(port)] }
        if !ports.isEmpty { all.append(Self.any(ports)) }
        return all
    }

    /// Envoy compares the path without the query, as the reference proxy does.
    private static func path(_ matcher: EnvoyValue) -> EnvoyValue {
        ["url_path": ["path": matcher]]
    }

    private static func all(_ rules: [EnvoyValue]) -> EnvoyValue {
        rules.isEmpty ? ["any": true] : ["and_rules": ["rules": .list(rules)]]
    }

    private static func any(_ rules: [EnvoyValue]) -> EnvoyValue {
        ["or_rules": ["rules": .list(rules)]]
    }

    private func principal(_ rule: MeshAuthorization.Rule) -> EnvoyValue {
        var parts: [EnvoyValue] = []
        if !rule.identities.isEmpty {
            parts.append(["or_ids": ["ids": .list(rule.identities.map(Self.client))]])
        }
        if !rule.namespaces.isEmpty {
            // As `SPIFFEID.namespace` has it. A label needs no quoting.
            let ids = rule.namespaces.map { namespace -> EnvoyValue in
                Self.client(["safe_regex": ["regex": .text("spiffe://[^/]+/ns/\(namespace)/.+")]])
            }
            parts.append(["or_ids": ["ids": .list(ids)]])
        }
        return parts.isEmpty ? ["any": true] : ["and_ids": ["ids": .list(parts)]]
    }

    private static func client(_ pattern: IdentityPattern) -> EnvoyValue {
        let text = pattern.rawValue
        if text == "*" { return ["authenticated": [:]] }
        if text.hasPrefix("*") { return client(["suffix": .text(String(text.dropFirst()))]) }
        if text.hasSuffix("*") { return client(["prefix": .text(String(text.dropLast()))]) }
        return client(["exact": .text(text)])
    }

    private static func client(_ matcher: EnvoyValue) -> EnvoyValue {
        ["authenticated": ["principal_name": matcher]]
    }
}
