// How an exchange came to its end, in Envoy's words. One closed list: whoever ends an exchange in a
// new way adds it here, and the log, the answer's body and the documentation have it.

import Base
import Secure
import Wire

/// Why an exchange ended as it did, as the access log tells it (`details`).
///
/// Source: Envoy, "Response code details". What stands in braces is the reason, as there; reasons
/// that Envoy does not have are this proxy's own, and so are the names that Envoy has nothing for.
enum ResponseDetail: BitwiseCopyable, Equatable {
    // The upstream has answered.
    case viaUpstream

    // No upstream was asked.
    case routeNotFound
    case clusterNotFound
    case noEndpoint
    case noHealthyUpstream
    case directResponse
    case redirect
    case redirectTooLong
    case rewrittenPathTooLong
    case maxForwards
    case denied
    case listenerChanged
    case rateLimitedLocally
    /// By a rate limit service, which has said so.
    case rateLimited
    /// A rate limit service could not say.
    case rateLimiterError
    case admissionDenied
    case faultAbort
    case connectNotSupported
    case connectWithBody
    case protocolNotSupported
    /// The request is none.
    case malformed(HeadError)

    // It was not sent, or its attempt has failed.
    case overflow
    /// Of a `tcp` listener's client, in the queue.
    case pendingTimeout
    case noStream
    case connectionFailed
    case connectTimeout
    case notHTTP2
    case secureFailed(TLSFailure)
    case upstreamClosed
    case streamReset
    case streamRefused
    case protocolChanged
    case upstreamMalformed(HeadError)
    case tooManyInterims
    case unaskedUpgrade
    case upgradeRefused

    // Time was over.
    case responseTimeout
    case grpcDeadline
    case perTryTimeout
    /// Of a connection or a stream of the client's.
    case maxDuration
    /// Of a stream to an upstream.
    case upstreamMaxDuration
    case streamIdleTimeout
    /// Of a tunnel.
    case idleTimeout
    case requestHeadTimeout
    case drainTimeout

    // The client.
    case clientGone
    case requestIncomplete

    // The proxy.
    case noBuffer
    case tooManyConnections

    /// What Envoy calls it, without its reason.
    /// - Parameter isLate: its answer had begun.
    func name(isLate: Bool) -> StaticString {
        switch self {
        case .viaUpstream: "via_upstream"
        case .routeNotFound: "route_not_found"
        case .clusterNotFound: "cluster_not_found"
        case .noEndpoint, .noHealthyUpstream: "no_healthy_upstream"
        case .directResponse, .redirect: "direct_response"
        case .redirectTooLong: "redirect_too_long"
        case .rewrittenPathTooLong: "rewritten_path_too_long"
        case .maxForwards: "max_forwards_reached"
        case .denied: "rbac_access_denied"
        case .listenerChanged: "listener_changed"
        case .rateLimitedLocally: "local_rate_limited"
        case .rateLimited: "request_rate_limited"
        case .rateLimiterError: "rate_limiter_error"
        case .admissionDenied: "denied_by_admission_control"
        case .faultAbort: "fault_filter_abort"
        case .connectNotSupported, .connectWithBody, .protocolNotSupported, .upgradeRefused:
            "upgrade_failed"
        case .malformed: "codec_error"
        case .overflow, .pendingTimeout, .noStream, .connectionFailed, .connectTimeout, .notHTTP2,
            .secureFailed, .protocolChanged:
            "upstream_reset_before_response_started"
        case .upstreamClosed, .streamReset, .streamRefused, .upstreamMalformed, .tooManyInterims,
            .unaskedUpgrade:
            isLate
                ? "upstream_reset_after_response_started"
                : "upstream_reset_before_response_started"
        case .responseTimeout, .grpcDeadline: "response_timeout"
        case .perTryTimeout: "upstream_per_try_timeout"
        case .maxDuration: "max_duration_timeout"
        case .upstreamMaxDuration: "upstream_max_stream_duration_reached"
        case .streamIdleTimeout, .idleTimeout: "stream_idle_timeout"
        case .requestHeadTimeout: "request_header_timeout"
        case .drainTimeout: "downstream_local_disconnect"
        case .clientGone, .requestIncomplete: "downstream_remote_disconnect"
        case .noBuffer, .tooManyConnections: "overload"
        }
    }

    /// The reason, which stands in braces; nil: none.
    private var reason: StaticString? {
        switch self {
        case .overflow, .pendingTimeout: "overflow"
        case .connectionFailed, .notHTTP2, .secureFailed: "connection_failure"
        case .connectTimeout: "connection_timeout"
        case .upstreamClosed: "connection_termination"
        case .streamReset: "remote_reset"
        case .streamRefused: "remote_refused_stream_reset"
        case .noStream, .protocolChanged: "local_reset"
        case .upstreamMalformed, .tooManyInterims, .unaskedUpgrade: "protocol_error"
        case .noEndpoint, .redirect, .connectNotSupported, .connectWithBody, .protocolNotSupported,
            .upgradeRefused, .idleTimeout, .drainTimeout, .requestIncomplete, .noBuffer,
            .tooManyConnections, .grpcDeadline, .malformed:
            text
        default: nil
        }
    }

    /// Whether this proxy knows more of the reason than Envoy has a word for.
    private var isPrecise: Bool {
        switch self {
        case .pendingTimeout, .notHTTP2, .secureFailed, .noStream, .protocolChanged,
            .upstreamMalformed, .tooManyInterims, .unaskedUpgrade:
            true
        default: false
        }
    }

    /// In a word, as the body of an answer has it, and a gRPC client's message.
    var text: StaticString {
        switch self {
        case .noEndpoint: "no_endpoint"
        case .redirect: "redirect"
        case .connectNotSupported: "connect_not_supported"
        case .connectWithBody: "connect_with_body"
        case .protocolNotSupported: "protocol_not_supported"
        case .malformed(let error), .upstreamMalformed(let error): error.detail
        case .overflow: "overflow"
        case .pendingTimeout: "pending_timeout"
        case .noStream: "no_stream"
        case .connectionFailed: "connection_failed"
        case .connectTimeout: "connect_timeout"
        case .notHTTP2: "http2_not_agreed"
        case .secureFailed(let failure): failure.detail
        case .upstreamClosed: "upstream_closed"
        case .streamReset: "stream_reset"
        case .streamRefused: "stream_refused"
        case .protocolChanged: "protocol_changed"
        case .tooManyInterims: "too_many_1xx"
        case .unaskedUpgrade: "unasked_upgrade"
        case .upgradeRefused: "upgrade_refused"
        case .grpcDeadline: "grpc_deadline"
        case .idleTimeout: "idle_timeout"
        case .requestHeadTimeout: "request_head_timeout"
        case .drainTimeout: "drain_timeout"
        case .clientGone: "client_gone"
        case .requestIncomplete: "request_incomplete"
        case .noBuffer: "no_buffer"
        case .tooManyConnections: "too_many_connections"
        default: name(isLate: false)
        }
    }

    /// Writes its name and reason.
    /// - Parameter isLate: its answer had begun.
    func write(isLate: Bool, to out: inout ByteWriter) {
        out.append(name(isLate: isLate))
        guard let reason else { return }
        out.append("{")
        out.append(reason)
        if isPrecise {
            out.append("|")
            out.append(text)
        }
        out.append("}")
    }
}
