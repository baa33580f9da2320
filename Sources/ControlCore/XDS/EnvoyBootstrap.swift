// What Envoy is started with: who it is, and how to reach the control plane. It asks for the rest.

public import Model

/// The files of an Envoy that has joined a mesh.
public struct EnvoyBootstrap: Equatable, Sendable {
    /// The proxy's name in the mesh.
    public var proxy: String
    public var facts: EnvoyFacts
    /// The control planes' listeners for proxies. Envoy asks the first that answers: each keeps
    /// what it has told an Envoy, so that one is asked for all.
    public var servers: [NumericAddress]
    /// The file with the authorities, as a secret.
    public var authoritiesFile: String
    public var trustDomain: String
    /// Envoy's own listener for operators; nil: none.
    public var admin: NumericAddress?

    public init(
        proxy: String, facts: EnvoyFacts, servers: [NumericAddress], authoritiesFile: String,
        trustDomain: String, admin: NumericAddress? = nil
    ) {
        self.proxy = proxy
        self.facts = facts
        self.servers = servers
        self.authoritiesFile = authoritiesFile
        self.trustDomain = trustDomain
        self.admin = admin
    }

    /// The bootstrap (envoy.config.bootstrap.v3.Bootstrap as JSON).
    public var json: String {
        let source = EnvoyRendering.source
        var document: EnvoyValue = [
            "node": [
                "id": .text(proxy), "cluster": .text(facts.service.text),
                "metadata": ["meshbench": metadata],
            ],
            "dynamic_resources": ["cds_config": source, "lds_config": source],
            "static_resources": ["clusters": [control]],
            "layered_runtime": ["layers": [Self.runtime]],
        ]
        if let admin { document = document.with("admin", ["address": .address(admin)]) }
        return document.json + "\n"
    }

    /// Lets rules have regular expressions of their longest paths, which Envoy's standard of 100 is
    /// too little for (`EnvoyPaths`): some ten steps for each of 4096 octets.
    private static let runtime: EnvoyValue = [
        "name": "rules", "static_layer": ["re2.max_program_size.error_level": 65_536],
    ]

    /// What comes back with each question (`EnvoyFacts`).
    private var metadata: EnvoyValue {
        var metadata: EnvoyValue = [
            "workers": .number(facts.workers), "identity_file": .text(facts.identityFile),
        ]
        let addresses = [
            ("app", facts.app), ("inbound", facts.inbound), ("outbound", facts.outbound),
        ]
        for case (let name, let address?) in addresses {
            metadata = metadata.with(name, .text("\(address.host):\(address.port)"))
        }
        return metadata
    }

    private var control: EnvoyValue {
        let names = EnvoyRendering.identities(SPIFFEID.control(of: trustDomain))
        let security: EnvoyValue = [
            "tls_params": [
                "tls_minimum_protocol_version": "TLSv1_3",
                "tls_maximum_protocol_version": "TLSv1_3",
            ],
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [
                [
                    "name": .text(EnvoyRendering.identityName),
                    "sds_config": EnvoyRendering.file(facts.identityFile),
                ]
            ],
            "combined_validation_context": [
                "default_validation_context": names,
                "validation_context_sds_secret_config": [
                    "name": .text(EnvoyRendering.authoritiesName),
                    "sds_config": EnvoyRendering.file(authoritiesFile),
                ],
            ],
        ]
        let localities = servers.enumerated().map { index, server -> EnvoyValue in
            [
                "priority": .number(index),
                "lb_endpoints": [["endpoint": ["address": .address(server)]]],
            ]
        }
        return [
            "name": .text(EnvoyRendering.controlName), "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": [
                "cluster_name": .text(EnvoyRendering.controlName),
                "endpoints": .list(localities),
            ],
            // Two failures, and the next control plane is asked.
            "outlier_detection": [
                "consecutive_5xx": 2, "interval": "0.5s", "base_ejection_time": "2s",
                "max_ejection_percent": 100,
            ],
            "typed_extension_protocol_options": EnvoyRendering.control,
            "transport_socket": .filter(
                "envoy.transport_sockets.tls",
                .typed(
                    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    ["common_tls_context": security])),
        ]
    }

    /// A file with a secret as Envoy reads it (a DiscoveryResponse as JSON).
    private static func file(_ secret: EnvoyValue) -> String {
        EnvoyValue.object([.init(name: "resources", value: [secret])]).json + "\n"
    }

    /// The file of the own certificate.
    /// - Parameters:
    ///   - certificate: PEM, with the intermediates behind it.
    ///   - key: PEM. In one file with the certificate, since one is of no use without the other.
    public static func identity(certificate: String, key: String) -> String {
        file(
            .typed(
                EnvoyType.secrets.message,
                [
                    "name": .text(EnvoyRendering.identityName),
                    "tls_certificate": [
                        "certificate_chain": ["inline_string": .text(certificate)],
                        "private_key": ["inline_string": .text(key)],
                    ],
                ]))
    }

    /// The file of the authorities.
    /// - Parameter bundle: PEM.
    public static func authorities(_ bundle: String) -> String {
        file(EnvoyRendering.secret(bundle))
    }
}
