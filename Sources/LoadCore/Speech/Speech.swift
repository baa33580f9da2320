// What the connections of a generator thread speak, behind one face: the generator decides which
// request goes where and when, a speech knows how it looks on the wire. All connections of a job
// speak the same, so the choice is one switch, not an existential.
//
// A connection carries `places` requests at once, in places from 0. What a speech is told:
//
//     opened ─► [handshake: output, read … .ready] ─► submit(place) ─► output ─► read … .answered
//                                                       └► giveUp(place)
//
// and `reset` when the connection is gone. Whatever it wants written it hands out in `output`,
// piece by piece; whoever owns the socket writes it when told to, and whenever the socket takes
// more.

import Base
import Model
import Wire

/// What the bytes of a connection came to, up to the next thing that the generator must know.
enum Reading: Equatable {
    /// All bytes were used.
    case more
    /// The handshake is over: requests may be submitted.
    case ready
    /// The peer lets more requests be under way than before, or fewer: `usable` says how many.
    case limited
    /// The first byte of the answer to the request in this place.
    case began(place: Int)
    case answered(Answer)
    /// The request in this place ended without an answer, and its place is free.
    case lost(place: Int, Outcome)
    /// The peer ends the connection in order: it takes no further request.
    case retiring
    /// There is something to write that is no request.
    case owing
    case refused(HandshakeRefusal)
    /// The peer broke the protocol: nothing more can be read.
    case broken
}

/// A complete answer.
struct Answer: Equatable {
    /// The place of its request.
    var place: Int
    /// The status that is counted, 100 to 599; 0: the speech has none.
    var status: Int = 0
    /// Whether it says that the request failed.
    var isError = false
    /// What a call of gRPC came to; nil: it is none.
    var call: GRPCStatus?
    /// Response flags that it names: see `AnswerState.flags`.
    var flags: UInt32 = 0
    /// Whether the connection may carry further requests.
    var goesOn = true
}

/// What is to be written next on a connection.
struct Output {
    /// Empty: nothing. Valid until the next call.
    var bytes: Bytes
    /// How many of the submitted requests begin in them, of those that no output began before;
    /// `Speech.begun` names them.
    var begun = 0
}

/// How all connections of one generator thread speak.
struct Speech: ~Copyable {
    /// Requests that a connection carries at once.
    let places: Int
    let kind: LoadPlan.Speech
    let messages: LoadMessages
    /// The same of requests that say which they are; nil: they do not.
    private let numbered: NumberedMessages?
    let lines: Slab<Line>
    var http1: AnswerReader
    /// HTTP/2, and gRPC and WebSockets over it; nil: something else is spoken.
    private let http2: StreamSpeech?
    /// Of `websocket`.
    let webSockets: WebSockets?

    init(job: LoadJob, connections: Int, messages: LoadMessages) {
        kind = job.plan.speech
        places = job.plan.streams
        self.messages = messages
        numbered = NumberedMessages(job, messages)
        lines = Slab(count: connections, repeating: Line())
        http2 = Self.streams(of: job, connections: connections, messages: messages)
        let isHead = job.plan.speech == .http1 && job.plan.request.method == "HEAD"
        http1 = AnswerReader(
            connections: connections, toHead: isHead, webSocketAccept: messages.webSocketAccept)
        webSockets =
            job.plan.speech == .websocket
            ? WebSockets(connections, maskingKey: messages.maskingKey) : nil
    }

    deinit {
        lines.deallocate()
    }

    /// Not in `init`: an operand of `||` that reads a member is a closure over a value that is not
    /// whole yet, and a release build of Swift 6.3 then frees members that were never there.
    private static func streams(
        of job: LoadJob, connections: Int, messages: LoadMessages
    ) -> StreamSpeech? {
        job.plan.speech.isHTTP2
            ? StreamSpeech(job: job, connections: connections, messages: messages) : nil
    }

    /// The connection is established.
    /// - Returns: whether requests may be submitted at once; else there is something to write.
    mutating func opened(_ connection: Int, target: Int) -> Bool {
        if let http2 {
            http2.opened(connection, target: target)
            return false
        }
        lines[connection].target = Int32(target)
        guard messages.greeting(target).count > 0 else { return true }
        lines[connection].stage = .greeting
        return false
    }

