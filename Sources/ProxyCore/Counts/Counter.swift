// Counters are plain words of one worker, added to without a lock and read by the admin thread at
// any time.

public import Model
public import Secure

/// What one worker counts over its life. Names as `/stats` shows them, with `meshbench_proxy_`
/// before them.
public enum Counter: Int, CaseIterable, Sendable {
    case downstreamConnectionsTotal
    case downstreamConnectionsClosed
    case downstreamConnectionsRefused
    case acceptPauses
    case upstreamConnectionsTotal
    case upstreamConnectionsClosed
    case upstreamConnectFailures
    case upstreamConnectTimeouts
    case downstreamHandshakes
    case downstreamHandshakesFailed
    case downstreamHandshakesResumed
    case downstreamCleartext
    case upstreamHandshakes
    case upstreamHandshakesFailed
    case upstreamHandshakesResumed
    case requestsTotal
    case requestsCompleted
    case authorizationAllowed
    case authorizationDenied
    case limitsEnabled
    case limitsOK
    case limitsExceeded
    case limitsEnforced
    case questionsOK
    case questionsOver
    case questionsFailed
    case questionsPassedOver
    case requestBytes
    case responseBytes
    case directBytes
    case connectionOverflow
    case pendingOverflow
    case requestOverflow
    case retries
    case retryOverflow
    case retryLimitExceeded
    case perTryTimeouts
    case requestTimeouts
    case hedges
    case hedgesLost
    case admissionRejected
    case mirrors
    case mirrorsAnswered
    case mirrorsFailed
    case mirrorsSkipped
    case staleRetries
    case refusedRetries
    case protocolErrors
    case upgrades
    case tcpConnections
    case idleTimeouts
    case streamDurations
    case attemptDurations
    case connectionDurations
    case accessLogDropped
    case faultDelays
    case faultAborts
    case faultThrottles
    case faultsOverflow
    case ledgerLines
    case ledgerDropped
    case buffersExhausted
    case downstreamSessions
    case upstreamSessions
    case downstreamStreams
    case upstreamStreams
    case streamsCancelled
    case streamResetsSent
    case streamResetsReceived
    case goawaysReceived
    case pingTimeouts
    case floodedResets
    case floodedHeads
    case floodedContinuations
    case floodedEmptyFrames
    case floodedAcknowledgements
    case floodedSettings

