// What becomes of the requests of a route, as a proxy's file and declarations write it.

import Base
import Model

extension Shape where Whole: RouteEffects {
    /// - Parameters:
    ///   - over: whose word it takes the place of.
    ///   - globalLimit: how a limit of all proxies is written here.
    static func effects(
        over: String, _ globalLimit: Form<GlobalRateLimit>
    ) -> [Field<Whole>] {
        [
            .init(
                "redirect", \.redirect, Form<Redirect>.redirect.optional,
                .without("answer"), about: "clients are sent elsewhere, and nobody is asked"),
            .init(
                "answer", \.answer, Shape<DirectAnswer>.answer.form.optional,
                about: "the proxy answers itself, and nobody is asked"),
            .init(
                "rewrite", \.rewrite, Form<PathRewrite>.rewrite.optional,
                about: "what becomes of the path on its way"),
            .init(
                "host_rewrite", \.hostRewrite, Form<String>.authority.optional,
                about: "the host that is asked for in its place"),
            .init(
                "request_headers", \.requestHeaders, .headerChanges, standard: "{}",
                about: "changes to the fields of requests"),
            .init(
                "response_headers", \.answerHeaders, .headerChanges, standard: "{}",
                about: "changes to the fields of answers, the proxy's own to this route too"),
            .init(
                "timeout", \.timeout, Form<Duration>.duration(MeshLimits.timeout).optional,
                about:
                    "from the end of the request to the end of the answer, in place of the "
                    + "\(over)'s; `0s`: no limit"),
            .init(
                "retry", \.retry, Form<RetryPolicy>.retry.optional,
                about: "when a request is sent again, in place of the \(over)'s `retry`"),
            .init(
                "priority", \.priority, .choice, standard: "standard",
                about: "whose limits of the \(over)'s breaker hold"),
            .init(
                "rate_limits", \.rateLimits, .rateLimits, standard: "[]",
                about:
                    "buckets of each proxy that a request takes a token of each of, or is "
                    + "answered 429"),
            .init(
                "global_rate_limit", \.globalRateLimit, globalLimit.optional,
                about: "what all proxies limit together, by asking a service; absent: nothing"),
        ]
    }
}

private struct RewriteDraft: Sendable {
    var prefix: String?
    var path: String?
    var regex: String?
    var substitution: String?
    var status = 301
    var scheme: String?
    var host: String?
    var port: Int?
    var stripsQuery = false

    /// nil: nothing is rewritten, or it is wrong, which is then reported.
    func rewrite(_ node: Node, _ decoding: inout Decoding) -> PathRewrite? {
        let rewrite =
            path.map { .path($0) } ?? prefix.map { .prefix($0) }
            ?? regex.flatMap { regex -> PathRewrite? in
                substitution.map { .regex(regex, substitution: $0) }
            }
        guard let problem = rewrite?.problem else { return rewrite }
        decoding.report(node.place, problem)
        return nil
    }
}

extension Shape where Whole == RewriteDraft {
    fileprivate static let path: [Field<RewriteDraft>] = [
        .init(
            "prefix", \.prefix, Form<String>.routePath.optional, .without("path"),
            about: "in place of the path or prefix that the route asks for"),
        .init("path", \.path, Form<String>.routePath.optional, about: "in place of the whole path"),
        .init(
            "regex", \.regex, Form<String>.regex.optional, .with("substitution"),
            about: "what is replaced, wherever it stands in the path, 32 times at most"),
        .init(
            "substitution", \.substitution, Form<String>.substitution.optional, .with("regex"),
            about: "what comes in its place; `\\1` to `\\9` stand for its groups"),
    ]
}

extension Form where Value == PathRewrite {
    fileprivate static var rewrite: Form {
        Shape<RewriteDraft>(RewriteDraft(), Shape<RewriteDraft>.path).form.map {
            draft, node, decoding in
            if draft.prefix == nil, draft.path == nil, draft.regex == nil {
                decoding.report(node.place, "prefix, path or regex is needed")
            }
            return draft.rewrite(node, &decoding)
        }
    }
}

