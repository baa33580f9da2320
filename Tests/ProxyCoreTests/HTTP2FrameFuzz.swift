import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Clients and upstreams of HTTP/2 whose frames are bent on their way. Nothing may break, what an
/// upstream of HTTP/1.1 gets must be requests, others are served on, and nothing may be left
/// behind. One frame a step.
@Suite struct HTTP2FrameFuzz {
    @Test func evilClientsOfHTTP11Upstreams() {
        let budget = FuzzBudget.current(seed: 21, steps: 400)
        if let failure = Self.run(budget.seed, budget.steps, .http1) {
            Issue.record(
                "\(failure)\n\(budget.rerun("HTTP2FrameFuzz.evilClientsOfHTTP11Upstreams"))")
        }
    }

    @Test func evilClientsOfHTTP2Upstreams() {
        let budget = FuzzBudget.current(seed: 22, steps: 400)
        if let failure = Self.run(budget.seed, budget.steps, .http2) {
            Issue.record(
                "\(failure)\n\(budget.rerun("HTTP2FrameFuzz.evilClientsOfHTTP2Upstreams"))")
        }
    }

    @Test func evilUpstreams() {
        let budget = FuzzBudget.current(seed: 23, steps: 400)
        if let failure = Self.run(budget.seed, budget.steps, .http2, bendsUpstreams: true) {
            Issue.record("\(failure)\n\(budget.rerun("HTTP2FrameFuzz.evilUpstreams"))")
        }
    }

    static func run(
        _ seed: UInt64, _ steps: Int, _ upstream: ProxyConfiguration.Cluster.Speech,
        bendsUpstreams: Bool = false
    ) -> String? {
        var random = SeededRandom(seed: seed)
        var done = 0
        while done < steps {
            let own = random.next()
            var round = FrameRound(own, upstream, bendsUpstreams: bendsUpstreams)
            if let failure = round.run() {
                return
                    "FrameRound(\(own), .\(upstream), bendsUpstreams: \(bendsUpstreams)): "
                    + failure
            }
            done += max(1, round.frames)
        }
        return nil
    }
}

/// A proxy, a few bent connections through it, and a straight one.
struct FrameRound {
    private var random: SeededRandom
    private let simulation: ProxySimulation
    private let upstream: ProxyConfiguration.Cluster.Speech
    private let bendsUpstreams: Bool
    private let log = RequestLog()
    private final class Counts { var frames = 0 }
    private let counts = Counts()
    var frames: Int { counts.frames }

    init(_ seed: UInt64, _ upstream: ProxyConfiguration.Cluster.Speech, bendsUpstreams: Bool) {
        random = SeededRandom(seed: seed)
        self.upstream = upstream
        self.bendsUpstreams = bendsUpstreams
        simulation = ProxySimulation(
            ProxyConfiguration(
                listeners: [], routes: [.init(cluster: "c")],
                clusters: [.init(name: "c", endpoints: ["127.0.0.1:1"], speech: upstream)],
                limits: ProxyLimits(connections: 48, streams: 16)), seed: seed)
    }

    private func bending(_ random: SeededRandom, rate: Int) -> (([UInt8]) -> [UInt8]) {
        var bender = FrameBender(random, rate: rate)
        return { [counts] frame in
            let before = bender.count
            defer { counts.frames += bender.count - before }
            return bender.bend(frame)
        }
    }

    mutating func run() -> String? {
        let benders = random.split("benders")
        var number: UInt64 = 0
        simulation.serve = { [log, simulation, upstream, bendsUpstreams, self] socket, _ in
            guard upstream == .http2 else { return ExactServer(socket, log) }
            let peer = HTTP2Peer(server: true)
            peer.onEnd = { [unowned peer, unowned simulation] stream in
                let size = simulation.random.below(3000)
                peer.answer(
                    stream, answerFields(200), body: SimulatedExchange.pattern(1, size),
                    trailers: simulation.chance(50) ? [("x-end", "1")] : nil)
            }
            let end = HTTP2End(peer, socket)
            number += 1
            if bendsUpstreams {
                end.bend = bending(benders.split("\(number)"), rate: 20)
            }
            return end
        }
        defer { simulation.serve = { _, _ in nil } }
        let rate = [2, 10, 40][random.below(3)]
        for _ in 0...random.below(3) {
            guard let end = client() else { continue }
            if !bendsUpstreams { end.bend = bending(random.split("\(random.next())"), rate: rate) }
            if random.below(3) == 0 { end.writeLimit = 1 + random.below(40) }
            for _ in 0...random.below(6) { ask(end.peer) }
            simulation.run(until: simulation.now + .milliseconds(5))
            for _ in 0...random.below(3) { ask(end.peer) }
            simulation.run(until: simulation.now + .milliseconds(5))
            end.closesWhenDone = true
            simulation.run(until: simulation.now + .milliseconds(5))
            if !end.isDone {
                end.socket.peerClose(reset: true)
                end.isDone = true
            }
        }
        if let refused = log.refused { return "a server got \(visible(refused.prefix(300)))" }
        if !bendsUpstreams, let failure = straight() { return failure }
        simulation.run()
        let proxy = simulation.proxy
        if proxy.openConnections != 0 { return "\(proxy.openConnections) connections left" }
        if proxy.buffersInUse != 0 { return "\(proxy.buffersInUse) buffers left" }
        return proxy.nextDeadline == nil ? nil : "a deadline left"
    }

    private func client() -> HTTP2End? {
        guard let socket = simulation.connect() else { return nil }
        let end = HTTP2End(HTTP2Peer(server: false), socket)
        simulation.peers.append(end)
        return end
    }

    private mutating func ask(_ peer: HTTP2Peer) {
        let size = random.below(4) == 0 ? random.below(8000) : random.below(300)
        let hasTrailers = random.below(3) == 0
        peer.request(
            requestFields(size > 0 ? "POST" : "GET", "/\(random.below(100))", [("x-a", "b")]),
            body: SimulatedExchange.pattern(1, size),
            trailers: size > 0 && hasTrailers ? [("x-sum", "1")] : nil)
    }

    /// Another connection is served as if nothing had happened.
    private func straight() -> String? {
        guard let end = client() else { return "no slot for another client" }
        let stream = end.peer.request(requestFields("POST"), body: [1, 2, 3])
        simulation.run(until: simulation.now + .milliseconds(20))
        end.closesWhenDone = true
        guard stream?.isWhole == true, stream?.status == 200 else {
            return "another client got \(stream?.head ?? []) \(String(describing: stream?.closed))"
        }
        return nil
    }
}
