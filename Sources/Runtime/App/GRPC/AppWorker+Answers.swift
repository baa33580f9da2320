// Answers to calls of gRPC: messages, and the status behind them.

import Base
import Wire

extension AppWorker {
    /// Answers a request, after all that it was to cost.
    func answerRPC(_ exchange: Int) {
        let index = index(exchange)
        let status = exchanges[exchange].plan.status
        if status >= 400 {
            return failRPC(exchange, GRPCStatus(httpStatus: status), "status \(status)")
        }
        let request = streams[index].rpc.request
        let isFailure = request.status != .ok
        if streams[index].rpc.method.givesOne {
            streams[index].rpc.answersLeft = isFailure ? 0 : 1
        } else {
            streams[index].rpc.answersLeft =
                request.count >= 0 ? request.count : isFailure ? 0 : 1
        }
        streams[index].rpc.isBusy = true
        streams[index].rpc.isAnswering = true
        nextAnswer(exchange)
    }

    /// Answers with a message that was made whole.
    func answerWhole(_ exchange: Int, _ message: [UInt8]) {
        let index = index(exchange)
        exchanges[exchange].hasPage = true
        pages[exchange] = message
        streams[index].rpc.isBusy = true
        streams[index].rpc.isAnswering = true
        streams[index].rpc.isWhole = true
        streams[index].rpc.answersLeft = 1
        nextAnswer(exchange)
    }

    /// Goes on with the next response to a request, or with what follows the last.
    func nextAnswer(_ exchange: Int) {
        let index = index(exchange)
        guard streams[index].rpc.answersLeft > 0 else { return answered(exchange) }
        streams[index].rpc.answersLeft -= 1
        streams[index].rpc.payload = payloadSize(exchange)
        streams[index].rpc.hasAnswer = true
        streams[index].rpc.sent = 0
        streams[index].rpc.head = writeHead(exchange) { $0.count }
        if !streams[index].rpc.hasHead { submitHead(exchange) }
        session(exchange)?.resume(streams[index].id)
        markDirty(Int(streams[index].connection))
    }

    /// Bytes of the next response's payload.
    private func payloadSize(_ exchange: Int) -> Int {
        let rpc = stream(exchange).rpc
        if rpc.isWhole { return pages[exchange]?.count ?? 0 }
        if rpc.request.size >= 0 { return rpc.request.size }
        let comesBack = rpc.method == .clientStream ? 0 : rpc.request.payload.count
        return comesBack > 0 || rpc.requestBytes > 0 && rpc.method == .clientStream
            ? comesBack : exchanges[exchange].plan.size
    }

    /// All responses to a request are out.
    private func answered(_ exchange: Int) {
        let rpc = stream(exchange).rpc
        if !rpc.isWhole, rpc.request.status != .ok {
            failRPC(exchange, rpc.request.status, texts[exchange] ?? "")
        } else if rpc.method.answersEach {
            requestAnswered(exchange)
        } else {
            endRPC(exchange, .ok)
        }
    }

    // MARK: Ends

    /// Ends a call without an error.
    func endRPC(_ exchange: Int, _ status: GRPCStatus) { failRPC(exchange, status, "") }

    /// Ends a call: with trailers alone where nothing was sent yet, else with trailers behind what
    /// was.
    func failRPC(_ exchange: Int, _ status: GRPCStatus, _ message: String) {
        let index = index(exchange)
        guard !streams[index].rpc.isOver, !streams[index].rpc.isEnding else { return }
        if exchanges[exchange].call >= 0 { closeCall(Int(exchanges[exchange].call)) }
        streams[index].rpc.status = status
        markDirty(Int(streams[index].connection))
        if !streams[index].rpc.hasHead {
            fields.removeAll()
            fields.add(":status", "200")
            fields.add("content-type", "application/grpc")
            addStatus(status, message)
            _ = session(exchange)?.submitResponse(streams[index].id, fields, hasBody: false)
            over(exchange)
        } else if streams[index].rpc.hasTrailers
            || streams[index].rpc.hasAnswer && streams[index].rpc.sent > 0
        {
            // A message cannot be ended in its middle.
            over(exchange)
            session(exchange)?.reset(streams[index].id, .cancel)
        } else {
            streams[index].rpc.hasAnswer = false
            streams[index].rpc.isEnding = true
            texts[exchange] = message.isEmpty ? nil : message
            session(exchange)?.resume(streams[index].id)
        }
    }

    /// The status is among the frames of this turn.
    private func over(_ exchange: Int) {
        let index = index(exchange)
        streams[index].rpc.isOver = true
        streams[index].isAnswered = true
        streams[index].deadline = .distantFuture
        wakeStream(exchange, at: .distantFuture)
        counters.end(call: streams[index].rpc.status)
        // Of HTTP, whatever the call came to.
        exchanges[exchange].plan.status = 200
        countEnd(stream: exchange)
        if exchanges[exchange].plan.close { session(exchange)?.submitGoaway(.noError) }
    }

