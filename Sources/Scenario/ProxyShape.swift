// The keys of a proxy's configuration file: one table for reading, errors, defaults, the JSON
// Schema and the reference in docs/PROXY.md.

import Base
import Model

struct ProxyDraft: Sendable {
    var configuration = ProxyConfiguration(listeners: [], routes: [], clusters: [])
    var listeners: [ListenerDraft] = []
    var routes: [RouteDraft] = []
    var clusters: [ClusterDraft] = []
    var faults: [FaultRuleDraft] = []
}

struct ListenerDraft: Sendable {
    var name: Placed<String>?
    var address: Placed<String>?
    var speech = ProxyConfiguration.Listener.Speech.auto
    var cluster: Placed<String>?
    var tls: ServerTLS?
    var isPermissive = false
    var authorization: Placed<ProxyConfiguration.Authorization>?
    var rateLimits: Placed<[RateLimitPolicy]>?
    var globalRateLimit: Placed<GlobalRateLimit>?
    /// Who is asked for them.
    var limitCluster: Placed<String>?
    var trustsHeaders = false

    func check(_ decoding: inout Decoding) {
        if speech == .tcp, cluster == nil, let name {
            decoding.report(name.place, "a tcp listener needs a `cluster`: it has no routes")
        }
        if speech == .tcp, let rateLimits, !rateLimits.value.isEmpty {
            decoding.report(rateLimits.place, "a tcp listener has no requests to be limited")
        }
        if speech == .tcp, let globalRateLimit {
            decoding.report(
                globalRateLimit.place, "a tcp listener has no requests to be limited")
        }
        guard let authorization else { return }
        let rules = authorization.value.deny + (authorization.value.allow ?? [])
        if speech == .tcp, rules.contains(where: \.asksForHTTP) {
            decoding.report(
                authorization.place,
                "a tcp listener knows no methods, paths or headers: such a rule never holds")
        }
        let asksClients = tls.map { $0.clientCertificate != ServerTLS.ClientCertificate.none }
        if asksClients != true, rules.contains(where: \.asksForIdentity) {
            decoding.report(
                authorization.place,
                "this listener asks no client for a certificate (`tls.client_certificate`): a "
                    + "rule about identities never holds")
        }
    }
}

struct ClusterDraft: Sendable {
    var cluster = ProxyConfiguration.Cluster(name: "", endpoints: [])
    var name: Placed<String>?
}

extension Form where Value == ListenerDraft {
    fileprivate static var listener: Form {
        Shape<ListenerDraft>.listener.form.map { draft, node, _ in
            var draft = draft
            if let place = node.value("global_rate_limit")?.value("cluster")?.place {
                draft.limitCluster = draft.globalRateLimit.map { Placed($0.value.cluster, place) }
            }
            return draft
        }
    }
}

