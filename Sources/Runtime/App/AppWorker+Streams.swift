// Connections that speak HTTP/2, and the streams on them. A stream is an exchange like any other;
// what is written for a connection goes out once, at the end of the reactor's turn.

import Base
import Posix
import Wire

extension AppWorker {
    /// Frames are made as long as a whole one fits: 16 KiB and its header (RFC 9113, 4.2).
    private static let frameRoom = 16 * 1024 + 9
    /// How HTTP/2 begins where nobody has agreed on it before (RFC 9113, 3.4).
    private static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// What a new connection speaks, as far as its bytes tell: HTTP/2 begins with what is no
    /// request of HTTP/1.1.
    /// - Returns: nil: too few have come.
    func beginsAsHTTP2(_ bytes: Bytes) -> Bool? {
        let preface = Bytes(Self.preface)
        let count = min(bytes.count, preface.count)
        guard bytes[0..<count] == preface[0..<count] else { return false }
        return count == preface.count ? true : nil
    }

    /// Speaks HTTP/2 on a connection from its first byte on.
    func beginStreams(_ slot: Int) {
        connections[slot].isNew = false
        connections[slot].state = .streams
        sessions[slot] = AppSession(self, slot: slot)
        if isDraining { drainStreams(slot) }
        markDirty(slot)
    }

    /// Uses up what has come.
    /// - Returns: whether there is more to do at once.
    func readStreams(_ slot: Int) -> Bool {
        guard !connections[slot].isFailed, let session = sessions[slot] else { return false }
        let bytes = unread(slot)
        if bytes.count > 0 {
            markDirty(slot)
            connections[slot].inputStart = connections[slot].inputEnd
            if session.receive(bytes) != nil {
                connections[slot].isFailed = true
                return false
            }
        }
        return spendBudget(slot) && fill(slot)
    }

    /// Tells a client that the connection ends, and gives it the time to hear of it: requests that
    /// are on their way meanwhile are served (RFC 9113, 6.8).
    func drainStreams(_ slot: Int) {
        sessions[slot]?.submitShutdownNotice()
        sessions[slot]?.submitPing(0)
        endIdleWebSockets(slot)
        markDirty(slot)
    }

    /// Gives up the streams of a connection that ends, and its session.
    func endStreams(_ slot: Int) {
        guard sessions[slot] != nil else { return }
        while connections[slot].firstStream >= 0 {
            closeStream(Int(connections[slot].firstStream))
        }
        sessions[slot] = nil
    }

    // MARK: Output

    /// Has a connection flushed at the end of the turn.
    func markDirty(_ slot: Int) {
        guard !connections[slot].isDirty else { return }
        connections[slot].isDirty = true
        dirty.append(Int32(slot))
    }

    /// Sends what the connections of this turn have to send.
    func flushDirty() {
        // What is written may lead to more, on the same connection. A connection whose socket is
        // full, or that had its turn, is taken up again by an event or a timer, not here.
        while let slot = dirty.popLast().map(Int.init) {
            connections[slot].isDirty = false
            if connections[slot].state == .streams { flush(slot) }
        }
    }

    private func flush(_ slot: Int) {
        guard let session = sessions[slot] else { return }
        // Bound: others have their turn in between.
        for _ in 0..<Self.turnBudget {
            guard session.pull() else { return close(slot) }
            let count = connections[slot].outputEnd - connections[slot].outputStart
            if count == 0 {
                releaseOutput(slot)
                if connections[slot].isFailed || session.isDone { endAfterStreams(slot) }
                return
            }
            let range = connections[slot].outputStart..<connections[slot].outputEnd
            let bytes = buffers.bytes(connections[slot].output, range)
            switch send(slot, bytes) {
            case .wouldBlock: return
            case .closed, .failed: return close(slot)
            case .bytes(let sent):
                connections[slot].outputStart += sent
                if sent < count { continue }
                connections[slot].outputStart = 0
                connections[slot].outputEnd = 0
            }
        }
        deadlines.set(slot, at: now + .nanoseconds(1))
    }

    private func endAfterStreams(_ slot: Int) {
        endStreams(slot)
        deadlines.clear(slot)
        beginLingering(slot)
    }

