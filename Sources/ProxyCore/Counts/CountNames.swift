// What is counted of clusters, endpoints, routes and listeners. The names are Envoy's; what Envoy
// has none for is called as the proxy's total is.

/// Of a cluster.
///
/// Source: Envoy, "Cluster manager statistics", and of filters (`admission_control`, rules) their
/// own pages.
public enum ClusterCount: Int, PolicyCounted {
    case requests
    case requestsActive
    case requestsPending
    case requestsPendingActive
    case requestsOverflow
    case requestTimeouts
    case perTryTimeouts
    case retries
    case retriesActive
    case retrySuccess
    case retryOverflow
    case retryLimitExceeded
    case backoffExponential
    case backoffAdvised
    case noneHealthy
    case admissionRejected
    case connections
    case connectionsHTTP1
    case connectionsHTTP2
    case connectionsActive
    case connectionsEnded
    case connectFailures
    case connectTimeouts
    case connectionOverflow
    case connectionIdleTimeouts
    case authorizationDenied

    public var name: String {
        switch self {
        case .requests: "upstream_rq_total"
        case .requestsActive: "upstream_rq_active"
        case .requestsPending: "upstream_rq_pending_total"
        case .requestsPendingActive: "upstream_rq_pending_active"
        case .requestsOverflow: "upstream_rq_pending_overflow"
        case .requestTimeouts: "upstream_rq_timeout"
        case .perTryTimeouts: "upstream_rq_per_try_timeout"
        case .retries: "upstream_rq_retry"
        case .retriesActive: "upstream_rq_retry_active"
        case .retrySuccess: "upstream_rq_retry_success"
        case .retryOverflow: "upstream_rq_retry_overflow"
        case .retryLimitExceeded: "upstream_rq_retry_limit_exceeded"
        case .backoffExponential: "upstream_rq_retry_backoff_exponential"
        case .backoffAdvised: "upstream_rq_retry_backoff_ratelimited"
        case .noneHealthy: "upstream_cx_none_healthy"
        case .admissionRejected: "admission_control_rq_rejected"
        case .connections: "upstream_cx_total"
        case .connectionsHTTP1: "upstream_cx_http1_total"
        case .connectionsHTTP2: "upstream_cx_http2_total"
        case .connectionsActive: "upstream_cx_active"
        case .connectionsEnded: "upstream_cx_destroy"
        case .connectFailures: "upstream_cx_connect_fail"
        case .connectTimeouts: "upstream_cx_connect_timeout"
        case .connectionOverflow: "upstream_cx_overflow"
        case .connectionIdleTimeouts: "upstream_cx_idle_timeout"
        case .authorizationDenied: "rbac_denied"
        }
    }

    public var form: CountForm {
        switch self {
        case .requestsActive, .requestsPendingActive, .retriesActive, .connectionsActive: .gauge
        default: .counter
        }
    }

    /// How many of it a cluster has now.
    static func active(_ resource: Resource) -> ClusterCount {
        switch resource {
        case .connections: .connectionsActive
        case .pending: .requestsPendingActive
        case .requests: .requestsActive
        case .retries: .retriesActive
        }
    }
}

/// Of an endpoint of a cluster.
///
/// Source: Envoy, "Administration interface", `/clusters`.
public enum HostCount: Int, CountName {
    case requests
    case requestsActive
    case successes
    case errors
    case timeouts
    case connections
    case connectionsActive
    case connectFailures
    /// As active checks have found it: 0 or 1.
    case isHealthy

    public var name: String {
        switch self {
        case .requests: "rq_total"
        case .requestsActive: "rq_active"
        case .successes: "rq_success"
        case .errors: "rq_error"
        case .timeouts: "rq_timeout"
        case .connections: "cx_total"
        case .connectionsActive: "cx_active"
        case .connectFailures: "cx_connect_fail"
        case .isHealthy: "healthy"
        }
    }

    public var form: CountForm {
        switch self {
        case .requestsActive, .connectionsActive: .gauge
        case .isHealthy: .state
        default: .counter
        }
    }
}

/// Of a route: of its requests as their clients see them, however often they were sent.
///
/// Source: Envoy, "Route statistics", as far as Envoy counts the same.
public enum RouteCount: Int, PolicyCounted {
    case requests
    /// How often those that have ended were sent, or answered by a fault in place of that.
    case attempts
    /// Those that ended without a status: their clients did not wait for it.
    case unanswered
    case retries
    case retryOverflow
    case retryLimitExceeded
    case timeouts
    case overflow
    /// Those that a limit has turned away, whichever.
    case rateLimited
    /// Those that a fault has answered, however often it tried.
    case faultAnswers

    public var name: String {
        switch self {
        case .requests: "upstream_rq_total"
        case .attempts: "attempts"
        case .unanswered: "unanswered"
        case .retries: "upstream_rq_retry"
        case .retryOverflow: "upstream_rq_retry_overflow"
        case .retryLimitExceeded: "upstream_rq_retry_limit_exceeded"
        case .timeouts: "upstream_rq_timeout"
        case .overflow: "upstream_rq_pending_overflow"
        case .rateLimited: "rate_limited"
        case .faultAnswers: "fault_answers"
        }
    }

    public var form: CountForm { .counter }
}

/// Of a listener: what its limits and rules do with requests before these have a route.
public enum ListenerCount: Int, CountName {
    case limitsEnabled
    case limitsExceeded
    case limitsEnforced
    case authorizationAllowed
    case authorizationDenied

    public var name: String {
        switch self {
        case .limitsEnabled: "http_local_rate_limit_enabled"
        case .limitsExceeded: "http_local_rate_limit_rate_limited"
        case .limitsEnforced: "http_local_rate_limit_enforced"
        case .authorizationAllowed: "rbac_allowed"
        case .authorizationDenied: "rbac_denied"
        }
    }

    public var form: CountForm { .counter }
}