extension Shape where Whole == ProxyDraft {
    static var proxy: Shape {
        Shape(
            ProxyDraft(),
            [
                .init(
                    "listeners", \.listeners, list(of: Form<ListenerDraft>.listener, 1...64),
                    isRequired: true, about: "where clients connect"),
                .init(
                    "routes", \.routes, list(of: Form<RouteDraft>.route, 0...10_000),
                    standard: "[]",
                    about:
                        """
                        where requests go: the first route of which every condition holds; needed \
                        unless all listeners have a `cluster`
                        """
                ),
                .init(
                    "clusters", \.clusters, list(of: Shape<ClusterDraft>.cluster.form, 1...1000),
                    isRequired: true, about: "groups of endpoints that serve the same"),
                .init(
                    "admin", \.configuration.admin, Form<String>.address.optional,
                    about:
                        "where `/stats`, `/ready`, `/config`, `/events` and `/faults` are; "
                        + "absent: nowhere"),
                .init(
                    "access_log", \.configuration.accessLog, Form<String>.text().optional,
                    about: "a file for one line of JSON a request, `-` for standard output"),
                .init(
                    "zone", \.configuration.zone, Form<String>.label.optional,
                    about: "where the proxy runs; absent: nobody knows"),
                .init(
                    "faults", \.faults,
                    list(of: Shape<FaultRuleDraft>.fault.form, 0...32), standard: "[]",
                    about: "what is done to requests on purpose (docs/FAULTS.md)"),
                .init(
                    "ledger", \.configuration.ledger, Form<String>.text().optional,
                    about: "a file for one line of JSON for each thing that a fault does"),
                .init(
                    "workers", \.configuration.workers, .integer(1...256), standard: "1",
                    about: "threads that serve"),
                .init(
                    "limits", \.configuration.limits, Shape<ProxyLimits>.limits.form,
                    standard: "{}", about: "bounds of each worker"),
                .init(
                    "timeouts", \.configuration.timeouts, Shape<ProxyTimeouts>.timeouts.form,
                    standard: "{}", about: "how long the proxy waits"),
                .init(
                    "headers", \.configuration.headers, Shape<HeaderPolicy>.headers.form,
                    standard: "{}", about: "fields that the proxy adds"),
                .init(
                    "upgrades", \.configuration.upgrades, list(of: Form<String>.protocol, 0...16),
                    standard: "[websocket]",
                    about:
                        "protocols that a connection may change to; others are not asked for; "
                        + "`connect` lets CONNECT open tunnels to the route's cluster"),
            ])
    }
}

extension Shape where Whole == ListenerDraft {
    static var listener: Shape {
        Shape(
            ListenerDraft(),
            [
                .init(
                    "name", \.name, Form<String>.name.placed.optional, isRequired: true,
                    about: "what logs and counters call it"),
                .init(
                    "address", \.address, Form<String>.address.placed.optional, isRequired: true,
                    about: "`127.0.0.1:8080` or `[::1]:8080`; port 0: any free one"),
                .init(
                    "protocol", \.speech, .choice, standard: "auto",
                    about:
                        """
                        what clients speak: HTTP/2 or HTTP/1.1 (`auto`), one of them, or bytes \
                        (`tcp`)
                        """
                ),
                .init(
                    "cluster", \.cluster, Form<String>.name.placed.optional,
                    about:
                        "where all goes that comes by it, whatever routes say; a `tcp` listener "
                        + "must have one"),
                .init(
                    "tls", \.tls, Shape<ServerTLS>.server.form.optional,
                    about: "how connections are secured; absent: cleartext"),
                .init(
                    "permissive", \.isPermissive, .boolean, standard: "false", .with("tls"),
                    about: "whether cleartext is taken too"),
                .init(
                    "authorization", \.authorization,
                    Shape<ProxyConfiguration.Authorization>.authorization.form.placed.optional,
                    about: "who may ask for what; absent: everybody for everything"),
                .init(
                    "rate_limits", \.rateLimits, Form<[RateLimitPolicy]>.rateLimits.placed.optional,
                    about: "limits that its requests are held against, before who may ask"),
                .init(
                    "global_rate_limit", \.globalRateLimit,
                    Form<GlobalRateLimit>.toCluster.placed.optional,
                    about: "what all proxies limit together, by asking a service; absent: nothing"),
                .init(
                    "trusts_headers", \.trustsHeaders, .boolean, standard: "false",
                    about: "whether clients may say by `x-envoy-…` fields how requests are sent"),
            ])
    }
}

extension Shape where Whole == ProxyConfiguration.Authorization {
    fileprivate static var authorization: Shape {
        let rules = list(of: Shape<MeshAuthorization.Rule>.rule.form, 0...1000)
        return Shape(
            .init(),
            [
                .init(
                    "deny", \.deny, rules, standard: "[]",
                    about: "what one of these rules means is denied"),
                .init(
                    "allow", \.allow, rules.optional,
                    about:
                        "else what one of these means is let in, and nothing else; absent: all is"),
            ])
    }
}

