import Base
import Model
import Testing

@testable import ProxyCore

/// Every order of what may befall a request with three attempts, against what must hold of it.
@Suite struct RetryModelTests {
    private enum Event: Equatable {
        case good(Int)
        case bad(Int)
        case reset(Int)
        /// More than any backoff, more than an attempt's time, and more than the request's.
        case backoff
        case attempt
        case request

        var time: Duration {
            switch self {
            case .good, .bad, .reset: .zero
            case .backoff: .milliseconds(76)
            case .attempt: .milliseconds(101)
            case .request: .seconds(1)
            }
        }
    }

    /// A request as its client and its servers see it.
    private final class Run {
        let scene: Scene
        let client: SimulatedSocket
        let most: Int
        var attempts = 0
        /// Servers that have a request to answer.
        var live: Set<Int> = []
        var answer = ""

        init(most: Int, hedges: Bool) {
            self.most = most
            scene = RetryTests.scene(
                RetryPolicy(
                    on: [.serverError], most: most - 1, perTry: .milliseconds(100),
                    hedges: hedges), timeouts: .init(request: .milliseconds(900)))
            client = scene.get().client
            look()
        }

        func look() {
            for (place, server) in scene.servers.enumerated() {
                if !scene.received(server).isEmpty {
                    attempts += 1
                    live.insert(place)
                }
                if server.proxyClosed || server.peerClosed { live.remove(place) }
            }
            answer += scene.received(client)
            scene.proxy.checkBreakers()
        }

        /// - Returns: what does not hold afterwards.
        func meet(_ event: Event) -> String? {
            switch event {
            case .good(let place):
                live.remove(place)
                scene.send(okAnswer, by: scene.servers[place])
            case .bad(let place):
                live.remove(place)
                // No connection is used again: one that is found stale gets the request once more,
                // whatever the policy says.
                let bad = "HTTP/1.1 503 x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno"
                scene.send(bad, by: scene.servers[place])
            case .reset(let place):
                live.remove(place)
                scene.close(scene.servers[place], reset: true)
            case .backoff, .attempt, .request: scene.pass(event.time)
            }
            let others = live
            look()
            return fault(event, others)
        }

        private func fault(_ event: Event, _ others: Set<Int>) -> String? {
            if attempts > most { return "\(attempts) attempts" }
            if answer.ranges(of: "HTTP/1.1 ").count > 1 { return "answered twice" }
            let isAnswered = !answer.isEmpty
            if isAnswered, !live.isEmpty { return "an attempt is left behind" }
            switch event {
            case .good: return answer.hasPrefix("HTTP/1.1 200 ") ? nil : "a good answer is lost"
            case .bad, .reset:
                let isLast = others.isEmpty && attempts == most
                if isAnswered == isLast { return nil }
                return isLast ? "nothing else can come" : "another answer might have come"
            case .backoff, .attempt: return nil
            case .request:
                return answer.hasPrefix("HTTP/1.1 504 ") ? nil : "its time was over"
            }
        }

        /// What is left when the request has an answer.
        func remains() -> String? {
            let breaker = scene.proxy.breakers[0]
            for resource in [Resource.requests, .pending, .retries]
            where breaker.count(resource, 0) != 0 {
                return "\(resource) in flight"
            }
            let line = scene.simulation.logLines.last ?? ""
            if answer.hasPrefix("HTTP/1.1 200 "), !line.contains("\"decided_by\":\"\"") {
                return "a good answer that something else decided: \(line)"
            }
            let before = attempts
            scene.pass(.seconds(2))
            look()
            if attempts != before { return "sent again behind its answer" }
            return answer.ranges(of: "HTTP/1.1 ").count == 1 ? nil : "not one answer"
        }
    }

    private struct Walk {
        let most: Int
        let hedges: Bool
        var runs = 0
        var ends: Set<String> = []

        mutating func walk(_ events: [Event], _ depth: Int) {
            runs += 1
            let run = Run(most: most, hedges: hedges)
            for (i, event) in events.enumerated() {
                guard let fault = run.meet(event) else { continue }
                // What came before has been looked at by itself.
                #expect(i == events.count - 1)
                Issue.record("\(events): \(fault)\n\(run.answer)")
                return
            }
            guard run.answer.isEmpty else {
                if let fault = run.remains() { Issue.record("\(events): \(fault)") }
                ends.insert(String(run.answer.prefix(12)))
                return
            }
            guard depth > 0 else { return }
            for place in run.live.sorted() {
                for event in [Event.good(place), .bad(place), .reset(place)] {
                    walk(events + [event], depth - 1)
                }
            }
            for event in [Event.backoff, .attempt, .request] { walk(events + [event], depth - 1) }
        }
    }

    @Test(arguments: [1, 2, 3], [false, true])
    func everyOrderOfEvents(_ most: Int, _ hedges: Bool) {
        var walk = Walk(most: most, hedges: hedges)
        walk.walk([], 5)
        #expect(walk.ends.isSuperset(of: ["HTTP/1.1 200", "HTTP/1.1 503", "HTTP/1.1 504"]))
        #expect(walk.runs > 10)
    }
}
