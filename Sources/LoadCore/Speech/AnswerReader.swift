// Finds the end of an answer in the pieces it arrives in. Bodies are counted, not kept. A head that
// came whole is parsed where it lies; one that came in parts is gathered in a buffer of the pool
// first.

import Base
import Model
import Wire

/// How far the answer on one connection has been read.
struct AnswerState: BitwiseCopyable {
    enum Stage: UInt8, BitwiseCopyable {
        case head
        case sized
        case chunked
        case untilClose
    }

    var stage = Stage.head
    /// Whether the connection may serve another request.
    var keepAlive = true
    var status: Int32 = 0
    /// Response flags named by an answer of 400 or above: bit `ResponseFlag.index`, or
    /// `unknownFlag`.
    var flags: UInt32 = 0
    /// Body bytes still to come of a sized body.
    var remaining = 0
    var chunks = ChunkedBody()
    /// The buffer that holds the part of a head that has come; -1: none.
    var buffer: Int32 = -1
    var buffered = 0
    var search = HeadSearch()
}

/// What the bytes of one piece came to.
enum AnswerProgress: Equatable {
    /// All were used; the answer goes on.
    case partial
    /// The answer ended behind `used` bytes of the piece.
    case complete(used: Int)
    case malformed
}

/// Reads answers for all connections of one thread.
struct AnswerReader: ~Copyable {
    private var head: Head
    private let pool: BufferPool
    private let toHead: Bool
    /// What answers the key of a WebSocket handshake; empty: none was asked for.
    private let webSocketAccept: [UInt8]

    /// The bit of a response flag that `ResponseFlag` does not know.
    static let unknownFlag = ResponseFlag.allCases.count

    /// - Parameters:
    ///   - toHead: the requests are HEAD requests: answers have no body.
    ///   - webSocketAccept: the connections ask for a WebSocket: the answer that agrees carries
    ///     this in `sec-websocket-accept`, and is complete with its head.
    init(connections: Int, toHead: Bool, webSocketAccept: [UInt8] = []) {
        self.webSocketAccept = webSocketAccept
        head = Head(
            limits: HeadLimits(headBytes: LoadLimits.head, fieldCount: 256, targetBytes: 1))
        pool = BufferPool(size: LoadLimits.head, limit: connections)
        self.toHead = toHead
    }

    /// Reads one piece.
    mutating func read(_ bytes: Bytes, _ state: inout AnswerState) -> AnswerProgress {
        var used = 0
        while true {
            if state.stage != .head { return readBody(bytes, from: used, &state) }
            if state.buffer >= 0 { return readBuffered(bytes, from: used, &state) }
            let rest = bytes[used..<bytes.count]
            switch head.parseResponse(rest, toHead: toHead) {
            case .invalid: return .malformed
            case .incomplete: return keep(rest, &state)
            case .complete:
                used += head.length
                if let progress = accept(rest, &state, used: used) { return progress }
            }
        }
    }

    /// Whether the end of the connection is the end of the answer.
    func endsWithConnection(_ state: AnswerState) -> Bool { state.stage == .untilClose }

    /// Makes the state ready for the next answer.
    func reset(_ state: inout AnswerState) {
        if state.buffer >= 0 { pool.give(state.buffer) }
        state = AnswerState()
    }

    /// Notes what a complete head says. Returns nil where more is to be read: a body, or, after an
    /// interim answer, the next head.
    private mutating func accept(_ bytes: Bytes, _ state: inout AnswerState, used: Int)
        -> AnswerProgress?
    {
        if head.status < 200 {
            guard head.status == 101 else { return nil }
            // It would make a tunnel of the connection, which nobody else asked for.
            guard agreesToWebSocket(bytes) else { return .malformed }
            state.status = 101
            return .complete(used: used)
        }
        state.status = Int32(head.status)
        state.keepAlive = head.keepAlive
        if head.status >= 400 { state.flags = responseFlags(head, bytes) }
        switch head.framing {
        case .none, .length(0): return .complete(used: used)
        case .length(let length):
            state.stage = .sized
            state.remaining = length
        case .chunked:
            state.stage = .chunked
            state.chunks = ChunkedBody()
        case .untilClose: state.stage = .untilClose
        }
        return nil
    }

