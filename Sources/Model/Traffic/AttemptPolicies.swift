/// How requests to a cluster are carried, as far as a proxy's file and declarations say it in the
/// same words.
public protocol AttemptPolicies: Sendable {
    /// nil: requests are sent once.
    var retry: RetryPolicy? { get set }
    /// nil: endpoints are not ejected. Not with `accrual`.
    var outlier: OutlierPolicy? { get set }
    /// nil: endpoints are not left out as Linkerd leaves them out.
    var accrual: AccrualPolicy? { get set }
    /// By the proxies of clients; nil: none is turned away for the failures of others.
    var admission: AdmissionPolicy? { get set }
}

extension AttemptPolicies {
    /// Carries requests as something else does.
    mutating func take(attempts other: some AttemptPolicies) {
        retry = other.retry
        outlier = other.outlier
        accrual = other.accrual
        admission = other.admission
    }
}
