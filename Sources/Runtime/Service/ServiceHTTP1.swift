// HTTP/1.1 (RFC 9112): one request at a time. The next one is looked at when the answer before it
// is with the kernel, so that whoever asks without reading is not read either.

import Base
import Wire

/// HTTP/1.1 on one connection of a service.
final class ServiceHTTP1: ServiceSpeech {
    private enum State {
        /// Waits for a head, or for more of it.
        case head
        /// Reads a body.
        case body
        case watching
    }

    private enum Framing {
        case length(left: Int)
        case chunked(ChunkedBody)
    }

    private var state = State.head
    /// What has come and is not used yet. Bound: a head and one read.
    private var input: [UInt8] = []
    private var inputHasEnded = false
    private var search = HeadSearch()
    /// When the request at hand began to come; nil: nothing of it has.
    private var since: Instant?
    /// When the last answer was made.
    private var rested: Instant

    // Of the request at hand.
    private var request: ServiceRequest?
    private var framing = Framing.length(left: 0)
    private var body: [UInt8] = []
    private var isHead = false
    private var keepAlive = true
    private var isOld = false
    private var watch: ServiceWatch?
    /// When the watch last said something.
    private var said: Instant

    override init(_ scope: ServiceScope, slot: Int, peer: ServicePeer) {
        rested = scope.now
        said = scope.now
        super.init(scope, slot: slot, peer: peer)
    }

    // MARK: Input

    override var wantsInput: Bool {
        // Behind a watch, another request may wait; more than one head of it stays in the kernel.
        super.wantsInput && (state != .watching || input.count < scope.limits.headBytes)
    }

    /// Something of a request has come, though it is not known what it is.
    func begins() { since = since ?? scope.now }

    override func receive(_ bytes: Bytes) {
        unsafe input.append(contentsOf: bytes.raw)
        advance()
    }

    override func inputEnded() {
        inputHasEnded = true
        // No more will come of a head: what there is of it is looked at once more, for a mistake.
        search = HeadSearch()
        if let watch {
            // Who has ended its side hears no end of the watch that it could act on.
            self.watch = nil
            scope.end(watch, .left)
            ending = .inOrder
        }
        advance()
    }

    override func advance() {
        while ending == nil, output.isEmpty {
            let goesOn =
                switch state {
                case .head: readHead()
                case .body: readBody()
                case .watching: sayNews()
                }
            if !goesOn { break }
        }
        if inputHasEnded, output.isEmpty, ending == nil { ending = .inOrder }
    }

    /// - Returns: whether there is more to do.
    private func readHead() -> Bool {
        guard !input.isEmpty else { return false }
        begins()
        let parse = input.withBytes { bytes -> HeadParse in
            let isNew = search.position == 0
            // A head of full length is parsed in any case: the parser then says that it is too
            // large.
            let isFull = bytes.count >= scope.limits.headBytes
            guard isNew || isFull || search.mayBeComplete(bytes) else { return .incomplete }
            let parse = scope.head.parseRequest(bytes)
            if parse == .incomplete, isNew { _ = search.mayBeComplete(bytes) }
            return parse
        }
        switch parse {
        case .incomplete: return false
        case .invalid(let error):
            // Of a head that does not parse nothing is known.
            isHead = false
            isOld = false
            refuse(ServiceRefusal(error))
        case .complete:
            search = HeadSearch()
            do throws(ServiceRefusal) {
                try begin()
            } catch {
                refuse(error)
            }
        }
        return true
    }

