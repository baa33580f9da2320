// WebSockets (RFC 6455): a connection of HTTP/1.1 that was upgraded, or a stream of HTTP/2 (RFC
// 8441). Frames mean the same on both; only how bytes come and go differs.

import Base
import Wire

/// A message of a WebSocket, kept until it is sent back.
struct AppMessage {
    var isText: Bool
    var bytes: [UInt8] = []
}

extension AppWorker {
    /// Bound: bytes of a WebSocket's message, which are kept until they are sent back.
    static let messageLimit = 1 << 20

    // MARK: Handshakes

    /// Whether the head in `bytes` asks for a WebSocket of the version that is spoken (RFC 6455,
    /// 4.2.1).
    func asksForWebSocket(_ bytes: Bytes) -> Bool {
        guard bytes[head.method] == "GET", case .none = head.framing else { return false }
        var isVersion = false
        for i in 0..<head.fieldCount where head.fields[i].name == .other {
            if bytes[head.fields[i].nameRange].equalsIgnoringCase("sec-websocket-version") {
                isVersion = bytes[head.fields[i].valueRange] == "13"
            }
        }
        return isVersion && namesWebSocket(bytes) && webSocketKey(bytes) != nil
    }

    private func namesWebSocket(_ bytes: Bytes) -> Bool {
        for i in 0..<head.fieldCount where head.fields[i].name == .upgrade {
            if bytes[head.fields[i].valueRange].equalsIgnoringCase("websocket") { return true }
        }
        return false
    }

    private func webSocketKey(_ bytes: Bytes) -> Bytes? {
        for i in 0..<head.fieldCount where head.fields[i].name == .webSocketKey {
            let key = bytes[head.fields[i].valueRange]
            return WebSocketHandshake.isKey(key) ? key : nil
        }
        return nil
    }

    /// Agrees to a WebSocket; what follows the head in `bytes` is its first frame.
    func openWebSocket(_ slot: Int, _ bytes: Bytes) {
        guard let key = webSocketKey(bytes) else { preconditionFailure("a handshake without key") }
        let accept = WebSocketHandshake.accept(key)
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nserver: meshbench\r\nupgrade: websocket\r\n"
            + "connection: Upgrade\r\nsec-websocket-accept: \(accept)\r\n\r\n"
        connections[slot].inputStart += head.length
        connections[slot].kind = .webSocket
        connections[slot].keepAlive = true
        beginFrames(slot)
        sendPage(slot, Array(answer.utf8))
    }

    /// Agrees to a WebSocket on a stream, or refuses what else CONNECT asks for.
    func openWebSocket(stream exchange: Int, _ bytes: Bytes) {
        guard asksForWebSocket(bytes) else {
            let isOther = !namesWebSocket(bytes)
            return refuse(stream: exchange, status: isOther ? 501 : 400) {
                $0.append(
                    isOther
                        ? "no protocol but websocket is spoken\n"
                        : "a WebSocket of version 13 is needed\n")
            }
        }
        fields.removeAll()
        fields.add(":status", "200")
        fields.add("server", "meshbench")
        _ = session(exchange)?.submitResponse(stream(exchange).id, fields, hasBody: true)
        streams[index(exchange)].isAnswered = true
        streams[index(exchange)].socket.isOpen = true
        beginFrames(exchange)
        markDirty(Int(stream(exchange).connection))
        if isDraining { sayClose(exchange, Self.goingAway) }
    }

    private func beginFrames(_ exchange: Int) {
        frames[exchange] = WebSocketReader(takesMasked: true, messageLimit: Self.messageLimit)
    }

    // MARK: Frames

    /// Uses up what has come on a connection.
    /// - Returns: whether there is more to do at once.
    func readFrames(_ slot: Int) -> Bool {
        let bytes = unread(slot)
        var used = 0
        let event = frames[slot].next(bytes, &used)
        connections[slot].inputStart += used
        if event == .more { return spendBudget(slot) && fill(slot) }
        take(slot, event, bytes)
        return true
    }

    /// Does what the next event of a WebSocket asks for.
    private func take(_ exchange: Int, _ event: WebSocketEvent, _ bytes: Bytes) {
        switch event {
        case .more, .pong: break
        case .begin(let isText): webSocketMessages[exchange] = AppMessage(isText: isText)
        case .data(let range): keepData(exchange, bytes[range])
        case .end: beginMessage(exchange)
        case .ping: sendFrame(exchange, .pong, control(exchange))
        case .close(let code): sayClose(exchange, code)
        case .invalid(let error):
            counters.refuse()
            sayClose(exchange, error.rawValue)
        }
    }

    private func keepData(_ exchange: Int, _ bytes: Bytes) {
        unsafe withUnsafeTemporaryAllocation(byteCount: bytes.count, alignment: 8) { memory in
            var writer = unsafe ByteWriter(memory)
            frames[exchange].unmask(bytes, to: &writer)
            unsafe webSocketMessages[exchange]?.bytes.append(contentsOf: memory[..<writer.count])
        }
    }

    private func control(_ exchange: Int) -> [UInt8] {
        let count = frames[exchange].controlLength
        return unsafe Array(unsafeUninitializedCapacity: count) { memory, initialized in
            var writer = unsafe ByteWriter(UnsafeMutableRawBufferPointer(memory))
            frames[exchange].appendControl(to: &writer)
            initialized = writer.count
        }
    }

