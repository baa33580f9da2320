import Base
import Model

// Where requests go: clusters, and the endpoints of each.

extension EnvoyRendering {
    func clusters() throws(EnvoyRefusal) -> EnvoyContent {
        var clusters: [EnvoyContent.Item] = []
        for service in services {
            clusters.append(
                .init(name: service.meshName.text, json: try cluster(service).json))
        }
        if let app = facts.app {
            clusters.append(.init(name: Self.appName, json: self.app(app).json))
        }
        return EnvoyContent(.clusters, clusters)
    }

    private func cluster(_ service: MeshService) throws(EnvoyRefusal) -> EnvoyValue {
        let name = service.meshName
        let policy = view.policy(for: name)
        // What has been announced is not done yet, as reference proxies have it (`ModeChanges`).
        let isSecure = (service.mtls != .off) != (changes[name] == .announced)
        // Whoever speaks TLS for a service is a proxy, and these share connections.
        let isHTTP2 = isSecure || service.speech == .http2
        var cluster: EnvoyValue = .typed(
            EnvoyType.clusters.message,
            [
                "name": .text(name.text), "type": "EDS",
                "eds_cluster_config": ["eds_config": Self.source],
                "connect_timeout": .duration(policy?.timeouts.connect ?? .seconds(5)),
                "typed_extension_protocol_options": Self.speech(
                    isHTTP2, policy?.timeouts ?? .init()),
            ])
        cluster = cluster.merging(try traffic(name, policy))
        guard isSecure else { return cluster }
        guard let identity = view.identity(of: service) else {
            throw EnvoyRefusal("the service \(name.text) can have no identity")
        }
        return cluster.with(
            "transport_socket",
            .filter(
                "envoy.transport_sockets.tls",
                .typed(
                    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    [
                        "sni": .text("\(name.name).\(name.namespace).mesh"),
                        "common_tls_context": security(
                            ["h2"], validation: Self.identities(identity.rawValue)),
                    ])))
    }

    private func app(_ address: NumericAddress) -> EnvoyValue {
        .typed(
            EnvoyType.clusters.message,
            [
                "name": .text(Self.appName), "type": "STATIC", "connect_timeout": "5s",
                "circuit_breakers": standardBreaker,
                "typed_extension_protocol_options": Self.speech(
                    own.speech == .http2),
                "load_assignment": [
                    "cluster_name": .text(Self.appName),
                    "endpoints": [
                        ["lb_endpoints": [["endpoint": ["address": .address(address)]]]]
                    ],
                ],
            ])
    }

    static func speech(
        _ isHTTP2: Bool, _ timeouts: MeshPolicy.Timeouts = .init()
    ) -> EnvoyValue {
        var common: EnvoyValue = ["idle_timeout": .duration(timeouts.idle ?? .seconds(3600))]
        let bounds = [
            ("max_stream_duration", timeouts.maxStream),
            ("max_connection_duration", timeouts.maxConnection),
        ]
        for case (let name, let most?) in bounds where most > .zero {
            common = common.with(name, .duration(most))
        }
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        let explicit: EnvoyValue =
            isHTTP2
            ? ["http2_protocol_options": ["allow_connect": true, "max_concurrent_streams": 128]]
            : ["http_protocol_options": [:]]
        return .object([
            .init(
                name: options,
                value: .typed(
                    options,
                    [
                        "common_http_protocol_options": common,
                        "explicit_http_config": explicit,
                    ]))
        ])
    }

    /// The endpoints of a cluster; nil: of none that there is.
    func endpoints(_ cluster: String) throws(EnvoyRefusal) -> EnvoyContent? {
        guard let key = MeshKey(path: "\(MeshKind.service.plural)/\(cluster)"),
            view.services[key.name] != nil
        else { return nil }
        let endpoints = view.endpointsTold(of: key.name, view.policy(for: key.name))
        let weight = endpoints.reduce(0) { $0 + $1.endpoint.weight }
        guard weight <= Int(UInt32.max) else {
            throw EnvoyRefusal(
                "the weights of the endpoints of \(cluster) are \(weight) together, and Envoy "
                    + "takes \(UInt32.max) at most")
        }
        // Envoy's levels have no gaps.
        let levels = Set(endpoints.map(\.endpoint.level)).sorted()
        let groups = levels.enumerated().map { priority, level -> EnvoyValue in
            let items = endpoints.filter { $0.endpoint.level == level }.map(Self.endpoint)
            return priority == 0
                ? ["lb_endpoints": .list(items)]
                : ["priority": .number(priority), "lb_endpoints": .list(items)]
        }
        return EnvoyContent(
            .endpoints, cluster,
            .typed(
                EnvoyType.endpoints.message,
                ["cluster_name": .text(cluster), "endpoints": .list(groups)]))
    }

    private static func endpoint(_ told: (endpoint: MeshEndpoint, isWell: Bool)) -> EnvoyValue {
        guard let address = NumericAddress(told.endpoint.address) else {
            preconditionFailure("an endpoint without an address was declared")
        }
        let endpoint: EnvoyValue = [
            "endpoint": ["address": .address(address)],
            "load_balancing_weight": .number(told.endpoint.weight),
        ]
        return told.isWell ? endpoint : endpoint.with("health_status", "UNHEALTHY")
    }
}
