import Base
import Support

/// A client that sends its requests over one connection and holds the answers against them.
final class SimulatedClient: SimulatedPeer {
    struct Manner {
        /// Sends the next request before the last answer has come.
        var pipelines = true
        /// Bytes sent at a time, at most.
        var writeLimit = 1 << 20
        var readLimit = 1 << 20
        /// Ends its sending side behind the last request.
        var halfCloses = false
        /// Goes away after so many bytes sent; nil: stays.
        var leavesAfter: Int?
    }

    let exchanges: [SimulatedExchange]
    private let manner: Manner
    private var socket: SimulatedSocket?
    private var sending = ByteQueue()
    private var sent = 0
    private var nextRequest = 0
    private var tail: [UInt8]
    let expectsRefusal: Bool
    private(set) var received: [UInt8] = []
    private(set) var wasReset = false
    private(set) var left = false
    private(set) var isDone = false
    private(set) var finishedAt = Instant.zero
    private var answers = 0
    private var parsed = 0
    /// How much had been received when answers were last looked for.
    private var looked = 0
    private var awaitsLastChunk = false
    let wakeAt: Instant? = nil

    /// Bytes of all requests.
    var requestBytes: Int { exchanges.reduce(0) { $0 + $1.request.count } }

    /// - Parameter tail: bytes behind the last request that must be refused.
    init(
        _ socket: SimulatedSocket, _ exchanges: [SimulatedExchange], _ manner: Manner,
        tail: [UInt8] = []
    ) {
        self.socket = socket
        self.exchanges = exchanges
        self.manner = manner
        self.tail = tail
        expectsRefusal = !tail.isEmpty
    }

    func act(_ simulation: ProxySimulation) -> Bool {
        guard let socket else { return false }
        if socket.proxyReset {
            wasReset = true
            return finish(simulation)
        }
        if let limit = manner.leavesAfter, sent >= limit {
            left = true
            socket.peerClose(reset: simulation.chance(50))
            return finish(simulation)
        }
        return read(socket, simulation) || write(socket, simulation)
    }

    private func finish(_ simulation: ProxySimulation) -> Bool {
        finishedAt = simulation.now
        socket = nil
        isDone = true
        return true
    }

    private func read(_ socket: SimulatedSocket, _ simulation: ProxySimulation) -> Bool {
        let piece = socket.peerRead(1 + simulation.random.below(manner.readLimit))
        if !piece.isEmpty {
            received += piece
            return true
        }
        guard socket.peerFindsEnd else { return false }
        socket.peerClose(reset: false)
        return finish(simulation)
    }

    private func write(_ socket: SimulatedSocket, _ simulation: ProxySimulation) -> Bool {
        if sending.isEmpty, !socket.peerEnded {
            if nextRequest < exchanges.count {
                guard manner.pipelines || completeAnswers() >= nextRequest else { return false }
                sending.append(exchanges[nextRequest].request)
                nextRequest += 1
            } else if !tail.isEmpty {
                sending.append(tail)
                tail = []
            } else if manner.halfCloses || (completeAnswers() >= exchanges.count && !expectsRefusal)
            {
                socket.peerEnd()
                return true
            }
        }
        let room = socket.peerRoom
        guard room > 0, !sending.isEmpty else { return false }
        var limit = min(room, 1 + simulation.random.below(manner.writeLimit))
        if let leaves = manner.leavesAfter { limit = min(limit, max(1, leaves - sent)) }
        let piece = sending.take(limit)
        sent += piece.count
        socket.peerWrite(piece)
        return true
    }

    /// How many final answers have come whole, as far as they are answered at all.
    private func completeAnswers() -> Int {
        guard received.count > looked else { return answers }
        let before = max(0, looked - 3)
        looked = received.count
        // A body in many pieces is not read anew with each: its end has this in any case.
        let end = Array("\r\n\r\n".utf8)
        if awaitsLastChunk, ReferenceParser.find(end, in: received, from: before) == nil {
            return answers
        }
        awaitsLastChunk = false
        while answers < exchanges.count {
            switch AnswerReader.read(received, at: parsed, exchanges[answers], atEnd: false) {
            case .whole(_, _, let end, _):
                answers += 1
                parsed = end
            case .partial(let head):
                awaitsLastChunk = head?.framing == .chunked
                return answers
            case .broken: return answers
            }
        }
        return answers
    }
}

/// Reads one answer out of a client's received bytes.
enum AnswerReader {
    enum Answer {
        case whole(ReferenceHead, body: [UInt8], end: Int, interim: Int)
        /// Ends in the middle; nil: not even a head.
        case partial(ReferenceHead?)
        case broken(String)
    }

    static func read(
        _ bytes: [UInt8], at start: Int, _ exchange: SimulatedExchange?, atEnd: Bool
    ) -> Answer {
        var i = start
        var interim = 0
        while true {
            let rest = Array(bytes[i..<min(bytes.count, i + 40_000)])
            switch ReferenceParser.response(rest, toHead: exchange?.isHead ?? false) {
            case .unfinished: return .partial(nil)
            case .refused: return .broken("a client got \(visible(rest.prefix(300)))")
            case .accepted(let head, let length):
                i += length
                if head.status < 200 {
                    interim += 1
                    continue
                }
                let found = body(bytes, i, head, interim, atEnd: atEnd)
                if exchange?.answer == .chunked, head.framing == .chunked,
                    case .accepted(let whole, _) = ReferenceParser.chunked(bytes, from: i),
                    whole.trailers.map(\.key) != ["x-end"]
                {
                    return .broken("a client got the trailers \(whole.trailers)")
                }
                return found
            }
        }
    }

    private static func body(
        _ bytes: [UInt8], _ i: Int, _ head: ReferenceHead, _ interim: Int, atEnd: Bool
    ) -> Answer {
        switch head.framing {
        case .none: return .whole(head, body: [], end: i, interim: interim)
        case .length(let count):
            guard bytes.count - i >= count else { return .partial(head) }
            return .whole(head, body: Array(bytes[i..<i + count]), end: i + count, interim: interim)
        case .chunked:
            switch ReferenceParser.chunked(bytes, from: i) {
            case .unfinished: return .partial(head)
            case .refused: return .broken("a client got bad chunks")
            case .accepted(let body, let length):
                return .whole(head, body: body.data, end: i + length, interim: interim)
            }
        case .untilClose:
            guard atEnd else { return .partial(head) }
            return .whole(head, body: Array(bytes[i...]), end: bytes.count, interim: interim)
        }
    }
}
