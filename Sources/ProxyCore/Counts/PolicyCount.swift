/// What policies have done with requests: counted for a cluster and for a route alike, and for the
/// worker.
///
/// Source of the names: Envoy's pages of its filters (limits, faults), and "Cluster manager
/// statistics".
public enum PolicyCount: Int, CountName {
    case limitsEnabled
    case limitsExceeded
    case limitsEnforced
    case questionsOver
    case questionsFailed
    case questionsPassedOver
    case faultDelays
    case faultAborts
    case faultThrottles
    case faultsOverflow
    case hedges
    case hedgesLost
    case streamDurations
    case attemptDurations
    /// For a cluster, those that were sent to it; for a route, to whichever cluster.
    case mirrors
    case mirrorsFailed
    case mirrorsSkipped

    /// Places that they take in a line.
    static let places = 17

    public var name: String {
        switch self {
        case .limitsEnabled: "http_local_rate_limit_enabled"
        case .limitsExceeded: "http_local_rate_limit_rate_limited"
        case .limitsEnforced: "http_local_rate_limit_enforced"
        case .questionsOver: "ratelimit_over_limit"
        case .questionsFailed: "ratelimit_error"
        case .questionsPassedOver: "ratelimit_failure_mode_allowed"
        case .faultDelays: "fault_delays_injected"
        case .faultAborts: "fault_aborts_injected"
        case .faultThrottles: "fault_response_rl_injected"
        case .faultsOverflow: "faults_overflow"
        case .hedges: "hedges"
        case .hedgesLost: "attempts_given_up"
        case .streamDurations: "downstream_rq_max_duration_reached"
        case .attemptDurations: "upstream_rq_max_duration_reached"
        case .mirrors: "mirrored_requests"
        case .mirrorsFailed: "mirrored_requests_failed"
        case .mirrorsSkipped: "mirrored_requests_skipped"
        }
    }

    public var form: CountForm { .counter }

    /// What the worker counts of it.
    var total: Counter {
        switch self {
        case .limitsEnabled: .limitsEnabled
        case .limitsExceeded: .limitsExceeded
        case .limitsEnforced: .limitsEnforced
        case .questionsOver: .questionsOver
        case .questionsFailed: .questionsFailed
        case .questionsPassedOver: .questionsPassedOver
        case .faultDelays: .faultDelays
        case .faultAborts: .faultAborts
        case .faultThrottles: .faultThrottles
        case .faultsOverflow: .faultsOverflow
        case .hedges: .hedges
        case .hedgesLost: .hedgesLost
        case .streamDurations: .streamDurations
        case .attemptDurations: .attemptDurations
        case .mirrors: .mirrors
        case .mirrorsFailed: .mirrorsFailed
        case .mirrorsSkipped: .mirrorsSkipped
        }
    }
}

/// What is counted of things that policies act for: after what these count.
public protocol PolicyCounted: CountName {}

extension PolicyCounted {
    public static var first: Int { PolicyCount.first + PolicyCount.places }
}