    /// A head has been parsed.
    private func begin() throws(ServiceRefusal) {
        isHead = scope.head.isHead
        isOld = scope.head.minorVersion == 0
        keepAlive = scope.head.keepAlive && !scope.isDraining
        var failure: ServiceRefusal?
        request = input.withBytes { bytes in
            do throws(ServiceRefusal) {
                return try scope.request(bytes, peer, .http1)
            } catch {
                failure = error
                return nil
            }
        }
        if let failure { throw failure }
        let length = scope.head.length
        input.removeFirst(length)
        switch scope.head.framing {
        case .none, .untilClose, .length(0): return answer()
        case .length(let count):
            // Nothing is held yet: a large body that is only announced takes nothing from others.
            guard count <= scope.limits.bodyBytes else {
                throw ServiceRefusal(413, "a body has at most \(scope.limits.bodyBytes) bytes")
            }
            framing = .length(left: count)
        case .chunked: framing = .chunked(ChunkedBody())
        }
        state = .body
        // The body is welcome (RFC 9110, 10.1.1), and has not come unasked.
        if scope.head.expectsContinue, input.isEmpty, !isOld {
            put("HTTP/1.1 100 Continue\r\n\r\n")
        }
    }

    /// Uses up what has come of a body.
    /// - Returns: whether there is more to do.
    private func readBody() -> Bool {
        do throws(ServiceRefusal) {
            switch framing {
            case .length(let left):
                let count = min(left, input.count)
                try keep(0..<count)
                input.removeFirst(count)
                framing = .length(left: left - count)
                guard left == count else { return false }
            case .chunked(var chunks):
                try readChunks(&chunks)
                framing = .chunked(chunks)
                guard chunks.isComplete else { return false }
            }
            answer()
        } catch {
            refuse(error)
        }
        return true
    }

    private func readChunks(_ chunks: inout ChunkedBody) throws(ServiceRefusal) {
        var used = 0
        while used < input.count, !chunks.isComplete {
            let piece: (data: Range<Int>, used: Int)
            do throws(HeadError) {
                piece = try Self.next(&chunks, input, from: used)
            } catch {
                throw ServiceRefusal(error)
            }
            try keep(used + piece.data.lowerBound..<used + piece.data.upperBound)
            used += piece.used
        }
        input.removeFirst(used)
    }

    /// The next data of a chunked body; fields behind it are checked, and dropped.
    private static func next(
        _ chunks: inout ChunkedBody, _ input: [UInt8], from start: Int
    ) throws(HeadError) -> (data: Range<Int>, used: Int) {
        var failure: HeadError?
        let piece = input.withBytes { bytes -> (data: Range<Int>, used: Int) in
            do throws(HeadError) {
                let rest = bytes[start..<bytes.count]
                guard chunks.isBehindData else { return try chunks.nextData(rest) }
                return (0..<0, try chunks.nextTrailers(rest).used)
            } catch {
                failure = error
                return (0..<0, 0)
            }
        }
        if let failure { throw failure }
        return piece
    }

    private func keep(_ range: Range<Int>) throws(ServiceRefusal) {
        try scope.hold(range.count, of: body.count, on: body.count, for: peer)
        body += input[range]
    }

    // MARK: Answers

    /// The request is complete.
    private func answer() {
        guard var request else { preconditionFailure("an answer to nothing") }
        request.body = body
        request.now = scope.now
        forget()
        switch scope.respond(to: request) {
        case .whole(let status, let fields, let body): write(status, fields, body)
        case .call: write(ServiceRefusal(505, "calls of gRPC go over HTTP/2"))
        case .watch(let watch):
            guard scope.begin(watch, self) else {
                return write(ServiceRefusal(503, "there are too many watches"))
            }
            begin(watch)
        }
    }

    /// The request has been taken up, or given up.
    private func forget() {
        scope.release(body.count, for: peer)
        body = []
        request = nil
        since = nil
        rested = scope.now
        state = .head
    }

    /// Answers what is no request, or one that cannot be served, and ends the connection: where the
    /// next request would begin is not known.
    private func refuse(_ refusal: ServiceRefusal) {
        forget()
        keepAlive = false
        write(refusal)
    }

    private func write(_ refusal: ServiceRefusal) {
        write(
            refusal.status, [ServiceField("content-type", "text/plain")],
            Array("\(refusal.text)\n".utf8))
    }

    private func write(_ status: Int, _ fields: [ServiceField], _ body: [UInt8]) {
        let length = ServiceScope.allowsBody(status) ? "content-length: \(body.count)\r\n" : ""
        head(status, fields, length)
        if !isHead, ServiceScope.allowsBody(status) { put(body) }
        if !keepAlive { ending = .inOrder }
    }

