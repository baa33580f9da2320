// What a request asks of the endpoint that it is sent to, and what an attempt shows of it.

/// What a request asks of its endpoint. It stays true across a reload.
struct HostWish: BitwiseCopyable {
    /// Where the request has something that is hashed: requests with the same go to the same
    /// endpoint, with the algorithms that hash.
    var hash: UInt64 = 0
    var hasHash = false
    /// The key of the labels that the endpoint must have; 0: any.
    var subset: UInt64 = 0
    /// Endpoints that it has been to. One of them that is drawn is drawn anew, at most `redraws`
    /// times; then it is taken all the same.
    ///
    /// Source: Envoy, `envoy.retry_host_predicates.previous_hosts` and
    /// `host_selection_retry_max_attempts`.
    var avoided = AvoidedHosts()
    var redraws: UInt8 = 0
}

/// A few endpoints by number. The last ones, where more are put in than there is room for.
struct AvoidedHosts: BitwiseCopyable {
    /// Bound: a request has rarely more attempts, and one more at a host that it has been to long
    /// ago does no harm.
    static let most = 6
    private var hosts: InlineArray<6, Int32> = .init(repeating: -1)
    private var next: UInt8 = 0

    func contains(_ endpoint: Int) -> Bool {
        for i in 0..<Self.most where hosts[i] == Int32(endpoint) { return true }
        return false
    }

    func forEach(_ body: (Int) -> Void) {
        for i in 0..<Self.most where hosts[i] >= 0 { body(Int(hosts[i])) }
    }

    mutating func insert(_ endpoint: Int) {
        guard !contains(endpoint) else { return }
        hosts[Int(next)] = Int32(endpoint)
        next = Int(next) + 1 < Self.most ? next + 1 : 0
    }
}

/// How an attempt came out for the endpoint that it was made at.
///
/// Source: Envoy, `Upstream::Outlier::Result`, and where `Router::Filter` reports which.
enum AttemptResult {
    /// The answer is complete. Its status was told when its head had come.
    case answered
    /// No connection was had: refused, timed out, or its handshake failed.
    case connectFailed
    /// The connection or stream ended before the answer was complete, or the answer broke the
    /// protocol.
    case reset
    /// No answer came in time. After its head this says nothing (Envoy asks `awaitingHeaders`).
    case timedOut
    /// It was given up for reasons that say nothing of the endpoint: its client has gone, another
    /// attempt was first, or a connection that was kept too long has been closed by its peer.
    case cancelled
}
