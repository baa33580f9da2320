public import Base

/// Bounds on declarations, so that no single one can cost the mesh more than a moment.
public enum MeshLimits {
    /// Bytes of a name or namespace: a label of DNS (RFC 1035, 2.3.4).
    public static let nameBytes = 63
    /// Declarations of one kind: ten thousand services of ten endpoints each, twice over.
    public static let declarations = 200_000
    /// Endpoints of one service.
    public static let endpoints = 10_000
    /// References in one `to`.
    public static let targets = 100
    /// Hosts of a route, as in a proxy's file.
    public static let hosts = 100
    /// Alternatives of a route, and rules of an authorization.
    public static let matches = 64
    /// Conditions of all routes together, of which each host with each match is one: what every
    /// proxy of a gateway may have to hold.
    public static let conditions = 100_000
    /// Destinations of a route.
    public static let destinations = 64
    /// Identities, namespaces, paths, prefixes or ports of a rule.
    public static let ruleItems = 100
    /// Methods of a match or rule, as in a proxy's file.
    public static let methods = 32
    /// Header conditions of a match or rule, as in a proxy's file.
    public static let headers = 64
    /// Bytes of a path, as in a proxy's file.
    public static let pathBytes = 4096
    /// Bytes of a host: a name of DNS in text (RFC 1035, 2.3.4), and `*.`.
    public static let hostBytes = 255
    /// Weights of endpoints and destinations: those of the Gateway API.
    public static let weight = 1_000_000
    /// Connections, or requests that wait for one.
    public static let connections = 1_000_000
    /// A timeout that may also be absent, which `zero` says.
    public static let timeout = Duration.zero...Duration.seconds(7 * 86_400)
    /// A timeout that there must be.
    public static let positiveTimeout = Duration.milliseconds(1)...Duration.seconds(7 * 86_400)
    /// How long opening a connection may take.
    public static let connectTimeout = Duration.milliseconds(1)...Duration.seconds(3600)
    /// From one health check to the next.
    public static let healthInterval = Duration.milliseconds(10)...Duration.seconds(3600)
    /// Answers in a row that change what is held of an endpoint.
    public static let healthThreshold = 1...100
}
