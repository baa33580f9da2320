// The keys of a proxy's routes.

import Base
import Model

struct RouteDraft: Sendable {
    var route = ProxyConfiguration.Route(shares: [])
    var exact: String?
    var regex: String?
    var prefix = "/"
    var cluster: Placed<String>?
    var weighted: Placed<[ShareDraft]>?
    var rewrite: Placed<PathRewrite>?

    var path: ProxyConfiguration.PathMatch {
        exact.map { .exact($0) } ?? regex.map { .regex($0) } ?? .prefix(prefix)
    }

    /// Requests reach no cluster.
    var isAnsweredHere: Bool { route.redirect != nil || route.answer != nil }

    /// Where it leads.
    var clusters: [Placed<String>?] { weighted?.value.map(\.cluster) ?? [cluster] }

    var whole: ProxyConfiguration.Route {
        var whole = route
        whole.path = path
        let weighted = weighted?.value ?? cluster.map { [ShareDraft(cluster: $0)] } ?? []
        whole.shares = weighted.map(\.whole)
        whole.rewrite = rewrite?.value
        return whole
    }

    func check(_ decoding: inout Decoding) {
        if let rewrite, case .prefix = rewrite.value, regex != nil {
            decoding.report(
                rewrite.place,
                "a route with an expression has no prefix to replace: `path` replaces all of it, "
                    + "`regex` a part")
        }
        if let rewrite, isAnsweredHere {
            decoding.report(
                rewrite.place, "the route answers itself: nobody would get the rewritten path")
        }
        guard let weighted else { return }
        refuseDuplicates(weighted.value.map(\.cluster), "a share of", &decoding)
        if weighted.value.allSatisfy({ $0.weight == 0 }) {
            decoding.report(weighted.place, "every weight is 0: nobody would answer")
        }
    }
}

struct ShareDraft: Sendable {
    var cluster: Placed<String>?
    var weight = 1
    var request = HeaderChanges()
    var answer = HeaderChanges()

    init(cluster: Placed<String>? = nil) { self.cluster = cluster }

    fileprivate var whole: ProxyConfiguration.Share {
        var whole = ProxyConfiguration.Share(cluster?.value ?? "", weight: weight)
        whole.requestHeaders = request
        whole.answerHeaders = answer
        return whole
    }
}

extension Form where Value == RouteDraft {
    static var route: Form {
        Shape<RouteDraft>.route.form.map { draft, node, decoding in
            if node.value("cluster") == nil, node.value("clusters") == nil, !draft.isAnsweredHere,
                node.value("redirect") == nil, node.value("answer") == nil
            {
                decoding.report(node.place, "the key 'cluster' is missing")
            }
            return draft
        }
    }
}

extension Shape where Whole == RouteDraft {
    fileprivate static var route: Shape { Shape(RouteDraft(), matches + actions + policies) }

    private static var matches: [Field<RouteDraft>] {
        [
            .init(
                "hosts", \.route.hosts, list(of: Form<String>.host, 0...100), standard: "[]",
                about: "hosts without port, `*.example.org` for any below; empty: any host"),
            .init("path", \.exact, Form<String>.routePath.optional, about: "exactly this path"),
            .init(
                "regex", \.regex, Form<String>.regex.optional, .without("path"),
                about: "what the whole path fits (\"Expressions\", below)"),
            .init(
                "prefix", \.prefix, .routePath, standard: "/", .without("path"),
                about: "paths that begin with these whole segments; not beside `regex`"),
            .init(
                "methods", \.route.methods, list(of: Form<String>.method, 0...32),
                standard: "[]", about: "methods; empty: any"),
            .init(
                "headers", \.route.headers, .requestHeaderMatches, standard: "{}",
                about: "fields, and what is asked of their values; a text: exactly this"),
            .init(
                "query", \.route.query, .query, standard: "{}",
                about: "parameters of the query, in the same way; escapes stay as they came"),
            .init(
                "cookies", \.route.cookies, .cookies, standard: "{}",
                about: "cookies, in the same way"),
        ]
    }

