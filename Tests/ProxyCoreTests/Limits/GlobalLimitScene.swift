import Base
import Model
import Support
import Wire

@testable import ProxyCore

/// A proxy that asks a rate limit service, which is played here, as is the service behind it.
final class GlobalLimitScene {
    /// What the service does with a question.
    enum Reply {
        case verdict(RateLimitCode, [RateLimitResponse.Status] = [])
        /// Such a body.
        case bytes([UInt8], trailers: Fields = [("grpc-status", "0")])
        /// Such a head, and nothing else.
        case head(Fields)
        case reset
        case silence
    }

    static let service = "127.0.0.1:9"
    static let descriptors: [GlobalRateLimit.Descriptor] = [.init([.init("route", .text("all"))])]

    let scene: HTTP2Scene
    /// To each question in turn; the last one to all that follow.
    var replies: [Reply]
    private(set) var questions: [RateLimitRequest] = []
    private(set) var heads: [Fields] = []
    /// The connections that they came by.
    private(set) var carriers: [HTTP2Peer] = []
    /// Requests that have reached the service behind the proxy.
    private(set) var served = 0
    /// Streams of questions that are not answered.
    private(set) var open: [(peer: HTTP2Peer, stream: HTTP2Peer.Stream)] = []

    private var clients: [SimulatedSocket] = []

    var proxy: Proxy { scene.proxy }
    var counters: Counters { scene.proxy.counters }

    init(
        _ replies: [Reply], route: GlobalRateLimit? = GlobalLimitScene.limit(),
        listener: GlobalRateLimit? = nil, breaker: BreakerPolicy = .init(),
        _ change: (inout ProxyConfiguration) -> Void = { _ in }
    ) {
        self.replies = replies
        var configuration = Scene.configuration(accessLog: true)
        configuration.routes[0].globalRateLimit = route
        configuration.listeners[0].globalRateLimit = listener
        configuration.clusters.append(
            .init(
                name: "shop/limits", endpoints: [.init(Self.service)], speech: .http2,
                breaker: breaker))
        change(&configuration)
        scene = HTTP2Scene(.http2, configuration)
        scene.onEnd = { [unowned self] in respond(to: $1, of: $0) }
    }

    static func limit(
        denies: Bool = false, tells: Bool = false,
        _ descriptors: [GlobalRateLimit.Descriptor] = GlobalLimitScene.descriptors
    ) -> GlobalRateLimit {
        GlobalRateLimit(
            cluster: "shop/limits", domain: "shop", descriptors: descriptors, denies: denies,
            tells: tells)
    }

    private func respond(to stream: HTTP2Peer.Stream, of peer: HTTP2Peer) {
        guard stream[":path"] == "\(RateLimitCall.path)" else {
            served += 1
            return peer.answer(stream, answerFields(), body: Array("ok".utf8))
        }
        heads.append(stream.head)
        carriers.append(peer)
        let question = stream.body.withBytes { bytes -> RateLimitRequest? in
            var framing = GRPCFraming()
            guard let piece = try? framing.next(bytes), piece.ends, piece.used == bytes.count else {
                return nil
            }
            return try? RateLimitRequest(bytes[piece.payload])
        }
        guard let question else { preconditionFailure("a question that no service would take") }
        questions.append(question)
        let place = min(questions.count - 1, replies.count - 1)
        send(replies[place], stream, peer)
    }

    func send(_ reply: Reply, _ stream: HTTP2Peer.Stream, _ peer: HTTP2Peer) {
        let head = answerFields(200, [("content-type", "application/grpc")])
        switch reply {
        case .verdict(let code, let statuses):
            let message = RateLimitResponse(code, statuses).bytes
            peer.answer(
                stream, head, body: [0, 0, 0, 0, UInt8(message.count)] + message,
                trailers: [("grpc-status", "0")])
        case .bytes(let bytes, let trailers):
            peer.answer(stream, head, body: bytes, trailers: trailers)
        case .head(let fields): peer.answer(stream, fields)
        case .reset: peer.reset(stream.number, .internalError)
        case .silence: open.append((peer, stream))
        }
    }

    /// Has a new client of HTTP/1.1 ask.
    func ask(_ path: String = "/", _ fields: String = "") -> SimulatedSocket {
        let client = scene.rawClient()
        clients.append(client)
        scene.send("GET \(path) HTTP/1.1\r\nhost: a\r\n\(fields)\r\n", by: client)
        return client
    }

    /// What a new client is answered.
    func answer(_ path: String = "/", _ fields: String = "") -> String {
        scene.received(ask(path, fields))
    }

    func status(_ path: String = "/", _ fields: String = "") -> Int {
        Int(answer(path, fields).dropFirst(9).prefix(3)) ?? 0
    }

    /// What is left behind when everybody has gone; nil: nothing.
    func remains() -> String? {
        for client in clients where !client.peerClosed { client.peerClose(reset: true) }
        scene.pass()
        return scene.remains()
    }
}
