// What Envoy is told of a mesh: the same that a reference proxy makes of it
// (`ProxyConfiguration.init(sidecar:in:)`), in Envoy's words (the v3 API). What these have no words
// for is refused, by question; what has no place here is left out, and said to be (`leftOut`).

import Base
public import Model

/// What an Envoy beside a process of a service is told.
public struct EnvoyRendering: Sendable {
    let facts: EnvoyFacts
    let view: MeshState
    let own: MeshService
    /// PEM: the authorities to be trusted.
    let authorities: String
    /// Services that are between two ways of being spoken to.
    let changes: [MeshName: MeshModeChange]

    static let inboundName = "inbound"
    static let outboundName = "outbound"
    /// The cluster that is the service's own process. Those of services have a `/`.
    static let appName = "app"
    static let identityName = "identity"
    static let authoritiesName = "authorities"
    /// The subscription to the authorities that are to be trusted.
    public static let authoritiesQuestion = EnvoyQuestion(.secrets, authoritiesName)
    /// The cluster of the bootstrap that is the control plane.
    static let controlName = "meshbench"

    /// How long a question may wait for an answer before Envoy asks again.
    static let patience = "90s"
    /// From an answer, or none, to the next question.
    static let pause = "0.2s"

    /// What requests are given where nothing is declared, as in the reference proxy.
    static let requestTimeout = Duration.seconds(15)
    static let streamIdle = Duration.seconds(300)

    /// - Parameters:
    ///   - view: what a proxy of the service needs of the mesh, or all of it.
    ///   - changes: services that are between two ways of being spoken to, whether it needs them or
    ///     not.
    /// - Throws: where the service is not declared.
    public init(
        _ facts: EnvoyFacts, view: MeshState, authorities: String,
        changes: [MeshName: MeshModeChange] = [:]
    ) throws(EnvoyRefusal) {
        guard let own = view.services[facts.service] else {
            throw EnvoyRefusal("there is no service \(facts.service.text)")
        }
        self.facts = facts
        self.view = view
        self.own = own
        self.authorities = authorities
        self.changes = changes
    }

    /// The subscription that there is of a kind but endpoints, of which each cluster has one.
    static func question(_ type: EnvoyType) -> EnvoyQuestion {
        switch type {
        case .clusters, .listeners, .endpoints: EnvoyQuestion(type)
        case .routes: EnvoyQuestion(.routes, outboundName)
        case .secrets: authoritiesQuestion
        }
    }

    /// The answer to a question.
    /// - Returns: nil: there is no such thing.
    /// - Throws: where it cannot be said in Envoy's words.
    public func content(_ question: EnvoyQuestion) throws(EnvoyRefusal) -> EnvoyContent? {
        switch (question.type, question.name) {
        case (.clusters, _): return try clusters()
        case (.listeners, _): return try listeners()
        case (.routes, Self.outboundName): return try routes()
        case (.endpoints, let name?): return try endpoints(name)
        case (.secrets, Self.authoritiesName):
            return EnvoyContent(
                .secrets, Self.authoritiesName, Self.secret(authorities))
        case (.routes, _), (.endpoints, _), (.secrets, _): return nil
        }
    }

    static func secret(_ authorities: String) -> EnvoyValue {
        .typed(
            EnvoyType.secrets.message,
            [
                "name": .text(Self.authoritiesName),
                "validation_context": ["trusted_ca": ["inline_string": .text(authorities)]],
            ])
    }

    /// From where more is to be fetched: the control plane.
    static var source: EnvoyValue {
        [
            "resource_api_version": "V3",
            "api_config_source": [
                "api_type": "REST", "transport_api_version": "V3",
                "cluster_names": [.text(controlName)], "refresh_delay": .text(pause),
                "request_timeout": .text(patience),
            ],
        ]
    }

    /// What its service calls and this Envoy has no way to, and why, for operators. All else goes
    /// on: to refuse the question would leave it without its other listeners.
    var leftOut: [EnvoyRefusal] {
        guard facts.outbound != nil else { return [] }
        return (own.calls ?? []).filter { view.services[$0]?.speech == .tcp }.sorted().map { name in
            EnvoyRefusal(
                "\(name.text) is of tcp: Envoy has no listener whose bytes go there, which a "
                    + "reference proxy has with --tcp")
        }
    }

    /// Services that have clusters: one of bytes has neither host nor path to be told by.
    var services: [MeshService] {
        view.services.values.filter { $0.speech != .tcp }.sorted { $0.meshName < $1.meshName }
    }

    // MARK: TLS

    /// The secrets of either side: the own certificate, from a file that the host renews, and whom
    /// to trust, from the control plane.
    func security(_ protocols: EnvoyValue, validation: EnvoyValue) -> EnvoyValue {
        [
            "tls_params": [
                "tls_minimum_protocol_version": "TLSv1_3",
                "tls_maximum_protocol_version": "TLSv1_3",
            ],
            "alpn_protocols": protocols,
            "tls_certificate_sds_secret_configs": [
                [
                    "name": .text(Self.identityName),
                    "sds_config": Self.file(facts.identityFile),
                ]
            ],
            "combined_validation_context": [
                "default_validation_context": validation,
                "validation_context_sds_secret_config": [
                    "name": .text(Self.authoritiesName), "sds_config": Self.source,
                ],
            ],
        ]
    }

    /// How the control plane is spoken to: over HTTP/2, so that all questions share a connection;
    /// one that is dead is noticed.
    static var control: EnvoyValue {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        let http2: EnvoyValue = ["connection_keepalive": ["interval": "1s", "timeout": "1s"]]
        return .object([
            .init(
                name: options,
                value: .typed(
                    options, ["explicit_http_config": ["http2_protocol_options": http2]]))
        ])
    }

    static func file(_ path: String) -> EnvoyValue {
        ["resource_api_version": "V3", "path_config_source": ["path": .text(path)]]
    }

    static func identities(_ identity: String) -> EnvoyValue {
        [
            "match_typed_subject_alt_names": [
                ["san_type": "URI", "matcher": ["exact": .text(identity)]]
            ]
        ]
    }
}

extension EnvoyValue {
    static func address(_ address: NumericAddress) -> EnvoyValue {
        let host =
            address.host.hasPrefix("[") ? address.host.dropFirst().dropLast() : address.host[...]
        return [
            "socket_address": [
                "address": .text(String(host)), "port_value": .number(address.port),
            ]
        ]
    }

    /// Seconds with nanoseconds (proto3's `Duration` as JSON).
    static func duration(_ duration: Duration) -> EnvoyValue { .text(seconds(duration)) }

    static func seconds(_ duration: Duration) -> String {
        let whole = duration.nanoseconds / 1_000_000_000
        let part = duration.nanoseconds % 1_000_000_000
        guard part > 0 else { return "\(whole)s" }
        let digits = String(part)
        return "\(whole).\(String(repeating: "0", count: 9 - digits.count))\(digits)s"
    }
}