    /// RFC 6455, 4.1: what a client checks.
    private func agreesToWebSocket(_ bytes: Bytes) -> Bool {
        guard !webSocketAccept.isEmpty, head.wantsUpgrade else { return false }
        for i in 0..<head.fieldCount where head.fields[i].name == .webSocketAccept {
            let value = bytes[head.fields[i].valueRange]
            return webSocketAccept.withBytes { $0 == value }
        }
        return false
    }

    private func readBody(_ bytes: Bytes, from start: Int, _ state: inout AnswerState)
        -> AnswerProgress
    {
        switch state.stage {
        case .sized:
            let taken = min(state.remaining, bytes.count - start)
            state.remaining -= taken
            return state.remaining == 0 ? .complete(used: start + taken) : .partial
        case .chunked:
            switch state.chunks.check(bytes[start..<bytes.count]) {
            case .partial: return .partial
            case .complete(let end): return .complete(used: start + end)
            case .invalid: return .malformed
            }
        case .untilClose: return .partial
        case .head: preconditionFailure("a body before its head")
        }
    }

    /// Keeps the beginning of a head until more of it comes.
    private mutating func keep(_ bytes: Bytes, _ state: inout AnswerState) -> AnswerProgress {
        if bytes.count == 0 { return .partial }
        // `parseResponse` has refused what is longer than a buffer.
        guard bytes.count <= pool.size, let buffer = pool.take() else { return .malformed }
        state.buffer = buffer
        state.buffered = 0
        state.search = HeadSearch()
        append(bytes, &state)
        _ = state.search.mayBeComplete(pool.bytes(buffer, 0..<state.buffered))
        return .partial
    }

    private func append(_ bytes: Bytes, _ state: inout AnswerState) {
        unsafe UnsafeMutableRawBufferPointer(
            rebasing: pool.memory(state.buffer)[state.buffered...]
        ).copyMemory(from: bytes.raw)
        state.buffered += bytes.count
    }

    /// Goes on with a head of which a part has been kept.
    private mutating func readBuffered(_ bytes: Bytes, from start: Int, _ state: inout AnswerState)
        -> AnswerProgress
    {
        let before = state.buffered
        let fits = min(bytes.count - start, pool.size - before)
        append(bytes[start..<start + fits], &state)
        let gathered = pool.bytes(state.buffer, 0..<state.buffered)
        guard state.search.mayBeComplete(gathered) else {
            return state.buffered == pool.size ? .malformed : .partial
        }
        switch head.parseResponse(gathered, toHead: toHead) {
        case .invalid: return .malformed
        case .incomplete: return state.buffered == pool.size ? .malformed : .partial
        case .complete:
            // What was kept before was no complete head, so the head ends within this piece.
            let used = start + head.length - before
            let progress = accept(gathered, &state, used: used)
            pool.give(state.buffer)
            state.buffer = -1
            return progress ?? read(bytes[used..<bytes.count], &state).shifted(by: used)
        }
    }
}

extension AnswerProgress {
    fileprivate func shifted(by count: Int) -> AnswerProgress {
        if case .complete(let used) = self { return .complete(used: used + count) }
        return self
    }
}

/// The flags in `x-response-flags`, comma-separated, each of at most four letters.
func responseFlags(_ head: borrowing Head, _ bytes: Bytes) -> UInt32 {
    var flags: UInt32 = 0
    for i in 0..<head.fieldCount where head.fields[i].name == .responseFlags {
        let value = bytes[head.fields[i].valueRange]
        var word: UInt64 = 0
        for j in 0...value.count {
            let byte = j < value.count ? value[j] : UInt8(ascii: ",")
            if byte == UInt8(ascii: ",") || byte == UInt8(ascii: " ") {
                if word != 0 { flags |= 1 << UInt32(flagIndex(word)) }
                word = 0
            } else {
                word = word << 8 | UInt64(byte)
            }
        }
    }
    return flags
}

private func flagIndex(_ word: UInt64) -> Int {
    flagWords.firstIndex(of: word) ?? AnswerReader.unknownFlag
}

/// The letters of each flag, the last in the low bits.
private let flagWords: [UInt64] = ResponseFlag.allCases.map { flag in
    flag.rawValue.utf8.reduce(0) { $0 << 8 | UInt64($1) }
}
