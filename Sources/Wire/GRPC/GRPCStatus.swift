// How a call ended, in gRPC's words (grpc/doc/statuscodes.md), and what stands for it where
// somebody on the way does not speak gRPC.

public import Base

/// The status of a call.
@frozen
public enum GRPCStatus: UInt8, Error, CaseIterable, Sendable, BitwiseCopyable {
    case ok = 0
    case cancelled = 1
    case unknown = 2
    case invalidArgument = 3
    case deadlineExceeded = 4
    case notFound = 5
    case alreadyExists = 6
    case permissionDenied = 7
    case resourceExhausted = 8
    case failedPrecondition = 9
    case aborted = 10
    case outOfRange = 11
    case unimplemented = 12
    case `internal` = 13
    case unavailable = 14
    case dataLoss = 15
    case unauthenticated = 16

    /// The name by which documentation and libraries know it.
    public var name: StaticString {
        switch self {
        case .ok: "OK"
        case .cancelled: "CANCELLED"
        case .unknown: "UNKNOWN"
        case .invalidArgument: "INVALID_ARGUMENT"
        case .deadlineExceeded: "DEADLINE_EXCEEDED"
        case .notFound: "NOT_FOUND"
        case .alreadyExists: "ALREADY_EXISTS"
        case .permissionDenied: "PERMISSION_DENIED"
        case .resourceExhausted: "RESOURCE_EXHAUSTED"
        case .failedPrecondition: "FAILED_PRECONDITION"
        case .aborted: "ABORTED"
        case .outOfRange: "OUT_OF_RANGE"
        case .unimplemented: "UNIMPLEMENTED"
        case .internal: "INTERNAL"
        case .unavailable: "UNAVAILABLE"
        case .dataLoss: "DATA_LOSS"
        case .unauthenticated: "UNAUTHENTICATED"
        }
    }

    /// What a call ended with whose answer has no `grpc-status`: something on the way answered that
    /// does not speak gRPC (grpc/doc/http-grpc-status-mapping.md).
    /// - Parameter httpStatus: also 200, which without a `grpc-status` tells nothing.
    public init(httpStatus: Int) {
        switch httpStatus {
        case 400: self = .internal
        case 401: self = .unauthenticated
        case 403: self = .permissionDenied
        case 404: self = .unimplemented
        case 429, 502, 503, 504: self = .unavailable
        default: self = .unknown
        }
    }

    /// What a call ended with whose stream was reset (grpc/doc/PROTOCOL-HTTP2.md, "Errors"). A code
    /// that has no place in that table tells nothing.
    public init(code: HTTP2Code) {
        switch code {
        case .noError, .protocolError, .internalError, .flowControlError, .settingsTimeout,
            .frameSizeError, .compressionError, .connectError:
            self = .internal
        case .refusedStream: self = .unavailable
        case .cancel: self = .cancelled
        case .enhanceYourCalm: self = .resourceExhausted
        case .inadequateSecurity: self = .permissionDenied
        case .streamClosed, .http11Required: self = .unknown
        }
    }

    /// The value of a `grpc-status` field. What is no number that is known counts as `unknown`
    /// (grpc/doc/statuscodes.md).
    public init(field: Bytes) {
        var number = 0
        for index in 0..<min(field.count, 3) {
            let digit = field[index] &- UInt8(ascii: "0")
            guard digit < 10 else {
                self = .unknown
                return
            }
            number = number * 10 + Int(digit)
        }
        // Two digits at most, and no zero in front.
        let isNumber =
            field.count == 1 || field.count == 2 && field[0] != UInt8(ascii: "0")
        self = isNumber ? GRPCStatus(rawValue: UInt8(number)) ?? .unknown : .unknown
    }
}

/// Whether a `content-type` is gRPC's own: `application/grpc`, alone, with `+` and a format, or
/// with parameters. `application/grpc-web`, which is framed otherwise, is not.
public func isGRPC(contentType value: Bytes) -> Bool {
    guard value.count >= 16, value[0..<16].equalsIgnoringCase("application/grpc") else {
        return false
    }
    guard value.count > 16 else { return true }
    return value[16] == UInt8(ascii: "+") || value[16] == UInt8(ascii: ";")
        || value[16] == UInt8(ascii: " ")
}
