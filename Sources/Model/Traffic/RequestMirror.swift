// Requests that are sent to somebody else too, who is tried out with them.

/// Whom a share of a route's requests is sent to as well. What comes back is thrown away: the
/// mirrored request neither waits for it nor fails by it.
///
/// Source: Envoy, `config.route.v3.RouteAction.RequestMirrorPolicy`.
public struct RequestMirror<Target: Codable & Hashable & Sendable>: Codable, Hashable, Sendable {
    public var target: Target
    /// Of the route's requests, percent, 0 to 100. Whether a request is one of them is decided by
    /// its `x-request-id`: always the same, wherever it is asked. One without goes by chance.
    public var percent: Double
    /// Whether `-shadow` is put behind the host that is asked, before its port, so that whoever is
    /// asked can tell.
    public var marksHost: Bool

    public init(_ target: Target, percent: Double = 100, marksHost: Bool = true) {
        self.target = target
        self.percent = percent
        self.marksHost = marksHost
    }

    /// What is put behind the host.
    public static var mark: StaticString { "-shadow" }

    /// The same request sent to another target.
    func to<Other>(_ other: Other) -> RequestMirror<Other> {
        RequestMirror<Other>(other, percent: percent, marksHost: marksHost)
    }
}
