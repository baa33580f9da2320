// Messages rather than requests: over TCP each is a length and as many bytes, and is answered with
// one of the set size; over a WebSocket each comes back as it came.

import Base
import Posix
import Wire

extension AppConnection {
    /// The state of a connection that waits for what its client asks next.
    var restState: State { kind == .http ? .head : .message }
    var isResting: Bool { state == .head || state == .message }
}

extension AppWorker {
    /// Bound: bytes of a message over TCP, which are counted, not kept.
    static let lengthLimit = 64 << 20
    /// Bound: bytes of a WebSocket's message, which are kept until they are sent back.
    static let messageLimit = 1 << 20

    /// Uses up what has come of a message.
    /// - Returns: whether there is more to do at once.
    func readMessage(_ slot: Int) -> Bool {
        connections[slot].kind == .tcp ? readLength(slot) : readFrames(slot)
    }

    private func readLength(_ slot: Int) -> Bool {
        let bytes = unread(slot)
        if !connections[slot].hasLength {
            guard bytes.count >= 4 else { return spendBudget(slot) && fill(slot) }
            var length = 0
            for i in 0..<4 { length = length << 8 | Int(bytes[i]) }
            guard length <= Self.lengthLimit else {
                counters.refuse()
                close(slot)
                return false
            }
            connections[slot].hasLength = true
            connections[slot].bodyLeft = length
            connections[slot].inputStart += 4
        }
        let count = min(connections[slot].bodyLeft, unread(slot).count)
        connections[slot].bodyLeft -= count
        connections[slot].inputStart += count
        guard connections[slot].bodyLeft == 0 else { return spendBudget(slot) && fill(slot) }
        connections[slot].hasLength = false
        beginMessage(slot)
        return true
    }

    /// A whole message has come: it is work.
    private func beginMessage(_ slot: Int) {
        exchanges[slot].plan = decider.decideMessage(&random)
        counters.begin(attempt: 0)
        exchanges[slot].isCounted = true
        delay(slot)
    }

    /// Answers a message.
    func replyMessage(_ slot: Int) {
        if connections[slot].kind == .tcp {
            connections[slot].reply = composer.composeLength(
                exchanges[slot].plan.size, filler: filler)
            return send(slot)
        }
        let message = webSocketMessages[slot] ?? []
        webSocketMessages[slot] = nil
        sendFrame(slot, connections[slot].isText ? .text : .binary, message)
    }

    // MARK: WebSocket

    /// Whether the head in `bytes` asks for a WebSocket of the version that is spoken (RFC 6455,
    /// 4.2.1).
    func asksForWebSocket(_ bytes: Bytes) -> Bool {
        guard bytes[head.method] == "GET", case .none = head.framing else { return false }
        var isAsked = false
        var isVersion = false
        for i in 0..<head.fieldCount {
            let value = bytes[head.fields[i].valueRange]
            if head.fields[i].name == .upgrade {
                isAsked = isAsked || value.equalsIgnoringCase("websocket")
            } else if head.fields[i].name == .other,
                bytes[head.fields[i].nameRange].equalsIgnoringCase("sec-websocket-version")
            {
                isVersion = value == "13"
            }
        }
        return isAsked && isVersion && webSocketKey(bytes) != nil
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
        frames[slot] = WebSocketReader(takesMasked: true, messageLimit: Self.messageLimit)
        sendPage(slot, Array(answer.utf8))
    }

    private func readFrames(_ slot: Int) -> Bool {
        let bytes = unread(slot)
        var used = 0
        let event = frames[slot].next(bytes, &used)
        connections[slot].inputStart += used
        switch event {
        case .more: return spendBudget(slot) && fill(slot)
        case .begin(let isText):
            connections[slot].isText = isText
            webSocketMessages[slot] = []
        case .data(let range): keepData(slot, bytes[range])
        case .end: beginMessage(slot)
        case .ping: sendFrame(slot, .pong, control(slot))
        case .pong: break
        case .close(let code): sayClose(slot, code)
        case .invalid(let error):
            counters.refuse()
            sayClose(slot, error.rawValue)
        }
        return true
    }

    private func keepData(_ slot: Int, _ bytes: Bytes) {
        unsafe withUnsafeTemporaryAllocation(byteCount: bytes.count, alignment: 8) { memory in
            var writer = unsafe ByteWriter(memory)
            frames[slot].unmask(bytes, to: &writer)
            unsafe webSocketMessages[slot]?.append(contentsOf: memory[..<writer.count])
        }
    }

    private func control(_ slot: Int) -> [UInt8] {
        let count = frames[slot].controlLength
        return unsafe Array(unsafeUninitializedCapacity: count) { memory, initialized in
            var writer = unsafe ByteWriter(UnsafeMutableRawBufferPointer(memory))
            frames[slot].appendControl(to: &writer)
            initialized = writer.count
        }
    }

    /// Ends the WebSocket, and the connection behind it.
    private func sayClose(_ slot: Int, _ code: UInt16?) {
        connections[slot].keepAlive = false
        connections[slot].mustLinger = true
        let payload = code.map { [UInt8($0 >> 8), UInt8($0 & 0xFF)] } ?? []
        sendFrame(slot, .close, payload)
    }

    private func sendFrame(_ slot: Int, _ opcode: WebSocketOpcode, _ payload: [UInt8]) {
        let frame = unsafe [UInt8](
            unsafeUninitializedCapacity: WebSocketFrame.headLimit + payload.count
        ) { memory, initialized in
            var writer = unsafe ByteWriter(UnsafeMutableRawBufferPointer(memory))
            WebSocketFrame.append(opcode, length: payload.count, key: nil, to: &writer)
            payload.withBytes { writer.append($0) }
            initialized = writer.count
        }
        sendPage(slot, frame)
    }

    /// Sends bytes that are no answer to a request.
    private func sendPage(_ slot: Int, _ page: [UInt8]) {
        exchanges[slot].hasPage = true
        connections[slot].reply = AppReply(head: page.count)
        pages[slot] = page
        send(slot)
    }
}