extension Form where Value == Redirect {
    fileprivate static var redirect: Form {
        let own: [Field<RewriteDraft>] = [
            .init(
                "status", \.status, .integer(301...308), standard: "301",
                about: "301, 302, 303, 307 or 308"),
            .init(
                "scheme", \.scheme,
                Form<String>.word("http or https", pattern: "https?") {
                    $0 == "http" || $0 == "https"
                }.optional, about: "absent: as it was asked"),
            .init(
                "host", \.host, Form<String>.plainHost.optional,
                about: "without port; absent: as it was asked"),
            .init(
                "port", \.port, Form<Int>.integer(1...65_535).optional,
                about: "absent: as it was asked, or the new scheme's"),
        ]
        let query: [Field<RewriteDraft>] = [
            .init(
                "strip_query", \.stripsQuery, .boolean, standard: "false",
                about: "whether the query is left out")
        ]
        let shape = Shape(RewriteDraft(), own + Shape<RewriteDraft>.path + query)
        return shape.form.map { draft, node, decoding in
            let isRewritten = ["prefix", "path", "regex"].contains { node.value($0) != nil }
            let path = draft.rewrite(node, &decoding)
            guard path != nil || !isRewritten else { return nil }
            let redirect = Redirect(
                status: draft.status, scheme: draft.scheme, host: draft.host, port: draft.port,
                path: path, stripsQuery: draft.stripsQuery)
            if let problem = redirect.problem { decoding.report(node.place, problem) }
            return redirect
        }
    }
}

extension Shape where Whole == DirectAnswer {
    fileprivate static var answer: Shape {
        Shape(
            DirectAnswer(status: 200),
            [
                .init(
                    "status", \.status, .integer(200...599), isRequired: true, about: "its status"),
                .init(
                    "body", \.body, Form<String>.text(atMost: DirectAnswer.bodyMost / 4),
                    standard: "\"\"", about: "its body"),
            ])
    }
}

extension Form where Value == String {
    /// A host without port, as a redirect names it.
    fileprivate static var plainHost: Form {
        word(
            "a host in lower case, without port,", pattern: "[a-z0-9._-]+|\\[[0-9a-f:.]+\\]",
            atMost: 255
        ) { isHostPattern($0) && !$0.hasPrefix("*") }
    }

    /// A host, with a port or not.
    fileprivate static var authority: Form {
        word(
            "a host in lower case, with a port or without,",
            pattern: "([a-z0-9._-]+|\\[[0-9a-f:.]+\\])(:[0-9]{1,5})?", atMost: 261, isAuthority)
    }

    /// What comes in the place of a part of a path.
    fileprivate static var substitution: Form {
        scalar(.text(pattern: nil), "a text") { text throws(FormError) in text }
    }
}

private struct ChangesDraft: Sendable {
    var set: [HeaderChanges.Field] = []
    var add: [HeaderChanges.Field] = []
    var remove: [String] = []
}

extension Form where Value == HeaderChanges {
    static var headerChanges: Form {
        let fields = dictionary(
            of: Form<String>.fieldValue, atMost: HeaderChanges.most, keyPattern: fieldNamePattern
        ) { isFieldName($0) ? nil : "'\(abbreviated($0))' is no name of a field" }
        .map { pairs, _, _ in
            pairs.map { HeaderChanges.Field($0.key.value.lowercased(), $0.value) }
        }
        let name = Form<String>.word("a name of a field", pattern: fieldNamePattern, isFieldName)
        let shape = Shape<ChangesDraft>(
            ChangesDraft(),
            [
                .init("set", \.set, fields, standard: "{}", about: "in place of what there is"),
                .init("add", \.add, fields, standard: "{}", about: "beside what there is"),
                .init(
                    "remove", \.remove,
                    list(of: name.map { name, _, _ in name.lowercased() }, 0...HeaderChanges.most),
                    standard: "[]", about: "names; before `set` and `add`"),
            ])
        return shape.form.map { draft, node, decoding in
            let changes = HeaderChanges(set: draft.set, add: draft.add, remove: draft.remove)
            if let problem = changes.problem { decoding.report(node.place, problem) }
            return changes
        }
    }
}
