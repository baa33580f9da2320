import Base
import Model
import Wire

extension LoadJob {
    /// What is sent for every request to a target.
    func message(to target: Target, _ webSocket: WebSocketOpening?) -> [UInt8] {
        if let webSocket { return webSocket.frame(body) }
        switch plan.speech {
        // Four bytes say how long the rest is, the most significant first (docs/APP.md).
        case .tcp: return UInt32(plan.request.bodySize).bigEndianBytes + body
        default: return requestBytes(for: target)
        }
    }

    /// What is sent to a target before the first request.
    func greeting(to target: Target, _ webSocket: WebSocketOpening?) -> [UInt8] {
        guard plan.speech == .websocket, let webSocket else { return [] }
        return Array((head("GET", to: target) + webSocket.fields + "\r\n").utf8)
    }

    /// The bytes of every request to a target: head and body over HTTP/1.1, over HTTP/2 only the
    /// body, whose head is `requestFields`.
    ///
    /// A header of the plan replaces the generator's own of the same name (`host`, `user-agent`).
    public func requestBytes(for target: Target) -> [UInt8] {
        switch plan.speech {
        case .http2: return body
        case .grpc: return call
        default: break
        }
        var text = head(plan.request.method, to: target)
        if numbersRequests { text += "x-request-id: \(firstIdentity)\r\n" }
        if saysLength { text += "content-length: \(plan.request.bodySize)\r\n" }
        return Array((text + "\r\n").utf8) + body
    }

    /// A head of HTTP/1.1 without its end.
    private func head(_ method: String, to target: Target) -> String {
        let request = plan.request
        var text = "\(method) \(request.path) HTTP/1.1\r\n"
        if !sets("host") { text += "host: \(target.host)\r\n" }
        if !sets("user-agent") { text += "user-agent: meshbench\r\n" }
        for header in request.headers { text += "\(header.name): \(header.value)\r\n" }
        return text
    }

    /// The head of every request to a target over HTTP/2.
    func requestFields(for target: Target) -> FieldList {
        let request = plan.request
        let isCall = plan.speech == .grpc
        let authority = request.headers.first { $0.name.lowercased() == "host" }?.value
        let isWebSocket = plan.speech == .websocketHTTP2
        var fields: [(name: String, value: String)] = [
            (":method", isWebSocket ? "CONNECT" : isCall ? "POST" : request.method),
            (":scheme", tls == nil ? "http" : "https"), (":authority", authority ?? target.host),
            (":path", isCall ? callPath : request.path),
        ]
        if isWebSocket { fields.append((":protocol", "websocket")) }
        if !sets("user-agent") { fields.append(("user-agent", "meshbench")) }
        if isCall {
            if !sets("te") { fields.append(("te", "trailers")) }
            if !sets("content-type") { fields.append(("content-type", "application/grpc")) }
            if !sets("grpc-timeout") { fields.append(("grpc-timeout", callTimeout)) }
        } else if isWebSocket {
            fields.append(("sec-websocket-version", "13"))
        } else if saysLength {
            fields.append(("content-length", "\(request.bodySize)"))
        }
        for header in request.headers where header.name.lowercased() != "host" {
            fields.append((header.name, header.value))
        }
        if numbersRequests { fields.append(("x-request-id", firstIdentity)) }
        let bytes = fields.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        let list = FieldList(capacity: fields.count, made: bytes)
        for field in fields {
            Array(field.name.utf8).withBytes { name in
                Array(field.value.utf8).withBytes { value in list.add(copying: name, value) }
            }
        }
        precondition(!list.overflowed, "a list that does not hold its own fields")
        // No two requests have the same: the tables of HPACK are kept free of it.
        if numbersRequests { list.leaveUnindexed(list.count - 1) }
        return list
    }

    /// Whether each request says by what it is known. The plan may say so for all of them.
    var numbersRequests: Bool {
        switch plan.speech {
        case .http1, .http2, .grpc: !sets("x-request-id")
        case .websocket, .websocketHTTP2, .tcp: false
        }
    }

    private var firstIdentity: String { RequestIdentity.text(seed: seed, number: 0) }

    private func sets(_ name: String) -> Bool {
        plan.request.headers.contains { $0.name.lowercased() == name }
    }

    /// A method that usually carries a body says so even when it is empty (RFC 9110, section 8.6).
    private var saysLength: Bool {
        plan.request.bodySize > 0 || ["POST", "PUT", "PATCH"].contains(plan.request.method)
    }

    private var body: [UInt8] {
        (0..<plan.request.bodySize).map { UInt8(ascii: "a") + UInt8($0 % 26) }
    }

    /// A call with no path of its own is one of the workload's.
    private var callPath: String {
        plan.request.path == "/" ? "/meshbench.Echo/Unary" : plan.request.path
    }

    /// How long the server may take: what is left when the request is taken up in time.
    private var callTimeout: String {
        written { GRPCTimeout.write(plan.timeout, to: &$0) }
    }

    /// The message of a call: the body as field 1, which is `payload` in `docs/echo.proto`.
    private var call: [UInt8] {
        var message = ProtobufWriter()
        if plan.request.bodySize > 0 { message.append(1, bytes: body) }
        return [0] + UInt32(message.bytes.count).bigEndianBytes + message.bytes
    }

    private func written(_ write: (inout ByteWriter) -> Void) -> String {
        unsafe withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { memory in
            var writer = unsafe ByteWriter(memory)
            write(&writer)
            return unsafe String(decoding: memory[..<writer.count], as: UTF8.self)
        }
    }
}

extension UInt32 {
    /// The most significant byte first.
    var bigEndianBytes: [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: self >> UInt32($0)) }
    }
}
