/// How one planned request ended. Every planned request ends in exactly one outcome.
public enum Outcome: String, Codable, CaseIterable, Sendable {
    /// A complete answer with a status below 400; of gRPC, with the status OK.
    case ok
    /// A complete answer with a status of 400 or above, or with another status of gRPC; counted by
    /// status and response flag as well.
    case error
    /// No complete answer within the request's timeout, counted from its intended instant of
    /// sending.
    case timeout
    /// The connection could not be opened, or the peer said of the request that it had not looked
    /// at it (REFUSED_STREAM of HTTP/2).
    case refused
    /// The connection, or the stream, closed or was reset before the answer was complete.
    case reset
    /// The answer broke the protocol.
    case malformed
    /// Planned, but never sent: no connection was free before the timeout or the end of the run.
    case dropped

    /// The position in `allCases`, for tables indexed by outcome.
    public var index: Int {
        switch self {
        case .ok: 0
        case .error: 1
        case .timeout: 2
        case .refused: 3
        case .reset: 4
        case .malformed: 5
        case .dropped: 6
        }
    }
}

/// Why a proxy answered itself, or how a stream ended badly: Envoy's response flags, by their short
/// names.
///
/// Source: Envoy, "Access logging", response flags.
// swift-format-ignore: AlwaysUseLowerCamelCase
public enum ResponseFlag: String, Codable, CaseIterable, Sendable {
    /// Upstream connection failure (503).
    case UF
    /// Upstream connection closed before or within the answer (503 if nothing was sent yet).
    case UC
    /// No healthy upstream: the cluster has no endpoint to offer (503).
    case UH
    /// Upstream request timeout (504).
    case UT
    /// Upstream overflow: a limit on connections or waiting requests (503).
    case UO
    /// No route matched (404).
    case NR
    /// The route's cluster does not exist (503).
    case NC
    /// The client closed before the answer was complete.
    case DC
    /// The client broke the protocol (4xx).
    case DPE
    /// The upstream broke the protocol (502).
    case UPE
    /// The stream was idle too long (408 before the request was complete).
    case SI
    /// The proxy lacked a resource of its own, such as buffers (503).
    case OM
    /// Denied by the listener's rules of authorization (403). Envoy has the flag for its external
    /// service of authorization, and none for rules of its own.
    case UAEX
    /// Turned away by a rate limit (429).
    case RL
    /// The service of rate limits has failed, and its failure denies (500).
    case RLSE
    /// Aborted by a fault that was injected.
    case FI
    /// Delayed by a fault that was injected.
    case DI
    /// No retry is left, and the last attempt has failed too.
    case URX
    /// The upstream has reset the stream (503 if nothing was sent yet).
    case UR
    /// Reset from here (503).
    case LR
    /// The client has reset its stream.
    case DR
    /// It took longer than a request may take in all.
    case DT
    /// A header that must hold a number, or is not to be had from this client, does not (400).
    case IH
    /// It took longer than a stream may be open.
    case UMSDR

    /// The position in `allCases`, for tables of counters indexed by flag.
    public var index: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}
