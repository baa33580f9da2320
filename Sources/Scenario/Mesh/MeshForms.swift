// The keys of declarations: one table for each kind, for reading, errors, defaults, the JSON Schema
// and the reference in docs/MESH.md. What only several values together can have wrong is found by
// Model's own checks.

import Base
import Model

/// How each kind of declaration is written. Made once, as a mesh has very many of them.
enum MeshForms {
    static let service = Shape<DeclarationDraft<MeshService>>.service.form
    static let endpoint = Shape<DeclarationDraft<MeshEndpoint>>.endpoint.form
    static let route = Shape<DeclarationDraft<MeshRoute>>.route.form
    static let policy = Shape<DeclarationDraft<MeshPolicy>>.policy.form
    static let authorization = Shape<DeclarationDraft<MeshAuthorization>>.authorization.form

    static let outlines: [(kind: MeshKind, outline: Outline)] = [
        (.service, service.outline), (.endpoint, endpoint.outline), (.route, route.outline),
        (.policy, policy.outline), (.authorization, authorization.outline),
    ]

    /// The declaration of a node; nil where not even its kind is known, which has then been
    /// reported. Keys that are wrong leave their defaults, and are reported too.
    static func declaration(_ node: Node, _ decoding: inout Decoding) -> MeshDeclaration? {
        guard case .mapping = node.content else {
            decoding.report(
                node.place, "a declaration is needed (keys: kind, name…), not \(node.kind)")
            return nil
        }
        guard let kindNode = node.value("kind") else {
            let words = MeshKind.allCases.map(\.rawValue).joined(separator: ", ")
            decoding.report(node.place, "the key 'kind' is missing (known: \(words))")
            return nil
        }
        guard let kind = Form<MeshKind>.choice.decode(kindNode, &decoding) else { return nil }
        switch kind {
        case .service: return service.decode(node, &decoding).map { .service($0.resolved) }
        case .endpoint: return endpoint.decode(node, &decoding).map { .endpoint($0.value) }
        case .route: return route.decode(node, &decoding).map { .route($0.resolved) }
        case .policy: return policy.decode(node, &decoding).map { .policy($0.resolved) }
        case .authorization:
            return authorization.decode(node, &decoding).map { .authorization($0.resolved) }
        }
    }
}

/// A declaration as it is read. Its kind is known from the table that reads it.
struct DeclarationDraft<Value: MeshDeclared>: Sendable {
    fileprivate var kind = Value.kind
    var value: Value

    fileprivate init(_ value: Value) { self.value = value }

    /// The keys that every kind has, and its own.
    static func shape(
        _ blank: Value, about: String, _ fields: [Field<DeclarationDraft>]
    ) -> Shape<DeclarationDraft> {
        let shared: [Field<DeclarationDraft>] = [
            .init(
                "kind", \.kind, Form<MeshKind>.choice(of: [Value.kind]), isRequired: true,
                about: about),
            .init(
                "name", \.value.name, .label, isRequired: true,
                about: "differs from others of the kind in the namespace"),
            .init(
                "namespace", \.value.namespace, .label, standard: MeshName.standardNamespace,
                about: "whose it is"),
        ]
        return Shape(.init(blank), shared + fields)
    }
}

// MARK: - Services and endpoints

extension Shape where Whole == DeclarationDraft<MeshService> {
    fileprivate static var service: Shape {
        Whole.shape(
            .init(""), about: "what clients call by one name",
            [
                .init(
                    "protocol", \.value.speech, .choice, standard: "http1",
                    about: "what its endpoints speak; gRPC is `http2`"),
                .init(
                    "mtls", \.value.mtls, .choice, standard: "strict",
                    about:
                        """
                        whether its proxies take connections of mutual TLS only (`strict`), \
                        cleartext too, or nothing else
                        """
                ),
                .init(
                    "identity", \.value.identity, Form<SPIFFEID>.identity.optional,
                    about:
                        "whom its certificates name; absent: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/"
                        + "sa/NAME`"),
                .init(
                    "health", \.value.health, Form<MeshHealthCheck>.health.optional,
                    about: "how endpoints are asked whether they are well; absent: not at all"),
                .init(
                    "calls", \.value.calls, Form<[MeshName]>.calls.optional,
                    about:
                        """
                        whom it calls, as `to` of a policy; its proxies learn of these only; \
                        absent: `["*/*"]`, all
                        """
                ),
            ])
    }
}

