// The keys of declarations that speak of services: routes and authorizations. Those of policies
// stand in `MeshForms+Traffic.swift`.

import Base
import Model

extension Shape where Whole == DeclarationDraft<MeshRoute> {
    static var route: Shape {
        Whole.shape(
            .init("", destinations: []), about: "which requests go to which services",
            [
                .init(
                    "hosts", \.value.hosts, list(of: Form<String>.host, 0...MeshLimits.hosts),
                    standard: "[]",
                    about: "hosts without port, `*.example.org` for any below; empty: any host"),
                .init(
                    "matches", \.value.matches,
                    list(of: Form<MeshRoute.Match>.match, 1...MeshLimits.matches),
                    standard: "[{}]", about: "alternatives, of which one must hold"),
                .init(
                    "to", \.value.destinations,
                    list(of: Form<MeshRoute.Destination>.destination, 1...MeshLimits.destinations),
                    isRequired: true,
                    about:
                        "who answers: services, or services with their weights; with `redirect` "
                        + "or `answer`: whose clients are meant"),
                .init(
                    "mirror", \.value.mirrors,
                    mirrorForms("service", Form<MeshName>.service).map { drafts, _, _ in
                        drafts.compactMap { $0.whole { $0 } }
                    },
                    standard: "[]",
                    about: "services that requests are sent to besides; what they answer is lost"),
            ] + Shape<MeshRoute>.effects(over: "policy", .toService).map { $0.of(\.value) })
    }
}

extension Form where Value == MeshRoute.Match {
    fileprivate static var match: Form {
        Shape(ConditionsDraft(), Shape<ConditionsDraft>.conditions).form.map {
            draft, node, decoding in
            draft.check(node, &decoding)
            return MeshRoute.Match(
                path: draft.path, methods: draft.methods, headers: draft.headers,
                query: draft.query, cookies: draft.cookies)
        }
    }
}

extension Form where Value == MeshRoute.Destination {
    fileprivate static var destination: Form {
        let shape = Shape(
            MeshRoute.Destination(.init("", in: "")),
            [
                .init(
                    "service", \.service, Form<MeshName>.service, isRequired: true,
                    about: "`cart`, or `shop/cart` of another namespace"),
                .init(
                    "weight", \.weight, .integer(0...MeshLimits.weight), standard: "1",
                    about: "its share of requests, against the other destinations"),
                .init(
                    "request_headers", \.requestHeaders, .headerChanges, standard: "{}",
                    about: "changes to the fields of its requests, before the route's"),
                .init(
                    "response_headers", \.answerHeaders, .headerChanges, standard: "{}",
                    about: "changes to the fields of its answers, before the route's"),
            ])
        return .either(
            scalar: Form<MeshName>.service.map { name, _, _ in .init(name) }, mapping: shape.form)
    }
}

// MARK: - Authorizations

extension Shape where Whole == DeclarationDraft<MeshAuthorization> {
    static var authorization: Shape {
        Whole.shape(
            .init("", .allow, targets: [], rules: []), about: "who may ask services for what",
            [
                .init(
                    "action", \.value.action, .choice, isRequired: true,
                    about: "what becomes of requests that a rule means; `deny` wins"),
                .init(
                    "to", \.value.targets, .services, isRequired: true,
                    about: MeshForms.aboutTargets),
                .init(
                    "rules", \.value.rules,
                    list(of: Shape<MeshAuthorization.Rule>.rule.form, 0...MeshLimits.matches),
                    standard: "[]",
                    about: "alternatives, of which one must hold; empty: none ever does"),
            ])
    }
}

extension Shape where Whole == MeshAuthorization.Rule {
    /// Also of a proxy's file, whose listeners are asked instead of services.
    static var rule: Shape {
        let paths = list(of: Form<String>.rulePath, 0...MeshLimits.ruleItems)
        return Shape(
            .init(),
            [
                .init(
                    "identities", \.identities,
                    list(of: Form<IdentityPattern>.pattern, 0...MeshLimits.ruleItems),
                    standard: "[]",
                    about: "SPIFFE ids of clients, or such with a `*` at one end; empty: any"),
                .init(
                    "namespaces", \.namespaces,
                    list(of: Form<String>.label, 0...MeshLimits.ruleItems), standard: "[]",
                    about: "namespaces of clients; empty: any"),
                .init(
                    "methods", \.methods, list(of: Form<String>.method, 0...MeshLimits.methods),
                    standard: "[]", about: "methods; empty: any"),
                .init(
                    "paths", \.paths, paths, standard: "[]",
                    about: "exactly one of these paths; empty, and `prefixes` too: any"),
                .init(
                    "prefixes", \.prefixes, paths, standard: "[]",
                    about: "or paths that begin with one of these, in whole segments"),
                .init(
                    "headers", \.headers, .headerMatches, standard: "{}",
                    about: "fields with exactly this value, or `{present: true}`: all of them"),
                .init(
                    "ports", \.ports,
                    list(of: Form<Int>.integer(1...65_535), 0...MeshLimits.ruleItems),
                    standard: "[]", about: "ports of the service's endpoints; empty: any"),
            ])
    }
}

