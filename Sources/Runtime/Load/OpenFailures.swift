import Glibc
import LoadCore
import Secure

/// Attempts to open a connection that failed, by `errno`.
struct OpenFailures: Sendable {
    // Bound: one entry for each value of `errno`, of which there are some 130.
    private var counts: [Int32: UInt64] = [:]
    /// Handshakes that the peer refused.
    // Bound: one entry for each status, of which there are 500, and a few.
    private var refusals: [HandshakeRefusal: UInt64] = [:]
    /// Connections that could not be secured.
    // Bound: one entry for each reason.
    private var unsecured: [TLSFailure: UInt64] = [:]

    /// Whether the generator's own machine could not: no descriptor, port or memory.
    static func isLocal(_ code: Int32) -> Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL].contains(code)
    }

    mutating func add(_ code: Int32) { counts[code, default: 0] += 1 }

    mutating func add(_ refusal: HandshakeRefusal) { refusals[refusal, default: 0] += 1 }

    mutating func add(_ failure: TLSFailure) { unsecured[failure, default: 0] += 1 }

    mutating func merge(_ other: OpenFailures) {
        counts.merge(other.counts, uniquingKeysWith: +)
        refusals.merge(other.refusals, uniquingKeysWith: +)
        unsecured.merge(other.unsecured, uniquingKeysWith: +)
    }

    /// For the result, the most frequent first.
    var list: [LoadResult.OpenFailure] {
        let errors = counts.map { code, count in
            LoadResult.OpenFailure(
                code: code, reason: unsafe String(cString: strerror(code)),
                isLocal: Self.isLocal(code), count: count)
        }
        let refused = refusals.map { refusal, count in
            LoadResult.OpenFailure(
                code: EPROTO, reason: "\(refusal)", isLocal: false, count: count)
        }
        let unsecured = unsecured.map { failure, count in
            LoadResult.OpenFailure(
                code: EPROTO, reason: "\(failure.detail)", isLocal: false, count: count)
        }
        return (errors + refused + unsecured).sorted {
            ($1.count, $0.code, $0.reason) < ($0.count, $1.code, $1.reason)
        }
    }
}
