import Glibc
import LoadCore

/// Attempts to open a connection that failed, by `errno`.
struct OpenFailures: Sendable {
    // Bound: one entry for each value of `errno`, of which there are some 130.
    private var counts: [Int32: UInt64] = [:]

    /// Whether the generator's own machine could not: no descriptor, port or memory.
    static func isLocal(_ code: Int32) -> Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL].contains(code)
    }

    mutating func add(_ code: Int32) { counts[code, default: 0] += 1 }

    mutating func merge(_ other: OpenFailures) {
        counts.merge(other.counts, uniquingKeysWith: +)
    }

    /// For the result, the most frequent first.
    var list: [LoadResult.OpenFailure] {
        counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { code, count in
            LoadResult.OpenFailure(
                code: code, reason: unsafe String(cString: strerror(code)),
                isLocal: Self.isLocal(code), count: count)
        }
    }
}
