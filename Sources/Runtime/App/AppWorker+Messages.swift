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
    func beginMessage(_ exchange: Int) {
        exchanges[exchange].plan = decider.decideMessage(&random)
        counters.begin(attempt: 0)
        exchanges[exchange].isCounted = true
        delay(exchange)
    }

    /// Answers a message.
    func replyMessage(_ exchange: Int) {
        guard exchange < Self.connectionLimit, connections[exchange].kind == .tcp else {
            return sendBack(exchange)
        }
        connections[exchange].reply = composer.composeLength(
            exchanges[exchange].plan.size, filler: filler)
        send(exchange)
    }
}
