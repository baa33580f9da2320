import Base
import Support

/// Everything that servers saw, in the order it came.
final class ServerRecord {
    /// The tags of requests whose head came, in order; a request sent twice stands here twice.
    var seen: [Int] = []
    /// Of those, the ones that a server of HTTP/2 has looked at: no other may see them again.
    var processed: Set<Int> = []
    /// The tags of requests that one has refused.
    var refused: Set<Int> = []
    /// What no server may ever see.
    var violations: [String] = []
}

/// The server's end of one connection: does what `x-do` says, request by request.
final class SimulatedServer: SimulatedPeer {
    private let socket: SimulatedSocket
    private let record: ServerRecord
    private var received: [UInt8] = []
    private var sending = ByteQueue()
    private var closesAfter = false
    private var resetsAfter = false
    private var isClosed = false
    /// The request whose head has come and whose body has not.
    private var current: (head: ReferenceHead, answered: Bool)?
    private var isSilent = false
    /// How much of `received` has been searched for the end of a chunked body.
    private var searched = 0
    var wakeAt: Instant?
    private var isSlow = false

    init(_ socket: SimulatedSocket, _ record: ServerRecord) {
        self.socket = socket
        self.record = record
    }

    var isDone: Bool { isClosed || socket.wasNeverOpened }

    func act(_ simulation: ProxySimulation) -> Bool {
        guard !isClosed, socket.opening == .open else { return false }
        if let wake = wakeAt, wake > simulation.now { return false }
        wakeAt = nil
        if socket.proxyReset {
            isClosed = true
            return true
        }
        if !sending.isEmpty { return write(simulation) }
        if closesAfter || resetsAfter {
            socket.peerClose(reset: resetsAfter)
            isClosed = true
            return true
        }
        if isSilent && !socket.proxyClosed { return false }
        return read(simulation)
    }

    private func write(_ simulation: ProxySimulation) -> Bool {
        if socket.proxyClosed {
            sending.removeAll()
            return true
        }
        let room = socket.peerRoom
        guard room > 0 else { return false }
        let limit = simulation.chance(20) ? 1 + simulation.random.below(20) : room
        socket.peerWrite(sending.take(min(room, limit)))
        if simulation.chance(1) { wakeAt = simulation.now + .milliseconds(5) }
        return true
    }

    private func read(_ simulation: ProxySimulation) -> Bool {
        let piece = socket.peerRead(simulation.chance(30) ? 100 : 100_000)
        if !piece.isEmpty {
            received += piece
            understand(simulation)
            return true
        }
        if socket.peerFindsEnd {
            closesAfter = true
            return true
        }
        return false
    }

    private func understand(_ simulation: ProxySimulation) {
        while true {
            if current == nil {
                switch ReferenceParser.request(received) {
                case .unfinished: return
                case .refused:
                    record.violations.append("a server got \(visible(received.prefix(300)))")
                    closesAfter = true
                    return
                case .accepted(let head, let length):
                    received.removeFirst(length)
                    searched = 0
                    current = (head, false)
                    record.seen.append(tag(head))
                    if plan(head).answer == .early { answer(head, simulation) }
                }
            }
            guard let (head, answered) = current, let body = takeBody(head) else { return }
            check(head, body)
            if !answered { answer(head, simulation) }
            current = nil
        }
    }

    private func tag(_ head: ReferenceHead) -> Int { Int(text(Array(head.path.dropFirst()))) ?? -1 }

    private func plan(_ head: ReferenceHead) -> (answer: SimulatedExchange.Answer, size: Int) {
        let words = text(head.values("x-do").first ?? []).split(separator: " ").map { Int($0) ?? 0 }
        guard words.count == 2, let answer = SimulatedExchange.Answer(rawValue: words[0]) else {
            return (.length, 0)
        }
        return (answer, words[1])
    }

    /// The request's whole body, taken from what has come; nil: it is not all there.
    private func takeBody(_ head: ReferenceHead) -> [UInt8]? {
        switch head.framing {
        case .none, .untilClose: return []
        case .length(let count):
            guard received.count >= count else { return nil }
            defer { received.removeFirst(count) }
            return Array(received.prefix(count))
        case .chunked:
            // Looked at only when what ends a body has come: the reference reads from the start.
            guard emptyLineHasCome() else { return nil }
            switch ReferenceParser.chunked(received) {
            case .accepted(let body, let length):
                received.removeFirst(length)
                return body.data
            case .unfinished: return nil
            case .refused:
                record.violations.append("a server got bad chunks of \(tag(head))")
                closesAfter = true
                return nil
            }
        }
    }

    /// Whether an empty line stands in what has come since the last look.
    private func emptyLineHasCome() -> Bool {
        var i = max(3, searched)
        while i < received.count {
            if received[i] == 10, received[i - 1] == 13, received[i - 2] == 10,
                received[i - 3] == 13
            {
                searched = received.count
                return true
            }
            i += 1
        }
        searched = received.count
        return false
    }

    private func check(_ head: ReferenceHead, _ body: [UInt8]) {
        let expected = SimulatedExchange.pattern(tag(head), body.count)
        if body != expected { record.violations.append("the body of \(tag(head)) is another's") }
        for name in ["connection", "keep-alive"] where !head.values(name).isEmpty {
            record.violations.append("\(name) was passed on with \(tag(head))")
        }
    }

    private func answer(_ head: ReferenceHead, _ simulation: ProxySimulation) {
        current?.answered = true
        let (kind, size) = plan(head)
        let isHead = text(head.start[0]) == "HEAD"
        let tag = tag(head)
        let data = isHead ? [] : SimulatedExchange.pattern(tag &+ 1_000_000_007, size)
        if simulation.chance(10) { wakeAt = simulation.now + .milliseconds(1) }
        let start = "HTTP/1.1 200 OK\r\nx-tag: \(tag)\r\n"
        if isHead, kind == .truncated || kind == .reset {
            // Its answer would be whole without a body.
            send(start, [])
            resetsAfter = true
            return
        }
        let sized = Array("content-length: \(size)\r\n\r\n".utf8) + data
        switch kind {
        case .length, .early: send(start, sized)
        case .stale:
            send(start, sized)
            closesAfter = true
        case .interim:
            send("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + start, sized)
        case .closing:
            send(start + "connection: close\r\n", sized)
            closesAfter = true
        case .empty: send("HTTP/1.1 204 No Content\r\nx-tag: \(tag)\r\n\r\n", [])
        case .chunked:
            let body = SimulatedExchange.chunk(data, by: 1 + tag % 5000, trailer: "x-end: 1\r\n")
            send(start + "transfer-encoding: chunked\r\n\r\n", isHead ? [] : body)
        case .untilClose:
            // Of an answer to HEAD nobody could tell that its connection ends.
            send(start + (isHead ? "connection: close\r\n" : "") + "\r\n", data)
            closesAfter = true
        case .garbage:
            send("HTTP/1.1 200 OK\r\nx-tag : \(tag)\r\n\r\n", [])
            closesAfter = true
        case .truncated:
            send(start, Array(sized.dropLast(1 + size / 2)))
            closesAfter = true
        case .reset:
            send(start, Array(sized.prefix(size / 2)))
            resetsAfter = true
        case .silent: isSilent = true
        }
    }

    private func send(_ head: String, _ rest: [UInt8]) {
        sending.append(head.utf8)
        sending.append(rest)
    }
}
