// From the first byte of a request to the instant at which its answer may be written.

import Base
import Posix
import Wire

extension AppWorker {
    /// Parses the next head if it is there, and reads more if not.
    /// - Returns: whether there is more to do at once.
    func readHead(_ slot: Int) -> Bool {
        let bytes = unread(slot)
        if connections[slot].isNew, bytes.count > 0 {
            switch beginsAsHTTP2(bytes) {
            case true:
                beginStreams(slot)
                return true
            case nil where bytes.count >= 3: return spendBudget(slot) && fill(slot)
            // Fewer than three may be the beginning of a method.
            case nil: break
            default: connections[slot].isNew = false
            }
        }
        let isNew = connections[slot].search.position == 0
        // A full buffer is parsed in any case: the parser then says that the head is too large.
        let isFull = bytes.count == Self.bufferBytes
        if bytes.count > 0, isNew || isFull || connections[slot].search.mayBeComplete(bytes) {
            switch head.parseRequest(bytes) {
            case .complete:
                connections[slot].search = HeadSearch()
                begin(slot, bytes)
                return true
            case .invalid(let error):
                refuse(slot, status: error.status) { $0.append(error.detail) }
                return true
            case .incomplete:
                if isNew { _ = connections[slot].search.mayBeComplete(bytes) }
            }
        }
        return spendBudget(slot) && fill(slot)
    }

    /// A whole head has been parsed out of `bytes`.
    private func begin(_ slot: Int, _ bytes: Bytes) {
        connections[slot].keepAlive = head.keepAlive && !isDraining
        connections[slot].isOld = head.minorVersion == 0
        if head.wantsUpgrade, asksForWebSocket(bytes) { return openWebSocket(slot, bytes) }
        do throws(AppRefusal) {
            try admit(slot, bytes)
        } catch {
            return refuse(slot, status: error.status) { $0.append(error.text) }
        }
        connections[slot].inputStart += head.length
        connections[slot].isChunkedBody = false
        connections[slot].bodyLeft = 0
        switch head.framing {
        case .none, .untilClose: return start(slot)
        case .length(let count): connections[slot].bodyLeft = count
        case .chunked:
            connections[slot].isChunkedBody = true
            connections[slot].chunks = ChunkedBody()
        }
        connections[slot].state = .body
        if head.expectsContinue, unread(slot).count == 0 { sendContinue(slot) }
    }

    /// Decides what becomes of the request whose head has just been parsed out of `bytes`.
    func admit(_ exchange: Int, _ bytes: Bytes) throws(AppRefusal) {
        exchanges[exchange].isHead = head.isHead
        let plan = try decider.decide(head, bytes, &random)
        exchanges[exchange].plan = plan
        if plan.isWork {
            let inFlight = counters.begin(attempt: plan.attempt)
            exchanges[exchange].isCounted = true
            if plan.left > .zero { noteDeadline(exchange, plan.left) }
            trace(exchange, bytes, inFlight: inFlight)
            if !services.order.isEmpty { tracing[exchange] = tracingFields(bytes) }
        }
        exchanges[exchange].keepsBody = plan.page == .echo
        if plan.page == .echo {
            echoes[exchange] = AppEcho(head, bytes, isStream: exchange >= Self.connectionLimit)
        }
    }

    /// Says that the body is welcome (RFC 9110, 10.1.1).
    private func sendContinue(_ slot: Int) {
        let text = Bytes("HTTP/1.1 100 Continue\r\n\r\n")
        // All answers before it are with the kernel; if even these few bytes do not fit behind
        // them, the client does not read.
        if send(slot, text) != .bytes(text.count) { close(slot) }
    }

