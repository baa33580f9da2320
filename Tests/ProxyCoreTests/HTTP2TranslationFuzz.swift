import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Messages of HTTP/2, sound and evil, that come out as HTTP/1.1: the other side must see exactly
/// what a sound peer sent, and never more. One message a step.
@Suite struct HTTP2TranslationFuzz {
    @Test func evilRequests() {
        let budget = FuzzBudget.current(seed: 31, steps: 300)
        if let failure = Self.requests(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("HTTP2TranslationFuzz.evilRequests"))")
        }
    }

    @Test func evilAnswers() {
        let budget = FuzzBudget.current(seed: 32, steps: 300)
        if let failure = Self.answers(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("HTTP2TranslationFuzz.evilAnswers"))")
        }
    }

    private static func configuration(
        _ upstream: ProxyConfiguration.Cluster.Speech
    ) -> ProxyConfiguration {
        ProxyConfiguration(
            listeners: [], routes: [.init(cluster: "c")],
            clusters: [.init(name: "c", endpoints: ["127.0.0.1:1000"], speech: upstream)],
            limits: ProxyLimits(connections: 48))
    }

    // MARK: Requests

    static func requests(_ seed: UInt64, _ steps: Int) -> String? {
        var maker = MessageMaker(seed: seed)
        let simulation = ProxySimulation(configuration(.http1), seed: seed)
        let log = RequestLog()
        simulation.serve = { socket, _ in ExactServer(socket, log, grantsUpgrades: true) }
        var step = 0
        while step < steps {
            log.requests = []
            guard let socket = simulation.connect() else { return "step \(step): no slot" }
            let end = HTTP2End(HTTP2Peer(server: false), socket)
            simulation.peers = simulation.peers.filter { !$0.isDone } + [end]
            var sent: [(MadeMessage, HTTP2Peer.Stream?)] = []
            for i in 0...maker.random.below(4) {
                let message = maker.request(tag: "\(step + i)")
                let stream = end.peer.request(
                    message.fields, body: message.body, trailers: message.trailers)
                sent.append((message, stream))
            }
            step += sent.count
            simulation.run(until: simulation.now + .seconds(1))
            end.closesWhenDone = true
            simulation.run(until: simulation.now + .seconds(30))
            if let refused = log.refused {
                return "step \(step): the server got \(visible(refused.prefix(400)))"
            }
            if let failure = judge(sent, log.requests, end.peer) {
                return "step \(step): \(failure)"
            }
            if !end.isDone { return "step \(step): a client is stuck" }
        }
        simulation.run()
        let proxy = simulation.proxy
        guard proxy.openConnections == 0, proxy.buffersInUse == 0 else {
            return "\(proxy.openConnections) connections, \(proxy.buffersInUse) buffers left"
        }
        return nil
    }

    private static func judge(
        _ sent: [(MadeMessage, HTTP2Peer.Stream?)], _ seen: [SeenRequest], _ peer: HTTP2Peer
    ) -> String? {
        if let code = peer.goaways.first(where: { $0 != .noError }) { return "GOAWAY \(code)" }
        var rest = seen
        for (message, stream) in sent {
            let tag = Array(message.tag.utf8)
            let own = rest.filter { $0.head.values("x-tag") == [tag] }
            rest.removeAll { $0.head.values("x-tag") == [tag] }
            guard own.count <= 1 else { return "\(message) was seen \(own.count) times" }
            if message.isEvil, !own.isEmpty { return "\(message) was passed on" }
            if !message.isBent, own.isEmpty {
                return "\(message) was not passed on: \(stream?.head ?? []) "
                    + "\(String(describing: stream?.closed))"
            }
            if let found = own.first {
                if let difference = difference(message, found) {
                    return "\(message): \(difference)"
                }
                if !message.isBent, stream?.isWhole != true || stream?.status != 200 {
                    return "\(message) was seen and not answered"
                }
                if !message.isBent, message.isTunnel, stream?.body != message.body {
                    return "\(message): what came back was another's"
                }
            }
        }
        return rest.isEmpty ? nil : "what nobody sent was seen: \(rest[0].head)"
    }

    private static func difference(_ sent: MadeMessage, _ seen: SeenRequest) -> String? {
        func bytes(_ name: String) -> [UInt8]? {
            sent.fields.first { $0.name == name }.map { Array($0.value.utf8) }
        }
        let method = sent.isTunnel ? Array("GET".utf8) : bytes(":method")
        if seen.head.start[0] != method { return "method" }
        if let difference = tunnelDifference(sent, seen) { return difference }
        if seen.head.start[1] != bytes(":path") { return "path \(visible(seen.head.start[1]))" }
        if seen.head.values("host") != [bytes(":authority") ?? bytes("host") ?? []] {
            return "host"
        }
        if !sent.isTunnel, seen.body != sent.body { return "body" }
        let trailers = seen.trailers.map { "\($0.key): \(text($0.value))" }
        // A body of a known length has no place for them in HTTP/1.1.
        let hasPlace = seen.head.framing == .chunked
        if trailers != (hasPlace ? ownFields(sent.trailers) : []) { return "trailers \(trailers)" }
        let apart: Set = [
            "host", "cookie", "te", "connection", "transfer-encoding", "upgrade",
            "sec-websocket-key",
        ]
        let own = sent.fields.filter { !$0.name.hasPrefix(":") && !apart.contains($0.name) }
            .map { "\($0.name): \($0.value)" }
        let others = seen.head.fields.filter { !apart.contains($0.key) }
            .map { "\($0.key): \(text($0.value))" }
        return own == others ? nil : "fields \(others)"
    }

    /// A tunnel is one that was asked for on both sides, each in its own words (RFC 8441), and
    /// every byte of it passes.
    private static func tunnelDifference(_ sent: MadeMessage, _ seen: SeenRequest) -> String? {
        guard sent.isTunnel else {
            return seen.tunnel == nil ? nil : "a tunnel that nobody asked for"
        }
        guard let bytes = seen.tunnel else { return "no tunnel" }
        if seen.head.values("upgrade") != [Array("websocket".utf8)] { return "upgrade" }
        let options = seen.head.values("connection").flatMap {
            text($0).lowercased().split(separator: ",").map { $0.filter { $0 != " " } }
        }
        // What is said for the next hop alone is named there (RFC 9110, 10.1.4).
        if !options.contains("upgrade") || !Set(options).isSubset(of: ["upgrade", "te"]) {
            return "connection \(options)"
        }
        if seen.head.values("sec-websocket-key").count != 1 { return "key" }
        if seen.head.framing != .none || !seen.body.isEmpty { return "a body" }
        let isSound = !sent.isBent && bytes == sent.body
        return isSound || sent.isBent && sent.body.starts(with: bytes)
            ? nil : "\(bytes.count) bytes of the tunnel"
    }

    // MARK: Answers

    static func answers(_ seed: UInt64, _ steps: Int) -> String? {
        var maker = MessageMaker(seed: seed)
        let simulation = ProxySimulation(configuration(.http2), seed: seed)
        var message = maker.answer(tag: "0")
        simulation.serve = { socket, _ in
            let peer = HTTP2Peer(server: true)
            peer.onEnd = { [unowned peer] stream in
                for interim in message.interim { peer.interim(stream, interim) }
                peer.answer(
                    stream, message.fields, body: message.body, trailers: message.trailers)
            }
            return HTTP2End(peer, socket)
        }
        for step in 0..<steps {
            message = maker.answer(tag: "\(step)")
            guard let socket = simulation.connect() else { return "step \(step): no slot" }
            socket.peerWrite(Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8)[...])
            var received: [UInt8] = []
            for _ in 0..<6 {
                simulation.run(until: simulation.now + .milliseconds(2))
                received += socket.peerRead(.max)
            }
            if let failure = judge(message, received, isOver: socket.peerFindsEnd) {
                return "step \(step): \(message): \(failure) in \(visible(received.prefix(500)))"
            }
            socket.peerClose(reset: false)
            simulation.run(until: simulation.now + .milliseconds(2))
        }
        return nil
    }

    private static func judge(_ sent: MadeMessage, _ bytes: [UInt8], isOver: Bool) -> String? {
        let exchange = SimulatedExchange(tag: 0)
        switch AnswerReader.read(bytes, at: 0, exchange, atEnd: false) {
        case .broken(let why): return why
        case .partial:
            if !sent.isBent { return "a sound answer was cut" }
            return isOver ? nil : "an answer that does not go on"
        case .whole(let head, let body, let end, let interim):
            if end != bytes.count { return "more than one answer" }
            if !head.values("x-response-flags").isEmpty {
                return sent.isBent ? nil : "a sound answer was refused"
            }
            if sent.isEvil { return "it was passed on" }
            if interim != sent.interim.count { return "\(interim) interim answers" }
            let status = sent.fields.first { $0.name == ":status" }?.value
            if "\(head.status)" != status { return "status" }
            if head.values("x-tag") != [Array(sent.tag.utf8)] { return "another's" }
            return body == (head.framing == .none ? [] : sent.body) ? nil : "body"
        }
    }
}

