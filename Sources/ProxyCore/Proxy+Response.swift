// From an upstream's bytes to an answer on its way back.

import Base
import Model
import Wire

extension Proxy {
    /// Input has come from an upstream with an exchange in hand.
    func responseBytes(_ slot: Int, now: Instant) {
        guard let client = connections[slot].peer else { return close(slot, reset: true) }
        if !connections[slot].answered, connections[slot].hasInput {
            connections[slot].answered = true
            letGo(client)
        }
        while !connections[client].exchange.headSent {
            guard !connections[client].output.isFull else { return }
            guard connections[slot].isStream || connections[slot].hasInput else {
                if connections[slot].inputEnded { responseEnded(slot, now: now) }
                return
            }
            // A stream's head comes whole.
            guard !connections[slot].isStream || connections[slot].hasReceived else { return }
            guard responseHead(slot, client, now: now) else { return }
        }
        relayResponse(slot, client, now: now)
    }

    /// Reads one answer head. False: nothing more can be done with the input now.
    private func responseHead(_ slot: Int, _ client: Int, now: Instant) -> Bool {
        let bytes = headBytes(slot)
        if connections[slot].search.position > 0,
            !connections[slot].search.mayBeComplete(bytes), bytes.count < head.limits.headBytes
        {
            if connections[slot].inputEnded { responseEnded(slot, now: now) }
            return false
        }
        switch head.parseResponse(bytes, toHead: connections[client].exchange.isHead) {
        case .incomplete:
            if connections[slot].search.position == 0 {
                _ = connections[slot].search.mayBeComplete(bytes)
            }
            if connections[slot].inputEnded {
                responseEnded(slot, now: now)
            } else {
                // Interim heads before it may have left too little room.
                makeRoomForHead(slot)
            }
            return false
        case .invalid(let error):
            counters.add(.protocolErrors)
            attemptFailed(
                slot, .reset, status: 502, flag: .UPE, detail: .upstreamMalformed(error), now: now)
            return false
        case .complete:
            connections[slot].search = HeadSearch()
            return head.status < 200
                ? interimHead(slot, client, bytes, now: now)
                : finalHead(slot, client, bytes, now: now)
        }
    }

    private func interimHead(_ slot: Int, _ client: Int, _ bytes: Bytes, now: Instant) -> Bool {
        let exchange = connections[client].exchange
        let switches = head.status == 101
        let unasked =
            switches
            && !(exchange.wantsUpgrade && head.wantsUpgrade && connections[client].body.isComplete)
        guard !unasked, exchange.interimCount < Self.interimLimit else {
            counters.add(.protocolErrors)
            attemptFailed(
                slot, .reset, status: 502, flag: .UPE,
                detail: unasked ? .unaskedUpgrade : .tooManyInterims, now: now)
            return false
        }
        connections[client].exchange.interimCount += 1
        var hasRoom = false
        // A client of HTTP/1.0 knows no 1xx (RFC 9110, 15.2): to it no answer has begun.
        if exchange.minorVersion >= 1 {
            connections[client].exchange.decision = .none
            hasRoom = settle(slot, client, now: now)
            guard
                writeHead(
                    client, bytes, framing: .same, keepAlive: true, switches: switches,
                    hasBody: true, now: now)
            else {
                abort(client, status: 503, flag: .OM, detail: .noBuffer, now: now)
                return false
            }
            countAnswer(head.status, of: client)
            askFlush(client)
        }
        consumeHead(slot, head.length)
        if switches {
            attemptAnswered(slot, status: 101, now: now)
            connections[client].exchange.status = 101
            connections[client].exchange.headSent = true
            beginTunnel(client, slot, now: now)
        }
        if hasRoom { passRoomOn(Int(exchange.cluster), now: now) }
        return !switches
    }

    private func finalHead(_ slot: Int, _ client: Int, _ bytes: Bytes, now: Instant) -> Bool {
        let exchange = connections[client].exchange
        if exchange.isExtendedConnect, (200..<300).contains(head.status) {
            // An answer as if no upgrade had been asked for: to this client it would grant one.
            attemptFailed(
                slot, .reset, status: 502, flag: .UPE, detail: .upgradeRefused, now: now)
            return false
        }
        if exchange.isConnect, (200..<300).contains(head.status) {
            return grantConnect(slot, client, bytes, now: now)
        }
        attemptAnswered(slot, status: judgedStatus(client, bytes), now: now)
        if reconsiders(slot, client, bytes, now: now) { return false }
        let hasRoom = settle(slot, client, now: now)
        let isPassed = passHead(slot, client, bytes, now: now)
        if hasRoom { passRoomOn(Int(exchange.cluster), now: now) }
        return isPassed
    }

    /// The answer that was settled on may last long: who waits has the places of those that were
    /// given up. Not before its head has gone on: heads are parsed in one place.
    private func passRoomOn(_ cluster: Int, now: Instant) {
        if cluster >= 0 { serveNextPending(cluster, now: now) }
    }

