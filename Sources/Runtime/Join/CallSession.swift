// The client's side of HTTP/2 on one connection: requests out, answers in, each on a stream.
// Without a socket: frames wait in `output`, what has happened in `events`.

import Base
import Wire

/// What is asked over a connection.
struct CallRequest {
    var method: String
    var path: String
    /// JSON; empty: no body.
    var body: [UInt8] = []
    /// The answer is lines, which are told one by one as they come.
    var isStream = false
}

/// What has happened on a connection.
enum CallEvent {
    /// It is open, and secured.
    case opened
    /// An answer has come whole.
    case answered(call: Int, status: Int, body: [UInt8])
    /// A stream was answered 200: lines follow.
    case began(call: Int)
    /// One of them, without its end.
    case line(call: Int, [UInt8])
    /// The server has given up a call, or ended its stream.
    case ended(call: Int, String)
    /// The answer to `CallConnection.probe`.
    case alive
    /// The connection is over, and was closed.
    case closed(String)
}

/// The bounds of calls.
enum CallLimits {
    /// Calls at once on a connection: a watch, and one each of what a subscriber asks.
    static let calls = 16
    /// An answer that is no stream: a chain of certificates and the authorities.
    static let bodyBytes = 1 << 20
    /// A line: the declarations that one proxy needs, which is the whole mesh at most (100,000
    /// endpoints are 15 MB).
    static let lineBytes = 64 << 20
    /// Of frames no more is made ready at once.
    static let outputBytes = 64 * 1024
}

/// The HTTP/2 of one connection.
final class CallSession: HTTP2Session {
    private struct Call {
        var id: Int32
        /// The number of the call, which is its owner's.
        var number: Int
        var request: CallRequest
        var sent = 0
        var status = 0
        var body: [UInt8] = []
        var lines = ServiceLines()
        var isOver = false
    }

    private let authority: String
    /// By tag. Bound: `CallLimits.calls`.
    private var calls: [Call?] = Array(repeating: nil, count: CallLimits.calls)
    private(set) var output = ServiceOutput()
    private var events: [CallEvent] = []
    private var status: [UInt8] = []

    init(authority: String) {
        self.authority = authority
        var settings = HTTP2Settings()
        settings.streamWindow = 256 * 1024
        settings.headerList = 16 * 1024
        super.init(server: false, settings)
    }

    /// Takes what has happened.
    func takeEvents() -> [CallEvent] {
        defer { events = [] }
        return events
    }

    /// The socket has taken so many bytes of the output.
    func sent(_ count: Int) { output.drop(count) }

    // MARK: Requests

    /// Asks.
    /// - Returns: false: the connection takes no more.
    func ask(_ request: CallRequest, number: Int, _ fields: FieldList) -> Bool {
        guard let tag = calls.firstIndex(where: { $0 == nil }) else { return false }
        fields.removeAll()
        func add(_ name: StaticString, _ value: String) {
            fields.add(name) { out in Array(value.utf8).withBytes { out.append($0) } }
        }
        add(":method", request.method)
        fields.add(":scheme", "https")
        add(":authority", authority)
        add(":path", request.path)
        if !request.body.isEmpty {
            fields.add("content-type", "application/json")
            fields.add("content-length", decimal: request.body.count)
        }
        precondition(!fields.overflowed, "a request with more than its head may have")
        guard let id = submitRequest(fields, tag: tag, hasBody: !request.body.isEmpty) else {
            return false
        }
        calls[tag] = Call(id: id, number: number, request: request)
        return true
    }

    override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
        guard let call = calls[tag] else { return .failed }
        let left = call.request.body.count - call.sent
        return .bytes(min(left, limit), isLast: left <= limit)
    }

    override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
        guard hasRoom(), let call = calls[tag] else { return false }
        output.append(header)
        output.append(Array(call.request.body[call.sent..<call.sent + count]))
        calls[tag]?.sent += count
        return true
    }

    override func hasRoom() -> Bool { output.count < CallLimits.outputBytes }
    override func write(_ bytes: Bytes) { output.append(bytes) }

    // MARK: Answers

    override func headBegan(_ stream: Int32, tag: Int) { status = [] }

    override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        if name == Bytes(":status") { status = unsafe Array(value.raw) }
        return true
    }

    override func headEnded(_ stream: Int32, tag: Int, endsStream: Bool) {
        guard tag >= 0, let call = calls[tag], call.status == 0,
            let code = Int(String(decoding: status, as: UTF8.self)), code >= 200
        else { return }
        calls[tag]?.status = code
        if call.request.isStream, code == 200 { events.append(.began(call: call.number)) }
    }

    override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) {
        consume(stream, bytes.count)
        guard let call = calls[tag], !call.isOver else { return }
        if call.request.isStream, call.status == 200 {
            calls[tag]?.lines.append(unsafe Array(bytes.raw))
            while let line = calls[tag]?.lines.next() {
                events.append(.line(call: call.number, line))
            }
            if (calls[tag]?.lines.waiting ?? 0) > CallLimits.lineBytes {
                abandon(tag, "a line of more than \(CallLimits.lineBytes) bytes")
            }
        } else {
            unsafe calls[tag]?.body.append(contentsOf: bytes.raw)
            if (calls[tag]?.body.count ?? 0) > CallLimits.bodyBytes {
                abandon(tag, "an answer of more than \(CallLimits.bodyBytes) bytes")
            }
        }
    }

    private func abandon(_ tag: Int, _ reason: String) {
        guard let call = calls[tag] else { return }
        calls[tag]?.isOver = true
        calls[tag]?.body = []
        calls[tag]?.lines = ServiceLines()
        events.append(.ended(call: call.number, reason))
        reset(call.id, .cancel)
    }

    override func streamEnded(_ stream: Int32, tag: Int) {
        guard tag >= 0, let call = calls[tag], !call.isOver else { return }
        calls[tag]?.isOver = true
        if call.request.isStream, call.status == 200 {
            events.append(.ended(call: call.number, "the server has ended it"))
        } else if call.status == 0 {
            events.append(.ended(call: call.number, "an answer without a status"))
        } else {
            events.append(
                .answered(call: call.number, status: call.status, body: call.body))
        }
    }

    override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
        guard let call = calls[tag] else { return }
        if !call.isOver {
            events.append(.ended(call: call.number, "the server has reset it (\(code))"))
        }
        calls[tag] = nil
    }

    override func pingAnswered(_ mark: UInt8) { events.append(.alive) }
}
