// What the workers of a proxy know together of the endpoints of one cluster.
//
//     request ──▶ HostMarks: atomics, no lock ── a rule is met ──▶ HostBoard: a lock, rarely
//                                                                      │ ejects: marks, `version`
//     the next choice of any worker sees another `version` ◀───────────┘
//
// Which endpoint is ejected when is for `OutlierRecord`, `OutlierRates` and `AccrualGate` to say;
// here they meet threads. An ejection takes effect at once, in the call that found it due, where
// Envoy posts it to its main thread.

public import Base
import Model
import Synchronization

/// The endpoints of one cluster, for all workers.
@safe
public final class HostBoard: Sendable {
    public let cluster: String
    let outlier: OutlierPolicy?
    let accrual: AccrualPolicy?
    private let state = Mutex(State())
    let line: BoardLine

    init(cluster: String, outlier: OutlierPolicy?, accrual: AccrualPolicy?) {
        self.cluster = cluster
        self.outlier = outlier
        self.accrual = outlier == nil ? accrual : nil
        line = BoardLine()
    }

    deinit {
        // Nobody has a handle any more: whoever had one held this board.
        state.withLock { state in
            for page in state.pages { unsafe CacheLines.deallocate(page.words) }
        }
        line.deallocate()
    }

    // MARK: Which endpoints there are

    private struct Record: Sendable {
        var address: String
        /// Workers that have it. 0: nobody's, and its place is free.
        var holders = 0
        /// As active checks have found it.
        var isHealthy = true
        var outlier = OutlierRecord()
        var gate = AccrualGate()
        /// The number of its last probe, whichever worker sent it.
        var probe: UInt32 = 0
        /// How often it was ejected in all, by either.
        var ejections = 0
        var reason = EjectionReason.consecutive5xx
        /// When its gate was last shut or opened.
        var gateMoved: Instant?
    }

    @safe
    private struct Page: @unchecked Sendable {
        // Safety: allocated for a page's lines, until the board goes.
        let words: UnsafeMutablePointer<Atomic<UInt64>>
    }

    private struct State: Sendable {
        var records: [Record] = []
        var places: [String: Int] = [:]
        var unused: [Int] = []
        var pages: [Page] = []
        var tallies = HostTallies()
        var events = HostEventLog()
        var nextSweep = Instant?.none
    }

    /// Lines in a page: they never move, as workers hold them.
    private static let pageLines = 64

    /// A worker has the endpoint from now on.
    /// - Parameter isHealthy: as active checks have found it. Who passes one after failing comes
    ///   back.
    func join(_ address: String, isHealthy: Bool, now: Instant) -> HostMarks {
        state.withLock { state in
            let place = Self.place(of: address, &state)
            if accrual != nil, state.records[place].holders == 0 {
                Self.marks(place, state).accrualRate.begin(now: now)
            }
            state.records[place].holders += 1
            check(place, isHealthy: isHealthy, &state, now: now)
            return Self.marks(place, state)
        }
    }

    private static func place(of address: String, _ state: inout State) -> Int {
        if let place = state.places[address] { return place }
        let record = Record(address: address)
        let place: Int
        if let free = state.unused.popLast() {
            place = free
            state.records[place] = record
        } else {
            place = state.records.count
            state.records.append(record)
            if place % pageLines == 0 {
                let words = unsafe CacheLines.allocate(pageLines)
                unsafe state.pages.append(Page(words: words))
            }
        }
        state.places[address] = place
        state.tallies.hosts += 1
        marks(place, state).reset()
        return place
    }

    private static func marks(_ place: Int, _ state: State) -> HostMarks {
        unsafe HostMarks(
            state.pages[place / pageLines].words + place % pageLines * HostMarks.count,
            place: place)
    }

    /// A worker no longer has the endpoint; the last one takes what is known of it along.
    func leave(_ address: String) {
        state.withLock { state in
            guard let place = state.places[address] else {
                preconditionFailure("an endpoint leaves that nobody has")
            }
            state.records[place].holders -= 1
            guard state.records[place].holders == 0 else { return }
            if state.records[place].outlier.isEjected || state.records[place].gate.stage != .open {
                state.tallies.active -= 1
            }
            state.places[address] = nil
            state.tallies.hosts -= 1
            state.unused.append(place)
        }
    }