    /// Passes on the answer that has been settled on.
    private func passHead(_ slot: Int, _ client: Int, _ bytes: Bytes, now: Instant) -> Bool {
        let (body, framing) = settleFraming(slot, client)
        // What the client still sends of its request can no longer be told from the next one.
        let keepAlive =
            connections[client].exchange.keepAlive && framing != .untilClose
            && connections[client].body.isComplete && !isLeaving(client)
        guard
            writeHead(
                client, bytes, framing: framing, keepAlive: keepAlive, switches: false,
                hasBody: !body.isComplete, now: now)
        else {
            abort(client, status: 503, flag: .OM, detail: .noBuffer, now: now)
            return false
        }
        connections[client].exchange.keepAlive = keepAlive
        connections[client].exchange.headSent = true
        connections[client].exchange.status = UInt16(head.status)
        if connections[client].exchange.isGRPC {
            connections[client].exchange.call = GRPCVerdict.call(head, bytes)
        }
        connections[slot].body = body
        beginThrottle(slot, client, now: now)
        connections[slot].keepAlive = head.keepAlive
        countAnswer(head.status, of: client)
        consumeHead(slot, head.length)
        askFlush(client)
        return true
    }

    /// An upstream has opened the tunnel that a client asked for; whatever the head says of a body
    /// has no meaning (RFC 9112, 6.3).
    /// - Returns: false: nothing more can be done with the input as that of an exchange.
    private func grantConnect(_ slot: Int, _ client: Int, _ bytes: Bytes, now: Instant) -> Bool {
        let cluster = Int(connections[client].exchange.cluster)
        connections[client].exchange.decision = .none
        let hasRoom = settle(slot, client, now: now)
        guard
            writeHead(
                client, bytes, framing: .untilClose, keepAlive: true, switches: false,
                hasBody: true, now: now)
        else {
            abort(client, status: 503, flag: .OM, detail: .noBuffer, now: now)
            return false
        }
        connections[client].exchange.status = UInt16(head.status)
        connections[client].exchange.headSent = true
        attemptAnswered(slot, status: head.status, now: now)
        countAnswer(head.status, of: client)
        consumeHead(slot, head.length)
        askFlush(client)
        beginTunnel(client, slot, now: now)
        if hasRoom { passRoomOn(cluster, now: now) }
        return false
    }

    /// How the answer's body comes, and how it goes on.
    private func settleFraming(
        _ slot: Int, _ client: Int
    ) -> (body: BodyProgress, framing: HeadWriter.AnswerFraming) {
        var body = BodyProgress(head.framing)
        let isOld = connections[client].exchange.minorVersion == 0
        if connections[slot].isStream {
            let connection = connections[slot]
            // Nothing follows the head: no body, whatever HTTP/1.1 would make of such a head.
            let isOver = connection.inputEnded && !connection.hasInput && !connection.hasTail
            guard head.framing != .none, !isOver else {
                return (BodyProgress(), head.framing == .untilClose ? .empty : .same)
            }
            body.kind = .stream
        }
        if connections[client].isStream {
            if body.kind == .chunked { body.kind = .unchunking }
            return (body, .same)
        }
        switch head.framing {
        case .chunked where isOld:
            // A client of HTTP/1.0 knows no chunks: the data alone, up to the end of the
            // connection.
            if body.kind == .chunked { body.kind = .unchunking }
            return (body, .untilClose)
        case .chunked:
            if body.kind == .stream { connections[client].coding = .chunks }
            return (body, .chunked)
        case .untilClose: return (body, .untilClose)
        case .none, .length: return (body, .same)
        }
    }

    private func writeHead(
        _ client: Int, _ bytes: Bytes, framing: HeadWriter.AnswerFraming, keepAlive: Bool,
        switches: Bool, hasBody: Bool, now: Instant
    ) -> Bool {
        if connections[client].isStream {
            return sendHead(client, bytes, switches: switches, hasBody: hasBody, now: now)
        }
        let edit = answerEdit(client)
        let size = min(head.length + HeadWriter.growth + edit.growth, pool.size)
        guard let memory = unsafe connections[client].output.room(for: size, from: pool) else {
            return false
        }
        var out = unsafe ByteWriter(memory)
        dateLine.refresh(now: now, wallOffset: wallOffset)
        let isWebSocket = switches && connections[client].exchange.webSocketKey.isSet
        writer.write(
            response: head, bytes, edit, router.actions, framing: framing, keepAlive: keepAlive,
            clientMinorVersion: connections[client].exchange.minorVersion,
            switchesProtocol: switches,
            accept: isWebSocket ? connections[client].exchange.webSocketKey.accept : nil,
            cameByHTTP2: cameByHTTP2(client), date: dateLine,
            attempt: answerFields(client, now: now), to: &out)
        guard !out.overflowed else { return false }
        connections[client].output.grow(by: out.count)
        return true
    }

    /// Whether the answer to a client came on a stream.
    private func cameByHTTP2(_ client: Int) -> Bool {
        connections[client].peer.map { connections[$0].isStream } ?? false
    }