    /// The metric's name, in snake case.
    public var name: String {
        switch self {
        case .downstreamConnectionsTotal: "downstream_connections_total"
        case .downstreamConnectionsClosed: "downstream_connections_closed_total"
        case .downstreamConnectionsRefused: "downstream_connections_refused_total"
        case .acceptPauses: "accept_pauses_total"
        case .upstreamConnectionsTotal: "upstream_connections_total"
        case .upstreamConnectionsClosed: "upstream_connections_closed_total"
        case .upstreamConnectFailures: "upstream_connect_failures_total"
        case .upstreamConnectTimeouts: "upstream_connect_timeouts_total"
        case .downstreamHandshakes: "downstream_tls_handshakes_total"
        case .downstreamHandshakesFailed: "downstream_tls_handshakes_failed_total"
        case .downstreamHandshakesResumed: "downstream_tls_handshakes_resumed_total"
        case .downstreamCleartext: "downstream_permissive_cleartext_total"
        case .upstreamHandshakes: "upstream_tls_handshakes_total"
        case .upstreamHandshakesFailed: "upstream_tls_handshakes_failed_total"
        case .upstreamHandshakesResumed: "upstream_tls_handshakes_resumed_total"
        case .requestsTotal: "requests_total"
        case .requestsCompleted: "requests_completed_total"
        case .authorizationAllowed: "authorization_allowed_total"
        case .authorizationDenied: "authorization_denied_total"
        case .limitsEnabled: "rate_limit_enabled_total"
        case .limitsOK: "rate_limit_ok_total"
        case .limitsExceeded: "rate_limit_exceeded_total"
        case .limitsEnforced: "rate_limit_enforced_total"
        case .questionsOK: "global_rate_limit_ok_total"
        case .questionsOver: "global_rate_limit_over_limit_total"
        case .questionsFailed: "global_rate_limit_error_total"
        case .questionsPassedOver: "global_rate_limit_failure_mode_allowed_total"
        case .requestBytes: "request_bytes_total"
        case .responseBytes: "response_bytes_total"
        case .directBytes: "direct_bytes_total"
        case .connectionOverflow: "connection_overflow_total"
        case .pendingOverflow: "pending_overflow_total"
        case .requestOverflow: "request_overflow_total"
        case .retries: "retries_total"
        case .retryOverflow: "retry_overflow_total"
        case .retryLimitExceeded: "retry_limit_exceeded_total"
        case .perTryTimeouts: "per_try_timeouts_total"
        case .requestTimeouts: "request_timeouts_total"
        case .hedges: "hedges_total"
        case .hedgesLost: "attempts_given_up_total"
        case .admissionRejected: "admission_rejected_total"
        case .mirrors: "mirrored_requests_total"
        case .mirrorsAnswered: "mirrored_requests_answered_total"
        case .mirrorsFailed: "mirrored_requests_failed_total"
        case .mirrorsSkipped: "mirrored_requests_skipped_total"
        case .staleRetries: "stale_retries_total"
        case .refusedRetries: "refused_retries_total"
        case .protocolErrors: "protocol_errors_total"
        case .upgrades: "upgrades_total"
        case .tcpConnections: "tcp_connections_total"
        case .idleTimeouts: "idle_timeouts_total"
        case .streamDurations: "max_stream_duration_total"
        case .attemptDurations: "max_attempt_duration_total"
        case .connectionDurations: "connections_drained_total"
        case .accessLogDropped: "access_log_dropped_total"
        case .faultDelays: "fault_delays_injected_total"
        case .faultAborts: "fault_aborts_injected_total"
        case .faultThrottles: "fault_response_rl_injected_total"
        case .faultsOverflow: "faults_overflow_total"
        case .ledgerLines: "ledger_lines_total"
        case .ledgerDropped: "ledger_dropped_total"
        case .buffersExhausted: "buffers_exhausted_total"
        case .downstreamSessions: "http2_downstream_connections_total"
        case .upstreamSessions: "http2_upstream_connections_total"
        case .downstreamStreams: "http2_downstream_streams_total"
        case .upstreamStreams: "http2_upstream_streams_total"
        case .streamsCancelled: "http2_streams_cancelled_total"
        case .streamResetsSent: "http2_resets_sent_total"
        case .streamResetsReceived: "http2_resets_received_total"
        case .goawaysReceived: "http2_goaways_received_total"
        case .pingTimeouts: "http2_ping_timeouts_total"
        case .floodedResets: "http2_flood_resets_total"
        case .floodedHeads: "http2_flood_heads_total"
        case .floodedContinuations: "http2_flood_continuations_total"
        case .floodedEmptyFrames: "http2_flood_empty_frames_total"
        case .floodedAcknowledgements: "http2_flood_acknowledgements_total"
        case .floodedSettings: "http2_flood_settings_total"
        }
    }
}

/// One worker's counters. Written by the worker alone, read by anyone.
public final class Counters: Sendable {
    // Answers by class come first, at places that need no looking up.
    private let words = CountWords(Counters.count)
    private static let flagBase = StatusClass.places + Counter.allCases.count
    private static let failureBase = flagBase + ResponseFlag.allCases.count
    private static let count =
        failureBase + Side.allCases.count * TLSFailure.allCases.count

    public init() {}

    deinit { words.deallocate() }

    @inline(__always)
    private static func place(_ counter: Counter) -> Int {
        StatusClass.places + counter.rawValue
    }

    private static func place(_ flag: ResponseFlag) -> Int { flagBase + flag.index }

    private static func place(_ failure: TLSFailure, _ side: Side) -> Int {
        failureBase + side.rawValue * TLSFailure.allCases.count + Int(failure.rawValue)
    }

    @inline(__always)
    func add(_ counter: Counter, _ amount: Int = 1) { words.add(at: Self.place(counter), amount) }

    /// Counts an answer to a client.
    @inline(__always)
    func add(_ statusClass: StatusClass) { words.add(at: statusClass.rawValue, 1) }

    func add(_ flag: ResponseFlag) { words.add(at: Self.place(flag), 1) }

    func add(_ failure: TLSFailure, _ side: Side) { words.add(at: Self.place(failure, side), 1) }

    /// Accepting was suspended for want of descriptors, or of places for clients.
    public func notePause() { add(.acceptPauses) }

    /// Lines of the access log could not be written.
    public func noteLogLoss(_ lines: Int) { add(.accessLogDropped, lines) }

    /// Lines of the ledger could not be written.
    public func noteLedgerLoss(_ lines: Int) { add(.ledgerDropped, lines) }

    public subscript(counter: Counter) -> UInt64 { words[Self.place(counter)] }

    /// Answers to clients.
    public subscript(statusClass: StatusClass) -> UInt64 { words[statusClass.rawValue] }

    public subscript(flag: ResponseFlag) -> UInt64 { words[Self.place(flag)] }

    /// How often TLS has failed on that side, and so.
    public subscript(failure: TLSFailure, side: Side) -> UInt64 {
        words[Self.place(failure, side)]
    }
}