    /// Of the places of a connection that is ready, how many its peer lets be used at once.
    func usable(_ connection: Int) -> Int { http2?.usable(connection) ?? places }

    /// Whether a connection is of no more use when so many of its places wait for answers that
    /// nobody wants. With WebSockets one is enough: what one over HTTP/1.1 loses, one on a stream
    /// loses too.
    func isStuck(_ connection: Int, blocked: Int) -> Bool {
        webSockets != nil || kind == .websocketHTTP2 || blocked == usable(connection)
    }

    /// A request is to go out.
    /// - Precondition: the connection is ready, and the place is not taken. Where answers come in
    ///   order, places are taken in turn: that is how slots become free.
    @inline(__always)
    /// - Parameter number: which request it is.
    mutating func submit(_ connection: Int, place: Int, number: UInt64) {
        if let http2 { return http2.submit(connection, place: place, number: number) }
        precondition(place == lines[connection].end(of: places), "a place out of turn")
        lines[connection].submitted &+= 1
        lines[connection].number = number
    }

    /// Nobody waits for the answer to the request in this place any more.
    /// - Returns: whether the place is free for another; else it is once `.answered` names it.
    mutating func giveUp(_ connection: Int, place: Int) -> Bool {
        http2?.giveUp(connection, place: place) ?? false
    }

    /// What to write next.
    @inline(__always)
    mutating func output(_ connection: Int) -> Output {
        if let http2 { return http2.output(connection) }
        let line = lines[connection]
        if line.stage != .ready || kind == .websocket, let own = ownOutput(connection, line) {
            return own
        }
        guard line.sent < line.submitted else { return Output(bytes: Bytes("")) }
        let message = messages[Int(line.target)]
        let begins = line.begun == line.sent
        if begins { lines[connection].begun &+= 1 }
        let bytes =
            numbered?.message(Int(line.target), number: line.number, count: message.count)
            ?? message
        return Output(bytes: bytes[line.written..<bytes.count], begun: begins ? 1 : 0)
    }

    /// The place of a request that begins in the last `output`.
    /// - Parameter index: below its `begun`.
    @inline(__always)
    func begun(_ connection: Int, _ index: Int) -> Int {
        if let http2 { return http2.begun(connection, index) }
        // One at a time.
        let place = Int(lines[connection].oldest &+ lines[connection].begun) - 1
        return place < places ? place : place - places
    }

    /// What to write that is no request; nil: nothing.
    private func ownOutput(_ connection: Int, _ line: Line) -> Output? {
        switch line.stage {
        case .greeting:
            let greeting = messages.greeting(Int(line.target))
            return Output(bytes: greeting[line.written..<greeting.count])
        case .greeted: return Output(bytes: Bytes(""))
        // A message that has begun to be written comes first.
        case .ready: return line.written > 0 ? nil : owedOutput(connection)
        }
    }

    /// The first `count` bytes of the last `output` are with the kernel.
    /// - Returns: whether there is more to write.
    @inline(__always)
    mutating func wrote(_ connection: Int, _ count: Int) -> Bool {
        if let http2 { return http2.wrote(connection, count) }
        if lines[connection].stage != .ready || kind == .websocket,
            let isMore = wroteOwn(connection, count)
        {
            return isMore
        }
        let written = lines[connection].written &+ count
        let isWhole = written == messages[Int(lines[connection].target)].count
        lines[connection].written = isWhole ? 0 : written
        if isWhole { lines[connection].sent &+= 1 }
        return !isWhole || lines[connection].sent < lines[connection].submitted
    }

    /// - Returns: whether there is more to write; nil: it was a request that was written.
    private func wroteOwn(_ connection: Int, _ count: Int) -> Bool? {
        if lines[connection].stage == .ready { return wroteOwed(connection, count) }
        lines[connection].written += count
        let isWhole =
            lines[connection].written == messages.greeting(Int(lines[connection].target)).count
        if isWhole {
            lines[connection].written = 0
            lines[connection].stage = .greeted
        }
        return !isWhole
    }

