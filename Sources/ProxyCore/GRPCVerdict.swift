import Base
import Wire

/// What an answer says of a call of gRPC, for those who judge by status codes of HTTP.
enum GRPCVerdict {
    /// The status of an answer's head: that of its `grpc-status`, where it has one and is gRPC's.
    static func status(_ head: borrowing Head, _ bytes: Bytes) -> Int {
        let call = call(head, bytes)
        return call < 0 ? head.status : status(Int(call))
    }

    /// The status of gRPC in an answer's head; -1: there is none.
    static func call(_ head: borrowing Head, _ bytes: Bytes) -> Int8 {
        WishPlan.field(Self.name, head, bytes).map(number) ?? -1
    }

    /// The status of gRPC in the lines behind an answer's body; -1: there is none.
    static func call(trailers lines: Bytes) -> Int8 {
        let name = Bytes("grpc-status:")
        var start = 0
        while start < lines.count {
            let end = lines.firstIndex(of: UInt8(ascii: "\r"), from: start) ?? lines.count
            var value = start + name.count
            if value <= end, lines[start..<value].equalsIgnoringCase(name) {
                while value < end, lines[value] == UInt8(ascii: " ") { value += 1 }
                return number(lines[value..<end])
            }
            start = end + 2
        }
        return -1
    }

    private static func number(_ text: Bytes) -> Int8 {
        guard (1...2).contains(text.count) else { return -1 }
        var number: Int8 = 0
        for i in 0..<text.count {
            let digit = text[i] &- UInt8(ascii: "0")
            guard digit < 10 else { return -1 }
            number = number * 10 + Int8(digit)
        }
        return number
    }

    private static let name = Array("grpc-status".utf8)

    /// Whether admission control takes a call for a failure.
    ///
    /// Source: Envoy, `SuccessCriteriaEvaluator`, without `grpc_criteria`: all but OK, CANCELLED,
    /// UNKNOWN, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED,
    /// FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED and UNAUTHENTICATED.
    /// - Parameter call: -1: nothing was said of it, and that is for the status of HTTP to tell.
    static func isFailure(_ call: Int8) -> Bool {
        switch call {
        case -1, 0, 1, 2, 3, 5, 6, 7, 9, 11, 12, 16: false
        default: true
        }
    }

    /// Source: Envoy, `Grpc::Utility::grpcToHttpStatus`.
    static func status(_ grpc: Int) -> Int {
        switch grpc {
        case 0: 200
        case 1: 499
        case 3, 9, 11: 400
        case 4: 504
        case 5: 404
        case 6, 10: 409
        case 7: 403
        case 8: 429
        case 12: 501
        case 14: 503
        case 16: 401
        default: 500
        }
    }
}