    /// Answers a message with itself.
    func sendBack(_ exchange: Int) {
        guard let message = webSocketMessages.removeValue(forKey: exchange) else {
            preconditionFailure("an answer to no message")
        }
        sendFrame(exchange, message.isText ? .text : .binary, message.bytes)
    }

    /// Ends the WebSocket, and the connection behind it, or the stream.
    private func sayClose(_ exchange: Int, _ code: UInt16?) {
        if exchange < Self.connectionLimit {
            connections[exchange].keepAlive = false
            connections[exchange].mustLinger = true
        } else {
            streams[index(exchange)].socket.isOver = true
        }
        let payload = code.map { [UInt8($0 >> 8), UInt8($0 & 0xFF)] } ?? []
        sendFrame(exchange, .close, payload)
    }

    private func sendFrame(_ exchange: Int, _ opcode: WebSocketOpcode, _ payload: [UInt8]) {
        let frame = unsafe [UInt8](
            unsafeUninitializedCapacity: WebSocketFrame.headLimit + payload.count
        ) { memory, initialized in
            var writer = unsafe ByteWriter(UnsafeMutableRawBufferPointer(memory))
            WebSocketFrame.append(opcode, length: payload.count, key: nil, to: &writer)
            payload.withBytes { writer.append($0) }
            initialized = writer.count
        }
        sendPage(exchange, frame)
    }

    /// Sends bytes that are no answer to a request.
    private func sendPage(_ exchange: Int, _ page: [UInt8]) {
        exchanges[exchange].hasPage = true
        pages[exchange] = page
        guard exchange >= Self.connectionLimit else {
            connections[exchange].reply = AppReply(head: page.count)
            return send(exchange)
        }
        let index = index(exchange)
        streams[index].size = page.count
        streams[index].sent = 0
        streams[index].socket.isBusy = true
        session(exchange)?.resume(streams[index].id)
        markDirty(Int(streams[index].connection))
    }
}

// MARK: On streams

extension AppWorker {
    /// What a server says that is about to stop (RFC 6455, 7.4.1).
    private static let goingAway: UInt16 = 1001

    func isWebSocket(_ exchange: Int) -> Bool { stream(exchange).socket.isOpen }

    /// A part of what a WebSocket's client sends.
    func receiveFrames(_ exchange: Int, _ bytes: Bytes) {
        let socket = stream(exchange).socket
        if socket.isOver { return consume(exchange, bytes.count) }
        takeIn(exchange, bytes, isBusy: socket.isBusy) { readFrames(exchange, $0) }
    }

    /// Takes frames up to one that keeps the WebSocket busy.
    /// - Returns: bytes that were used.
    private func readFrames(_ exchange: Int, _ bytes: Bytes) -> Int {
        let index = index(exchange)
        streams[index].socket.isReading = true
        defer { streams[index].socket.isReading = false }
        var used = 0
        while !streams[index].socket.isBusy {
            let event = frames[exchange].next(bytes, &used)
            if event == .more { break }
            if event == .end { streams[index].socket.isBusy = true }
            take(exchange, event, bytes)
        }
        return streams[index].socket.isOver ? bytes.count : used
    }

    /// What a WebSocket can send; the end of the stream comes with its last bytes.
    func provideFrame(_ exchange: Int, limit: Int) -> HTTP2Session.Provided {
        let left = stream(exchange).size - stream(exchange).sent
        let isOver = stream(exchange).socket.isOver
        guard left > 0 || isOver else { return .nothing }
        return .bytes(min(left, limit), isLast: isOver && left <= limit)
    }

    /// A frame is with the connection: the next may be looked at.
    func frameIsOut(_ exchange: Int) {
        let index = index(exchange)
        release(exchange)
        streams[index].size = 0
        streams[index].sent = 0
        if streams[index].socket.isOver {
            // The client's end follows its own close, or is not waited for longer.
            if !streams[index].hasEnded { deadlines.set(exchange, at: now + Self.lingerTime) }
            return
        }
        streams[index].socket.isBusy = false
        // Who is in the middle of it goes on by itself.
        if streams[index].socket.isReading { return }
        readInbox(exchange) { readFrames(exchange, $0) }
        if streams[index].socket.isBusy { return }
        if streams[index].hasEnded { return webSocketEnded(exchange) }
        if isDraining { sayClose(exchange, Self.goingAway) }
    }

    /// The client has ended its side: what it asked before is still answered.
    func webSocketEnded(_ exchange: Int) {
        let index = index(exchange)
        if streams[index].socket.isBusy || streams[index].socket.isOver { return }
        streams[index].socket.isOver = true
        session(exchange)?.resume(streams[index].id)
        markDirty(Int(streams[index].connection))
    }

    /// Ends the WebSockets of a connection that nobody waits for an answer on.
    func endIdleWebSockets(_ slot: Int) {
        var next = connections[slot].firstStream
        while next >= 0 {
            let exchange = Int(next)
            next = stream(exchange).next
            let socket = stream(exchange).socket
            if socket.isOpen, !socket.isBusy, !socket.isOver { sayClose(exchange, Self.goingAway) }
        }
    }

    /// The stream of a WebSocket is over.
    func closeWebSocket(_ exchange: Int) {
        inboxes[exchange] = nil
        webSocketMessages[exchange] = nil
    }
}
