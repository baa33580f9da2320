// WebSockets over HTTP/2 (RFC 8441): a place is a stream that stays open and carries one message at
// once. A connection is ready when all of its WebSockets are open. When one ends, the connection
// takes no more, as over HTTP/1.1: it is replaced behind what is under way on the others.

import Base
import Model
import Wire

/// How far the WebSocket of a stream has come.
enum StreamWebSocket: BitwiseCopyable {
    /// Asked for, and not yet granted.
    case opening
    case open
    /// It takes no message, and what comes on it is dropped.
    case over
}

/// Which bytes a DATA frame was begun with.
enum StreamOffer: BitwiseCopyable {
    case nothing
    case message
    case owed
}

extension StreamSpeech {
    // MARK: Handshakes

    /// Asks for a WebSocket in each place that the server lets be used. Its SETTINGS have come:
    /// without their leave none may be asked for (RFC 8441, 3).
    func openWebSockets(_ connection: Int, streams: Int) {
        guard lines[connection].opening == 0, let session = sessions[connection] else { return }
        guard session.peerTakesExtendedConnect else {
            events.append(.refused(.extendedConnect))
            return
        }
        let count = min(streams, places)
        lines[connection].usable = Int32(count)
        lines[connection].opening = Int32(count)
        for place in 0..<count {
            let target = Int(lines[connection].target)
            guard let stream = session.submitRequest(fields[target], tag: place, hasBody: true)
            else { preconditionFailure("a new connection that takes no stream") }
            requests[slot(connection, place)].stream = stream
        }
    }

    /// The head of the answer to a CONNECT has come.
    func webSocketAnswered(_ connection: Int, _ place: Int, status: Int) {
        guard requests[slot(connection, place)].webSocket == .opening else { return }
        guard status < 300 else {
            events.append(.refused(.status(status)))
            return
        }
        requests[slot(connection, place)].webSocket = .open
        lines[connection].opening -= 1
        guard lines[connection].opening == 0 else { return }
        lines[connection].isReady = true
        events.append(.ready)
    }

    // MARK: Messages out

    /// A message is to go out in a place that has none.
    func sendMessage(_ connection: Int, _ place: Int) {
        let slot = slot(connection, place)
        precondition(
            requests[slot].webSocket == .open && !requests[slot].hasMessage,
            "a message where none is taken")
        requests[slot].hasMessage = true
        sessions[connection]?.resume(requests[slot].stream)
    }

    /// What a WebSocket can send: what it owes, but not in the middle of a message.
    func provideMessage(_ connection: Int, _ place: Int, limit: Int) -> HTTP2Session.Provided {
        let slot = slot(connection, place)
        let message = messages[Int(lines[connection].target)]
        let left = message.count - requests[slot].sent
        if requests[slot].sent == 0 || left == 0, let owed = webSockets?.output(slot) {
            requests[slot].offered = .owed
            let isClosing = webSockets?.isClosing(slot) == true
            return .bytes(min(owed.count, limit), isLast: isClosing && owed.count <= limit)
        }
        guard requests[slot].hasMessage, left > 0 else { return .nothing }
        requests[slot].offered = .message
        return .bytes(min(left, limit), isLast: false)
    }

    /// Writes what was offered.
    func writeMessage(_ connection: Int, _ place: Int, _ count: Int) {
        let slot = slot(connection, place)
        let offered = requests[slot].offered
        requests[slot].offered = .nothing
        if offered == .owed {
            guard count > 0, let owed = webSockets?.output(slot) else { return }
            append(connection, owed[0..<count])
            _ = webSockets?.wrote(slot, count)
            return
        }
        let message = messages[Int(lines[connection].target)]
        let start = requests[slot].sent
        if start == 0 { noteBegun(connection, place) }
        append(connection, message[start..<start + count])
        requests[slot].sent = start + count
    }

    /// Whether a part of the message is written, or about to be, and a part is not.
    private func isInMessage(_ connection: Int, _ slot: Int) -> Bool {
        let count = messages[Int(lines[connection].target)].count
        return requests[slot].offered == .message
            || requests[slot].sent > 0 && requests[slot].sent < count
    }

    // MARK: Messages in

    /// Bytes of a WebSocket.
    func readWebSocket(_ connection: Int, _ place: Int, _ bytes: Bytes) {
        guard let webSockets else { return }
        let slot = slot(connection, place)
        var used = 0
        while requests[slot].webSocket == .open {
            switch webSockets.read(slot, bytes, &used, isAwaited: requests[slot].isTold) {
            case .more: return
            case .began: events.append(.began(place: place))
            case .answered: messageAnswered(connection, place)
            case .owing: sessions[connection]?.resume(requests[slot].stream)
            case .closing:
                if isInMessage(connection, slot) { return cancelWebSocket(connection, place) }
                sessions[connection]?.resume(requests[slot].stream)
                endWebSocket(connection, place, .reset)
            case .broken: breakWebSocket(connection, place)
            }
        }
    }

    private func messageAnswered(_ connection: Int, _ place: Int) {
        let slot = slot(connection, place)
        var answer = Answer(place: place)
        // An answer before the end of the message leaves a WebSocket in the middle of it.
        answer.goesOn = !isInMessage(connection, slot)
        requests[slot].hasMessage = false
        requests[slot].isGivenUp = false
        requests[slot].isTold = false
        if answer.goesOn { requests[slot].sent = 0 }
        events.append(.answered(answer))
        if !answer.goesOn { cancelWebSocket(connection, place) }
    }

    // MARK: Ends

    /// What came is no WebSocket.
    func breakWebSocket(_ connection: Int, _ place: Int) {
        endWebSocket(connection, place, .malformed)
        sessions[connection]?.reset(requests[slot(connection, place)].stream, .protocolError)
    }

    /// The server has ended its side, or nothing more can be said.
    func cancelWebSocket(_ connection: Int, _ place: Int) {
        guard requests[slot(connection, place)].webSocket != .over else { return }
        endWebSocket(connection, place, .reset)
        sessions[connection]?.reset(requests[slot(connection, place)].stream, .cancel)
    }

    /// A WebSocket is of no use any more.
    func endWebSocket(_ connection: Int, _ place: Int, _ outcome: Outcome) {
        let slot = slot(connection, place)
        guard requests[slot].webSocket != .over else { return }
        requests[slot].webSocket = .over
        if requests[slot].hasMessage, !requests[slot].isGivenUp {
            events.append(.lost(place: place, outcome))
        }
        requests[slot].hasMessage = false
        retire(connection)
    }
}
