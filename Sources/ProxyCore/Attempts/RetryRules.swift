// When an attempt that failed is followed by another: Envoy's conditions, and what this proxy asks
// besides (that a request which is not idempotent has surely not been looked at, unless the policy
// says that it may be sent twice).
//
// Envoy's names for what is decided here: `wouldRetryFromHeaders` and `wouldRetryFromReset` are
// `isFailure`, `shouldRetry` is `verdict`, in the same order: not a failure, none left, no room.
//
// Source: Envoy, source/common/router/retry_state_impl.cc.

import Base
import Model

/// How an attempt ended without an answer.
enum AttemptFailure: UInt8, BitwiseCopyable, CaseIterable {
    /// No connection was had.
    case connect
    /// The upstream has said that it has not looked at the request.
    case refused
    /// A connection that was kept had been closed before the request came.
    case stale
    /// The connection or stream ended before an answer, or the answer was none.
    case reset
    /// No answer within the time of one attempt.
    case timeout
}

/// What the head of an answer shows of a failure.
struct AnswerSigns: BitwiseCopyable {
    var status: Int
    /// Of gRPC, in the head; -1: there is none.
    var grpcStatus = -1
    /// It has `x-envoy-ratelimited`.
    var isRateLimited = false
    /// One of the policy's `headers` holds of it.
    var hasHeader = false
}

/// What an attempt came to, as far as retries are concerned.
enum AttemptOutcome: BitwiseCopyable {
    case answer(AnswerSigns)
    case failure(AttemptFailure)

    /// Whether it has taken longer than it may.
    var isTimeout: Bool { if case .failure(.timeout) = self { true } else { false } }
}

/// What becomes of an attempt.
enum RetryVerdict: UInt8, BitwiseCopyable {
    /// The policy does not take it for a failure.
    case no
    case again
    /// The upstream may have seen it, and it is not idempotent.
    case unsafe
    /// It is no longer here to be sent again.
    case gone
    /// No retry is left (URX).
    case exhausted
    /// All retries together are too many (UO).
    case overflow
}

/// Conditions as bits.
struct RetryConditions: OptionSet, BitwiseCopyable {
    var rawValue: UInt32

    init(rawValue: UInt32) { self.rawValue = rawValue }

    init(_ conditions: [RetryPolicy.Condition]) {
        self = conditions.reduce(into: []) { $0.formUnion(RetryConditions($1)) }
    }

    init(_ condition: RetryPolicy.Condition) {
        let bit: UInt32 =
            switch condition {
            case .serverError: 0
            case .gatewayError: 1
            case .reset: 2
            case .connectFailure: 3
            case .refusedStream: 4
            case .retriable4xx: 5
            case .rateLimited: 6
            case .statuses: 7
            case .headers: 8
            case .cancelled: 9
            case .deadlineExceeded: 10
            case .internalError: 11
            case .resourceExhausted: 12
            case .unavailable: 13
            }
        rawValue = 1 << bit
    }

    // Computed: each answer is held against several, and so they are constants.
    static var serverError: Self { Self(.serverError) }
    static var gatewayError: Self { Self(.gatewayError) }
    static var reset: Self { Self(.reset) }
    static var connectFailure: Self { Self(.connectFailure) }
    static var refusedStream: Self { Self(.refusedStream) }
    static var retriable4xx: Self { Self(.retriable4xx) }
    static var rateLimited: Self { Self(.rateLimited) }
    static var statuses: Self { Self(.statuses) }
    static var headers: Self { Self(.headers) }
    static var grpc: Self {
        grpc(1).union(grpc(4)).union(grpc(8)).union(grpc(13)).union(grpc(14))
    }

    /// Those by which an answer below 400 may be a failure.
    static var anyStatus: Self { grpc.union(statuses).union(headers).union(rateLimited) }

    /// The condition of a status of gRPC; empty: none means it.
    static func grpc(_ status: Int) -> Self {
        switch status {
        case 1: Self(.cancelled)
        case 4: Self(.deadlineExceeded)
        case 8: Self(.resourceExhausted)
        case 13: Self(.internalError)
        case 14: Self(.unavailable)
        default: []
        }
    }
}

/// Statuses of HTTP, 100 to 611.
struct StatusSet: BitwiseCopyable {
    private var words: InlineArray<8, UInt64> = .init(repeating: 0)

    init(_ statuses: [Int] = []) {
        for status in statuses { insert(status) }
    }

