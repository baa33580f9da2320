// What the proxy says itself, and how an exchange ends that cannot be completed.

import Base
import Model
import Wire

extension Proxy {
    /// Answers the request in hand from here.
    /// - Parameters:
    ///   - flag: why, for the log, the counters and the client (`x-response-flags`).
    ///   - detail: the same in more words, for the log and its body.
    ///   - parts: what its head and body have beside, or instead.
    func reply(
        _ slot: Int, status: Int, flag: ResponseFlag?, detail: ResponseDetail,
        parts: ReplyParts = ReplyParts(), now: Instant
    ) {
        var exchange = connections[slot].exchange
        let complete = connections[slot].body.isComplete
        if connections[slot].stage == .awaitingRequest {
            // The head is still there.
            if connections[slot].isStream || connections[slot].hasReceived {
                dropReceived(slot)
            } else if complete, exchange.keepAlive {
                consumeInput(slot, head.length)
            } else {
                releaseInput(slot)
            }
        }
        exchange.keepAlive = exchange.keepAlive && complete && !isLeaving(slot)
        exchange.status = UInt16(status)
        exchange.headSent = true
        exchange.isAgain = false
        exchange.hasPolicy = false
        if exchange.fault.isDelayed { exchange.noted.insert(.DI) }
        connections[slot].exchange = exchange
        if connections[slot].isStream {
            return replyOnStream(slot, flag: flag, detail: detail, parts: parts, now: now)
        }
        let size = HeadWriter.growth + parts.fields.count + (parts.body?.count ?? 0)
        guard let memory = unsafe connections[slot].output.room(for: size, from: pool) else {
            logExchange(slot, flag: .OM, detail: .noBuffer, now: now)
            return close(slot, reset: true)
        }
        var out = unsafe ByteWriter(memory)
        dateLine.refresh(now: now, wallOffset: wallOffset)
        writeReply(exchange, flag: flag, detail: detail, parts, to: &out)
        precondition(!out.overflowed, "a reply outgrew its bound")
        connections[slot].output.grow(by: out.count)
        countAnswer(status, of: slot)
        logExchange(slot, flag: flag, detail: detail, now: now)
        askFlush(slot)
        concludeClient(slot, keepAlive: exchange.keepAlive, now: now)
    }

    private func writeReply(
        _ exchange: Exchange, flag: ResponseFlag?, detail: ResponseDetail, _ parts: ReplyParts,
        to out: inout ByteWriter
    ) {
        out.append("HTTP/1.1 ")
        out.append(decimal: UInt64(exchange.status))
        out.append(UInt8(ascii: " "))
        out.append(reasonPhrase(Int(exchange.status)))
        out.append("\r\n")
        // Neither has content, and so no length (RFC 9110, 8.6).
        let isBodiless = exchange.status == 204 || exchange.status == 304
        if !isBodiless {
            if !parts.saysContentType { out.append("content-type: text/plain\r\n") }
            out.append("content-length: ")
            out.append(decimal: UInt64(parts.body?.count ?? detail.text.utf8CodeUnitCount + 1))
            out.append("\r\n")
        }
        out.append(parts.fields)
        dateLine.append(to: &out)
        if flag != nil || !exchange.noted.isEmpty {
            out.append("x-response-flags: ")
            exchange.noted.write(flag, to: &out)
            out.append("\r\n")
        }
        if exchange.decision.isOverload { out.append("x-envoy-overloaded: true\r\n") }
        if configuration.headers.attemptCount, exchange.attempts > 0 {
            out.append("x-envoy-attempt-count: ")
            out.append(decimal: UInt64(exchange.attempts))
            out.append("\r\n")
        }
        if !exchange.keepAlive {
            out.append("connection: close\r\n")
        } else if exchange.minorVersion == 0 {
            out.append("connection: keep-alive\r\n")
        }
        out.append("\r\n")
        guard !exchange.isHead, !isBodiless else { return }
        guard parts.body == nil else { return out.append(parts.body ?? Bytes("")) }
        out.append(detail.text)
        out.append("\n")
    }

    /// Ends an exchange that cannot be completed: with an answer if none has begun, else by ending
    /// the connection in the middle of the answer, which tells the client that it is not whole.
    /// - Parameter code: with what an upstream has reset its stream; nil: that is not why.
    func abort(
        _ slot: Int, status: Int, flag: ResponseFlag, detail: ResponseDetail,
        code: HTTP2Code? = nil, now: Instant
    ) {
        let truncatedSilently: Bool
        dismissRivals(slot, now: now)
        if let upstream = connections[slot].peer {
            truncatedSilently =
                connections[upstream].body.kind == .untilClose
                || connections[upstream].body.kind == .unchunking
            endAttempt(upstream, AttemptResult(flag), now: now)
            discardUpstream(upstream, now: now)
        } else {
            truncatedSilently = false
        }
        failedCode = code
        defer { failedCode = nil }
        guard connections[slot].exchange.headSent else {
            return reply(slot, status: status, flag: flag, detail: detail, now: now)
        }
        if connections[slot].exchange.isGRPC {
            // Before it is judged; the status of HTTP that its head had says nothing.
            connections[slot].exchange.call = Int8(grpcStatus(status, flag: flag).rawValue)
        }
        logExchange(slot, flag: flag, detail: detail, isLate: true, now: now)
        if connections[slot].isStream {
            if connections[slot].exchange.isGRPC,
                endWithGRPCStatus(slot, status: status, flag: flag, detail: detail, now: now)
            {
                return
            }
            return dropStream(slot, failedCode ?? .internalError, now: now)
        }
        // Where the end of the connection is the end of the body, only a reset tells the
        // difference.
        if truncatedSilently { return close(slot, reset: true) }
        concludeClient(slot, keepAlive: false, now: now)
    }

    /// The client has gone away.
    func abandon(_ slot: Int, flag: ResponseFlag = .DC, now: Instant) {
        if connections[slot].stage == .pending {
            removePending(slot, Int(connections[slot].exchange.cluster))
        }
        dismissRivals(slot, now: now)
        forgetQuestion(of: slot, now: now)
        if let upstream = connections[slot].peer { discardUpstream(upstream, now: now) }
        logExchange(slot, flag: flag, detail: .clientGone, now: now)
        close(slot, reset: true)
    }
}

/// What an answer of the proxy's own has that others have not.
struct ReplyParts {
    /// Lines of its head, each with its CR LF.
    var fields = Bytes("")
    /// Whether they say what the body is; else it is plain text.
    var saysContentType = false
    /// nil: the detail.
    var body: Bytes?
}

extension ResponseFlag {
    /// The short name.
    var text: StaticString {
        switch self {
        case .UF: "UF"
        case .UC: "UC"
        case .UH: "UH"
        case .UT: "UT"
        case .UO: "UO"
        case .NR: "NR"
        case .NC: "NC"
        case .DC: "DC"
        case .DPE: "DPE"
        case .UPE: "UPE"
        case .SI: "SI"
        case .OM: "OM"
        case .UAEX: "UAEX"
        case .RL: "RL"
        case .RLSE: "RLSE"
        case .FI: "FI"
        case .DI: "DI"
        case .URX: "URX"
        case .UR: "UR"
        case .LR: "LR"
        case .DR: "DR"
        case .DT: "DT"
        case .IH: "IH"
        case .UMSDR: "UMSDR"
        }
    }
}
