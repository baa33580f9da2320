// Attempts at endpoints, as the choice of endpoints sees them. An attempt begins when a request is
// paired with an upstream connection or stream, and ends with that pair:
//
//     chooseHost ─▶ beginAttempt ─▶ attemptConnected ─▶ attemptAnswered ─▶ endAttempt
//                        │                                                     ▲
//                        └── whatever happens: `close` ends what nobody ended ─┘
//
// Whoever ends one knows best how: the first that says so is heard.

import Base
import Model
import Wire

extension Proxy {
    /// Notes what the request in hand asks of its endpoint.
    func noteWish(_ slot: Int, _ bytes: Bytes, _ cluster: Int) {
        guard upstreams.clusters[cluster].readsRequests else { return }
        let client = client(of: slot)
        let wish =
            connections[slot].forwards
            ? upstreams.wishPlans[cluster].wish(client: client)
            : upstreams.wishPlans[cluster].wish(head, bytes, client: client)
        // What it shall avoid is for others to say.
        connections[slot].exchange.wish.hash = wish.hash
        connections[slot].exchange.wish.hasHash = wish.hasHash
        connections[slot].exchange.wish.subset = wish.subset
    }

    /// The status by which an answer's head is judged.
    func judgedStatus(_ client: Int, _ bytes: Bytes) -> Int {
        connections[client].exchange.isGRPC ? GRPCVerdict.status(head, bytes) : head.status
    }

    /// The endpoint that the request of a client goes to now; nil: there is none for it.
    func chooseHost(_ slot: Int, _ cluster: Int, now: Instant) -> Int? {
        upstreams.select(cluster, connections[slot].exchange.wish, now: now, &random)
    }

    /// There is no endpoint for the request.
    func refusalWithoutHost(_ cluster: Int) -> Refusal {
        count(.noneHealthy, cluster)
        return upstreams.clusters[cluster].endpointCount == 0 ? .noEndpoint : .noHealthyEndpoint
    }

    /// A request has been paired with `upstream`.
    func beginAttempt(_ upstream: Int, now: Instant) {
        guard !connections[upstream].isAttempt else { return }
        connections[upstream].isAttempt = true
        connections[upstream].attempted = now
        connections[upstream].probe =
            upstreams.began(Int(connections[upstream].endpoint), now: now)
        let carrier = connections[upstream].isStream ? Int(connections[upstream].carrier) : upstream
        if connections[carrier].stage != .connecting { attemptConnected(upstream) }
    }

    /// The attempt has a connection that is open.
    func attemptConnected(_ upstream: Int) {
        guard connections[upstream].isAttempt else { return }
        connectionMade(upstream)
        upstreams.connected(Int(connections[upstream].endpoint))
    }

    /// Attempts that wait for a session's connection have it: their times begin.
    func attemptsConnected(on carrier: Int) {
        for stream in session(of: carrier).streams {
            attemptConnected(Int(stream))
            if let client = connections[Int(stream)].peer { arm(client) }
        }
    }

    /// The head of a final answer has come.
    func attemptAnswered(_ upstream: Int, status: Int, now: Instant) {
        guard connections[upstream].isAttempt, !connections[upstream].isJudged else { return }
        connections[upstream].isJudged = true
        upstreams.answered(
            Int(connections[upstream].endpoint), status: status,
            latency: now - connections[upstream].attempted, now: now, &random)
    }

    /// The attempt is over; without effect where it was over before, or there is none.
    func endAttempt(_ upstream: Int, _ result: AttemptResult, now: Instant) {
        guard connections[upstream].isAttempt else { return }
        connections[upstream].isAttempt = false
        leave(upstream)
        var result = result
        if case .timedOut = result, connections[upstream].isJudged { result = .cancelled }
        countAttemptEnd(upstream, result)
        connections[upstream].isJudged = false
        upstreams.ended(
            Int(connections[upstream].endpoint), result, probe: connections[upstream].probe,
            latency: now - connections[upstream].attempted, now: now, &random)
    }

    /// The endpoints that requests in hand have been to, by number. Each knows a few.
    func endpointsInHand() -> Set<Int> {
        var known: Set<Int> = []
        for slot in 0..<touchedSlots
        where connections[slot].role == .downstream && isInHand(slot) {
            let exchange = connections[slot].exchange
            if exchange.endpoint >= 0 { known.insert(Int(exchange.endpoint)) }
            exchange.wish.avoided.forEach { known.insert($0) }
        }
        return known
    }

    // MARK: Counts

    /// The cluster that an endpoint is of; -1: none any more.
    @inline(__always)
    func cluster(ofEndpoint endpoint: Int) -> Int { Int(upstreams.endpoints[endpoint].cluster) }

    /// An attempt without the head of an answer is an error.
    private func countAttemptEnd(_ upstream: Int, _ result: AttemptResult) {
        guard !connections[upstream].isJudged else { return }
        switch result {
        case .answered, .cancelled: return
        case .connectFailed, .reset: break
        case .timedOut: countHost(upstream, .timeouts)
        }
        countHost(upstream, .errors)
    }

    @inline(__always)
    private func countHost(_ upstream: Int, _ count: HostCount) {
        upstreams.endpoints[Int(connections[upstream].endpoint)].counts?.add(count)
    }
}

extension AttemptResult {
    /// What an exchange that ends early with that flag says of its endpoint.
    init(_ flag: ResponseFlag?) {
        self =
            switch flag {
            case .UF: .connectFailed
            case .UC, .UR, .UPE: .reset
            case .UT: .timedOut
            default: .cancelled
            }
    }
}