    /// Sends an answer's head on the client's stream.
    private func sendHead(
        _ client: Int, _ bytes: Bytes, switches: Bool, hasBody: Bool, now: Instant
    ) -> Bool {
        dateLine.refresh(now: now, wallOffset: wallOffset)
        writer.list(
            response: head, bytes, answerEdit(client), router.actions,
            switchesProtocol: switches,
            cameByHTTP2: cameByHTTP2(client), date: dateLine,
            attempt: answerFields(client, now: now), to: fields)
        guard !fields.overflowed else { return false }
        let session = session(of: client)
        let stream = connections[client].stream
        mark(session)
        if head.status < 200, !switches { return session.submitInterim(stream, fields) }
        if !hasBody { connections[client].endAfterOutput = true }
        return session.submitResponse(stream, fields, hasBody: hasBody)
    }

    private func relayResponse(_ slot: Int, _ client: Int, now: Instant) {
        switch relay(from: slot, to: client, atMost: throttledBytes(client, now: now)) {
        case .moved(let bytes):
            connections[client].exchange.responseBytes += bytes
            count(.responseBytes, of: client, bytes)
            pay(bytes, slot, client, now: now)
            if bytes > 0 { askFlush(client) }
        case .invalid(let error):
            counters.add(.protocolErrors)
            return abort(
                client, status: 502, flag: .UPE, detail: .upstreamMalformed(error), now: now)
        case .noBuffer:
            return abort(client, status: 503, flag: .OM, detail: .noBuffer, now: now)
        }
        if connections[slot].body.isComplete {
            noteCall(of: slot, client)
            guard endBody(from: slot, to: client) else {
                return abort(client, status: 503, flag: .OM, detail: .noBuffer, now: now)
            }
            finish(slot, client, now: now)
        } else if connections[slot].inputEnded, !connections[slot].hasInput {
            responseEnded(slot, now: now)
        }
    }

    /// A call of gRPC is judged by what stands behind its body.
    private func noteCall(of slot: Int, _ client: Int) {
        guard connections[client].exchange.isGRPC, connections[slot].hasTail else { return }
        let tail = connections[slot].tail
        let lines = pool.bytes(tail.buffer, Int(tail.start)..<Int(tail.end))
        let call = GRPCVerdict.call(trailers: lines)
        if call >= 0 { connections[client].exchange.call = call }
    }

    /// The upstream will send no more, with an exchange in hand.
    /// - Parameter failed: the connection failed, rather than ended properly.
    func responseEnded(_ slot: Int, failed: Bool = false, now: Instant) {
        guard let client = connections[slot].peer else { return close(slot, reset: true) }
        let exchange = connections[client].exchange
        // What has come is passed on first, when the client's side takes it again.
        if connections[slot].body.held > 0, !failed { return }
        if connections[slot].hasInput, !failed,
            exchange.headSent || connections[client].output.isFull
        {
            return
        }
        if exchange.headSent, connections[slot].body.kind == .untilClose, !failed {
            connections[slot].body.kind = .complete
            guard endBody(from: slot, to: client) else {
                return abort(client, status: 503, flag: .OM, detail: .noBuffer, now: now)
            }
            return finish(slot, client, now: now)
        }
        let isStale = !connections[slot].answered && connections[slot].reused
        attemptFailed(
            slot, isStale ? .stale : .reset, flag: .UC, detail: .upstreamClosed, now: now)
    }

    /// The answer is complete: both connections go on to what comes next.
    private func finish(_ slot: Int, _ client: Int, now: Instant) {
        logExchange(client, flag: nil, detail: .viaUpstream, now: now)
        count(.requestsCompleted, of: client)
        endAttempt(slot, .answered, now: now)
        let requestComplete = connections[client].body.isComplete
        connections[client].peerPlusOne = 0
        connections[slot].peerPlusOne = 0
        releaseUpstream(slot, requestComplete: requestComplete, now: now)
        concludeClient(
            client, keepAlive: connections[client].exchange.keepAlive && requestComplete, now: now)
    }

    /// Readies the client's connection for its next request, or ends it behind what is queued.
    func concludeClient(_ client: Int, keepAlive: Bool, now: Instant) {
        connections[client].since = now
        if connections[client].isStream { return concludeStream(client, now: now) }
        if connections[client].isMirror { return close(client) }
        dropReceived(client)
        dropTail(client)
        connections[client].coding = .same
        if keepAlive {
            connections[client].stage = .awaitingRequest
            connections[client].body = BodyProgress()
            if connections[client].hasInput || connections[client].readPaused
                || connections[client].inputEnded
            {
                askRead(client)
            }
            arm(client)
            return
        }
        connections[client].stage = .finishing
        connections[client].exchange.requestBytes = 0
        releaseInput(client)
        // Bytes of its request that nobody will take: what it still sends is read and thrown away.
        dropHeld(client)
        if connections[client].output.isEmpty { askFlush(client) }
        arm(client)
    }
}
