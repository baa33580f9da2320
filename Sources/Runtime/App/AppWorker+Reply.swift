// Answers: composed, sent as far as the socket takes them, and finished.

import Base
import Posix

extension AppWorker {
    /// Bound: so many regions, about 1 MiB, in one call.
    private static let regionsPerCall = 6

    /// Answers with a body of the planned size.
    func replyBody(_ slot: Int) {
        if slot >= Self.connectionLimit { return replyStream(slot) }
        let plan = exchanges[slot].plan
        if plan.close { connections[slot].keepAlive = false }
        var form = form(slot, status: plan.status)
        form.size = plan.size
        form.chunked = plan.chunked && !form.isOld
        connections[slot].reply = composer.compose(form, filler: filler, now: now)
        send(slot)
    }

    /// Answers with a short text.
    func replyText(_ slot: Int, status: Int, _ write: (inout ByteWriter) -> Void) {
        exchanges[slot].plan.status = status
        if slot >= Self.connectionLimit { return replyStreamText(slot, write) }
        connections[slot].reply = composer.composeText(
            form(slot, status: status), now: now, write)
        send(slot)
    }

    /// Answers with a page that was made whole.
    func replyPage(_ slot: Int, type: StaticString, _ body: [UInt8]) {
        exchanges[slot].hasPage = true
        if slot >= Self.connectionLimit { return replyStreamPage(slot, type: type, body) }
        let plan = exchanges[slot].plan
        if plan.close { connections[slot].keepAlive = false }
        var form = form(slot, status: plan.status)
        form.type = type
        form.size = body.count
        var page: [UInt8] = []
        unsafe page.append(contentsOf: composer.composeHead(form, now: now).raw)
        if !form.isHead, form.allowsBody { page += body }
        connections[slot].reply = AppReply(head: page.count)
        pages[slot] = page
        send(slot)
    }

    /// Answers what is no request, or one that cannot be served, and ends the connection: where the
    /// next request would begin is not known.
    func refuse(_ slot: Int, status: Int, _ write: (inout ByteWriter) -> Void) {
        if !exchanges[slot].isCounted { counters.refuse() }
        connections[slot].keepAlive = false
        // Of a head that does not parse nothing is known.
        if connections[slot].state == .head {
            exchanges[slot].isHead = false
            connections[slot].isOld = false
        }
        // The rest of the request may still come, so that closing at once could destroy the answer.
        connections[slot].mustLinger = true
        replyText(slot, status: status, write)
    }

    private func form(_ slot: Int, status: Int) -> AppComposer.Form {
        AppComposer.Form(
            status: status, size: 0, isHead: exchanges[slot].isHead,
            keepAlive: connections[slot].keepAlive, isOld: connections[slot].isOld)
    }

    /// Sends an answer that has just been composed.
    func send(_ slot: Int) {
        guard !connections[slot].isGone else {
            if !exchanges[slot].isLate { counters.waste() }
            return close(slot)
        }
        connections[slot].state = .writing
        let count = connections[slot].reply.head
        let sent =
            if exchanges[slot].hasPage, let page = pages[slot] {
                page.withBytes { push(slot, head: $0) }
            } else {
                push(slot, head: composer.bytes(count))
            }
        if sent { finish(slot) } else if connections[slot].state == .writing { keepHead(slot) }
    }

    /// Goes on with an answer of which a part was sent.
    /// - Returns: whether it is out.
    func write(_ slot: Int) -> Bool {
        let count = connections[slot].reply.head
        let sent: Bool
        if connections[slot].output >= 0 {
            sent = push(slot, head: buffers.bytes(connections[slot].output, 0..<count))
        } else if exchanges[slot].hasPage, let page = pages[slot] {
            sent = page.withBytes { push(slot, head: $0) }
        } else {
            sent = push(slot, head: Bytes(""))
        }
        if sent { finish(slot) }
        return sent
    }

    /// Hands the kernel as much as it takes.
    /// - Parameter head: the head's memory; may be empty where the head is out.
    /// - Returns: whether all is sent. If the connection failed, it is closed.
    private func push(_ slot: Int, head: Bytes) -> Bool {
        while true {
            guard spendBudget(slot) else { return false }
            let reply = connections[slot].reply
            let end = endOfCall(reply, head)
            if end == reply.total { countEnd(slot) }
            let transfer = sendOnce(slot, reply, head, to: end)
            if case .bytes(let count) = transfer { connections[slot].reply.sent += count }
            if connections[slot].reply.isComplete { return true }
            // The client cannot have the last byte yet.
            if end == reply.total { takeBackEnd(slot) }
            switch transfer {
            case .bytes: continue
            case .wouldBlock: return false
            case .closed, .failed:
                close(slot)
                return false
            }
        }
    }

    /// Counts the request as ended, right before the call that offers the last byte to the kernel:
    /// who acts on an answer must not find its request still counted as under way.
    private func countEnd(_ slot: Int) {
        guard exchanges[slot].isCounted else { return }
        counters.end(status: exchanges[slot].plan.status)
        exchanges[slot].isCounted = false
        exchanges[slot].isEndOffered = true
    }

    /// The kernel did not take the last byte: the request goes on.
    private func takeBackEnd(_ slot: Int) {
        guard exchanges[slot].isEndOffered else { return }
        counters.takeBackEnd(status: exchanges[slot].plan.status)
        exchanges[slot].isCounted = true
        exchanges[slot].isEndOffered = false
    }

    /// Up to where the next call offers the answer.
    private func endOfCall(_ reply: AppReply, _ head: Bytes) -> Int {
        if reply.total == reply.head { return reply.total }
        var end = reply.sent
        var count = 0
        while end < reply.total, count < Self.regionsPerCall {
            end += filler.region(reply, from: end, head: head).count
            count += 1
        }
        return end
    }

    private func sendOnce(_ slot: Int, _ reply: AppReply, _ head: Bytes, to end: Int)
        -> Transfer
    {
        if reply.total == reply.head {
            return send(slot, head[reply.sent..<reply.head])
        }
        var count = 0
        var position = reply.sent
        while position < end {
            position += filler.region(reply, from: position, head: head).count
            count += 1
        }
        position = reply.sent
        return send(slot, regions: count) { _ in
            let region = filler.region(reply, from: position, head: head)
            position += region.count
            return region
        }
    }

    /// The composer's memory serves the next answer: what is left of this head moves to a buffer.
    private func keepHead(_ slot: Int) {
        let reply = connections[slot].reply
        guard reply.sent < reply.head, connections[slot].output < 0, !exchanges[slot].hasPage else {
            return
        }
        guard let buffer = buffers.take() else {
            preconditionFailure("more buffers in use than connections can hold")
        }
        var writer = unsafe ByteWriter(buffers.memory(buffer))
        writer.append(composer.bytes(reply.head))
        precondition(!writer.overflowed, "a head longer than a buffer")
        connections[slot].output = buffer
    }

    /// The answer is out: the connection is ready for the next request, or ends.
    private func finish(_ slot: Int) {
        release(slot)
        if connections[slot].output >= 0 {
            buffers.give(connections[slot].output)
            connections[slot].output = -1
        }
        if connections[slot].keepAlive, !isDraining {
            connections[slot].state = connections[slot].restState
        } else if connections[slot].mustLinger || unread(slot).count > 0 {
            beginLingering(slot)
        } else {
            close(slot)
        }
    }
}
