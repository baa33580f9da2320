import Base
import Model

// What Envoy takes: requests to the service, as its mode of mutual TLS and its authorizations have
// it, and the service's own requests to others.

extension EnvoyRendering {
    func listeners() throws(EnvoyRefusal) -> EnvoyContent {
        var listeners: [EnvoyContent.Item] = []
        if facts.app != nil, let address = facts.inbound {
            listeners.append(.init(name: Self.inboundName, json: try inbound(address).json))
        }
        if let address = facts.outbound {
            listeners.append(.init(name: Self.outboundName, json: outbound(address).json))
        }
        return EnvoyContent(.listeners, listeners)
    }

    // MARK: Requests to the service

    private func inbound(_ address: NumericAddress) throws(EnvoyRefusal) -> EnvoyValue {
        let filters: EnvoyValue = .list(own.speech == .tcp ? bytes : [try requests()])
        let secured: EnvoyValue = [
            "name": "tls",
            "transport_socket": .filter(
                "envoy.transport_sockets.tls",
                .typed(
                    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    [
                        "require_client_certificate": true,
                        "common_tls_context": security(["h2", "http/1.1"], validation: [:]),
                    ])),
            "filters": filters,
        ]
        let clear: EnvoyValue = ["name": "cleartext", "filters": filters]
        let listener = Self.listener(Self.inboundName, address)
        // Between two ways it takes both.
        switch changes[own.meshName] == nil ? own.mtls : .permissive {
        case .strict: return listener.with("filter_chains", [secured])
        case .off: return listener.with("filter_chains", [clear])
        case .permissive:
            // Told apart by a connection's first bytes.
            let inspector = EnvoyValue.filter(
                "envoy.filters.listener.tls_inspector",
                .typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"))
            return
                listener
                .with("listener_filters", [inspector])
                .with("continue_on_listener_filters_timeout", true)
                .with(
                    "filter_chains",
                    [
                        secured.with("filter_chain_match", ["transport_protocol": "tls"]),
                        clear.with("filter_chain_match", ["transport_protocol": "raw_buffer"]),
                    ])
        }
    }

    /// Filters of connections that are passed on without a look at what they carry.
    private var bytes: [EnvoyValue] {
        authorization.map { action, policies in
            .filter(
                "envoy.filters.network.rbac",
                .typed(
                    "envoy.extensions.filters.network.rbac.v3.RBAC",
                    [
                        "stat_prefix": .text("\(action.lowercased())_"),
                        "rules": ["action": .text(action), "policies": policies],
                    ]))
        } + [
            .filter(
                "envoy.filters.network.tcp_proxy",
                .typed(
                    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    ["stat_prefix": .text(Self.inboundName), "cluster": .text(Self.appName)]))
        ]
    }

    private func requests() throws(EnvoyRefusal) -> EnvoyValue {
        let policy = view.policy(for: own.meshName)
        let held = policy?.inbound
        try Self.refuse(held?.globalRateLimit, of: "the policy of \(own.meshName.text)")
        let limits = try Self.rateLimits(held?.rateLimits ?? [], of: own.meshName.text)
        let rules = authorization.map { action, policies in
            EnvoyValue.filter(
                "envoy.filters.http.rbac",
                .typed(
                    "envoy.extensions.filters.http.rbac.v3.RBAC",
                    ["rules": ["action": .text(action), "policies": policies]]))
        }
        // How long a request may take is for its client's proxy to say, and how long nothing may
        // move is what that has been told: else it would be cut short here.
        var action: EnvoyValue = ["cluster": .text(Self.appName), "timeout": "0s"]
        if let idle = policy?.timeouts.streamIdle {
            action = action.with("idle_timeout", .duration(idle))
        }
        let table: EnvoyValue = [
            "name": .text(Self.inboundName),
            "virtual_hosts": [
                [
                    "name": .text(Self.appName), "domains": ["*"],
                    "routes": [["match": ["prefix": "/"], "route": action]],
                ]
            ],
        ]
        // In the order of the reference proxy: limits, then rules.
        let admission = (held?.admission).map { [Self.admission($0)] } ?? []
        return Self.connectionManager(
            Self.inboundName, limits + rules + admission, routes: ("route_config", table),
            takesUnderscores: !restrictsHeaders)
    }

    // MARK: Requests to others

    private func outbound(_ address: NumericAddress) -> EnvoyValue {
        let routes: EnvoyValue = [
            "route_config_name": .text(Self.outboundName), "config_source": Self.source,
        ]
        let manager = Self.connectionManager(
            Self.outboundName, [Self.rateLimits], routes: ("rds", routes))
        return Self.listener(Self.outboundName, address)
            .with("filter_chains", [["name": "cleartext", "filters": [manager]]])
    }

    // MARK: What both have

    private static func listener(_ name: String, _ address: NumericAddress) -> EnvoyValue {
        .typed(
            EnvoyType.listeners.message, ["name": .text(name), "address": .address(address)])
    }

    /// As the reference proxy serves requests: it adds no fields of its own, and lets connections
    /// change to WebSocket, over HTTP/2 too (RFC 8441).
    /// - Parameter takesUnderscores: fields may have them in their names.
    private static func connectionManager(
        _ name: String, _ filters: [EnvoyValue], routes: (key: String, value: EnvoyValue),
        takesUnderscores: Bool = true
    ) -> EnvoyValue {
        let router = EnvoyValue.filter(
            "envoy.filters.http.router",
            .typed(
                "envoy.extensions.filters.http.router.v3.Router",
                ["suppress_envoy_headers": true]))
        let manager: EnvoyValue = [
            "stat_prefix": .text(name), "codec_type": "AUTO",
            "server_header_transformation": "PASS_THROUGH", "generate_request_id": false,
            "http2_protocol_options": ["allow_connect": true, "max_concurrent_streams": 128],
            "upgrade_configs": [["upgrade_type": "websocket"]],
            "stream_idle_timeout": .duration(streamIdle),
            "common_http_protocol_options": [
                "headers_with_underscores_action": takesUnderscores ? "ALLOW" : "REJECT_REQUEST"
            ],
            "http_filters": .list(filters + [router]),
        ]
        return .filter(
            "envoy.filters.network.http_connection_manager",
            .typed(
                "envoy.extensions.filters.network.http_connection_manager.v3"
                    + ".HttpConnectionManager",
                manager.with(routes.key, routes.value)))
    }
}
