import Base
import Synchronization
import Wire

/// What the workload has seen: requests, how many at once, attempts and statuses. Shared by all
/// workers.
///
/// Counts are atomic and relaxed: each is exact, and a reader may see one ahead of another.
@safe
final class AppCounters: @unchecked Sendable {
    /// The highest attempt number told apart; those above count with it.
    static let attempts = 8
    private static let statuses = 600
    /// Where the statuses of gRPC begin.
    private static let callsStart = statuses + attempts + 1
    private static let cells = callsStart + GRPCStatus.allCases.count

    private let requests = Atomic<UInt64>(0)
    private let current = Atomic<Int>(0)
    private let highest = Atomic<Int>(0)
    private let refused = Atomic<UInt64>(0)
    private let cancelled = Atomic<UInt64>(0)
    private let wasted = Atomic<UInt64>(0)
    private let deadlines = Atomic<UInt64>(0)
    private let deadlineMilliseconds = Atomic<UInt64>(0)
    private let table: UnsafeMutablePointer<Atomic<UInt64>>

    // Safety: `table` is initialized here, lives as long as the object, and holds atomics only;
    // indices are checked by `cell`.
    init() {
        unsafe table = .allocate(capacity: Self.cells)
        for index in 0..<Self.cells { unsafe (table + index).initialize(to: Atomic(0)) }
    }

    deinit {
        unsafe table.deinitialize(count: Self.cells)
        unsafe table.deallocate()
    }

    /// A request has come. `attempt` is 0 where no proxy told one.
    /// - Returns: how many are at work now.
    @discardableResult
    func begin(attempt: Int) -> Int {
        requests.add(1, ordering: .relaxed)
        let now = current.add(1, ordering: .relaxed).newValue
        raise(to: now)
        if attempt > 0 { add(Self.statuses + min(attempt, Self.attempts)) }
        return now
    }

    /// The highest number at work since the last time, which begins anew with those at work now.
    func takePeak() -> Int {
        let peak = highest.exchange(current.load(ordering: .relaxed), ordering: .relaxed)
        // Whoever came in between has set the old one.
        raise(to: current.load(ordering: .relaxed))
        return peak
    }

    private func raise(to now: Int) {
        var seen = highest.load(ordering: .relaxed)
        while now > seen {
            let (done, original) = highest.weakCompareExchange(
                expected: seen, desired: now, ordering: .relaxed)
            if done { break }
            seen = original
        }
    }

    /// A request has ended; `status` is nil where its connection ended before the answer was
    /// written.
    func end(status: Int?) {
        current.subtract(1, ordering: .relaxed)
        if let status { add(status) }
    }

    /// A request that was told to have ended with `status` goes on.
    func takeBackEnd(status: Int) {
        current.add(1, ordering: .relaxed)
        precondition(status >= 0 && status < Self.statuses, "no such status")
        unsafe table[status].subtract(1, ordering: .relaxed)
    }

    /// A call of gRPC has ended.
    func end(call status: GRPCStatus) { add(Self.callsStart + Int(status.rawValue)) }

    /// A call of gRPC was given up by its client.
    func cancel() { cancelled.add(1, ordering: .relaxed) }

    /// A request was worked on to its end though its client had gone.
    func waste() { wasted.add(1, ordering: .relaxed) }

    /// A request came that says how long its client waits.
    func tell(left: Duration) {
        deadlines.add(1, ordering: .relaxed)
        deadlineMilliseconds.add(UInt64(left.nanoseconds / 1_000_000), ordering: .relaxed)
    }

    /// Something came that is no request.
    func refuse() { refused.add(1, ordering: .relaxed) }

    private func add(_ index: Int) {
        precondition(index >= 0 && index < Self.cells, "no such counter")
        unsafe table[index].add(1, ordering: .relaxed)
    }

    private func value(_ index: Int) -> UInt64 { unsafe table[index].load(ordering: .relaxed) }

    /// The counters as JSON.
    /// - Parameters:
    ///   - peak: the most at work at once; nil: since the last that was taken.
    ///   - capacity: likewise JSON; nil: it is left out.
    func json(name: String, peak: Int? = nil, capacity: String? = nil) -> String {
        let attempts = (1...Self.attempts).map { "\"\($0)\":\(value(Self.statuses + $0))" }
        let statuses = (0..<Self.statuses).filter { value($0) > 0 }
            .map { "\"\($0)\":\(value($0))" }
        let calls = GRPCStatus.allCases.map { ($0, value(Self.callsStart + Int($0.rawValue))) }
            .filter { $0.1 > 0 }.map { "\"\($0.0.name)\":\($0.1)" }
        return "{\"name\":\(jsonQuoted(name)),\"requests\":\(requests.load(ordering: .relaxed)),"
            + "\"refused\":\(refused.load(ordering: .relaxed)),"
            + "\"concurrency\":{\"now\":\(current.load(ordering: .relaxed)),"
            + "\"max\":\(peak ?? highest.load(ordering: .relaxed))},"
            + (capacity.map { "\"capacity\":\($0)," } ?? "")
            + "\"attempts\":{\(attempts.joined(separator: ","))},"
            + "\"status\":{\(statuses.joined(separator: ","))},"
            + "\"wasted\":\(wasted.load(ordering: .relaxed)),"
            + "\"deadlines\":\(deadlines.load(ordering: .relaxed)),"
            + "\"deadline_ms\":\(deadlineMilliseconds.load(ordering: .relaxed)),"
            + "\"grpc\":{\"cancelled\":\(cancelled.load(ordering: .relaxed)),"
            + "\"status\":{\(calls.joined(separator: ","))}}}\n"
    }
}

/// `text` as a JSON string, quotes included.
func jsonQuoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": quoted += "\\\""
        case "\\": quoted += "\\\\"
        case "\n": quoted += "\\n"
        case "\r": quoted += "\\r"
        case "\t": quoted += "\\t"
        case _ where scalar.value < 0x20:
            let hex = String(scalar.value, radix: 16)
            quoted += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}
