// Answers over HTTP/2: the same ones, with fields for a head and frames for a body.

import Base
import Wire

extension AppWorker {
    /// Answers with a body of the planned size; a call with what it asked for.
    func replyStream(_ exchange: Int) {
        if isRPC(exchange) { return answerRPC(exchange) }
        let plan = exchanges[exchange].plan
        submit(exchange, size: plan.size, type: "text/plain", hasLength: !plan.chunked)
    }

    /// Answers with a short text; its status has been noted.
    func replyStreamText(_ exchange: Int, _ write: (inout ByteWriter) -> Void) {
        let text = composer.text(write)
        let status = exchanges[exchange].plan.status
        if isRPC(exchange) {
            return failRPC(exchange, GRPCStatus(httpStatus: status), text.text)
        }
        exchanges[exchange].hasPage = true
        pages[exchange] = unsafe Array(text.raw)
        submit(exchange, size: text.count, type: "text/plain", hasLength: true)
    }

    /// Answers with a page that was made whole.
    func replyStreamPage(_ exchange: Int, type: StaticString, _ body: [UInt8]) {
        pages[exchange] = body
        submit(exchange, size: body.count, type: type, hasLength: true)
    }

    private func submit(_ exchange: Int, size: Int, type: StaticString, hasLength: Bool) {
        let plan = exchanges[exchange].plan
        let form = AppComposer.Form(
            status: plan.status, size: size, isHead: exchanges[exchange].isHead, keepAlive: true,
            isOld: false)
        fields.removeAll()
        fields.add(":status", decimal: plan.status)
        fields.add("server", "meshbench")
        fields.add("date", composer.date(now))
        if form.allowsBody {
            fields.add("content-type", Bytes(type))
            if hasLength { fields.add("content-length", decimal: size) }
        }
        let hasBody = !form.isHead && form.allowsBody && size > 0
        streams[index(exchange)].size = hasBody ? size : 0
        streams[index(exchange)].isAnswered = true
        if !hasBody { countEnd(stream: exchange) }
        guard let session = session(exchange) else { return }
        _ = session.submitResponse(stream(exchange).id, fields, hasBody: hasBody)
        // What HTTP/1.1 says with `connection: close`.
        if plan.close { session.submitGoaway(.noError) }
        markDirty(Int(stream(exchange).connection))
    }

    /// Says that the body is welcome (RFC 9110, 10.1.1).
    func sendContinue(stream exchange: Int) {
        fields.removeAll()
        fields.add(":status", decimal: 100)
        _ = session(exchange)?.submitInterim(stream(exchange).id, fields)
    }

    /// Counts a request as ended: its last frame is among those of this turn.
    func countEnd(stream exchange: Int) {
        guard exchanges[exchange].isCounted else { return }
        counters.end(status: exchanges[exchange].plan.status)
        exchanges[exchange].isCounted = false
    }

    // MARK: Bodies

    /// What a stream can send.
    func provide(_ exchange: Int, limit: Int) -> HTTP2Session.Provided {
        if isRPC(exchange) { return provideRPC(exchange, limit: limit) }
        if isWebSocket(exchange) { return provideFrame(exchange, limit: limit) }
        let left = stream(exchange).size - stream(exchange).sent
        return .bytes(min(left, limit), isLast: left <= limit)
    }

    /// Writes what was offered.
    func writeStream(_ exchange: Int, _ count: Int) {
        if isRPC(exchange) { return writeRPC(exchange, count) }
        let start = stream(exchange).sent
        appendBody(exchange, start..<start + count)
        streams[index(exchange)].sent += count
        guard stream(exchange).sent == stream(exchange).size else { return }
        countEnd(stream: exchange)
        if isWebSocket(exchange) { frameIsOut(exchange) }
    }

    /// Writes a part of a body: of its page, or of filler.
    func appendBody(_ exchange: Int, _ range: Range<Int>) {
        let slot = Int(stream(exchange).connection)
        if exchanges[exchange].hasPage {
            pages[exchange]?.withBytes { append(slot, $0[range]) }
            return
        }
        var start = range.lowerBound
        while start < range.upperBound {
            let offset = start % AppFiller.dataBytes
            let count = min(range.upperBound - start, AppFiller.dataBytes - offset)
            append(slot, filler.bytes(AppFiller.dataBytes)[offset..<offset + count])
            start += count
        }
    }
}