private struct HealthDraft: Sendable {
    var http: String?
    var grpc: String?
    var check = MeshHealthCheck()
}

extension Form where Value == MeshHealthCheck {
    static var health: Form {
        let threshold = Form<Int>.integer(MeshLimits.healthThreshold)
        let shape = Shape(
            HealthDraft(),
            [
                .init(
                    "http", \.http, Form<String>.routePath.optional,
                    about: "the path to GET; well with a status from 200 to 399"),
                .init(
                    "grpc", \.grpc, Form<String>.text(atMost: MeshLimits.hostBytes).optional,
                    .without("http"),
                    about:
                        """
                        the service to ask for with gRPC's health protocol, '' for the server; \
                        without it and `http` a connection suffices
                        """
                ),
                .init(
                    "interval", \.check.interval, .duration(MeshLimits.healthInterval),
                    standard: "10s", about: "from one check to the next"),
                .init(
                    "timeout", \.check.timeout, .duration(MeshLimits.positiveTimeout),
                    standard: "1s", about: "how long a check may take; at most `interval`"),
                .init(
                    "healthy", \.check.healthyThreshold, threshold, standard: "1",
                    about: "passes in a row that make an endpoint healthy"),
                .init(
                    "unhealthy", \.check.unhealthyThreshold, threshold, standard: "3",
                    about: "failures in a row that make it unhealthy"),
            ])
        return shape.form.map { draft, _, _ in
            var check = draft.check
            if let path = draft.http {
                check.probe = .http(path: path)
            } else if let service = draft.grpc {
                check.probe = .grpc(service: service)
            }
            return check
        }
    }
}

extension Shape where Whole == DeclarationDraft<MeshEndpoint> {
    fileprivate static var endpoint: Shape {
        Whole.shape(
            .init("", service: "", address: ""), about: "one address at which a service answers",
            [
                .init(
                    "service", \.value.service, .label, isRequired: true,
                    about: "whose it is, of the same namespace"),
                .init(
                    "address", \.value.address, Form<String>.endpoint, isRequired: true,
                    about: "`127.0.0.1:8080` or `[::1]:8080`"),
                .init(
                    "zone", \.value.zone, Form<String>.label.optional,
                    about: "where it runs; absent: nobody knows"),
                .init(
                    "weight", \.value.weight, .integer(1...MeshLimits.weight), standard: "1",
                    about: "its share of requests, against the service's other endpoints"),
                .init(
                    "health", \.value.health, .choice, standard: "healthy",
                    about:
                        """
                        as registered: takes requests, takes none, or only ends those it has
                        """
                ),
                .init(
                    "level", \.value.level, .integer(TrafficLimits.levels), standard: "0",
                    about: "it serves when those of lower levels do not suffice"),
                .init(
                    "labels", \.value.labels, .labels, standard: "{}",
                    about: "what subsets of a policy's `balance` choose by"),
            ])
    }
}

// MARK: - Words

extension Form where Value == String {
    /// A label of DNS.
    static var label: Form {
        word(
            "a name of lower-case letters, digits and hyphens, 63 at most,",
            pattern: labelPattern, atMost: MeshLimits.nameBytes, MeshName.isLabel)
    }
}

let labelPattern = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"

extension Form where Value == SPIFFEID {
    fileprivate static var identity: Form {
        let kind = "a SPIFFE id such as spiffe://mesh.example/ns/shop/sa/cart"
        return scalar(.text(pattern: "spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+"), kind) {
            text throws(FormError) in
            guard let identity = SPIFFEID(rawValue: text) else {
                throw FormError("\(kind) is needed, not '\(abbreviated(text))'")
            }
            return identity
        }
    }
}
