import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// One client sends anything; the server must see exactly the requests that the reference reads in
/// it, and nothing else. One client a step.
@Suite struct DesyncFuzz {
    @Test func theServerSeesWhatTheReferenceSees() {
        let budget = FuzzBudget.current(seed: 5, steps: 400)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("DesyncFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var generator = MessageGenerator(seed: seed)
        let simulation = ProxySimulation(configuration, seed: seed)
        let log = RequestLog()
        simulation.serve = { socket, _ in ExactServer(socket, log) }
        for step in 0..<steps {
            var stream: [UInt8] = []
            for _ in 0...generator.random.below(3) {
                let request = generator.request()
                stream += generator.chance(50) ? generator.mutate(request) : request
            }
            log.requests = []
            log.refused = nil
            guard let socket = simulation.connect() else { return "step \(step): no slot" }
            let client = RawClient(socket, stream, pieces: 1 + generator.random.below(5))
            simulation.peers = simulation.peers.filter { !$0.isDone } + [client]
            simulation.run(until: simulation.now + .seconds(20))
            if let failure = judge(stream, client, log) {
                return "step \(step): \(failure) in \(visible(stream))"
            }
            if !client.isDone { return "step \(step): a client is stuck: \(visible(stream))" }
        }
        simulation.run()
        let proxy = simulation.proxy
        guard proxy.openConnections == 0, proxy.buffersInUse == 0 else {
            return "\(proxy.openConnections) connections, \(proxy.buffersInUse) buffers left"
        }
        return nil
    }

    private static let configuration = ProxyConfiguration(
        listeners: [], routes: [.init(cluster: "c")],
        clusters: [.init(name: "c", endpoints: ["127.0.0.1:1000"])],
        limits: ProxyLimits(connections: 16))

    private static func judge(
        _ stream: [UInt8], _ client: RawClient, _ log: RequestLog
    ) -> String? {
        if let refused = log.refused { return "the server got \(visible(refused.prefix(300)))" }
        let (expected, unfinished) = requests(in: stream)
        if log.requests.count != expected.count {
            return "the server saw \(log.requests.count) requests, not \(expected.count)"
        }
        for (i, (sent, seen)) in zip(expected, log.requests).enumerated() {
            if let difference = difference(sent, seen) { return "request \(i): \(difference)" }
        }
        return judgeAnswers(client, expected, unfinished)
    }

    private static func judgeAnswers(
        _ client: RawClient, _ requests: [SeenRequest], _ unfinished: ReferenceHead?
    ) -> String? {
        var position = 0
        for (i, request) in requests.enumerated() {
            let found = AnswerReader.read(
                client.received, at: position, exchange(of: request.head), atEnd: false)
            guard case .whole(let head, _, let end, _) = found else {
                return "answer \(i) is \(found)"
            }
            if head.values("x-number") != [Array("\(i)".utf8)] { return "answer \(i): \(head)" }
            position = end
        }
        if position == client.received.count { return nil }
        // One refusal may follow; that of a HEAD without its body has none either.
        let found = AnswerReader.read(
            client.received, at: position, unfinished.map(exchange), atEnd: true)
        guard case .whole(let head, _, let end, _) = found, head.status >= 400, !head.keepAlive,
            end == client.received.count
        else { return "behind the answers: \(visible(client.received[position...].prefix(200)))" }
        return nil
    }

    private static func exchange(of head: ReferenceHead) -> SimulatedExchange {
        var exchange = SimulatedExchange(tag: 0)
        exchange.method = text(head.start[0])
        return exchange
    }

    /// The whole requests that an upstream must see of a client's stream, and the head of one
    /// behind them that is not whole, or is not passed on.
    private static func requests(in stream: [UInt8]) -> ([SeenRequest], ReferenceHead?) {
        var rest = stream
        var found: [SeenRequest] = []
        while case .accepted(let head, let length) = ReferenceParser.request(rest) {
            rest.removeFirst(length)
            if text(head.start[0]) == "CONNECT" { return (found, head) }
            guard let body = takeBody(head, &rest) else { return (found, head) }
            found.append(SeenRequest(head: head, body: body))
            if !head.keepAlive { break }
        }
        return (found, nil)
    }

    static func takeBody(_ head: ReferenceHead, _ rest: inout [UInt8]) -> [UInt8]? {
        switch head.framing {
        case .none, .untilClose: return []
        case .length(let count):
            guard rest.count >= count else { return nil }
            defer { rest.removeFirst(count) }
            return Array(rest.prefix(count))
        case .chunked:
            guard case .accepted(let body, let length) = ReferenceParser.chunked(rest) else {
                return nil
            }
            rest.removeFirst(length)
            return body.data
        }
    }

    private static func difference(_ sent: SeenRequest, _ seen: SeenRequest) -> String? {
        if sent.head.start[0] != seen.head.start[0] { return "method" }
        let isOptions = text(sent.head.start[0]) == "OPTIONS"
        var path = sent.head.path
        if path.isEmpty, isOptions { path = [UInt8(ascii: "*")] }
        if path.first != UInt8(ascii: "/"), path != [UInt8(ascii: "*")] {
            path.insert(UInt8(ascii: "/"), at: 0)
        }
        if seen.head.path != path { return "path \(visible(seen.head.path))" }
        if text(sent.head.authority).lowercased() != text(seen.head.authority).lowercased() {
            return "authority \(visible(seen.head.authority))"
        }
        if sent.body != seen.body { return "body" }
        if (sent.head.framing == .chunked) != (seen.head.framing == .chunked) { return "coding" }
        let (a, b) = (endToEnd(sent.head, of: sent.head), endToEnd(seen.head, of: sent.head))
        return a == b ? nil : "fields \(b), sent \(a)"
    }

    /// The fields that pass, `host` and those that are judged apart left out.
    private static func endToEnd(
        _ head: ReferenceHead, of sent: ReferenceHead
    ) -> [ReferenceField] {
        let apart: Set = [
            "host", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade",
            "te", "trailer",
        ]
        let named = Set(sent.connectionOptions ?? [])
        return head.fields.filter { !apart.contains($0.key) && !named.contains($0.key) }
    }
}

struct SeenRequest {
    var head: ReferenceHead
    var body: [UInt8]
    var trailers: [ReferenceField] = []
    /// What came behind a head that asked for a WebSocket and got it; nil: it asked for none.
    var tunnel: [UInt8]?
}

final class RequestLog {
    var requests: [SeenRequest] = []
    var refused: [UInt8]?
}

/// Answers each request with its number; or makes a tunnel that echoes of one that asks for a
/// WebSocket.
final class ExactServer: SimulatedPeer {
    private let socket: SimulatedSocket
    private let log: RequestLog
    private let grantsUpgrades: Bool
    private var received: [UInt8] = []
    /// The request that has made a tunnel of the connection.
    private var tunnel: Int?
    private var isClosed = false
    var isDone: Bool { isClosed || socket.wasNeverOpened }
    let wakeAt: Instant? = nil

