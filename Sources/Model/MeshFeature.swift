// What a mesh is held against: each feature by a number and a name, in the order of
// docs/SEMANTICS.md, which says exactly what each does here and by which tests it is proven. A
// scenario names those that it proves.

/// One row of the table of features.
public struct MeshFeature: Equatable, Sendable {
    /// From 1, the same for ever: rows are added at the end.
    public let number: Int
    /// As scenarios write it: `breaker-requests`.
    public let name: String
    /// For people: `Breaker: requests`.
    public let title: String
    /// What holds, in a few words.
    public let semantics: String

    fileprivate init(_ number: Int, _ name: String, _ title: String, _ semantics: String) {
        self.number = number
        self.name = name
        self.title = title
        self.semantics = semantics
    }

    /// All of them, in the order of their numbers.
    public static let all: [MeshFeature] =
        breaking + retrying + waiting + ejecting + limiting
        + balancing + passing

    private static let breaking: [MeshFeature] = [
        .init(
            1, "breaker-requests", "Breaker: requests",
            "at the limit 503 UO at once, x-envoy-overloaded, nothing waits"),
        .init(
            2, "breaker-pending", "Breaker: connections and pending, HTTP/1.1",
            "at the limit requests wait; a full queue is 503 UO"),
        .init(
            3, "breaker-pending-http2", "Breaker: pending, HTTP/2",
            "requests wait for a connection or a stream only"),
        .init(
            4, "breaker-retries", "Breaker: retries",
            "beyond it the upstream's own answer, UO, not overloaded"),
    ]

    private static let retrying: [MeshFeature] = [
        .init(
            5, "retry-budget", "Retry budget: in flight",
            "retries at most the greater of a least number and a share of what is in flight"),
        .init(
            6, "retry-budget-rate", "Retry budget: by time",
            "retries at most a share of the requests of a window, and so many a second"),
        .init(
            7, "retry-conditions", "Retries: conditions and count",
            "off by default, once where nothing is said; the last answer with URX"),
        .init(
            8, "retry-backoff", "Retries: backoff",
            "uniform from 0 to (2^n - 1) times the base, capped"),
        .init(
            9, "retry-after", "Retries: waits that answers ask for",
            "uniform from what Retry-After says to half as long again"),
        .init(
            10, "timeout-per-try", "Timeout: per try",
            "starts with the whole request sent; retried; 504 UT at the end"),
    ]

    private static let waiting: [MeshFeature] = [
        .init(
            11, "timeout-request", "Timeout: request",
            "covers retries and their waits; 504 UT, not retried"),
        .init(
            12, "timeout-connect", "Timeout: connect", "503 UF; retried as connect-failure"),
        .init(
            13, "timeout-idle", "Timeout: idle, stream idle, maximum duration",
            "an idle connection closes, a silent stream ends with SI"),
        .init(
            14, "retry-other-host", "Retries: another host",
            "hosts that were tried are drawn again so often at most"),
        .init(
            15, "hedging", "Hedging",
            "at the per-try timeout a second attempt beside the first; the loser is cancelled"),
    ]

    private static let ejecting: [MeshFeature] = [
        .init(
            16, "outlier-consecutive", "Ejection: 5xx in a row",
            "5 in a row, local errors too; at once"),
        .init(
            17, "outlier-time", "Ejection: time",
            "30s times how often in a row, 300s at most; back with the next sweep"),
        .init(
            18, "outlier-most", "Ejection: most",
            "10 % of hosts, rounded down: none of fewer than 10"),
        .init(
            19, "outlier-gateway", "Ejection: gateway failures", "502, 503, 504; off by default"),
        .init(
            20, "outlier-success-rate", "Ejection: success rate",
            "below mean less 1.9 deviations: k of N where N > 4.61·k"),
        .init(
            21, "outlier-failure-share", "Ejection: failure percentage",
            "from 85 % of failures; off by default"),
        .init(
            22, "outlier-local", "Ejection: local origin",
            "counted as 5xx, or apart where they are split"),
        .init(
            23, "panic", "Panic threshold",
            "below 50 % available all are used; at 0 none is: 503 UH"),
        .init(
            24, "outlier-checks", "Ejection: active checks",
            "a check that passes brings a host back, or not"),
    ]

    private static let limiting: [MeshFeature] = [
        .init(
            25, "rate-limit-local", "Rate limit: local",
            "a token bucket, full at the start: 429 RL, x-envoy-ratelimited"),
        .init(
            26, "rate-limit-global", "Rate limit: global",
            "429 RL; a service that is down lets all in, or 500 RLSE"),
        .init(
            27, "failure-accrual", "Failure accrual",
            "7 in a row; a real request as probe after 1s to 60s; no cap"),
        .init(
            28, "accrual-success-rate", "Failure accrual: success rate",
            "below 80 % over 10s, from so many requests"),
    ]

    private static let balancing: [MeshFeature] = [
        .init(
            29, "balance-ewma", "Balancing: two choices, peak EWMA",
            "slow hosts get less; quick failures attract nothing"),
        .init(
            30, "balance-zone", "Balancing: zones and priorities",
            "the own zone as far as it suffices, then the others"),
        .init(
            31, "slow-start", "Slow start and draining",
            "a new host's share rises; a drained one loses nothing"),
        .init(
            32, "admission-control", "Admission control",
            "turns away as successes fall below 95 %, 80 % at most"),
        .init(
            33, "deadline", "Deadlines",
            "what is left is told upstream, and no work is done past it"),
        .init(
            34, "breaker-priority", "Breaker: priorities", "separate limits for standard and high"),
        .init(
            35, "static-stability", "Static stability",
            "without a control plane the last good configuration holds"),
    ]

    private static let passing: [MeshFeature] = [
        .init(
            36, "weights", "Routing: weights",
            "each request by itself goes to a destination by its weight"),
        .init(
            37, "routing", "Routing: matches, rewrites, redirects", "the first route that matches"),
        .init(
            38, "mirror", "Mirroring", "a share is sent twice; the copy changes nothing"),
        .init(
            39, "faults", "Faults",
            "delay and abort by chance, each by itself, each written down"),
        .init(
            40, "order", "Order of filters",
            "limit, authorize, fault, route, breaker, retry"),
        .init(
            41, "isolation", "Isolation", "what hangs takes nothing from the others"),
        .init(
            42, "recovery", "Recovery",
            "with the trigger gone and the load kept, the goodput comes back"),
        .init(
            43, "balance-hash", "Balancing: consistent hashing, subsets, weights",
            "one key, one host; many keys, labels and chance by weight"),
    ]
}