/// A message, and whether it must be refused.
struct MadeMessage: CustomStringConvertible {
    var tag: String
    var fields: Fields
    var body: [UInt8] = []
    var trailers: Fields?
    var interim: [Fields] = []
    /// It asks for a WebSocket, whose bytes are the body.
    var isTunnel = false
    /// It must not be passed on.
    var isEvil = false
    /// It may or may not be.
    var isBent = false
    var how: [String] = []

    var description: String {
        "\(how) \(fields.map { visible("\($0.name): \($0.value)".utf8) }) + \(body.count) "
            + "\((trailers ?? []).map { visible("\($0.name): \($0.value)".utf8) })"
    }
}

/// Makes messages from a seed.
struct MessageMaker {
    var random: SeededRandom

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    private mutating func chance(_ percent: Int) -> Bool { random.below(100) < percent }

    private mutating func pick<T>(_ choices: [T]) -> T { choices[random.below(choices.count)] }

    private mutating func ordinary() -> Fields {
        (0..<random.below(5)).map { _ in
            (
                pick(["x-a", "accept", "user-agent", "x_b", "x-!#$%&'*+.^`|~"]),
                pick(["", "a", "a b", "a\tb", "\u{e4}\u{f6}", "a: b", "a, b;q=0.1", "\"\\\"\""])
            )
        }
    }

