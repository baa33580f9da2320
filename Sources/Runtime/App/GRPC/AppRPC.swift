import Base
import Wire

/// How far one call of gRPC has come. A plain value within an `AppStream`.
///
///     request message ─► (calls, delay, burn) ─► answering ─► next message …
///     end of requests ─────────────────────────────────────► status
struct AppRPC: BitwiseCopyable {
    enum Method: UInt8, BitwiseCopyable {
        /// The stream is no call.
        case none
        case unary
        case serverStream
        case clientStream
        case bidiStream
        case health
        case reflection

        /// The method of a path; nil: there is none.
        init?(_ path: Bytes) {
            if path == "/meshbench.Echo/Unary" {
                self = .unary
            } else if path == "/meshbench.Echo/ServerStream" {
                self = .serverStream
            } else if path == "/meshbench.Echo/ClientStream" {
                self = .clientStream
            } else if path == "/meshbench.Echo/BidiStream" {
                self = .bidiStream
            } else if path == "/grpc.health.v1.Health/Check" {
                self = .health
            } else if path == "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
                || path == "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
            {
                self = .reflection
            } else {
                return nil
            }
        }

        /// Whether it is work, which delays, burns, calls and is counted.
        var isWork: Bool { self != .health && self != .reflection }
        /// Whether each request is answered as it comes.
        var answersEach: Bool { self == .bidiStream || self == .reflection }
        var takesOne: Bool { self == .unary || self == .serverStream || self == .health }
        var givesOne: Bool { self == .unary || self == .clientStream || self == .health }
    }

    var method = Method.none
    var framing = GRPCFraming()
    /// The request that is, or is to be, answered.
    var request = EchoRequest()
    /// Requests that have come, and the bytes of their payloads.
    var requests = 0
    var requestBytes = 0
    /// A request is at work: what comes behind it waits, in the worker's `inboxes`, and holds up
    /// its sender.
    var isBusy = false
    /// Messages are being taken out of what has come.
    var isReading = false
    /// Its responses are being sent, or waited for between two of them.
    var isAnswering = false
    /// Responses still to come for the request, and those made so far in the call.
    var answersLeft = 0
    var index = 0

    /// The response that is being sent: bytes before its payload, of the payload, and those out.
    var hasAnswer = false
    var head = 0
    var payload = 0
    var sent = 0
    /// Whether the page is the whole message, rather than its payload.
    var isWhole = false

    var hasHead = false
    /// The status has been decided on, and is to be sent in trailers.
    var isEnding = false
    var status = GRPCStatus.ok
    var hasTrailers = false
    /// The status is out, or nobody is there to hear it.
    var isOver = false

    /// The delay of the service, before that of the request is added.
    var delay = Duration.zero
}