    /// The endpoint is as active checks have found it.
    func check(_ address: String, isHealthy: Bool, now: Instant) {
        state.withLock { state in
            guard let place = state.places[address] else { return }
            check(place, isHealthy: isHealthy, &state, now: now)
        }
    }

    private func check(_ place: Int, isHealthy: Bool, _ state: inout State, now: Instant) {
        let passed = isHealthy && !state.records[place].isHealthy
        state.records[place].isHealthy = isHealthy
        if passed { returnOnCheck(place, &state, now: now) }
    }

    /// An active check of the endpoint has passed: who is ejected comes back, if the policy says
    /// so. One that fails checks too often to be used stays out until it is found well again.
    ///
    /// Source: Envoy, the callback of `DetectorImpl::initialize`.
    public func passedCheck(_ address: String, now: Instant) {
        state.withLock { state in
            guard let place = state.places[address], state.records[place].isHealthy else { return }
            returnOnCheck(place, &state, now: now)
        }
    }

    private func returnOnCheck(_ place: Int, _ state: inout State, now: Instant) {
        guard let outlier, outlier.returnsOnHealthCheck, state.records[place].outlier.isEjected
        else { return }
        takeBack(place, &state, now: now)
    }

    /// The addresses of endpoints that an active check would bring back.
    public var awaitingChecks: [String] {
        guard let outlier, outlier.returnsOnHealthCheck else { return [] }
        return state.withLock { state in
            guard state.tallies.active > 0 else { return [] }
            return state.records.filter { $0.holders > 0 && $0.outlier.isEjected && $0.isHealthy }
                .map(\.address)
        }
    }

    // MARK: What requests show

    /// Sweeps begin with the first attempt: a cluster that nobody asks wakes nobody.
    func arm(now: Instant) {
        guard let outlier else { return }
        state.withLock { state in
            if state.nextSweep == nil { state.nextSweep = now + outlier.interval }
            settleDeadline(state)
        }
    }

    /// Does what an answer, or what stands for one, was the last straw for.
    func act(
        on found: HostFindings, _ marks: HostMarks, now: Instant, _ random: inout SeededRandom
    ) {
        state.withLock { state in
            let place = Int(marks.place)
            guard state.records[place].holders > 0 else { return }
            if found.contains(.accrualSuccess) || found.contains(.accrualFailure) {
                accrue(place, found, &state, now: now, chance: random.unit())
            }
            let rows: [(HostFindings, EjectionReason, HostMarks.Run)] = [
                (.gateway, .consecutiveGateway, .gateway), (.all5xx, .consecutive5xx, .all5xx),
                (.local, .consecutiveLocal, .local),
            ]
            // The row of one that is out already goes on past its limit, as with Envoy, and means
            // nothing until it begins anew.
            for (finding, reason, run) in rows
            where found.contains(finding) && !state.records[place].outlier.isEjected {
                eject(place, reason, &state, now: now, &random)
                marks.end(run)
            }
        }
    }

    // MARK: Ejection

    private func eject(
        _ place: Int, _ reason: EjectionReason, _ state: inout State, now: Instant,
        _ random: inout SeededRandom
    ) {
        guard let outlier, !state.records[place].outlier.isEjected else { return }
        state.tallies.detected[reason.rawValue] += 1
        guard outlier.admitsEjection(ejected: state.tallies.active, hosts: state.tallies.hosts)
        else {
            state.tallies.overflow += 1
            return
        }
        let isEnforced = random.unit() * 100 < outlier.enforcing(reason)
        let since = state.records[place].outlier.returned.map { now - $0 }
        if isEnforced {
            state.records[place].outlier.eject(outlier, chance: random.unit(), now: now)
            state.records[place].reason = reason
            state.tallies.active += 1
            state.tallies.enforced[reason.rawValue] += 1
            state.records[place].ejections += 1
            publish(place, state)
        }
        tell(place, .eject, reason, isEnforced: isEnforced, since: since, &state, now: now)
    }

    private func takeBack(_ place: Int, _ state: inout State, now: Instant) {
        let since = state.records[place].outlier.ejected.map { now - $0 }
        state.records[place].outlier.takeBack(now: now)
        state.tallies.active -= 1
        state.tallies.returned += 1
        let marks = Self.marks(place, state)
        for run in [HostMarks.Run.all5xx, .gateway, .local] { marks.end(run) }
        publish(place, state)
        tell(
            place, .uneject, state.records[place].reason, isEnforced: true, since: since, &state,
            now: now)
    }

