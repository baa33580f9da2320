// Which policy has settled how an exchange ends, and the flags that it has by the way.

import Base
import Model

/// The policy that has decided, as the access log names it (`decided_by`). The names are stable.
enum Decision: UInt8, BitwiseCopyable, CaseIterable {
    case none
    case breakerConnections
    case breakerPending
    case breakerRequests
    case breakerRetries
    case retryBudget
    case retryMost
    case retryUnsafe
    case requestTimeout
    case perTryTimeout
    case connectTimeout
    case grpcTimeout
    case idleTimeout
    case durationTimeout
    case admission

    var name: StaticString {
        switch self {
        case .none: ""
        case .breakerConnections: "breaker.connections"
        case .breakerPending: "breaker.pending"
        case .breakerRequests: "breaker.requests"
        case .breakerRetries: "breaker.retries"
        case .retryBudget: "retry.budget"
        case .retryMost: "retry.most"
        case .retryUnsafe: "retry.unsafe"
        case .requestTimeout: "timeout.request"
        case .perTryTimeout: "timeout.per_try"
        case .connectTimeout: "timeout.connect"
        case .grpcTimeout: "timeout.grpc"
        case .idleTimeout: "timeout.stream_idle"
        case .durationTimeout: "timeout.duration"
        case .admission: "admission"
        }
    }

    /// A limit on what may be in flight has turned the request away: Envoy's `x-envoy-overloaded`.
    var isOverload: Bool {
        switch self {
        case .breakerConnections, .breakerPending, .breakerRequests: true
        default: false
        }
    }
}

/// Several response flags.
struct FlagSet: BitwiseCopyable {
    private(set) var bits: UInt32 = 0

    var isEmpty: Bool { bits == 0 }

    mutating func insert(_ flag: ResponseFlag) { bits |= 1 << UInt32(flag.index) }

    mutating func remove(_ flag: ResponseFlag) { bits &= ~(1 << UInt32(flag.index)) }

    func contains(_ flag: ResponseFlag) -> Bool { bits >> UInt32(flag.index) & 1 == 1 }

    /// Writes `first`, if there is one, and the others behind it, with commas between.
    func write(_ first: ResponseFlag?, to out: inout ByteWriter) {
        if let first { out.append(first.text) }
        guard !isEmpty else { return }
        var isFirst = first == nil
        for flag in ResponseFlag.allCases where contains(flag) && flag != first {
            if !isFirst { out.append(",") }
            isFirst = false
            out.append(flag.text)
        }
    }
}
