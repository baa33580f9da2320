import Base
import Wire

/// What a request of `docs/echo.proto` asks for. A plain value; its payload stands elsewhere.
struct EchoRequest: BitwiseCopyable {
    /// Bytes of each response's payload; -1: it does not say.
    var size = -1
    /// Responses; -1: it does not say.
    var count = -1
    var delay = Duration.zero
    var status = GRPCStatus.ok
    /// Where the payload stands in the message, and the text that goes with the status.
    private var payloadPlace = Place()
    private var messagePlace = Place()

    var payload: Range<Int> { payloadPlace.range }
    var message: Range<Int> { messagePlace.range }

    private struct Place: BitwiseCopyable {
        var start = 0
        var end = 0

        var range: Range<Int> { start..<end }
    }

    /// Bound: what one request may ask for.
    static let sizeLimit: UInt64 = 1 << 30
    static let delayLimit = Duration.seconds(3600)

    init() {}

    /// - Returns: nil where it is no such message, or asks for what cannot be.
    init?(_ bytes: Bytes) {
        var reader = ProtobufReader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let range)):
                payloadPlace = Place(start: range.lowerBound, end: range.upperBound)
            case (2, .number(let number)):
                guard number <= Self.sizeLimit else { return nil }
                size = Int(number)
            case (3, .number(let number)): count = Int(number & 0xFFFF_FFFF)
            case (4, .number(let number)):
                guard number <= UInt64(Self.delayLimit.nanoseconds) else { return nil }
                delay = .nanoseconds(Int64(number))
            case (5, .number(let number)):
                guard number <= 16, let status = GRPCStatus(rawValue: UInt8(number)) else {
                    return nil
                }
                self.status = status
            case (6, .bytes(let range)):
                messagePlace = Place(start: range.lowerBound, end: range.upperBound)
            case (1...6, _): return nil
            // Fields that are not known are let pass, as everywhere with protocol buffers.
            default: break
            }
        }
        guard reader.isWellFormed else { return nil }
    }
}