    mutating func insert(_ status: Int) {
        guard (100..<612).contains(status) else { return }
        words[(status - 100) / 64] |= 1 << UInt64((status - 100) % 64)
    }

    func contains(_ status: Int) -> Bool {
        guard (100..<612).contains(status) else { return false }
        return words[(status - 100) / 64] >> UInt64((status - 100) % 64) & 1 == 1
    }
}

/// A part of a head, which is never longer than 4 GiB.
struct HeadSlice: BitwiseCopyable {
    private var start: UInt32 = 0
    private var end: UInt32 = 0

    init(_ range: Range<Int> = 0..<0) {
        start = UInt32(range.lowerBound)
        end = UInt32(range.upperBound)
    }

    var range: Range<Int> { Int(start)..<Int(end) }
}

/// A policy as requests meet it: plain values, copied for each request that has one, because
/// headers of a trusted client may change what holds for it.
struct RetryRules: BitwiseCopyable {
    /// A request has 100 retries at most, whatever its headers say.
    static let most = 100

    var on: RetryConditions
    var statuses: StatusSet
    /// Where the client's head names fields of answers that are failures by `headers`, from the
    /// start of the head on; empty: nowhere.
    var named: HeadSlice
    /// Retries of one request.
    var most: UInt8
    /// `zero`: none.
    var perTry: Duration
    var backoff: Backoff
    var avoidsPreviousHosts: Bool
    var reselections: UInt8
    var includesUnsafe: Bool
    /// Bytes.
    var bodyLimit: UInt32
    var hedges: Bool
    /// The place of the policy itself, for what is not copied; -1: headers alone ask for retries.
    var place: Int32

    init(_ policy: RetryPolicy, place: Int) {
        on = RetryConditions(policy.on)
        statuses = StatusSet(policy.statuses)
        named = HeadSlice()
        most = UInt8(min(max(policy.most, 0), Self.most))
        perTry = policy.perTry ?? .zero
        backoff = Backoff(policy.backoff)
        avoidsPreviousHosts = policy.avoidsPreviousHosts
        reselections = UInt8(min(max(policy.reselections, 1), 100))
        includesUnsafe = policy.includesUnsafe
        bodyLimit = UInt32(min(max(policy.bodyLimit, 0), RetryPolicy.bodyMost))
        hedges = policy.hedges
        self.place = Int32(place)
    }

    /// Whether the policy takes it for a failure.
    func isFailure(_ outcome: AttemptOutcome) -> Bool {
        switch outcome {
        case .answer(let signs): isFailure(signs)
        case .failure(let failure): isFailure(failure)
        }
    }

    private func isFailure(_ signs: AnswerSigns) -> Bool {
        // Another proxy's limit: whoever adds to what is too much already must want to.
        if signs.isRateLimited { return on.contains(.rateLimited) }
        let status = signs.status
        if on.contains(.serverError), status >= 500, status < 600 { return true }
        if on.contains(.gatewayError), status >= 502, status <= 504 { return true }
        if on.contains(.retriable4xx), status == 409 { return true }
        if on.contains(.statuses), statuses.contains(status) { return true }
        if on.contains(.headers), signs.hasHeader { return true }
        return !on.isDisjoint(with: .grpc(signs.grpcStatus))
    }

    private func isFailure(_ failure: AttemptFailure) -> Bool {
        // Whatever it is, it comes to a 5xx for the client.
        if !on.isDisjoint(with: [.serverError, .gatewayError, .reset]) { return true }
        switch failure {
        case .connect: return on.contains(.connectFailure)
        case .refused: return on.contains(.refusedStream)
        case .stale, .reset, .timeout: return false
        }
    }

    /// What becomes of an attempt.
    /// - Parameters:
    ///   - mayRepeat: the request is idempotent, or no upstream can have seen it.
    ///   - isHere: head and body are kept, as far as they have come.
    ///   - left: retries that it has.
    ///   - hasRoom: whether one more retry to the cluster may be in flight; asked at last.
    func verdict(
        _ outcome: AttemptOutcome, mayRepeat: Bool, isHere: Bool, left: Int, hasRoom: () -> Bool
    ) -> RetryVerdict {
        guard isFailure(outcome) else { return .no }
        guard mayRepeat || includesUnsafe else { return .unsafe }
        guard isHere else { return .gone }
        guard left > 0 else { return .exhausted }
        return hasRoom() ? .again : .overflow
    }
}

extension RetryPolicy {
    /// What `bodyLimit` may be at most, bytes.
    static let bodyMost = 64 * 1024
}