    /// Reads `bytes` from `used` on, up to the next thing to be known.
    @inline(__always)
    mutating func read(_ connection: Int, _ bytes: Bytes, _ used: inout Int) -> Reading {
        if let http2 { return http2.read(connection, bytes, &used) }
        if kind == .websocket { return readWebSocket(connection, bytes, &used) }
        if used == bytes.count { return .more }
        // Bytes that nobody asked for, such as a 408 before the server closes an idle connection.
        guard lines[connection].begun > 0 else { return .broken }
        if !lines[connection].answerBegan {
            lines[connection].answerBegan = true
            return .began(place: Int(lines[connection].oldest))
        }
        if kind == .tcp { return readLength(connection, bytes, &used) }
        switch http1.read(bytes[used..<bytes.count], &lines[connection].answer) {
        case .partial:
            used = bytes.count
            return .more
        case .complete(let end):
            used += end
            return .answered(takeAnswer(connection))
        case .malformed: return .broken
        }
    }

    /// An answer over TCP: four bytes say how long it is, the most significant first.
    private mutating func readLength(_ connection: Int, _ bytes: Bytes, _ used: inout Int)
        -> Reading
    {
        while used < bytes.count, lines[connection].lengthBytes < 4 {
            lines[connection].remaining = lines[connection].remaining << 8 | Int(bytes[used])
            lines[connection].lengthBytes += 1
            used += 1
        }
        guard lines[connection].lengthBytes == 4 else { return .more }
        let count = min(lines[connection].remaining, bytes.count - used)
        lines[connection].remaining -= count
        used += count
        guard lines[connection].remaining == 0 else { return .more }
        return .answered(takeAnswer(connection))
    }

    /// The peer has ended its side in order.
    /// - Returns: the answer that lasts up to the end of the connection; nil: there is none.
    mutating func ended(_ connection: Int) -> Answer? {
        // Streams have ends of their own.
        if http2 != nil { return nil }
        guard lines[connection].begun > 0, lines[connection].stage == .ready,
            http1.endsWithConnection(lines[connection].answer)
        else { return nil }
        return takeAnswer(connection)
    }

    /// The connection is gone.
    mutating func reset(_ connection: Int) {
        if let http2 { return http2.reset(connection) }
        http1.reset(&lines[connection].answer)
        lines[connection] = Line()
        webSockets?.reset(connection)
    }

    mutating func takeAnswer(_ connection: Int) -> Answer {
        let line = lines[connection]
        let answer = Answer(
            place: Int(line.oldest), status: Int(line.answer.status),
            isError: line.answer.status >= 400, flags: line.answer.flags,
            // An answer before the end of the request leaves a connection that is in the middle
            // of a message.
            goesOn: line.answer.keepAlive && line.sent > 0)
        http1.reset(&lines[connection].answer)
        lines[connection].advance(of: places)
        return answer
    }
}

/// One connection of a speech in which answers come in the order of the requests.
struct Line: BitwiseCopyable {
    enum Stage: UInt8, BitwiseCopyable {
        /// Requests may go out.
        case ready
        /// The greeting is being written.
        case greeting
        /// Its answer is awaited.
        case greeted
    }

    var stage = Stage.ready
    var target: Int32 = 0
    /// The place of the oldest request without an answer. Those behind it are in the places that
    /// follow, in turn.
    var oldest: Int32 = 0
    /// Of the requests from the oldest on: how many there are, how many have begun to be written,
    /// how many are wholly with the kernel.
    var submitted: Int32 = 0
    var begun: Int32 = 0
    var sent: Int32 = 0
    /// Bytes of the greeting, or of the first request that is not wholly written, that are with
    /// the kernel.
    var written = 0
    /// Whether a byte of the answer to the oldest has come.
    var answerBegan = false
    /// Which request the last is that was submitted; of HTTP/1.1, which has one at a time, the only
    /// one.
    var number: UInt64 = 0
    /// Of HTTP.
    var answer = AnswerState()
    /// Of TCP: bytes of the length that have come, and bytes of the answer to come.
    var lengthBytes: UInt8 = 0
    var remaining = 0

    /// The place behind the last request, of `places`.
    @inline(__always)
    func end(of places: Int) -> Int {
        let end = Int(oldest &+ submitted)
        return end < places ? end : end - places
    }

    /// The oldest has its answer.
    @inline(__always)
    mutating func advance(of places: Int) {
        oldest = Int(oldest) + 1 == places ? 0 : oldest + 1
        submitted &-= 1
        begun = max(0, begun &- 1)
        sent = max(0, sent &- 1)
        answerBegan = false
        lengthBytes = 0
        remaining = 0
    }
}
