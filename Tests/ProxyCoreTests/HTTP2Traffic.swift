import Base
import Support
import Wire

@testable import ProxyCore

/// A client of HTTP/2 with a few requests, several at once, for the seeded simulation.
final class HTTP2TrafficClient: SimulatedPeer {
    struct Manner {
        /// Requests at once, at most.
        var concurrency = 4
        var window = 65_535
        /// Gives up every so-manieth request half way; nil: none.
        var resetsEvery: Int?
        /// Goes away, with everything it has open, when so many have been sent.
        var leavesAfter: Int?
    }

    let exchanges: [SimulatedExchange]
    let end: HTTP2End
    private(set) var streams: [HTTP2Peer.Stream?] = []
    /// The places of requests that were given up.
    private(set) var givenUp: Set<Int> = []
    private(set) var left = false
    private(set) var finishedAt = Instant.zero
    private let manner: Manner
    let wakeAt: Instant? = nil
    private(set) var isDone = false

    init(_ end: HTTP2End, _ exchanges: [SimulatedExchange], _ manner: Manner) {
        self.end = end
        self.exchanges = exchanges
        self.manner = manner
    }

    private var openCount: Int {
        streams.reduce(0) { $0 + ($1 != nil && $1?.closed == nil ? 1 : 0) }
    }

    func act(_ simulation: ProxySimulation) -> Bool {
        guard !isDone else { return false }
        if end.isDone {
            isDone = true
            finishedAt = simulation.now
            return true
        }
        if let limit = manner.leavesAfter, streams.count >= limit, simulation.chance(30) {
            left = true
            isDone = true
            end.isDone = true
            end.socket.peerClose(reset: simulation.chance(50))
            return true
        }
        var acted = false
        if streams.count < exchanges.count, openCount < manner.concurrency {
            // Who still means to ask keeps time from going on to the next deadline.
            acted = true
            if simulation.chance(50) { streams.append(request(exchanges[streams.count])) }
        }
        if let every = manner.resetsEvery, simulation.chance(5), !streams.isEmpty {
            let i = simulation.random.below(streams.count)
            if i % every == 0, let stream = streams[i], stream.closed == nil,
                givenUp.insert(i).inserted
            {
                end.peer.reset(stream.number, .cancel)
                acted = true
            }
        }
        if streams.count == exchanges.count, openCount == 0 { end.closesWhenDone = true }
        return end.act(simulation) || acted
    }

    private func request(_ exchange: SimulatedExchange) -> HTTP2Peer.Stream? {
        var fields: Fields = [
            (":method", exchange.method), (":scheme", "http"),
            (":authority", exchange.isRouted ? "a" : "b"), (":path", exchange.path),
            ("x-do", "\(exchange.answer.rawValue) \(exchange.answerSize)"),
        ]
        guard exchange.method == "POST" || exchange.method == "PUT" else {
            return end.peer.request(fields)
        }
        if exchange.isChunked {
            return end.peer.request(
                fields, body: exchange.requestBody, trailers: [("x-sum", "1")])
        }
        fields.append(("content-length", "\(exchange.requestBody.count)"))
        return end.peer.request(fields, body: exchange.requestBody)
    }
}

/// What a simulated server of HTTP/2 does with each request: what `x-do` says.
final class HTTP2TrafficServer {
    private let record: ServerRecord
    private unowned let simulation: ProxySimulation
    private unowned let end: HTTP2End
    /// In which requests may be refused more than once, and whole connections' at once.
    private let isSound: Bool
    /// The last stream that is looked at.
    private var last = Int32.max
    private var refused: Set<Int32> = []

    init(
        _ end: HTTP2End, _ record: ServerRecord, _ simulation: ProxySimulation, isSound: Bool
    ) {
        self.end = end
        self.record = record
        self.simulation = simulation
        self.isSound = isSound
    }

    /// Has the end's peer do so.
    func take(_ peer: HTTP2Peer) {
        peer.onHead = { self.headCame($0) }
        peer.onEnd = { self.ended($0) }
    }

    private func tag(_ stream: HTTP2Peer.Stream) -> Int {
        Int(stream[":path"]?.dropFirst() ?? "") ?? -1
    }

    private func plan(_ stream: HTTP2Peer.Stream) -> (SimulatedExchange.Answer, size: Int) {
        let words = (stream["x-do"] ?? "").split(separator: " ").map { Int($0) ?? 0 }
        guard words.count == 2, let answer = SimulatedExchange.Answer(rawValue: words[0]) else {
            return (.length, 0)
        }
        return (answer, words[1])
    }

    /// Whether the stream is refused, before anything of it has been looked at.
    private func refuses(_ stream: HTTP2Peer.Stream) -> Bool {
        // What comes before a GOAWAY has gone out stands before the last stream that it names.
        if stream.number > last || !end.peer.letsIn(stream.number) { return true }
        let tag = tag(stream)
        guard !isSound else {
            // Once, and only what is surely sent again: a body that one buffer holds.
            let hasBody = stream[":method"] == "POST" || stream[":method"] == "PUT"
            let length = stream["content-length"].flatMap { Int($0) } ?? .max
            guard !hasBody || length < 60_000, !record.refused.contains(tag),
                simulation.chance(5)
            else { return false }
            record.refused.insert(tag)
            end.peer.reset(stream.number, .refusedStream)
            return true
        }
        guard simulation.chance(10) else { return false }
        record.refused.insert(tag)
        if simulation.chance(70) {
            end.peer.reset(stream.number, .refusedStream)
        } else {
            last = stream.number - 2
            end.peer.goAway(last: max(0, last))
        }
        return true
    }