extension Form where Value == IdentityPattern {
    fileprivate static var pattern: Form {
        let kind = "a SPIFFE id, or the beginning or end of such with a *,"
        return scalar(.text(pattern: "\\*?[A-Za-z0-9._:/-]*\\*?"), kind) { text throws(FormError) in
            guard let pattern = IdentityPattern(rawValue: text) else {
                throw FormError("\(kind) is needed, not '\(abbreviated(text))'")
            }
            return pattern
        }
    }
}

// MARK: - References

extension MeshForms {
    static let aboutTargets =
        "`cart`, or `shop/cart` of another namespace; `*` for all of the namespace, `*/*` for all"
}

extension Form where Value == MeshName {
    /// One service. A namespace that is not written is left empty until `resolved`.
    fileprivate static var service: Form {
        reference(
            "a service such as cart or shop/cart", pattern: "(\(labelPattern)/)?\(labelPattern)",
            breadth: 0)
    }

    fileprivate static func reference(_ kind: String, pattern: String, breadth: Int) -> Form {
        scalar(.text(pattern: pattern), kind) { text throws(FormError) in
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            let name = MeshName(
                String(parts.last ?? ""), in: parts.count == 2 ? String(parts[0]) : "")
            let isNamed = MeshName.isLabel(name.name) || name.name == "*" && breadth > 0
            let isPlaced =
                parts.count == 1 || MeshName.isLabel(name.namespace)
                || name.namespace == "*" && name.name == "*" && breadth > 1
            guard parts.count <= 2, isNamed, isPlaced else {
                throw FormError("\(kind) is needed, not '\(abbreviated(text))'")
            }
            return name
        }
    }
}

extension Form where Value == [MeshName] {
    /// Services, or all of a namespace, or all.
    static var services: Form { services(1...MeshLimits.targets) }

    /// The same, or none.
    static var calls: Form { services(0...MeshLimits.targets) }

    private static func services(_ count: ClosedRange<Int>) -> Form {
        let label = labelPattern
        let name = Form<MeshName>.reference(
            "a service such as cart or shop/cart, or * or */*,",
            pattern: "(\(label)/)?(\(label)|\\*)|\\*/\\*", breadth: 2)
        return list(of: name, count)
    }
}

extension Form where Value == String {
    /// One service, as the text that its clusters have for a name.
    static let serviceText = Form<MeshName>.service.map { name, _, _ in name.text }
}

extension GlobalRateLimit {
    fileprivate mutating func resolve(_ whole: (MeshName) -> MeshName) {
        let parts = cluster.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return }
        cluster = whole(MeshName(String(parts[1]), in: String(parts[0]))).text
    }
}

extension MeshName {
    fileprivate func resolved(in namespace: String) -> MeshName {
        self.namespace.isEmpty ? MeshName(name, in: namespace) : self
    }
}

extension DeclarationDraft {
    /// The value, its references with their namespaces.
    private func resolving(_ references: (inout Value, (MeshName) -> MeshName) -> Void) -> Value {
        var value = value
        let namespace = value.namespace
        references(&value) { $0.resolved(in: namespace) }
        return value
    }
}

extension DeclarationDraft<MeshService> {
    var resolved: MeshService { resolving { $0.calls = $0.calls?.map($1) } }
}

extension DeclarationDraft<MeshRoute> {
    var resolved: MeshRoute {
        resolving { route, whole in
            for index in route.destinations.indices {
                let service = route.destinations[index].service
                route.destinations[index].service = whole(service)
            }
            for index in route.mirrors.indices {
                route.mirrors[index].target = whole(route.mirrors[index].target)
            }
            route.globalRateLimit?.resolve(whole)
        }
    }
}

extension DeclarationDraft<MeshPolicy> {
    var resolved: MeshPolicy {
        resolving { policy, whole in
            policy.targets = policy.targets.map(whole)
            policy.inbound.globalRateLimit?.resolve(whole)
        }
    }
}

extension DeclarationDraft<MeshAuthorization> {
    var resolved: MeshAuthorization { resolving { $0.targets = $0.targets.map($1) } }
}