    private func head(_ status: Int, _ fields: [ServiceField], _ framing: String) {
        precondition((200...599).contains(status), "an answer of status \(status)")
        let reason = Bytes(reasonPhrase(status)).text
        var text = "HTTP/1.1 \(status) \(reason)\r\n"
        text += "date: \(String(decoding: scope.date, as: UTF8.self))\r\n"
        for field in fields { text += "\(field.name): \(field.line)\r\n" }
        text += framing
        if !keepAlive {
            text += "connection: close\r\n"
        } else if isOld {
            text += "connection: keep-alive\r\n"
        }
        put(text + "\r\n")
    }

    // MARK: Watches

    private func begin(_ watch: ServiceWatch) {
        guard !watch.isHeld else {
            self.watch = watch
            state = .watching
            return
        }
        // A client of HTTP/1.0 knows no chunks: the connection's end is the body's.
        if isOld { keepAlive = false }
        head(watch.status, watch.fields, isOld ? "" : "transfer-encoding: chunked\r\n")
        guard !isHead else {
            scope.end(watch, .finished)
            if !keepAlive { ending = .inOrder }
            return
        }
        self.watch = watch
        said = scope.now
        state = .watching
    }

    /// Passes on what the watch has to say.
    /// - Returns: whether there is more to do.
    private func sayNews() -> Bool {
        guard let watch else { preconditionFailure("a watch without one") }
        if watch.isHeld { return sayLastWord(watch) }
        let count = min(watch.backlog.count, Self.outputBytes)
        if count > 0 {
            said = scope.now
            if !isOld { put(String(count, radix: 16) + "\r\n") }
            put(count, of: watch)
            if !isOld { put("\r\n") }
            return true
        }
        guard watch.isEnded else { return false }
        if !isOld { put("0\r\n\r\n") }
        self.watch = nil
        scope.end(watch, watch.orderlyEnding)
        state = .head
        rested = scope.now
        keepAlive = keepAlive && !scope.isDraining
        if !keepAlive { ending = .inOrder }
        return true
    }

    /// Answers with what a held one has come to, if it has.
    private func sayLastWord(_ watch: ServiceWatch) -> Bool {
        guard watch.isEnded else { return false }
        self.watch = nil
        scope.end(watch, watch.orderlyEnding)
        state = .head
        rested = scope.now
        keepAlive = keepAlive && !scope.isDraining
        let word = watch.lastWord
        write(word.status, word.fields, word.body)
        return true
    }

    override func watchOverflowed(_ watch: ServiceWatch) {
        abandon(.slow)
        ending = .reset
        scope.mark(slot)
    }

    // MARK: Time, and the end

    override var idleSince: Instant? {
        state == .head && since == nil && output.isEmpty ? rested : nil
    }

    override var deadline: Instant {
        guard output.isEmpty else { return super.deadline }
        if let watch {
            return watch.isHeld ? .distantFuture : said + scope.limits.heartbeat
        }
        guard let since else { return rested + scope.limits.idle }
        return since + scope.limits.arrival
    }

    override func expire() {
        guard deadline <= scope.now, ending == nil else { return }
        guard output.isEmpty else { return super.expire() }
        if state == .watching {
            watch?.backlog.append("\n")
            said = scope.now
            advance()
        } else if since != nil {
            refuse(ServiceRefusal(408, "the request did not come in time"))
        } else {
            ending = .inOrder
        }
    }

    override func drain() {
        keepAlive = false
        if let watch {
            watch.end(as: .stopped)
            advance()
        } else if idleSince != nil {
            ending = .inOrder
        }
    }

    override func abandon(_ reason: ServiceWatch.Ending) {
        forget()
        guard let watch else { return }
        self.watch = nil
        scope.end(watch, reason)
    }
}

extension ServiceField {
    /// The value as it may stand in a head: what would end the line is a blank.
    var line: String {
        String(
            decoding: value.utf8.map { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F ? 0x20 : $0 },
            as: UTF8.self)
    }
}