    private func headCame(_ stream: HTTP2Peer.Stream) {
        if refuses(stream) {
            refused.insert(stream.number)
            return
        }
        record.seen.append(tag(stream))
        if !record.processed.insert(tag(stream)).inserted {
            record.violations.append("\(tag(stream)) was processed twice")
        }
        if plan(stream).0 == .early { answer(stream) }
    }

    private func ended(_ stream: HTTP2Peer.Stream) {
        if refused.contains(stream.number) { return }
        let tag = tag(stream)
        if stream.body != SimulatedExchange.pattern(tag, stream.body.count) {
            record.violations.append("the body of \(tag) is another's")
        }
        for name in ["connection", "keep-alive", "transfer-encoding", "host"]
        where stream[name] != nil {
            record.violations.append("\(name) was passed on with \(tag)")
        }
        let hasBody = stream[":method"] == "POST" || stream[":method"] == "PUT"
        if let length = stream["content-length"] {
            if length != "\(stream.body.count)" {
                record.violations.append("\(tag) is \(stream.body.count) of \(length) bytes long")
            }
        } else if hasBody, ownFields(stream.trailers) != ["x-sum: 1"] {
            record.violations.append("\(tag) lost its trailers")
        }
        if plan(stream).0 != .early { answer(stream) }
    }

    private func answer(_ stream: HTTP2Peer.Stream) {
        let (kind, size) = plan(stream)
        let tag = tag(stream)
        let isHead = stream[":method"] == "HEAD"
        let data = isHead ? [] : SimulatedExchange.pattern(tag &+ 1_000_000_007, size)
        let own: Fields = [("x-tag", "\(tag)")]
        let sized = answerFields(200, own + [("content-length", "\(size)")])
        let peer = end.peer
        if isHead || size < 2, kind == .truncated || kind == .reset {
            // Its answer would be whole, or could pass for it.
            return peer.reset(stream.number, .internalError)
        }
        switch kind {
        case .length, .early, .closing: peer.answer(stream, sized, body: data)
        case .interim:
            peer.interim(stream, answerFields(103, [("link", "</x>")]))
            peer.answer(stream, sized, body: data)
        case .empty: peer.answer(stream, answerFields(204, own))
        case .chunked:
            let trailers: Fields? = isHead ? nil : [("x-end", "1")]
            peer.answer(stream, answerFields(200, own), body: data, trailers: trailers)
        case .untilClose: peer.answer(stream, answerFields(200, own), body: data)
        case .stale:
            peer.answer(stream, sized, body: data)
            peer.submitGoaway(.noError)
        case .garbage: peer.answer(stream, answerFields(200, own + [("x bad", "1")]))
        case .truncated:
            peer.answer(stream, sized, body: Array(data.prefix(size / 2)), ends: false)
            peer.reset(stream.number, .internalError)
        case .reset:
            peer.answer(stream, sized, body: Array(data.prefix(size / 2)), ends: false)
            end.resets = true
        case .silent: break
        }
    }
}

extension ProxyTraffic {
    /// Whether a client of HTTP/2 got what it should have.
    func judge(_ client: HTTP2TrafficClient) -> String? {
        if client.left { return nil }
        for (i, exchange) in client.exchanges.enumerated() where !client.givenUp.contains(i) {
            guard i < client.streams.count, let stream = client.streams[i] else {
                if isSound { return "\(exchange.tag) was not sent" }
                continue
            }
            if let failure = judge(exchange, stream) { return "HTTP/2: \(failure)" }
        }
        return nil
    }

    private func judge(_ exchange: SimulatedExchange, _ stream: HTTP2Peer.Stream) -> String? {
        // A drain comes before it, or it was refused for want of a slot.
        if !isSound, stream.status == nil { return nil }
        if exchange.isDenied {
            return stream.status == 403 && stream["x-response-flags"] == "UAEX"
                ? nil : "\(exchange.tag), denied, got \(stream.head) \(stream.closed as Any)"
        }
        if !exchange.isRouted {
            return stream.status == 404 && stream["x-response-flags"] == "NR"
                ? nil : "\(exchange.tag) without a route got \(stream.head) \(stream.closed as Any)"
        }
        if let flag = stream["x-response-flags"] {
            return allows(exchange, flag) ? nil : "\(exchange) got \(flag)"
        }
        guard stream.isWhole else {
            return isSound
                ? "\(exchange.tag) \(exchange.answer) was not answered: \(stream.head) "
                    + "\(stream.body.count) \(stream.closed as Any)" : nil
        }
        guard stream["x-tag"] == "\(exchange.tag)" else {
            return "\(exchange.tag) got the answer \(stream.head)"
        }
        guard exchange.answer.isSound || exchange.answer == .stale else {
            return "\(exchange.tag) \(exchange.answer) passed for whole"
        }
        if stream.status != (exchange.answer == .empty ? 204 : 200) { return "status" }
        if stream.body != exchange.answerBody { return "\(exchange.tag): wrong body" }
        let trailers = exchange.answer == .chunked && !exchange.isHead ? ["x-end: 1"] : []
        if ownFields(stream.trailers) != trailers { return "\(exchange.tag): wrong trailers" }
        let interim = exchange.answer == .interim ? 1 : 0
        return stream.heads.count - 1 == interim ? nil : "\(exchange.tag): interim answers"
    }
}
