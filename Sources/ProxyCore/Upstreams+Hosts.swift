// Which endpoint is chosen, and what attempts at it show. Nothing here allocates but when endpoints
// become available or cease to be.

import Base
import Model

extension Upstreams {
    // MARK: Choice

    /// The endpoint that a request goes to; nil: there is none for it.
    mutating func select(
        _ cluster: Int, _ wish: HostWish, now: Instant, _ random: inout SeededRandom
    ) -> Int? {
        let version = clusters[cluster].line?.version ?? 1
        return balancers[cluster].select(
            wish, version: version, now: now, &endpoints, &random)
    }

    /// Whether an endpoint of the cluster has a connection in its pool.
    func hasPooled(_ cluster: Int) -> Bool { clusters[cluster].firstPooled >= 0 }

    /// An endpoint with a connection in its pool that may serve such a request in place of the
    /// chosen one; nil: there is none.
    /// - Parameter isFree: whether one of its connections is for such a request.
    /// - Complexity: O(1) but for endpoints that may not.
    mutating func takePooled(
        _ cluster: Int, insteadOf chosen: Int, _ wish: HostWish = HostWish(),
        where isFree: (ConnectionList) -> Bool = { _ in true }
    ) -> Int? {
        var next = clusters[cluster].firstPooled
        while next >= 0 {
            let endpoint = Int(next)
            if balancers[cluster].admits(endpoint, insteadOf: chosen, wish, endpoints),
                isFree(endpoints[endpoint].pooled)
            {
                // The others have their turn first.
                unlinkPooled(endpoint)
                linkPooled(endpoint)
                return endpoint
            }
            next = endpoints[endpoint].nextPooled
        }
        return nil
    }

    // MARK: Attempts

    /// An attempt at the endpoint has begun.
    /// - Returns: the number of the probe by which the endpoint is tried again; 0: it is none.
    mutating func began(_ endpoint: Int, now: Instant) -> UInt32 {
        endpoints[endpoint].attempts += 1
        let cluster = Int(endpoints[endpoint].cluster)
        if let counts = endpoints[endpoint].counts {
            counts.add(.requests)
            counts.add(.requestsActive)
            clusters[cluster].counts?.add(.requests)
        }
        guard let marks = endpoints[endpoint].marks else { return 0 }
        let rules = clusters[cluster].rules
        if endpoints[endpoint].sharesAttempts { marks.countAttempt(1) }
        if rules.judges, clusters[cluster].line?.deadline == nil {
            standsOn[endpoint]?.arm(now: now)
            noteDeadline(cluster)
        }
        guard rules.accrual > 0, marks.isDoubted, let board = standsOn[endpoint] else { return 0 }
        let probe = board.took(marks, after: endpoints[endpoint].probe, now: now)
        guard probe > 0 else { return 0 }
        endpoints[endpoint].isProbed = true
        endpoints[endpoint].probe = probe
        return probe
    }

    /// An attempt has a connection to the endpoint that is open.
    mutating func connected(_ endpoint: Int) {
        guard let marks = endpoints[endpoint].marks else { return }
        marks.countConnected(clusters[Int(endpoints[endpoint].cluster)].rules)
    }

    /// The head of an answer has come.
    /// - Parameter status: of HTTP; what gRPC says in a head is made one.
    mutating func answered(
        _ endpoint: Int, status: Int, latency: Duration, now: Instant,
        _ random: inout SeededRandom
    ) {
        endpoints[endpoint].counts?.add(status < 500 ? .successes : .errors)
        guard let marks = endpoints[endpoint].marks else { return }
        let cluster = Int(endpoints[endpoint].cluster)
        let rules = clusters[cluster].rules
        if rules.countsAttempts {
            noteLatency(endpoint, cluster, latency, isFailure: status >= 500 || status == 429, now)
        }
        act(on: marks.count(status: status, rules, now: now), endpoint, marks, now: now, &random)
    }

    /// An attempt at the endpoint is over.
    /// - Parameter probe: what `began` said of it.
    mutating func ended(
        _ endpoint: Int, _ result: AttemptResult, probe: UInt32, latency: Duration, now: Instant,
        _ random: inout SeededRandom
    ) {
        endpoints[endpoint].attempts -= 1
        endpoints[endpoint].counts?.add(.requestsActive, -1)
        // Not where it has left the board on which it was tried again, or is tried by another: the
        // body of an answer may last until then.
        let isProbe =
            probe > 0 && endpoints[endpoint].isProbed && endpoints[endpoint].probe == probe
        if isProbe { endpoints[endpoint].isProbed = false }
        guard let marks = endpoints[endpoint].marks else { return }
        let cluster = Int(endpoints[endpoint].cluster)
        let rules = clusters[cluster].rules
        if endpoints[endpoint].sharesAttempts { marks.countAttempt(-1) }
        switch result {
        case .answered: return
        case .cancelled:
            if isProbe { standsOn[endpoint]?.gaveUp(marks, probe: probe) }
        case .connectFailed, .reset, .timedOut:
            if rules.countsAttempts {
                noteLatency(endpoint, cluster, latency, isFailure: true, now)
            }
            act(on: marks.count(result, rules, now: now), endpoint, marks, now: now, &random)
        }
    }

    private mutating func act(
        on found: HostFindings, _ endpoint: Int, _ marks: HostMarks, now: Instant,
        _ random: inout SeededRandom
    ) {
        guard !found.isEmpty else { return }
        standsOn[endpoint]?.act(on: found, marks, now: now, &random)
        noteDeadline(Int(endpoints[endpoint].cluster))
    }

    /// A failure of an endpoint counts as no shorter than what is taken of one of which nothing is
    /// known, and than what the next request was expected to take at the busiest of its cluster of
    /// late. Whoever fails at once has nothing in flight, ever, and would else be the better choice
    /// whenever the others have some, and draw the requests of all.
    private mutating func noteLatency(
        _ endpoint: Int, _ cluster: Int, _ latency: Duration, isFailure: Bool, _ now: Instant
    ) {
        guard let terms = clusters[cluster].latencies else { return }
        let (standard, decay) = (terms.standardLatency, terms.decay)
        var latency = latency
        if isFailure {
            let longest = clusters[cluster].longest.value(standard, decay, now: now)
            latency = max(latency, standard, Duration(nanoseconds: Int64(longest)))
        } else {
            let expected = latency * Int64(endpoints[endpoint].active + 1)
            clusters[cluster].longest.note(expected, standard, decay, now: now)
        }
        endpoints[endpoint].latency.note(latency, standard, decay, now: now)
    }

    // MARK: Time

    private mutating func noteDeadline(_ cluster: Int) {
        guard let due = clusters[cluster].line?.deadline else { return }
        nextDeadline = min(nextDeadline ?? due, due)
    }

    /// Acts on what is due: endpoints are judged, and come back.
    mutating func expire(now: Instant, _ random: inout SeededRandom) {
        for board in boards {
            if let board, let due = board.line.deadline, due <= now {
                board.expire(now: now, &random)
            }
        }
        settleDeadline()
    }
}