    private static var actions: [Field<RouteDraft>] {
        [
            .init(
                "cluster", \.cluster, Form<String>.name.placed.optional, about: "who answers"),
            .init(
                "clusters", \.weighted,
                list(of: Shape<ShareDraft>.share.form, 1...64).placed.optional,
                .without("cluster"), about: "who answers, by weight"),
            .init(
                "redirect", \.route.redirect, Form<Redirect>.redirect.optional,
                .without("answer"), about: "clients are sent elsewhere, and no cluster is asked"),
            .init(
                "answer", \.route.answer, Shape<DirectAnswer>.answer.form.optional,
                about: "the proxy answers itself, and no cluster is asked"),
            .init(
                "rewrite", \.rewrite, Form<PathRewrite>.rewrite.placed.optional,
                about: "what becomes of the path on its way"),
            .init(
                "host_rewrite", \.route.hostRewrite, Form<String>.authority.optional,
                about: "the host that the cluster is asked for"),
            .init(
                "request_headers", \.route.requestHeaders, .headerChanges, standard: "{}",
                about: "changes to the fields of requests"),
            .init(
                "response_headers", \.route.answerHeaders, .headerChanges, standard: "{}",
                about: "changes to the fields of answers, the proxy's own to this route too"),
            .init(
                "timeout", \.route.timeout, Form<Duration>.duration(.proxyTimeout).optional,
                about: "in place of the cluster's `request_timeout`"),
        ]
    }
}

extension Shape where Whole == ShareDraft {
    fileprivate static var share: Shape {
        Shape(
            ShareDraft(),
            [
                .init(
                    "cluster", \.cluster, Form<String>.name.placed.optional, isRequired: true,
                    about: "who answers"),
                .init(
                    "weight", \.weight, .integer(0...1_000_000), standard: "1",
                    about: "its share of the requests, against the route's other clusters"),
                .init(
                    "request_headers", \.request, .headerChanges, standard: "{}",
                    about: "changes to the fields of its requests, before the route's"),
                .init(
                    "response_headers", \.answer, .headerChanges, standard: "{}",
                    about: "changes to the fields of its answers, before the route's"),
            ])
    }
}

// MARK: Actions

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
        guard let regex, let substitution else {
            return path.map { .path($0) } ?? prefix.map { .prefix($0) }
        }
        guard let groups = (try? LinearRegex(regex))?.groupCount else { return nil }
        do throws(RegexError) {
            _ = try RegexSubstitution(substitution, groups: groups)
        } catch {
            decoding.report(node.place, "substitution: \(error.message)")
            return nil
        }
        return .regex(regex, substitution: substitution)
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
            if !Redirect.statuses.contains(draft.status) {
                decoding.report(node.place, "a status of 301, 302, 303, 307 or 308 is needed")
            }
            return Redirect(
                status: draft.status, scheme: draft.scheme, host: draft.host, port: draft.port,
                path: draft.rewrite(node, &decoding), stripsQuery: draft.stripsQuery)
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
            pattern: "([a-z0-9._-]+|\\[[0-9a-f:.]+\\])(:[0-9]{1,5})?", atMost: 261
        ) { text in
            let end = text.lastIndex(of: ":")
            guard let end, !text[end...].contains("]") else {
                return isHostPattern(text) && !text.hasPrefix("*")
            }
            let port = Int(text[text.index(after: end)...])
            return isHostPattern(String(text[..<end])) && !text.hasPrefix("*")
                && port.map { (1...65_535).contains($0) } == true
        }
    }

    /// What comes in the place of a part of a path.
    fileprivate static var substitution: Form {
        scalar(.text(pattern: nil), "a text") { text throws(FormError) in
            guard text.utf8.count <= 1024, isTargetText(text), !text.contains("?") else {
                throw FormError("what may stand in a path is needed, at most 1024 bytes")
            }
            return text
        }
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
