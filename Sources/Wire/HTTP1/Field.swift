public import Base

/// Header fields that somebody on the path acts upon; found while parsing, so that nobody compares
/// names twice.
@frozen
public enum FieldName: UInt8, Sendable, BitwiseCopyable {
    case other
    case connection
    case contentLength
    case transferEncoding
    case host
    case upgrade
    case expect
    case te
    case keepAlive
    case proxyConnection
    case trailer
    case via
    case forwardedFor
    case requestID
    case date
    case server
    case responseFlags
    case maxForwards
    case contentType
    case grpcTimeout
    case webSocketKey
    case webSocketAccept
    /// One of the many that begin with `x-envoy-`.
    case envoy

    /// The name for a field name as received, in any case.
    @inlinable
    static func recognize(_ name: Bytes) -> FieldName {
        // By length first: almost every foreign name is told by it or by its first letter.
        switch name.count {
        case 2: return name.equalsIgnoringCase("te") ? .te : .other
        case 3: return name.equalsIgnoringCase("via") ? .via : .other
        case 4:
            if name.equalsIgnoringCase("host") { return .host }
            return name.equalsIgnoringCase("date") ? .date : .other
        case 6:
            if name.equalsIgnoringCase("expect") { return .expect }
            return name.equalsIgnoringCase("server") ? .server : .other
        case 7:
            if name.equalsIgnoringCase("upgrade") { return .upgrade }
            return name.equalsIgnoringCase("trailer") ? .trailer : .other
        case 10:
            if name.equalsIgnoringCase("connection") { return .connection }
            return name.equalsIgnoringCase("keep-alive") ? .keepAlive : .other
        case 12:
            if name.equalsIgnoringCase("content-type") { return .contentType }
            if name.equalsIgnoringCase("x-request-id") { return .requestID }
            if name.equalsIgnoringCase("grpc-timeout") { return .grpcTimeout }
            return name.equalsIgnoringCase("max-forwards") ? .maxForwards : .other
        case 14: return name.equalsIgnoringCase("content-length") ? .contentLength : .other
        case 15: return name.equalsIgnoringCase("x-forwarded-for") ? .forwardedFor : .other
        case 16:
            if name.equalsIgnoringCase("proxy-connection") { return .proxyConnection }
            if name.equalsIgnoringCase("x-response-flags") { return .responseFlags }
            return recognizeEnvoy(name)
        case 17:
            if name.equalsIgnoringCase("transfer-encoding") { return .transferEncoding }
            return name.equalsIgnoringCase("sec-websocket-key") ? .webSocketKey : .other
        case 20: return name.equalsIgnoringCase("sec-websocket-accept") ? .webSocketAccept : .other
        case 18...: return recognizeEnvoy(name)
        default: return .other
        }
    }

    /// - Precondition: it has 8 bytes or more.
    @inlinable
    static func recognizeEnvoy(_ name: Bytes) -> FieldName {
        guard name[0] | 0x20 == UInt8(ascii: "x"), name[1] == UInt8(ascii: "-") else {
            return .other
        }
        return name[0..<8].equalsIgnoringCase("x-envoy-") ? .envoy : .other
    }
}

/// Where one field stands in the head it was parsed from.
@frozen
public struct Field: Sendable, BitwiseCopyable {
    /// From the first byte of the name.
    public var start: UInt32 = 0
    public var nameLength: UInt32 = 0
    /// Without the white space around it.
    public var valueStart: UInt32 = 0
    public var valueLength: UInt32 = 0
    /// Behind the line's LF.
    public var end: UInt32 = 0
    public var name: FieldName = .other

    @inlinable
    public init() {}

    /// The bytes of the value within the head.
    @inlinable public var valueRange: Range<Int> {
        Int(valueStart)..<Int(valueStart + valueLength)
    }
    /// The bytes of the name within the head.
    @inlinable public var nameRange: Range<Int> { Int(start)..<Int(start + nameLength) }
}