    private func submitHead(_ exchange: Int) {
        fields.removeAll()
        fields.add(":status", "200")
        fields.add("content-type", "application/grpc")
        _ = session(exchange)?.submitResponse(stream(exchange).id, fields, hasBody: true)
        streams[index(exchange)].rpc.hasHead = true
    }

    private func addStatus(_ status: GRPCStatus, _ message: String) {
        fields.add("grpc-status", decimal: Int(status.rawValue))
        guard !message.isEmpty else { return }
        // Bound: 2 KiB, which percent-coding makes three times as long at most.
        Array(message.utf8.prefix(2048)).withBytes { message in
            fields.add("grpc-message") { GRPCText.write(message, to: &$0) }
        }
    }

    // MARK: Frames

    /// What a call can send.
    func provideRPC(_ exchange: Int, limit: Int) -> HTTP2Session.Provided {
        let rpc = stream(exchange).rpc
        if rpc.hasAnswer {
            let left = rpc.head + rpc.payload - rpc.sent
            guard left <= limit, endsWithAnswer(exchange) else {
                return .bytes(min(left, limit), isLast: false)
            }
            return submitTrailers(exchange, "") ? .trailers(left) : .failed
        }
        guard rpc.isEnding else { return .nothing }
        guard submitTrailers(exchange, texts[exchange] ?? "") else { return .failed }
        // Without a frame of its own, which would be empty.
        over(exchange)
        return .trailers(0)
    }

    /// Whether nothing follows the response that is being sent but the status.
    private func endsWithAnswer(_ exchange: Int) -> Bool {
        let rpc = stream(exchange).rpc
        return rpc.answersLeft == 0 && !rpc.method.answersEach
            && (rpc.isWhole || rpc.request.status == .ok)
    }

    private func submitTrailers(_ exchange: Int, _ message: String) -> Bool {
        fields.removeAll()
        addStatus(stream(exchange).rpc.status, message)
        streams[index(exchange)].rpc.hasTrailers = true
        return session(exchange)?.submitTrailers(stream(exchange).id, fields) ?? false
    }

    /// Writes what was offered of a response.
    func writeRPC(_ exchange: Int, _ count: Int) {
        let index = index(exchange)
        let rpc = streams[index].rpc
        let end = rpc.sent + count
        if rpc.sent < rpc.head {
            let slot = Int(streams[index].connection)
            writeHead(exchange) { append(slot, $0[rpc.sent..<min(end, rpc.head)]) }
        }
        if end > rpc.head { appendBody(exchange, max(0, rpc.sent - rpc.head)..<end - rpc.head) }
        streams[index].rpc.sent = end
        if end == rpc.head + rpc.payload { answerIsOut(exchange) }
    }

    private func answerIsOut(_ exchange: Int) {
        let index = index(exchange)
        streams[index].rpc.hasAnswer = false
        streams[index].rpc.index += 1
        if streams[index].rpc.hasTrailers { return over(exchange) }
        let delay = streams[index].rpc.request.delay
        if streams[index].rpc.answersLeft > 0, delay > .zero {
            wakeStream(exchange, at: now + delay)
        } else {
            nextAnswer(exchange)
        }
    }

    /// Hands out what stands before a response's payload: the length of the message, and the fields
    /// of `EchoResponse` up to the payload's bytes.
    @discardableResult
    private func writeHead<R>(_ exchange: Int, _ use: (Bytes) -> R) -> R {
        let rpc = stream(exchange).rpc
        // Five numbers of at most ten bytes, four keys and the prefix.
        return unsafe withUnsafeTemporaryAllocation(byteCount: 128, alignment: 8) { memory in
            var middle = unsafe ByteWriter(UnsafeMutableRawBufferPointer(rebasing: memory[64...]))
            if !rpc.isWhole {
                Self.append(1 << 3, rpc.index, to: &middle)
                Self.append(2 << 3, rpc.requests, to: &middle)
                Self.append(3 << 3, rpc.requestBytes, to: &middle)
                Self.append(4 << 3 | 2, rpc.payload, to: &middle)
            }
            var out = unsafe ByteWriter(UnsafeMutableRawBufferPointer(rebasing: memory[..<64]))
            GRPCFraming.writePrefix(middle.count + rpc.payload, to: &out)
            unsafe out.append(
                Bytes(UnsafeRawBufferPointer(rebasing: memory[64..<64 + middle.count])))
            precondition(!out.overflowed && !middle.overflowed, "a head longer than its memory")
            return unsafe use(Bytes(UnsafeRawBufferPointer(rebasing: memory[..<out.count])))
        }
    }

    /// A number that is 0 is left out, and so is what has no bytes, as everywhere with protocol
    /// buffers.
    private static func append(_ key: UInt64, _ value: Int, to out: inout ByteWriter) {
        guard value > 0 else { return }
        out.append(varint: key)
        out.append(varint: UInt64(value))
    }
}