    /// A CONNECT that asks for a WebSocket, or for what may not pass.
    private mutating func connect(tag: String) -> MadeMessage {
        var message = MadeMessage(
            tag: tag,
            fields: requestFields("CONNECT", pick(["/", "/chat?b=c", "/?"]), ordinary()))
        message.fields += [("sec-websocket-version", "13"), ("x-tag", tag)]
        if chance(20) {
            message.fields.append(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))
        }
        message.body = SimulatedExchange.pattern(
            tag.count, chance(10) ? random.below(200_000) : random.below(100))
        message.isTunnel = true
        switch random.below(10) {
        case 0:
            // For a tunnel to a host, which this proxy opens for nobody.
            message.how.append("plain")
            message.fields.removeAll { $0.name == ":path" || $0.name == ":scheme" }
            message.isEvil = true
        case 1:
            message.how.append("other protocol")
            let other = pick(["h2c", "connect-udp", "web socket", "", "websocket, h2c", "a\r\nb"])
            message.fields.insert((":protocol", other), at: 1)
            message.isEvil = true
        case 2:
            message.how.append("several protocols")
            message.fields.insert((":protocol", "websocket"), at: 1)
            message.fields.insert((":protocol", "websocket"), at: 1)
            message.isEvil = true
        case 3:
            message.how.append("no CONNECT")
            message.fields.insert((":protocol", "websocket"), at: 1)
            set(":method", pick(["GET", "POST", "connect"]), &message)
        default: message.fields.insert((":protocol", "websocket"), at: 1)
        }
        message.isBent = message.isEvil
        if !message.isEvil, chance(40) {
            bendRequest(&message)
            // Its head has gone on before they come.
            if message.trailers != nil { message.isEvil = false }
        }
        return message
    }

    mutating func request(tag: String) -> MadeMessage {
        if chance(20) { return connect(tag: tag) }
        let hasBody = chance(50)
        var message = MadeMessage(
            tag: tag,
            fields: requestFields(
                hasBody ? pick(["POST", "PUT", "GET"]) : pick(["GET", "DELETE", "M-SEARCH"]),
                pick(["/", "/a?b=c", "/%20", "/a//b/../c", "/?"]),
                ordinary() + [("x-tag", tag)]))
        if hasBody {
            message.body = SimulatedExchange.pattern(
                tag.count, chance(10) ? random.below(100_000) : random.below(100))
            if chance(40) { message.trailers = [("x-sum", "1"), ("x-b", pick(["", "a b"]))] }
            if chance(50) {
                message.fields.append(("content-length", "\(message.body.count)"))
            }
        }
        if chance(10) { message.fields.append(("cookie", "a=1")) }
        if chance(60) { bendRequest(&message) }
        return message
    }

    mutating func answer(tag: String) -> MadeMessage {
        var message = MadeMessage(
            tag: tag,
            fields: answerFields(pick([200, 201, 404, 500]), ordinary() + [("x-tag", tag)]))
        message.body = SimulatedExchange.pattern(
            tag.count, chance(10) ? random.below(60_000) : random.below(100))
        if chance(40) { message.trailers = [("x-sum", "1")] }
        if chance(50) { message.fields.append(("content-length", "\(message.body.count)")) }
        if chance(20) { message.interim = [answerFields(103, [("link", "</x>")])] }
        if chance(60) { bendAnswer(&message) }
        return message
    }

    static let badValues = [
        "a\r\nx-evil: 1", "a\r\n\r\nGET /evil HTTP/1.1\r\nhost: a\r\n\r\n", "a\nb", "a\rb", "\r\n",
        "a\u{0}b", " a", "a ", "\ta", "a\u{7f}", "a\u{1}",
    ]
    static let badNames = [
        "x a", "x\r\ny", "x:y", "x\u{0}", "\u{e9}", "x\ny", "(x)", "x\"", "x/y", "",
        "x-evil: 1\r\ny",
    ]
    static let hopFields: Fields = [
        ("connection", "close"), ("connection", "x-tag"), ("keep-alive", "1"),
        ("proxy-connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"),
        ("transfer-encoding", "identity"),
    ]
    static let badTrailers: Fields = [
        ("content-length", "5"), ("transfer-encoding", "chunked"), ("host", "b"),
        ("connection", "close"), ("trailer", "x"), ("te", "trailers"), ("expect", "100-continue"),
        (":path", "/evil"), (":status", "200"), ("x", "a\r\nb"), ("x a", "b"), ("x", "a\u{0}"),
        ("x\r\n\r\nGET /evil HTTP/1.1", "a"), ("upgrade", "websocket"),
    ]

    private mutating func insert(
        _ field: (name: String, value: String), _ message: inout MadeMessage
    ) {
        let first = message.fields.firstIndex { !$0.name.hasPrefix(":") } ?? message.fields.count
        let place = first + random.below(message.fields.count - first + 1)
        message.fields.insert(field, at: place)
        message.isBent = true
        message.isEvil = true
    }

    private mutating func set(_ name: String, _ value: String, _ message: inout MadeMessage) {
        if let i = message.fields.firstIndex(where: { $0.name == name }) {
            message.fields[i].value = value
        }
        message.isBent = true
        message.isEvil = true
    }

    /// What is wrong in either direction. True: it has been done.
    private mutating func bendAny(_ message: inout MadeMessage) -> Bool {
        let kind = random.below(12)
        message.how.append("any \(kind)")
        switch kind {
        case 0: insert(("x-bad", pick(Self.badValues)), &message)
        case 1: insert((pick(Self.badNames), "a"), &message)
        case 2: insert(pick(Self.hopFields), &message)
        case 3 where !message.body.isEmpty:
            // 0 would be a whole message, passed on before the body comes that it does not have.
            let wrong = message.body.count + (message.body.count > 1 ? pick([-1, 1, 10]) : 1)
            message.fields.removeAll { $0.name == "content-length" }
            insert(("content-length", "\(wrong)"), &message)
        case 4:
            insert(
                (
                    "content-length",
                    pick(["+1", "-1", "0x1", "1 1", "1,1", "", "a", "99999999999999999999"])
                ),
                &message)
        case 5 where message.isTunnel:
            // What follows has no length (RFC 9113, 8.5).
            insert(("content-length", "\(message.body.count)"), &message)
        case 5:
            message.fields.removeAll { $0.name == "content-length" }
            insert(("content-length", "\(message.body.count)"), &message)
            insert(("content-length", "\(message.body.count + 1)"), &message)
        case 6 where !message.body.isEmpty:
            message.trailers = (message.trailers ?? []) + [pick(Self.badTrailers)]
            message.isBent = true
            // Of a known length it has gone on whole before they come.
            message.isEvil = !message.fields.contains { $0.name == "content-length" }
        case 7: insert((pick([":unknown", ":", ":path ", ":Path"]), "a"), &message)
        default: return false
        }
        return true
    }

    private mutating func bendRequest(_ message: inout MadeMessage) {
        if bendAny(&message) { return }
        let kind = random.below(12)
        message.how.append("request \(kind)")
        switch kind {
        case 0:
            let name = pick([":method", ":scheme", ":path", ":authority"])
            message.fields.removeAll { $0.name == name }
            message.isBent = true
            message.isEvil = true
        case 1:
            let name = pick([":method", ":scheme", ":path", ":authority"])
            if let field = message.fields.first(where: { $0.name == name }) {
                message.fields.insert(field, at: 0)
            }
            message.isBent = true
            message.isEvil = true
        case 2:
            let name = pick([":method", ":scheme", ":path", ":authority"])
            if let i = message.fields.firstIndex(where: { $0.name == name }) {
                message.fields.append(message.fields.remove(at: i))
            }
            message.isBent = true
            message.isEvil = true
        case 3: insert((":status", "200"), &message)
        case 4: insert(("host", pick(["b", "", "a:80", "a b", "a\r\nx: y"])), &message)
        case 5:
            insert(("host", "a"), &message)
            if chance(50) { insert(("host", "a"), &message) } else { message.isEvil = false }
        case 6:
            set(
                ":path",
                pick([
                    "", "a", "/ b", "/\r\nx: y", "/ HTTP/1.1\r\nx: y\r\n\r\n", "http://b/", "*",
                    "/\u{0}", "/#a", "/\u{7f}", "//\u{e9}\u{20}",
                ]), &message)
        case 7:
            set(
                ":authority",
                pick(["", "a@b", "a b", "a\r\nx: y", "a/b", "[::1", "a:b", "a\u{0}"]),
                &message)
        case 8:
            set(":method", pick(["", "GE T", "GET\r\n", "G\u{0}", "(GET)", "GET /evil"]), &message)
        case 9: insert(("te", pick(["gzip", "trailers, gzip", "chunked"])), &message)
        case 10:
            insert(("te", "trailers"), &message)
            message.isEvil = false
        default: set(":scheme", pick(["", "a b", "\r\n", "1http"]), &message)
        }
    }

    private mutating func bendAnswer(_ message: inout MadeMessage) {
        if bendAny(&message) { return }
        let kind = random.below(5)
        message.how.append("answer \(kind)")
        switch kind {
        case 0:
            set(
                ":status",
                pick(["", "20", "2000", "abc", "101", "099", "600", "+20", "2 0", "1e2"]),
                &message)
        case 1: insert((":path", "/"), &message)
        case 2:
            message.fields.insert(message.fields[0], at: 0)
            message.isBent = true
            message.isEvil = true
        case 3:
            message.fields.removeFirst()
            message.isBent = true
            message.isEvil = true
        default:
            // No body where the head says so, and the other way round.
            set(":status", pick(["204", "304"]), &message)
            message.isEvil = false
        }
    }
}
