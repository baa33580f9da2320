import Model

// What becomes of the requests of routes, beside how they are carried, in Envoy's words.

extension EnvoyRendering {
    /// The members of a route's action that say who is asked.
    static func clusters(_ shares: [MeshRoute.Destination]) -> EnvoyValue {
        let changes = shares.map { Self.changes($0.requestHeaders, $0.answerHeaders) }
        if shares.count == 1, changes[0] == [:] {
            return ["cluster": .text(shares[0].service.text)]
        }
        let items = zip(shares, changes).map { share, changes -> EnvoyValue in
            let item: EnvoyValue = [
                "name": .text(share.service.text), "weight": .number(share.weight),
            ]
            return item.merging(changes)
        }
        return ["weighted_clusters": ["clusters": .list(items)]]
    }

    /// The member of a route's action that says who is sent requests besides. Envoy gives these as
    /// long as the mirrored requests have.
    static func mirrors(_ mirrors: [RequestMirror<MeshName>]) -> EnvoyValue {
        guard !mirrors.isEmpty else { return [:] }
        let policies = mirrors.map { mirror -> EnvoyValue in
            let millionths = Int((mirror.percent * 1e4).rounded())
            let policy: EnvoyValue = [
                "cluster": .text(mirror.target.text),
                "runtime_fraction": [
                    "default_value": [
                        "numerator": .number(millionths), "denominator": "MILLION",
                    ]
                ],
            ]
            return mirror.marksHost
                ? policy : policy.with("disable_shadow_host_suffix_append", true)
        }
        return ["request_mirror_policies": .list(policies)]
    }

    /// The member of a route that answers itself; nil: it does not.
    static func answer(_ route: MeshRoute, _ asked: ProxyConfiguration.PathMatch) -> EnvoyValue? {
        if let answer = route.answer {
            let status: EnvoyValue = ["status": .number(answer.status)]
            let body: EnvoyValue = ["inline_string": .text(answer.body)]
            return ["direct_response": answer.body.isEmpty ? status : status.with("body", body)]
        }
        guard let redirect = route.redirect else { return nil }
        let codes = [
            301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT",
            308: "PERMANENT_REDIRECT",
        ]
        guard let code = codes[redirect.status] else {
            preconditionFailure("a redirect with \(redirect.status) was declared")
        }
        var value: EnvoyValue = [
            "response_code": .text(code), "strip_query": .flag(redirect.stripsQuery),
        ]
        if let scheme = redirect.scheme { value = value.with("scheme_redirect", .text(scheme)) }
        if let host = redirect.host { value = value.with("host_redirect", .text(host)) }
        if let port = redirect.port { value = value.with("port_redirect", .number(port)) }
        switch redirect.path {
        case nil: break
        case .path(let path): value = value.with("path_redirect", .text(path))
        case let rewrite?: value = value.merging(self.rewrite(rewrite, asked))
        }
        return ["redirect": value]
    }

    /// The members of a route's action that change where requests ask.
    static func rewrite(_ route: MeshRoute, _ asked: ProxyConfiguration.PathMatch) -> EnvoyValue {
        let path = route.rewrite.map { rewrite($0, asked) } ?? [:]
        return route.hostRewrite.map { path.with("host_rewrite_literal", .text($0)) } ?? path
    }

    private static func rewrite(
        _ rewrite: PathRewrite, _ asked: ProxyConfiguration.PathMatch
    ) -> EnvoyValue {
        switch (rewrite, asked) {
        case (.path(let path), .exact), (.prefix(let path), .exact):
            return ["prefix_rewrite": .text(path)]
        case (.path(let path), _), (.prefix(let path), .regex):
            // Envoy has no word for the whole path but an expression that fits all of it once.
            return Self.rewrite(#"^\C+$"#, literal(path))
        case (.prefix(let path), .prefix(let prefix)):
            // One slash stands between what is put in and what is left, where there is something.
            // Envoy puts none and takes none.
            switch (prefix.hasSuffix("/"), path.hasSuffix("/")) {
            case (false, false): return ["prefix_rewrite": .text(path)]
            case (false, true):
                return Self.rewrite("^\(quoted(prefix))(?:/(\\C*))?$", literal(path) + #"\1"#)
            case (true, true):
                return Self.rewrite("^\(quoted(prefix))/?(\\C*)$", literal(path) + #"\1"#)
            case (true, false):
                let start = quoted(String(prefix.dropLast()))
                return Self.rewrite(
                    "^\(start)(?:/|/(/\\C*)|(/[^/]\\C*))$", literal(path) + #"\1\2"#)
            }
        case (.regex(let pattern, let substitution), _):
            return Self.rewrite(pattern, substitution)
        }
    }

    /// A text as a substitution that means it.
    private static func literal(_ text: String) -> String {
        text.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: #"\\"#)
    }

    private static func rewrite(_ pattern: String, _ substitution: String) -> EnvoyValue {
        ["regex_rewrite": ["pattern": regex(pattern), "substitution": .text(substitution)]]
    }

    /// The members of a route or share that change fields; none where there are no changes.
    static func changes(_ request: HeaderChanges, _ answer: HeaderChanges) -> EnvoyValue {
        var value: EnvoyValue = [:]
        for (whose, changes) in [("request", request), ("response", answer)] {
            // Envoy removes first, and then goes through these in order.
            let fields =
                changes.set.map { field($0, "OVERWRITE_IF_EXISTS_OR_ADD") }
                + changes.add.map { field($0, "APPEND_IF_EXISTS_OR_ADD") }
            if !fields.isEmpty { value = value.with("\(whose)_headers_to_add", .list(fields)) }
            if !changes.remove.isEmpty {
                value = value.with(
                    "\(whose)_headers_to_remove", .list(changes.remove.map(EnvoyValue.text)))
            }
        }
        return value
    }

    private static func field(_ field: HeaderChanges.Field, _ action: String) -> EnvoyValue {
        // `%` begins a command of Envoy's.
        let value = field.value.split(separator: "%", omittingEmptySubsequences: false)
            .joined(separator: "%%")
        return [
            "header": ["key": .text(field.name), "value": .text(value)],
            "append_action": .text(action), "keep_empty_value": .flag(field.value.isEmpty),
        ]
    }
}