    /// Shows workers how the endpoint stands.
    private func publish(_ place: Int, _ state: State) {
        let record = state.records[place]
        Self.marks(place, state).note(isEjected: record.outlier.isEjected, record.gate.stage)
        line.changeVersion()
    }

    private func tell(
        _ place: Int, _ action: HostEvent.Action, _ reason: EjectionReason, isEnforced: Bool,
        since: Duration?, _ state: inout State, now: Instant
    ) {
        let record = state.records[place]
        state.events.append { number in
            HostEvent(
                number: number, at: now, cluster: cluster, upstream: record.address,
                action: action, reason: reason, isEnforced: isEnforced,
                ejections: record.outlier.ejections, sinceLast: since)
        }
    }

    // MARK: Time

    private func settleDeadline(_ state: State) {
        var due = state.nextSweep
        if accrual != nil {
            for record in state.records where record.holders > 0 {
                if let until = record.gate.due { due = min(due ?? until, until) }
            }
        }
        line.deadline = due
    }

    /// Sweeps, and lets probes through, if it is time; the first worker that comes does it.
    func expire(now: Instant, _ random: inout SeededRandom) {
        state.withLock { state in
            if let outlier, let due = state.nextSweep, due <= now {
                sweep(outlier, &state, now: now, &random)
                state.nextSweep = now + outlier.interval
            }
            if accrual != nil {
                for place in state.records.indices where state.records[place].holders > 0 {
                    expireGate(place, &state, now: now)
                }
            }
            settleDeadline(state)
        }
    }

    private func sweep(
        _ policy: OutlierPolicy, _ state: inout State, now: Instant,
        _ random: inout SeededRandom
    ) {
        let places = state.records.indices.filter { state.records[$0].holders > 0 }
        var counts: [AnswerCount] = []
        var localCounts = counts
        for place in places {
            if state.records[place].outlier.isDue(policy, now: now) {
                takeBack(place, &state, now: now)
            }
            counts.append(Self.marks(place, state).takeAnswers(isLocal: false))
            localCounts.append(Self.marks(place, state).takeAnswers(isLocal: true))
        }
        for (counts, isLocal) in [(counts, false), (localCounts, true)] {
            let present = zip(places, counts).map { place, count in
                state.records[place].outlier.isEjected ? nil : count
            }
            let rates = OutlierRates(present, policy)
            let findings = [
                (isLocal ? EjectionReason.successRateLocal : .successRate, rates.belowMean),
                (
                    isLocal ? EjectionReason.failurePercentageLocal : .failurePercentage,
                    rates.aboveFailures
                ),
            ]
            for (reason, found) in findings {
                for i in found { eject(places[i], reason, &state, now: now, &random) }
            }
        }
        for place in places { state.records[place].outlier.calm(policy, now: now) }
    }

    // MARK: Failure accrual

    private func accrue(
        _ place: Int, _ found: HostFindings, _ state: inout State, now: Instant, chance: Double
    ) {
        guard let accrual else { return }
        let isSuccess = found.contains(.accrualSuccess)
        let before = state.records[place].gate.stage
        if before == .open {
            guard !isSuccess else { return }
            state.records[place].reason = found.contains(.accrualRate) ? .accrualRate : .accrual
            state.records[place].gate.trip(accrual, chance: chance, now: now)
        } else {
            state.records[place].gate.heard(
                isSuccess: isSuccess, accrual, chance: chance, now: now)
        }
        moved(place, from: before, &state, now: now)
    }

    /// A request is being sent to the endpoint.
    /// - Parameter last: the number of the worker's last probe of it, which may have been on
    ///   another board and not be over.
    /// - Returns: the number of the probe that it is, higher than all before; 0: it is none.
    func took(_ marks: HostMarks, after last: UInt32 = 0, now: Instant) -> UInt32 {
        guard accrual != nil, marks.isDoubted else { return 0 }
        return state.withLock { state in
            let place = Int(marks.place)
            guard state.records[place].gate.stage == .probation(isTaken: false) else { return 0 }
            state.records[place].gate.took()
            let probe = max(state.records[place].probe, last) + 1
            state.records[place].probe = probe
            state.tallies.probes += 1
            publish(place, state)
            let reason = state.records[place].reason
            tell(place, .probe, reason, isEnforced: true, since: nil, &state, now: now)
            return probe
        }
    }