extension Shape where Whole == ClusterDraft {
    static var cluster: Shape {
        Shape(
            ClusterDraft(),
            [
                .init(
                    "name", \.name, Form<String>.name.placed.optional, isRequired: true,
                    about: "what routes, logs and counters call it"),
                .init(
                    "endpoints", \.cluster.endpoints,
                    list(of: Form<ProxyConfiguration.Endpoint>.endpoint, 0...65_536),
                    isRequired: true,
                    about: "addresses, or addresses with their weights, taken in turn"),
                .init(
                    "protocol", \.cluster.speech, .choice, standard: "http1",
                    about: "what the endpoints speak"),
                .init(
                    "tls", \.cluster.tls, Shape<ClientTLS>.client.form.optional,
                    about: "how connections are secured; absent: cleartext"),
                .init(
                    "connect_timeout", \.cluster.connectTimeout,
                    .duration(.milliseconds(1)...(.seconds(3600))), standard: "5s",
                    about: "how long opening a connection may take"),
                .init(
                    "request_timeout", \.cluster.requestTimeout,
                    Form<Duration>.duration(.proxyTimeout).optional,
                    about: "in place of `timeouts.request`"),
                .init(
                    "idle_timeout", \.cluster.idleTimeout,
                    Form<Duration>.duration(.positive).optional,
                    about: "in place of `timeouts.idle`, for connections to its endpoints"),
                .init(
                    "stream_idle_timeout", \.cluster.streamIdleTimeout,
                    Form<Duration>.duration(.positive).optional,
                    about: "in place of `timeouts.stream_idle`, for its requests"),
                .init(
                    "max_stream_duration", \.cluster.maxStreamDuration, .duration(.proxyTimeout),
                    standard: "0s",
                    about:
                        "of one attempt, from its connection to the end of its answer; `0s`: no "
                        + "limit"),
                .init(
                    "max_connection_duration", \.cluster.maxConnectionDuration,
                    .duration(.proxyTimeout), standard: "0s",
                    about: "until a connection takes no more requests; `0s`: no limit"),
                .init(
                    "requests_per_connection", \.cluster.requestsPerConnection,
                    .integer(0...1_000_000_000), standard: "0",
                    about: "requests that a connection takes; 0: no limit"),
                .init(
                    "breaker", \.cluster.breaker, .breaker, standard: "{}",
                    about: "what may be open or in flight to it at once, for each worker"),
            ] + policies)
    }
}

extension Form where Value == ProxyConfiguration.Endpoint {
    fileprivate static var endpoint: Form {
        let shape = Shape<Value>(
            Value(""),
            [
                .init(
                    "address", \.address, Form<String>.endpoint, isRequired: true,
                    about: "`127.0.0.1:8080` or `[::1]:8080`"),
                .init(
                    "weight", \.weight, .integer(1...1_000_000), standard: "1",
                    about: "how often it is its turn, against the cluster's other endpoints"),
            ] + Shape<Value>.policies)
        return .either(
            scalar: Form<String>.endpoint.map { address, _, _ in Value(address) },
            mapping: shape.form)
    }
}

extension Shape where Whole == ProxyLimits {
    static var limits: Shape {
        Shape(
            ProxyLimits(),
            [
                .init(
                    "head", \.headBytes, .size(1024...ProxyLimits.headBytesMost), standard: "32KiB",
                    about: "bytes of one head, start line included"),
                .init(
                    "headers", \.headerCount, .integer(1...10_000), standard: "100",
                    about: "fields in one head"),
                .init(
                    "target", \.targetBytes, .size(256...ProxyLimits.headBytesMost),
                    standard: "8KiB",
                    about: "bytes of one request target"),
                .init(
                    "connections", \.connections, .integer(2...1_000_000), standard: "50000",
                    about: "connections and HTTP/2 streams of all kinds"),
                .init(
                    "streams", \.streams, .integer(1...10_000), standard: "128",
                    about: "HTTP/2 streams open at once on one connection"),
                .init(
                    "requests_per_connection", \.requestsPerConnection,
                    .integer(0...1_000_000_000), standard: "0",
                    about: "requests of a client's connection, before it is drained; 0: no limit"),
            ])
    }
}