    init(_ socket: SimulatedSocket, _ log: RequestLog, grantsUpgrades: Bool = false) {
        self.socket = socket
        self.log = log
        self.grantsUpgrades = grantsUpgrades
    }

    func act(_ simulation: ProxySimulation) -> Bool {
        guard !isDone, socket.opening == .open else { return false }
        let piece = socket.peerRead(.max)
        if piece.isEmpty {
            guard socket.proxyReset || socket.peerFindsEnd else { return false }
            socket.peerClose(reset: false)
            isClosed = true
            return true
        }
        if let tunnel {
            log.requests[tunnel].tunnel? += piece
            socket.peerWrite(piece)
            return true
        }
        received += piece
        while true {
            switch ReferenceParser.request(received) {
            case .unfinished: return true
            case .refused:
                log.refused = received
                return true
            case .accepted(let head, let length):
                var rest = Array(received.dropFirst(length))
                var trailers: [ReferenceField] = []
                if head.framing == .chunked,
                    case .accepted(let whole, _) = ReferenceParser.chunked(rest)
                {
                    trailers = whole.trailers
                }
                guard let body = DesyncFuzz.takeBody(head, &rest) else { return true }
                received = rest
                let number = log.requests.count
                log.requests.append(SeenRequest(head: head, body: body, trailers: trailers))
                if grantsUpgrades, head.values("upgrade") == [Array("websocket".utf8)] {
                    return openTunnel(number)
                }
                let start = "HTTP/1.1 200 OK\r\nx-number: \(number)\r\ncontent-length: 2\r\n\r\n"
                let isHead = text(head.start[0]) == "HEAD"
                socket.peerWrite(Array((start + (isHead ? "" : "ok")).utf8)[...])
            }
        }
    }

    private func openTunnel(_ number: Int) -> Bool {
        tunnel = number
        log.requests[number].tunnel = received
        let agreed =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"
            + "upgrade: websocket\r\n\r\n"
        socket.peerWrite((Array(agreed.utf8) + received)[...])
        return true
    }
}

/// Sends a stream in a few pieces, ends, and reads to the end.
private final class RawClient: SimulatedPeer {
    private let socket: SimulatedSocket
    private var sending = ByteQueue()
    private let pieceSize: Int
    private(set) var received: [UInt8] = []
    private(set) var isDone = false
    let wakeAt: Instant? = nil

    init(_ socket: SimulatedSocket, _ stream: [UInt8], pieces: Int) {
        self.socket = socket
        pieceSize = stream.count / pieces + 1
        sending.append(stream)
    }

    func act(_ simulation: ProxySimulation) -> Bool {
        guard !isDone else { return false }
        let piece = socket.peerRead(.max)
        received += piece
        if socket.proxyReset || socket.peerFindsEnd {
            if !socket.proxyReset { socket.peerClose(reset: false) }
            isDone = true
            return true
        }
        if !sending.isEmpty, socket.peerRoom >= pieceSize {
            socket.peerWrite(sending.take(pieceSize))
            return true
        }
        if sending.isEmpty, !socket.peerEnded {
            socket.peerEnd()
            return true
        }
        return !piece.isEmpty
    }
}
