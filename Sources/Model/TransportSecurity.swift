// How a connection is secured: where its certificates are, and whom it believes.

/// The server's side of TLS, for a listener.
public struct ServerTLS: Codable, Equatable, Sendable {
    /// Whether a client shows a certificate.
    public enum ClientCertificate: String, Codable, CaseIterable, Sendable {
        /// It is not asked.
        case none
        /// It is asked; one that is shown must be valid.
        case optional
        /// Without a valid one there is no connection.
        case required
    }

    /// A certificate and its key.
    public struct Identity: Codable, Equatable, Sendable {
        /// A PEM file: the leaf, then the intermediates.
        public var certificate: String
        /// A PEM file with the leaf's private key.
        public var key: String

        public init(certificate: String, key: String) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// A PEM file: the leaf, then the intermediates; for whoever asks for none of the names of
    /// `certificates`.
    public var certificate: String
    /// A PEM file with the leaf's private key.
    public var key: String
    /// Further ones, each for whoever asks for one of its DNS names (SNI, RFC 6066, 3). 256 at
    /// most.
    public var certificates: [Identity]
    /// A PEM file with the authorities that clients' certificates must come from; nil: nobody asks.
    public var authorities: String?
    public var clientCertificate: ClientCertificate
    /// Names of which a client's certificate must carry one (DNS, or URIs such as SPIFFE ids);
    /// empty: any that the authorities vouch for.
    public var clientNames: [String]
    public var minimumVersion: TLSVersion

    public init(
        certificate: String, key: String, certificates: [Identity] = [],
        authorities: String? = nil, clientCertificate: ClientCertificate = .none,
        clientNames: [String] = [], minimumVersion: TLSVersion = .v12
    ) {
        self.certificate = certificate
        self.key = key
        self.certificates = certificates
        self.authorities = authorities
        self.clientCertificate = clientCertificate
        self.clientNames = clientNames
        self.minimumVersion = minimumVersion
    }

    /// All but certificate and key may be absent.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            certificate: try fields.decode(String.self, forKey: .certificate),
            key: try fields.decode(String.self, forKey: .key),
            certificates: try fields.decodeIfPresent([Identity].self, forKey: .certificates) ?? [],
            authorities: try fields.decodeIfPresent(String.self, forKey: .authorities),
            clientCertificate: try fields.decodeIfPresent(
                ClientCertificate.self, forKey: .clientCertificate) ?? .none,
            clientNames: try fields.decodeIfPresent([String].self, forKey: .clientNames) ?? [],
            minimumVersion: try fields.decodeIfPresent(TLSVersion.self, forKey: .minimumVersion)
                ?? .v12)
    }
}

/// The client's side of TLS, for a cluster or a load.
public struct ClientTLS: Codable, Equatable, Sendable {
    /// A PEM file with the authorities that the server's certificate must come from; nil: those of
    /// the system.
    public var authorities: String?
    /// A PEM file with the certificate that is shown, leaf first; nil: none.
    public var certificate: String?
    /// A PEM file with its private key.
    public var key: String?
    /// What is asked for by SNI (RFC 6066, 3); nil: nothing.
    public var serverName: String?
    /// Names of which the server's certificate must carry one (DNS, or URIs such as SPIFFE ids);
    /// empty: `serverName`, or else the endpoint's address.
    public var names: [String]
    public var minimumVersion: TLSVersion

    public init(
        authorities: String? = nil, certificate: String? = nil, key: String? = nil,
        serverName: String? = nil, names: [String] = [], minimumVersion: TLSVersion = .v12
    ) {
        self.authorities = authorities
        self.certificate = certificate
        self.key = key
        self.serverName = serverName
        self.names = names
        self.minimumVersion = minimumVersion
    }
}

/// The least version of TLS that is spoken.
public enum TLSVersion: String, Codable, CaseIterable, Sendable {
    case v12 = "1.2"
    case v13 = "1.3"
}
