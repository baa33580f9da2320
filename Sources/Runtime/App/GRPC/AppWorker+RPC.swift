// Calls of gRPC as they come in: heads, messages, ends and deadlines.

import Base
import Wire

extension AppWorker {
    func isRPC(_ exchange: Int) -> Bool { streams[index(exchange)].rpc.method != .none }

    /// Takes a request up as a call, if it is one.
    /// - Returns: whether it is.
    func beginRPC(_ exchange: Int, _ bytes: Bytes) -> Bool {
        guard let type = field("content-type", bytes), isGRPC(contentType: type) else {
            return false
        }
        let index = index(exchange)
        // Until the method is known: whatever the answer will be, it is that of a call.
        streams[index].rpc.method = .unary
        guard let method = AppRPC.Method(path(bytes)) else {
            counters.refuse()
            failRPC(exchange, .unimplemented, "no such method")
            return true
        }
        streams[index].rpc.method = method
        if let text = field("grpc-timeout", bytes) {
            guard let timeout = GRPCTimeout.parse(text) else {
                counters.refuse()
                failRPC(exchange, .invalidArgument, "no such grpc-timeout")
                return true
            }
            streams[index].deadline = now + timeout
            wakeStream(exchange, at: .distantFuture)
        }
        guard method.isWork else { return true }
        do throws(AppRefusal) {
            try admit(exchange, bytes)
            streams[index].rpc.delay = exchanges[exchange].plan.delay
        } catch {
            counters.refuse()
            failRPC(exchange, .invalidArgument, Bytes(error.text).text)
        }
        return true
    }

    private func path(_ bytes: Bytes) -> Bytes {
        let target = bytes[head.path]
        return target[0..<(target.firstIndex(of: UInt8(ascii: "?")) ?? target.count)]
    }

    /// The value of a field that the parser does not know by name.
    private func field(_ name: StaticString, _ bytes: Bytes) -> Bytes? {
        for index in 0..<head.fieldCount
        where bytes[head.fields[index].nameRange].equalsIgnoringCase(name) {
            return bytes[head.fields[index].valueRange]
        }
        return nil
    }

    /// A part of a call's requests.
    func receiveRPC(_ exchange: Int, _ bytes: Bytes) {
        let rpc = stream(exchange).rpc
        if rpc.isOver || rpc.isEnding { return consume(exchange, bytes.count) }
        takeIn(exchange, bytes, isBusy: rpc.isBusy) { readMessages(exchange, $0) }
    }

    /// Takes messages up to one that keeps the call busy.
    /// - Returns: bytes that were used.
    private func readMessages(_ exchange: Int, _ bytes: Bytes) -> Int {
        let index = index(exchange)
        streams[index].rpc.isReading = true
        defer { streams[index].rpc.isReading = false }
        var used = 0
        while used < bytes.count, !streams[index].rpc.isBusy {
            if streams[index].rpc.isOver || streams[index].rpc.isEnding { return bytes.count }
            let rest = bytes[used..<bytes.count]
            let piece: GRPCFraming.Piece
            do throws(GRPCFramingError) {
                piece = try streams[index].rpc.framing.next(rest)
            } catch {
                failRPC(exchange, error.status, "\(error)")
                return bytes.count
            }
            used += piece.used
            if piece.begins, streams[index].rpc.framing.isCompressed {
                failRPC(exchange, .unimplemented, "compressed messages are not read")
                return bytes.count
            }
            if piece.begins, piece.ends {
                take(exchange, rest[piece.payload])
            } else {
                keep(exchange, rest[piece.payload], ends: piece.ends)
            }
        }
        return used
    }

    /// Keeps a part of a message that comes in several.
    private func keep(_ exchange: Int, _ bytes: Bytes, ends: Bool) {
        unsafe messages[exchange, default: []].append(contentsOf: bytes.raw)
        guard ends, let message = messages.removeValue(forKey: exchange) else { return }
        message.withBytes { take(exchange, $0) }
    }

    /// A request of a call is complete.
    private func take(_ exchange: Int, _ message: Bytes) {
        let index = index(exchange)
        let method = streams[index].rpc.method
        streams[index].rpc.requests += 1
        if method.takesOne, streams[index].rpc.requests > 1 {
            return failRPC(exchange, .internal, "more than one request")
        }
        switch method {
        case .none: preconditionFailure("a message without a call")
        case .reflection: return answerWhole(exchange, AppReflection.answer(message))
        case .health:
            guard let answer = AppHealth.answer(message) else {
                return failRPC(exchange, .notFound, "no such service")
            }
            exchanges[exchange].hasPage = true
            pages[exchange] = answer
            return
        case .unary, .serverStream, .clientStream, .bidiStream: break
        }
        guard let request = EchoRequest(message) else {
            return failRPC(exchange, .internal, "no such request")
        }
        streams[index].rpc.requestBytes += request.payload.count
        streams[index].rpc.request = request
        keepForAnswer(exchange, request, message)
        if method == .bidiStream { startRPC(exchange) }
    }

    /// Keeps what the answer repeats of a request.
    private func keepForAnswer(_ exchange: Int, _ request: EchoRequest, _ message: Bytes) {
        let method = stream(exchange).rpc.method
        let hasPage = request.size < 0 && !request.payload.isEmpty && method != .clientStream
        if hasPage || exchanges[exchange].hasPage {
            pages[exchange] = hasPage ? unsafe Array(message[request.payload].raw) : nil
        }
        exchanges[exchange].hasPage = hasPage
        if !request.message.isEmpty { texts[exchange] = message[request.message].text }
    }

    /// Does for a request what it is to cost, and answers it.
    private func startRPC(_ exchange: Int) {
        let index = index(exchange)
        streams[index].rpc.isBusy = true
        exchanges[exchange].plan.delay =
            streams[index].rpc.delay + streams[index].rpc.request.delay
        start(exchange)
    }

    /// The client has sent all its requests.
    func rpcEnded(_ exchange: Int) {
        let rpc = stream(exchange).rpc
        // A call that is busy looks again when it no longer is.
        if rpc.isOver || rpc.isEnding || rpc.isBusy { return }
        guard rpc.framing.isBetweenMessages else {
            return failRPC(exchange, .internal, "\(GRPCFramingError.truncated)")
        }
        if rpc.method.answersEach { return endRPC(exchange, .ok) }
        if rpc.method.takesOne, rpc.requests == 0 {
            return failRPC(exchange, .internal, "no request")
        }
        if rpc.method == .health { return answerWhole(exchange, pages[exchange] ?? []) }
        startRPC(exchange)
    }

    /// A request of a stream has been answered: the next may be looked at.
    func requestAnswered(_ exchange: Int) {
        let index = index(exchange)
        streams[index].rpc.isBusy = false
        streams[index].rpc.isAnswering = false
        // Who is in the middle of it goes on by itself.
        if streams[index].rpc.isReading { return }
        readInbox(exchange) { readMessages(exchange, $0) }
        if streams[index].hasEnded { rpcEnded(exchange) }
    }

    /// The stream of a call is over.
    func closeRPC(_ exchange: Int) {
        inboxes[exchange] = nil
        messages[exchange] = nil
        texts[exchange] = nil
        if !stream(exchange).rpc.isOver { counters.cancel() }
    }
}
