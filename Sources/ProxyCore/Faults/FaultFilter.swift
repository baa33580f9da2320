// The faults that a proxy holds, as requests meet them. Whom a fault means by chance is the module
// Fault's; here stands which requests it is about at all, compiled against the configuration.

import Base
import Fault
import Model
import Wire

/// The faults of one worker. Built whenever they, or the configuration, change.
struct FaultFilter: ~Copyable {
    /// A fault, and what a request must have for it to be about that.
    struct Entry {
        let fault: HeldFault
        /// Places in the configuration; -1: any; -2: there is none of that name.
        fileprivate let listener: Int32
        fileprivate let cluster: Int32
        fileprivate let path: PathPattern
        fileprivate let methods: PatternRange
        fileprivate let fields: PatternRange
    }

    /// Those that a request meets before it meets retries.
    let requests: [Entry]
    /// Those that each attempt meets.
    let attempts: [Entry]
    /// Whether one trusts what requests say.
    let trustsFields: Bool
    private let patterns: Patterns

    init(_ held: [HeldFault], _ configuration: ProxyConfiguration) {
        var patterns = Patterns.Builder()
        func place(_ name: String?, _ names: [String]) -> Int32 {
            guard let name else { return -1 }
            return Int32(names.firstIndex(of: name) ?? -2)
        }
        let listeners = configuration.listeners.map(\.name)
        let clusters = configuration.clusters.map(\.name)
        var (requests, attempts): ([Entry], [Entry]) = ([], [])
        for fault in held {
            let rule = fault.rule
            let entry = Entry(
                fault: fault, listener: place(rule.listener, listeners),
                cluster: place(rule.cluster, clusters),
                path: patterns.add(path: rule.match.path),
                methods: patterns.add(methods: rule.match.methods),
                fields: patterns.add(fields: rule.match.headers))
            switch rule.point {
            case .clientEgress, .serverIngress: requests.append(entry)
            case .perAttempt: attempts.append(entry)
            case .app: break
            }
        }
        self.requests = requests
        self.attempts = attempts
        trustsFields = held.contains { $0.rule.trustsHeaders }
        self.patterns = Patterns(patterns)
    }

    /// Whether a fault is about the request.
    func means(
        _ entry: Entry, _ head: borrowing Head, _ bytes: Bytes, listener: UInt16, cluster: Int32
    ) -> Bool {
        (entry.listener == -1 || entry.listener == Int32(listener))
            && (entry.cluster == -1 || entry.cluster == cluster && cluster >= 0)
            && patterns.matches(entry.path, path: head.patternPath(bytes))
            && (entry.methods.isEmpty
                || patterns.matches(methods: entry.methods, bytes[head.method]))
            && patterns.matches(fields: entry.fields, head, bytes, .oneLine)
    }
}

/// What faults have in store for an exchange.
struct ExchangeFault: BitwiseCopyable {
    /// How it is answered once it has been held back.
    var abort = FaultEffect.Abort.none
    /// The serial of the fault that does so; 0: none does.
    var aborter: UInt32 = 0
    /// Which attempt was drawn for.
    var attempt: UInt16 = 1
    /// Attempts up to this one have met faults.
    var met: UInt16 = 0
    /// The next attempt waits for an instant.
    var holdsAttempt = false
    /// Bytes per second of the answer's body; 0: as they come. Until its head has come, as drawn
    /// for the last attempt, which keeps its own (`Connection.rate`).
    var rate = 0
    /// As a fault before retries wants it, whichever attempt is answered.
    var base = 0
    /// The serial of the fault that wants `rate` so, and has not been noted yet.
    var throttler: UInt32 = 0
    /// At `rate`, the body's bytes up to now are paid for from this instant on.
    var paid = Instant.zero
    /// When more of the body may pass; `distantFuture`: it does not wait for that.
    var resumes = Instant.distantFuture
    /// It has been held back.
    var isDelayed = false
    /// It is held back, and its own fields ask for that.
    var isHeldByFields = false
}