    private func releaseOutput(_ slot: Int) {
        guard connections[slot].output >= 0 else { return }
        buffers.give(connections[slot].output)
        connections[slot].output = -1
        connections[slot].outputStart = 0
        connections[slot].outputEnd = 0
    }

    /// Whether one more frame fits.
    func hasRoom(_ slot: Int) -> Bool {
        Self.bufferBytes - connections[slot].outputEnd >= Self.frameRoom
    }

    /// Takes bytes for which there is room.
    func append(_ slot: Int, _ bytes: Bytes) {
        if connections[slot].output < 0 {
            guard let buffer = buffers.take() else {
                preconditionFailure("more buffers in use than connections can hold")
            }
            connections[slot].output = buffer
        }
        var writer = unsafe ByteWriter(
            buffers.memory(connections[slot].output), count: connections[slot].outputEnd)
        writer.append(bytes)
        precondition(!writer.overflowed, "a frame longer than its buffer")
        connections[slot].outputEnd = writer.count
    }

    // MARK: Streams

    /// The head of a request is complete.
    func openStream(_ slot: Int, _ id: Int32, endsStream: Bool) {
        let assembled = assembler.finish(
            endsStream: endsStream, bodyless: false, random: (0, 0), switches: nil)
        if case .trailers = assembled { return }
        guard sessions[slot]?.letsIn(id) == true, let exchange = takeStream(slot, id) else {
            sessions[slot]?.reset(id, .refusedStream)
            return
        }
        sessions[slot]?.tag(id, exchange)
        switch assembled {
        case .trailers: preconditionFailure("a request without a head")
        case .invalid(let error):
            refuse(stream: exchange, status: error.status) { $0.append(error.detail) }
        case .head(let bytes):
            switch head.parseRequest(bytes) {
            case .incomplete: preconditionFailure("an assembled head that does not end")
            case .invalid(let error):
                refuse(stream: exchange, status: error.status) { $0.append(error.detail) }
            case .complete: beginStream(exchange, bytes)
            }
        }
    }

    private func beginStream(_ exchange: Int, _ bytes: Bytes) {
        // Here only CONNECT can ask for that: `HeadAssembler` has put it in HTTP/1.1's words.
        if head.wantsUpgrade { return openWebSocket(stream: exchange, bytes) }
        if beginRPC(exchange, bytes) { return }
        do throws(AppRefusal) {
            try admit(exchange, bytes)
        } catch {
            return refuse(stream: exchange, status: error.status) { $0.append(error.text) }
        }
        if head.expectsContinue { sendContinue(stream: exchange) }
    }

    /// Answers what is no request, or one that cannot be served.
    func refuse(
        stream exchange: Int, status: Int, _ write: (inout ByteWriter) -> Void
    ) {
        if !exchanges[exchange].isCounted { counters.refuse() }
        replyText(exchange, status: status, write)
    }

    /// A part of a request's body.
    func streamData(_ exchange: Int, _ bytes: Bytes) {
        if isRPC(exchange) { return receiveRPC(exchange, bytes) }
        if isWebSocket(exchange) { return receiveFrames(exchange, bytes) }
        // Bodies are used at once: dropped, or kept up to their limit.
        consume(exchange, bytes.count)
        guard exchanges[exchange].keepsBody, !stream(exchange).isAnswered else { return }
        if echoes[exchange]?.append(bytes) == true { return }
        refuse(stream: exchange, status: 413) { $0.append("an echo takes at most 1MiB\n") }
    }

    /// The whole request has come.
    func streamEnded(_ exchange: Int) {
        streams[index(exchange)].hasEnded = true
        if isWebSocket(exchange) { return webSocketEnded(exchange) }
        guard !stream(exchange).isAnswered else { return }
        isRPC(exchange) ? rpcEnded(exchange) : start(exchange)
    }

    /// The whole answer is out. A client whose call is over and that is still sending is told that
    /// nobody listens, and that this is no error (RFC 9113, 8.1). Of a request that was refused the
    /// rest is let come: to some clients such an end is an error all the same.
    func streamSent(_ exchange: Int) {
        guard isRPC(exchange), !stream(exchange).hasEnded else { return }
        session(exchange)?.reset(stream(exchange).id, .noError)
    }

