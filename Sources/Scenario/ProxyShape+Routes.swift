// The keys of a proxy's routes.

import Base
import Model

struct RouteDraft: Sendable {
    var route = ProxyConfiguration.Route(shares: [])
    var match = ConditionsDraft()
    var cluster: Placed<String>?
    var weighted: Placed<[ShareDraft]>?
    var mirrors: [MirrorDraft<Placed<String>>] = []
    /// Who is asked for its limits.
    var limitCluster: Placed<String>?

    /// Where it leads.
    var clusters: [Placed<String>?] {
        (weighted?.value.map(\.cluster) ?? [cluster]) + mirrors.map(\.target)
    }

    var whole: ProxyConfiguration.Route {
        var whole = route
        whole.take(conditions: match)
        let weighted = weighted?.value ?? cluster.map { [ShareDraft(cluster: $0)] } ?? []
        whole.shares = weighted.map(\.whole)
        whole.mirrors = mirrors.compactMap { $0.whole(\.value) }
        return whole
    }

    func check(_ decoding: inout Decoding) {
        checkMirrors(&decoding)
        guard let weighted else { return }
        refuseDuplicates(weighted.value.map(\.cluster), "a share of", &decoding)
        if weighted.value.allSatisfy({ $0.weight == 0 }) {
            decoding.report(weighted.place, "every weight is 0: nobody would answer")
        }
    }

    private func checkMirrors(_ decoding: inout Decoding) {
        guard let first = mirrors.first?.target else { return }
        if route.isAnsweredHere {
            decoding.report(
                first.place, "the route answers itself: no request goes on to be mirrored")
        }
        // A cluster that answers besides would be asked the same twice, which is seldom meant.
        refuseDuplicates(clusters, "sent requests of", &decoding)
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
            if node.value("cluster") == nil, node.value("clusters") == nil,
                node.value("redirect") == nil, node.value("answer") == nil
            {
                decoding.report(node.place, "the key 'cluster' is missing")
            }
            draft.match.check(node, &decoding)
            var draft = draft
            if let place = node.value("global_rate_limit")?.value("cluster")?.place {
                draft.limitCluster = draft.route.globalRateLimit.map { Placed($0.cluster, place) }
            }
            if let rewrite = node.value("rewrite"),
                let why = draft.route.whyNoRewrite(of: [draft.match.path])
            {
                decoding.report(rewrite.place, why)
            }
            for key in draft.route.idleKeys {
                decoding.report(node.value(key)?.place ?? node.place, whyIdle)
            }
            return draft
        }
    }
}

extension Shape where Whole == RouteDraft {
    fileprivate static var route: Shape {
        let hosts = Field<RouteDraft>(
            "hosts", \.route.hosts, list(of: Form<String>.host, 0...MeshLimits.hosts),
            standard: "[]",
            about: "hosts without port, `*.example.org` for any below; empty: any host")
        let clusters: [Field<RouteDraft>] = [
            .init(
                "cluster", \.cluster, Form<String>.name.placed.optional, about: "who answers"),
            .init(
                "clusters", \.weighted,
                list(of: Shape<ShareDraft>.share.form, 1...64).placed.optional,
                .without("cluster"), about: "who answers, by weight"),
            .init(
                "mirror", \.mirrors, mirrorForms("cluster", Form<String>.name.placed),
                standard: "[]",
                about: "clusters that requests are sent to besides; what they answer is lost"),
        ]
        let effects = Shape<ProxyConfiguration.Route>.effects(over: "cluster", .toCluster)
        return Shape(
            RouteDraft(),
            [hosts] + Shape<ConditionsDraft>.conditions.map { $0.of(\.match) } + clusters
                + effects.map { $0.of(\.route) })
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
