// WebSockets over HTTP/1.1: one on a connection.

import Base
import Wire

extension Speech {
    mutating func readWebSocket(_ connection: Int, _ bytes: Bytes, _ used: inout Int) -> Reading {
        if lines[connection].stage != .ready { return readHandshake(connection, bytes, &used) }
        let isAwaited = lines[connection].begun > 0
        switch webSockets?.read(connection, bytes, &used, isAwaited: isAwaited) {
        case .more, nil: return .more
        case .began: return .began(place: Int(lines[connection].oldest))
        case .answered:
            lines[connection].answer.keepAlive = true
            return .answered(takeAnswer(connection))
        case .owing: return .owing
        case .closing: return lines[connection].submitted > 0 ? .owing : .retiring
        case .broken: return .broken
        }
    }

    private mutating func readHandshake(_ connection: Int, _ bytes: Bytes, _ used: inout Int)
        -> Reading
    {
        if used == bytes.count { return .more }
        guard lines[connection].stage == .greeted else { return .broken }
        let progress = http1.read(bytes[used..<bytes.count], &lines[connection].answer)
        let status = Int(lines[connection].answer.status)
        if case .malformed = progress { return .broken }
        if status != 0, status != 101 { return .refused(.status(status)) }
        guard case .complete(let end) = progress else {
            used = bytes.count
            return .more
        }
        used += end
        http1.reset(&lines[connection].answer)
        lines[connection].stage = .ready
        return .ready
    }

    func owedOutput(_ connection: Int) -> Output? {
        webSockets?.output(connection).map { Output(bytes: $0) }
    }

    /// - Returns: whether there is more to write; nil: no control frame was being written.
    func wroteOwed(_ connection: Int, _ count: Int) -> Bool? {
        guard lines[connection].written == 0, let webSockets,
            let isMore = webSockets.wrote(connection, count)
        else { return nil }
        return isMore || lines[connection].sent < lines[connection].submitted
    }
}
