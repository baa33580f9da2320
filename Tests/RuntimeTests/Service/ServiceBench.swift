// A connection of a service without a socket: what a test says to it, and what it answers.

import Base
import Posix
import Wire

@testable import Runtime

/// Answers what tests ask for, and notes what it was asked.
final class BenchHandler: ServiceHandler {
    var requests: [ServiceRequest] = []
    var watches: [ServiceWatch] = []
    var endings: [ServiceWatch.Ending] = []
    var turns = 0
    var wake: Instant?
    /// What every new watch may have waiting.
    var backlog = 1000
    /// Called with each new watch.
    var onWatch: ((ServiceWatch) -> Void)?

    func respond(to request: ServiceRequest) -> ServiceAnswer {
        requests.append(request)
        switch request.target.segments.first {
        case "watch", "held":
            let isHeld = request.target.segments.first == "held"
            let watch = isHeld ? ServiceWatch(held: ()) : ServiceWatch(backlog: backlog)
            watch.onEnd = { [weak self] in self?.endings.append($0) }
            watches.append(watch)
            onWatch?(watch)
            return .watch(watch)
        case "echo":
            return .whole(
                status: 200, fields: [ServiceField("x-method", request.method)],
                body: request.body)
        case "big":
            let size = request.target["size"].flatMap { Int($0) } ?? 0
            return .whole(status: 200, fields: [], body: [UInt8](repeating: 7, count: size))
        case "empty": return .whole(status: 204, fields: [], body: [])
        case "split": return .text(200, "x", fields: [ServiceField("x-evil", "a\r\nb: c")])
        case "method": return request.method == "GET" ? .text(200, "got") : .notAllowed(["GET"])
        default: return .text(404, "nothing at \(request.target.path)")
        }
    }

    func turnEnds(_ now: Instant) -> Instant? {
        turns += 1
        return wake
    }
}

/// One connection, and a clock that the test moves.
final class ServiceBench {
    let handler = BenchHandler()
    let scope: ServiceScope
    let connection: ServiceConnection
    /// All that has been sent.
    var sent: [UInt8] = []
    /// Whether the kernel takes anything.
    var takes = true

    init(_ limits: ServiceLimits = ServiceLimits(), agreed: String? = nil) {
        scope = ServiceScope(limits, handler: handler, now: .zero + .seconds(1000))
        connection = ServiceConnection(
            scope, slot: 0, peer: ServicePeer(address: .loopback(port: 7)), agreed: agreed)
    }

    var ending: ServiceEnding? { connection.speech.ending }
    var text: String { String(decoding: sent, as: UTF8.self) }

    /// All that has been sent since the last call.
    func takeText() -> String {
        defer { sent = [] }
        return text
    }

    func say(_ text: String) { say(Array(text.utf8)) }

    func say(_ bytes: [UInt8]) {
        bytes.withBytes { connection.receive($0) }
        step()
    }

    func endInput() {
        connection.inputEnded()
        step()
    }

    /// What the loop does for a connection until nothing more happens.
    /// - Parameter most: bytes that the kernel takes at a time.
    func step(most: Int = .max) {
        while true {
            connection.speech.advance()
            guard takes, connection.speech.ending != .reset, !connection.speech.output.isEmpty
            else { break }
            let count = connection.speech.output.withFirst { bytes in
                let count = min(bytes.count, most)
                unsafe sent.append(contentsOf: bytes[0..<count].raw)
                return count
            }
            connection.speech.sent(count)
        }
        _ = scope.takeMarked()
    }

    /// Lets the turn end, and goes on until there is no news.
    func turn() {
        repeat {
            _ = scope.endTurn()
            step()
        } while scope.hasMore
    }

    func pass(_ time: Duration) {
        scope.now = scope.now + time
        if connection.speech.deadline <= scope.now { connection.expire() }
        step()
    }

    /// Nothing is held for a connection that is over.
    func leaves() -> Bool {
        connection.speech.abandon(.left)
        turn()
        return scope.bodiesBytes == 0 && scope.watches == 0
            && handler.watches.allSatisfy { !$0.isOpen && $0.waiting == 0 }
            && handler.endings.count == handler.watches.count
    }
}