    /// A probe was given up. Where it had shown something, or others had, the endpoint may be tried
    /// by another by now, which goes on.
    func gaveUp(_ marks: HostMarks, probe: UInt32) {
        state.withLock { state in
            let place = Int(marks.place)
            guard state.records[place].probe == probe else { return }
            state.records[place].gate.gaveUp()
            publish(place, state)
        }
    }

    private func expireGate(_ place: Int, _ state: inout State, now: Instant) {
        let before = state.records[place].gate.stage
        state.records[place].gate.expire(now: now)
        if state.records[place].gate.stage != before { publish(place, state) }
    }

    private func moved(
        _ place: Int, from before: AccrualGate.Stage, _ state: inout State, now: Instant
    ) {
        let stage = state.records[place].gate.stage
        guard stage != before else { return }
        Self.marks(place, state).end(.all5xx)
        // What was before says nothing of who is back.
        if stage == .open { Self.marks(place, state).accrualRate.begin(now: now) }
        publish(place, state)
        settleDeadline(state)
        let since = state.records[place].gateMoved.map { now - $0 }
        let reason = state.records[place].reason
        switch (before, stage) {
        case (.open, .shut):
            state.tallies.active += 1
            state.tallies.detected[reason.rawValue] += 1
            state.tallies.enforced[reason.rawValue] += 1
            state.records[place].ejections += 1
            state.records[place].gateMoved = now
            tell(place, .eject, reason, isEnforced: true, since: since, &state, now: now)
        case (.probation, .open):
            state.tallies.active -= 1
            state.tallies.returned += 1
            state.records[place].gateMoved = now
            tell(place, .uneject, reason, isEnforced: true, since: since, &state, now: now)
        default: break
        }
    }

    // MARK: What is told

    /// Whether endpoints can be left out for what requests have shown.
    public var judges: Bool { outlier != nil || accrual != nil }

    /// Addresses of endpoints that are left out at this moment, as requests have shown.
    public var leftOut: [String] {
        state.withLock { state in
            state.records.filter {
                $0.holders > 0 && ($0.outlier.isEjected || $0.gate.stage != .open)
            }.map(\.address)
        }
    }

    /// How often each endpoint was ejected, by address.
    public var ejections: [String: Int] {
        state.withLock { state in
            state.records.filter { $0.holders > 0 }.reduce(into: [:]) {
                $0[$1.address] = $1.ejections
            }
        }
    }

    /// How often endpoints were ejected.
    public var tallies: HostTallies { state.withLock { $0.tallies } }

    /// The last events, in their order.
    public var events: [HostEvent] { state.withLock { $0.events.all } }
}

/// What workers look at of a board with each request.
@safe
struct BoardLine: BitwiseCopyable, @unchecked Sendable {
    // Safety: `words` are initialized atomics until the board goes; whoever keeps a handle keeps
    // the board.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        unsafe words = CacheLines.allocate(1)
        unsafe words[0].store(1, ordering: .relaxed)
        unsafe words[1].store(Self.never, ordering: .relaxed)
    }

    fileprivate func deallocate() { unsafe CacheLines.deallocate(words) }

    /// Changes whenever an endpoint becomes available, or ceases to be. Whoever sees a new one sees
    /// how endpoints stand since.
    var version: UInt64 { unsafe words[0].load(ordering: .acquiring) }

    fileprivate func changeVersion() { unsafe words[0].wrappingAdd(1, ordering: .releasing) }

    private static let never = UInt64.max

    /// The earliest instant at which the board's `expire` has something to do; nil: never.
    fileprivate(set) var deadline: Instant? {
        get {
            let word = unsafe words[1].load(ordering: .relaxed)
            return word == Self.never ? nil : Instant(nanoseconds: Int64(bitPattern: word))
        }
        nonmutating set {
            let word = newValue.map { UInt64(bitPattern: $0.nanoseconds) } ?? Self.never
            unsafe words[1].store(word, ordering: .relaxed)
        }
    }
}
