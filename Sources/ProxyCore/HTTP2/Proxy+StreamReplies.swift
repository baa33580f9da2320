// What the proxy says itself on a stream, and how an exchange ends there.

import Base
import Model
import Wire

extension Proxy {
    /// Answers the request in hand, whose status is settled.
    func replyOnStream(
        _ slot: Int, flag: ResponseFlag?, detail: ResponseDetail, parts: ReplyParts, now: Instant
    ) {
        turn = now
        let exchange = connections[slot].exchange
        let session = session(of: slot)
        dateLine.refresh(now: now, wallOffset: wallOffset)
        fields.removeAll()
        let isBodiless = exchange.status == 204 || exchange.status == 304
        let hasBody =
            !exchange.isHead && !exchange.isGRPC && !isBodiless && parts.body?.count != 0
        if exchange.isGRPC {
            // Trailers-only (gRPC over HTTP2, "Responses"): the whole answer in one head.
            fields.add(":status", "200")
            fields.add("content-type", "application/grpc")
            let call = grpcStatus(Int(exchange.status), flag: flag)
            connections[slot].exchange.call = Int8(call.rawValue)
            fields.add("grpc-status", decimal: Int(call.rawValue))
            fields.add("grpc-message", detail.text)
        } else {
            fields.add(":status", decimal: Int(exchange.status))
            if !isBodiless {
                if !parts.saysContentType { fields.add("content-type", "text/plain") }
                fields.add(
                    "content-length",
                    decimal: parts.body?.count ?? detail.text.utf8CodeUnitCount + 1)
            }
        }
        fields.add(lines: parts.fields)
        if !dateLine.isEmpty { fields.add("date") { dateLine.appendValue(to: &$0) } }
        if flag != nil || !exchange.noted.isEmpty {
            fields.add("x-response-flags") { exchange.noted.write(flag, to: &$0) }
        }
        if exchange.decision.isOverload { fields.add("x-envoy-overloaded", "true") }
        if configuration.headers.attemptCount, exchange.attempts > 0 {
            fields.add("x-envoy-attempt-count", decimal: Int(exchange.attempts))
        }
        counters.add(StatusClass(of: Int(exchange.status)))
        logExchange(slot, flag: flag, detail: detail, now: now)
        releaseInput(slot)
        let isSent =
            session.submitResponse(connections[slot].stream, fields, hasBody: hasBody)
            && (!hasBody
                || connections[slot].output.append(parts.body ?? Bytes(detail.text), from: pool)
                    && (parts.body != nil
                        || connections[slot].output.append(Bytes("\n"), from: pool)))
        guard isSent else { return dropStream(slot, .internalError, now: now) }
        connections[slot].endAfterOutput = true
        mark(session)
        concludeStream(slot, now: now)
    }

    /// An exchange on a gRPC client's stream cannot be completed, after its head was sent: the
    /// status stands behind what was sent.
    /// - Returns: false: there is no room to say so.
    func endWithGRPCStatus(
        _ slot: Int, status: Int, flag: ResponseFlag, detail: ResponseDetail, now: Instant
    ) -> Bool {
        guard !connections[slot].endAfterOutput, let buffer = pool.take() else { return false }
        var out = unsafe ByteWriter(pool.memory(buffer))
        out.append("grpc-status: ")
        out.append(decimal: UInt64(grpcStatus(status, flag: flag).rawValue))
        out.append("\r\ngrpc-message: ")
        out.append(detail.text)
        out.append("\r\n")
        connections[slot].trailers = Segment(buffer: buffer, start: 0, end: UInt32(out.count))
        connections[slot].hasTrailers = true
        connections[slot].endAfterOutput = true
        askFlush(slot)
        concludeStream(slot, now: now)
        return true
    }

    /// What a gRPC client is told of a failure that the proxy found. A status that an upstream
    /// would have given is mapped as gRPC maps it, and so is the code of a reset; time that has run
    /// out is its own status.
    func grpcStatus(_ status: Int, flag: ResponseFlag?) -> GRPCStatus {
        if let forcedCall { return forcedCall }
        if let failedCode { return GRPCStatus(code: failedCode) }
        return flag == .UT || flag == .DT ? .deadlineExceeded : GRPCStatus(httpStatus: status)
    }

    /// The answer is on its way: the stream ends behind it.
    func concludeStream(_ slot: Int, now: Instant) {
        connections[slot].stage = .finishing
        connections[slot].since = now
        dropReceived(slot)
        dropTail(slot)
        releaseInput(slot)
        if connections[slot].outputEnded { streamEndSent(slot, session(of: slot)) }
        arm(slot)
    }

    /// A connection that requests wait on could not be opened.
    func sessionConnectFailed(
        _ slot: Int, flag: ResponseFlag, detail: ResponseDetail, now: Instant
    ) {
        turn = now
        let session = session(of: slot)
        sendAwaiting(on: slot, now: now)
        session.isClosing = true
        unpoolSession(slot)
        while let stream = session.streams.last {
            if connections[Int(stream)].peer != nil {
                attemptFailed(Int(stream), .connect, flag: flag, detail: detail, now: now)
            } else {
                dropStream(Int(stream), nil, now: now)
            }
            precondition(session.streams.last != stream, "a stream outlived its connection")
        }
        closeUpstream(slot, now: now)
    }
}
