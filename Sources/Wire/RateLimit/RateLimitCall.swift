// The protocol by which a proxy asks a service whether a request is within its limits: one call,
// of one message each way. Here stands what a proxy hears, without allocating; what a service hears
// and says stands in `RateLimitRequest` and `RateLimitResponse`. What a proxy says it writes
// itself, from where the parts of a request stand.
//
// Source: envoy/service/ratelimit/v3/rls.proto, envoy/extensions/common/ratelimit/v3.

public import Base

public enum RateLimitCall {
    public static let path: StaticString =
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
    /// Bytes of a message at most: each stands in one buffer of a proxy's.
    public static let messageBytes = 60 * 1024
}

/// What a service says of a request, or of one descriptor of it.
@frozen
public enum RateLimitCode: Int, Sendable, BitwiseCopyable {
    case ok = 1
    case overLimit = 2
}

/// What limits count by.
@frozen
public enum RateLimitUnit: Int, CaseIterable, Sendable, BitwiseCopyable {
    case second = 1
    case minute = 2
    case hour = 3
    case day = 4
    /// Of 30 days.
    case month = 5
    /// Of 365 days.
    case year = 6

    /// How long one lasts, seconds.
    public var seconds: Int64 {
        switch self {
        case .second: 1
        case .minute: 60
        case .hour: 3600
        case .day: 86_400
        case .month: 30 * 86_400
        case .year: 365 * 86_400
        }
    }
}

/// An answer as the proxy understands it.
@frozen
public struct RateLimitVerdict: Equatable, Sendable, BitwiseCopyable {
    public var code: RateLimitCode
    /// Requests in a unit, of the limit that leaves the least; 0: none is told.
    public var limit: UInt32 = 0
    /// Seconds of that unit; 0: one that is not known.
    public var window: UInt32 = 0
    public var remaining: UInt32 = 0
    /// Whole seconds until the unit is over, rounded up.
    public var reset: UInt32 = 0

    public init(
        _ code: RateLimitCode, limit: UInt32 = 0, window: UInt32 = 0, remaining: UInt32 = 0,
        reset: UInt32 = 0
    ) {
        self.code = code
        self.limit = limit
        self.window = window
        self.remaining = remaining
        self.reset = reset
    }

    /// Reads a `RateLimitResponse`. Fields for requests and answers, bodies and quotas are let be.
    /// - Returns: nil: it is none, or says neither yes nor no.
    public init?(_ bytes: Bytes) {
        var code: RateLimitCode?
        var told = RateLimitVerdict(.ok)
        var reader = ProtobufReader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (1, .number(let number)): code = RateLimitCode(rawValue: Int(clamping: number))
            case (2, .bytes(let range)):
                guard let status = Self.status(bytes[range]) else { return nil }
                if status.limit > 0, told.limit == 0 || status.isTighter(than: told) {
                    told = status
                }
            case (1, _), (2, _): return nil
            default: break
            }
        }
        guard reader.isWellFormed, let code else { return nil }
        self = told
        self.code = code
    }

    /// Whether it leaves less, or the same for longer.
    private func isTighter(than other: RateLimitVerdict) -> Bool {
        remaining != other.remaining ? remaining < other.remaining : reset > other.reset
    }

    private static func status(_ bytes: Bytes) -> RateLimitVerdict? {
        var status = RateLimitVerdict(.ok)
        var reader = ProtobufReader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (2, .bytes(let range)):
                guard readLimit(bytes[range], into: &status) else { return nil }
            case (3, .number(let number)): status.remaining = UInt32(clamping: number)
            case (4, .bytes(let range)):
                guard let reset = seconds(bytes[range]) else { return nil }
                status.reset = reset
            case (2, _), (3, _), (4, _): return nil
            default: break
            }
        }
        return reader.isWellFormed ? status : nil
    }

    private static func readLimit(_ bytes: Bytes, into status: inout RateLimitVerdict) -> Bool {
        var reader = ProtobufReader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (1, .number(let number)): status.limit = UInt32(clamping: number)
            case (2, .number(let number)):
                let unit = RateLimitUnit(rawValue: Int(clamping: number))
                status.window = UInt32(clamping: unit?.seconds ?? 0)
            case (1, _), (2, _): return false
            default: break
            }
        }
        return reader.isWellFormed
    }

    /// A `google.protobuf.Duration`; one of less than nothing is nothing.
    private static func seconds(_ bytes: Bytes) -> UInt32? {
        var (seconds, nanos): (Int64, Int64) = (0, 0)
        var reader = ProtobufReader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (1, .number(let number)): seconds = Int64(bitPattern: number)
            case (2, .number(let number)): nanos = Int64(bitPattern: number)
            case (1, _), (2, _): return nil
            default: break
            }
        }
        guard reader.isWellFormed else { return nil }
        let whole = UInt32(clamping: seconds)
        return nanos > 0 && whole < .max ? whole + 1 : whole
    }
}