    /// Uses up what has come of a request's body.
    /// - Returns: whether there is more to do at once.
    func readBody(_ slot: Int) -> Bool {
        let bytes = unread(slot)
        if connections[slot].isChunkedBody {
            if bytes.count > 0, !readChunks(slot, bytes) { return true }
            if connections[slot].chunks.isComplete {
                start(slot)
                return true
            }
        } else {
            let count = min(bytes.count, connections[slot].bodyLeft)
            if count > 0, !keep(slot, bytes[0..<count]) { return true }
            connections[slot].inputStart += count
            connections[slot].bodyLeft -= count
            if connections[slot].bodyLeft == 0 {
                start(slot)
                return true
            }
        }
        return spendBudget(slot) && fill(slot)
    }

    /// - Returns: false where the request was refused.
    private func readChunks(_ slot: Int, _ bytes: Bytes) -> Bool {
        do throws(HeadError) {
            var used = 0
            repeat {
                let rest = bytes[used..<bytes.count]
                // Fields behind the data are checked, and dropped.
                if connections[slot].chunks.isBehindData {
                    used += try connections[slot].chunks.nextTrailers(rest).used
                    break
                }
                let (data, count) = try connections[slot].chunks.nextData(rest)
                if !data.isEmpty, !keep(slot, rest[data]) { return false }
                used += count
            } while used < bytes.count
            connections[slot].inputStart += used
            return true
        } catch {
            refuse(slot, status: error.status) { $0.append(error.detail) }
            return false
        }
    }

    /// Keeps a part of the body for an echo.
    /// - Returns: false where the request was refused, because it is too long to be kept.
    private func keep(_ slot: Int, _ bytes: Bytes) -> Bool {
        guard exchanges[slot].keepsBody else { return true }
        if echoes[slot]?.append(bytes) == true { return true }
        refuse(slot, status: 413) { $0.append("an echo takes at most 1MiB\n") }
        return false
    }

    /// The whole request has come.
    func start(_ exchange: Int) {
        let plan = exchanges[exchange].plan
        switch plan.page {
        case .body, .echo: enter(exchange)
        case .stats:
            replyPage(
                exchange, type: "application/json",
                Array(counters.json(name: name, capacity: commons.gate.json).utf8))
        case .nextStats:
            let peak = counters.takePeak()
            replyPage(
                exchange, type: "application/json",
                Array(
                    counters.json(name: name, peak: peak, capacity: commons.gate.json).utf8))
        case .stall:
            Clock.sleep(until: now + plan.delay)
            now = Clock.now()
            replyText(exchange, status: 200) { $0.append("stalled\n") }
        case .message: preconditionFailure("a message that is a request")
        case .health:
            replyText(exchange, status: 200) { $0.append("ok\n") }
        }
    }

    /// The exchange waits for something that is not its client.
    func suspend(_ exchange: Int) {
        if exchange < Self.connectionLimit { connections[exchange].state = .working }
    }

    /// What an exchange waited for has come: its connection may go on.
    func resume(_ exchange: Int) {
        if exchange < Self.connectionLimit { advance(exchange) }
    }

    /// Lets the answer's delay pass, counted from the instant at which the request was seen to be
    /// complete.
    func delay(_ exchange: Int) {
        let delay = exchanges[exchange].plan.delay
        guard delay > .zero else { return answer(exchange) }
        suspend(exchange)
        let due = now + delay
        exchanges[exchange].isLate = due > exchanges[exchange].expires
        let end = min(due, exchanges[exchange].expires)
        if exchange < Self.connectionLimit {
            deadlines.set(exchange, at: end)
        } else {
            wakeStream(exchange, at: end)
        }
    }

    /// Burns what is to be burnt, and answers.
    func answer(_ exchange: Int) {
        guard !exchanges[exchange].isLate else { return giveUp(exchange) }
        let burn = exchanges[exchange].plan.burn
        if burn > .zero {
            let end = Clock.threadCPU() + burn
            while Clock.threadCPU() < end {}
            now = Clock.now()
        }
        if exchanges[exchange].plan.page == .message {
            replyMessage(exchange)
        } else if !passesAbort(exchange) {
            return
        } else if exchanges[exchange].keepsBody, let echo = echoes[exchange] {
            replyPage(exchange, type: echo.type, echo.page())
        } else {
            replyBody(exchange)
        }
    }
}