    /// A delay is over, or a deadline.
    func streamTimer(_ exchange: Int) {
        if stream(exchange).socket.isOver {
            session(exchange)?.reset(stream(exchange).id, .noError)
            markDirty(Int(stream(exchange).connection))
        } else if stream(exchange).deadline <= now {
            streams[index(exchange)].deadline = .distantFuture
            streams[index(exchange)].wake = .distantFuture
            failRPC(exchange, .deadlineExceeded, "the deadline has passed")
        } else {
            wakeStream(exchange, at: .distantFuture)
            isRPC(exchange) && stream(exchange).rpc.isAnswering
                ? nextAnswer(exchange) : answer(exchange)
        }
    }

    /// Sets when the delay of a stream is over.
    func wakeStream(_ exchange: Int, at wake: Instant) {
        streams[index(exchange)].wake = wake
        let next = min(wake, stream(exchange).deadline)
        if next == .distantFuture {
            deadlines.clear(exchange)
        } else {
            deadlines.set(exchange, at: next)
        }
    }

    // MARK: Slots

    func index(_ exchange: Int) -> Int { exchange - Self.connectionLimit }

    func stream(_ exchange: Int) -> AppStream { streams[index(exchange)] }

    func session(_ exchange: Int) -> AppSession? { sessions[Int(stream(exchange).connection)] }

    /// Takes bytes of a stream that looks at one thing at a time.
    ///
    /// Bound: what waits in `inboxes` is what the stream's window lets come, as it is not consumed.
    /// - Parameter read: returns how many it used.
    func takeIn(_ exchange: Int, _ bytes: Bytes, isBusy: Bool, _ read: (Bytes) -> Int) {
        if isBusy {
            unsafe inboxes[exchange, default: []].append(contentsOf: bytes.raw)
            return
        }
        let used = read(bytes)
        consume(exchange, used)
        if used < bytes.count {
            inboxes[exchange] = unsafe Array(bytes[used..<bytes.count].raw)
        }
    }

    /// Goes on with what has waited.
    func readInbox(_ exchange: Int, _ read: (Bytes) -> Int) {
        guard let waiting = inboxes.removeValue(forKey: exchange) else { return }
        waiting.withBytes { takeIn(exchange, $0, isBusy: false, read) }
    }

    /// So many bytes of a request have been used.
    func consume(_ exchange: Int, _ count: Int) {
        session(exchange)?.consume(stream(exchange).id, count)
    }

    private func takeStream(_ slot: Int, _ id: Int32) -> Int? {
        let index: Int
        if freeStream >= 0 {
            index = Int(freeStream)
            freeStream = streams[index].next
        } else if untouchedStreams < Self.streamLimit {
            index = untouchedStreams
            untouchedStreams += 1
        } else {
            return nil
        }
        let exchange = index + Self.connectionLimit
        exchanges[exchange] = AppExchange()
        streams[index] = AppStream()
        streams[index].id = id
        streams[index].connection = Int32(slot)
        let first = connections[slot].firstStream
        streams[index].next = first
        if first >= 0 { streams[self.index(Int(first))].previous = Int32(exchange) }
        connections[slot].firstStream = Int32(exchange)
        return exchange
    }

    /// A stream is over, one way or another.
    func closeStream(_ exchange: Int) {
        if isRPC(exchange) { closeRPC(exchange) }
        if isWebSocket(exchange) { closeWebSocket(exchange) }
        abandon(exchange: exchange)
        deadlines.clear(exchange)
        let stream = stream(exchange)
        if stream.next >= 0 { streams[index(Int(stream.next))].previous = stream.previous }
        if stream.previous >= 0 {
            streams[index(Int(stream.previous))].next = stream.next
        } else {
            connections[Int(stream.connection)].firstStream = stream.next
        }
        streams[index(exchange)] = AppStream()
        streams[index(exchange)].next = freeStream
        freeStream = Int32(index(exchange))
    }
}