extension Shape where Whole == ProxyTimeouts {
    static var timeouts: Shape {
        Shape(
            ProxyTimeouts(),
            [
                .init(
                    "request", \.request, .duration(.proxyTimeout), standard: "15s",
                    about: "from the end of the request to the end of the answer; `0s`: no limit"),
                .init(
                    "idle", \.idle, .duration(.positive), standard: "1h",
                    about: "a connection without a request"),
                .init(
                    "head", \.head, .duration(.positive), standard: "10s",
                    about: "from the first byte of a head to its end"),
                .init(
                    "stream_idle", \.streamIdle, .duration(.positive), standard: "5m",
                    about: "a body or tunnel on which nothing moves"),
                .init(
                    "max_stream", \.maxStream, .duration(.proxyTimeout), standard: "0s",
                    about: "from a request's head to the end of its answer; `0s`: no limit"),
                .init(
                    "max_connection", \.maxConnection, .duration(.proxyTimeout), standard: "0s",
                    about: "a client's connection, before it is drained; `0s`: no limit"),
                .init(
                    "drain", \.drain, .duration(.proxyTimeout), standard: "30s",
                    about: "requests in flight after SIGTERM"),
                .init(
                    "handshake", \.handshake, .duration(.positive), standard: "10s",
                    about: "from a connection's opening to the end of its TLS handshake"),
                .init(
                    "ping_interval", \.pingInterval, .duration(.proxyTimeout), standard: "0s",
                    about: "HTTP/2: silence before a PING; `0s`: never"),
                .init(
                    "ping_timeout", \.pingTimeout, .duration(.positive), standard: "10s",
                    about: "HTTP/2: from a PING to its answer"),
            ])
    }
}

extension Shape where Whole == HeaderPolicy {
    static var headers: Shape {
        Shape(
            HeaderPolicy(),
            [
                .init(
                    "via", \.via, Form<String>.pseudonym.optional,
                    about: "the name in `Via` (RFC 9110, 7.6.3); absent: no `Via`"),
                .init(
                    "forwarded_for", \.forwardedFor, .boolean, standard: "false",
                    about: "append the client's address to `x-forwarded-for`"),
                .init(
                    "request_id", \.requestID, .boolean, standard: "false",
                    about: "add `x-request-id` where a request has none"),
                .init(
                    "request", \.request, .headerChanges, standard: "{}",
                    about: "changes to the fields of all requests, after those of routes"),
                .init(
                    "response", \.answer, .headerChanges, standard: "{}",
                    about: "changes to the fields of all answers of clusters, after those of routes"
                ),
                .init(
                    "attempt_count", \.attemptCount, .boolean, standard: "false",
                    about:
                        "tell upstreams, and clients, how often a request has been sent "
                        + "(`x-envoy-attempt-count`), and upstreams that an attempt before took "
                        + "too long (`x-envoy-is-timeout-retry`)"),
                .init(
                    "expected_timeout", \.expectedTimeout, .boolean, standard: "false",
                    about: "tell upstreams how long they have (`x-envoy-expected-rq-timeout-ms`)"),
                .init(
                    "service_time", \.serviceTime, .boolean, standard: "false",
                    about:
                        "tell clients how long the upstream took (`x-envoy-upstream-service-time`)"
                ),
            ])
    }
}

extension ClosedRange<Duration> {
    static var proxyTimeout: Self { .zero...(.seconds(7 * 86_400)) }
    fileprivate static var positive: Self { .milliseconds(1)...(.seconds(7 * 86_400)) }
}
