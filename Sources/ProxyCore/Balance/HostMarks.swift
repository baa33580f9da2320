// What all workers count of one endpoint and look at with each request: one cache line of atomics.

import Base
import Model
import Synchronization

/// The line of one endpoint. A handle: copies mean the same line, which lives as long as the
/// `HostBoard` that gave it; whoever keeps a handle keeps the board.
@safe
struct HostMarks: BitwiseCopyable, @unchecked Sendable {
    // Safety: `words` are `count` initialized atomics until the board goes, and all places are
    // constants below `count`.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    /// The endpoint's place on its board.
    let place: Int32

    /// A cache line.
    static let count = CacheLines.words

    private enum Place {
        static let rates = 0
        static let localRates = 1
        /// Two words, of `AccrualRate`: who has failure accrual is judged by nothing else.
        static let accrual = 0
        static let run5xx = 2
        static let runGateway = 3
        static let runLocal = 4
        static let state = 5
        static let active = 6
    }

    /// Failures in a row.
    enum Run {
        case all5xx, gateway, local
    }

    init(_ words: UnsafeMutablePointer<Atomic<UInt64>>, place: Int) {
        unsafe self.words = words
        self.place = Int32(place)
    }

    /// As of an endpoint of which nothing is known.
    func reset() {
        for i in 0..<Self.count { unsafe words[i].store(0, ordering: .relaxed) }
    }

    // MARK: Rates

    private static let good: UInt64 = 1 << 32

    /// Counts an answer, all of them in the low half and the good ones in the high half of a word.
    /// Bound: 2³² of them in an interval, which no endpoint answers.
    func countAnswer(isGood: Bool, isLocal: Bool) {
        let place = isLocal ? Place.localRates : Place.rates
        unsafe words[place].wrappingAdd(isGood ? Self.good + 1 : 1, ordering: .relaxed)
    }

    /// What was counted since the last time.
    func takeAnswers(isLocal: Bool) -> AnswerCount {
        let place = isLocal ? Place.localRates : Place.rates
        let word = unsafe words[place].exchange(0, ordering: .relaxed)
        return AnswerCount(all: Int(word & (Self.good - 1)), good: Int(word >> 32))
    }

    // MARK: Runs

    private func place(_ run: Run) -> Int {
        switch run {
        case .all5xx: Place.run5xx
        case .gateway: Place.runGateway
        case .local: Place.runLocal
        }
    }

    /// One more in a row; how many those are now.
    func lengthen(_ run: Run) -> Int {
        Int(unsafe words[place(run)].wrappingAdd(1, ordering: .relaxed).newValue)
    }

    /// The row has ended. A good answer after good ones writes nothing.
    func end(_ run: Run) {
        let place = place(run)
        if unsafe words[place].load(ordering: .relaxed) != 0 {
            unsafe words[place].store(0, ordering: .relaxed)
        }
    }

    // MARK: State

    private static let ejected: UInt64 = 1
    private static let shut: UInt64 = 2
    private static let probation: UInt64 = 4
    private static let taken: UInt64 = 8

    /// Whether requests may go to it.
    var isAvailable: Bool {
        let word = unsafe words[Place.state].load(ordering: .relaxed)
        return word & (Self.ejected | Self.shut | Self.taken) == 0
    }

    /// Whether its gate is not simply open.
    var isDoubted: Bool {
        unsafe words[Place.state].load(ordering: .relaxed) & ~Self.ejected != 0
    }

    func note(isEjected: Bool, _ stage: AccrualGate.Stage) {
        let gate: UInt64 =
            switch stage {
            case .open: 0
            case .shut: Self.shut
            case .probation(isTaken: false): Self.probation
            case .probation(isTaken: true): Self.probation | Self.taken
            }
        unsafe words[Place.state].store(
            gate | (isEjected ? Self.ejected : 0), ordering: .relaxed)
    }

    // MARK: What requests show

    /// An answer has come, or what stands for one.
    /// - Returns: the rules that it is the last straw for.
    func count(status: Int, _ rules: HostRules, now: Instant) -> HostFindings {
        guard rules.judges else {
            return rules.accrual > 0 ? accrue(status: status, rules, now: now) : []
        }
        var found: HostFindings = []
        guard status >= 500 else {
            countAnswer(isGood: true, isLocal: false)
            end(.all5xx)
            end(.gateway)
            return found
        }
        countAnswer(isGood: false, isLocal: false)
        if (502...504).contains(status) {
            if lengthen(.gateway) == rules.gateway { found.insert(.gateway) }
        } else {
            end(.gateway)
        }
        if lengthen(.all5xx) == rules.all5xx { found.insert(.all5xx) }
        return found
    }

    /// A connection was had.
    func countConnected(_ rules: HostRules) {
        guard rules.splitsLocal else { return }
        countAnswer(isGood: true, isLocal: true)
        end(.local)
    }

    /// An attempt has ended without a whole answer.
    func count(_ result: AttemptResult, _ rules: HostRules, now: Instant) -> HostFindings {
        switch result {
        case .answered, .cancelled: return []
        case .connectFailed, .reset, .timedOut: break
        }
        guard rules.splitsLocal else {
            // As Envoy counts what it finds itself.
            if case .timedOut = result { return count(status: 504, rules, now: now) }
            return count(status: 503, rules, now: now)
        }
        countAnswer(isGood: false, isLocal: true)
        return lengthen(.local) == rules.local ? .local : []
    }

    /// While the gate is open failures in a row count, and the share of successes where there is a
    /// rule about that. To it 429 is none, neither in the share nor of a request that tries the
    /// endpoint again; a row of failures it ends.
    private func accrue(status: Int, _ rules: HostRules, now: Instant) -> HostFindings {
        let isFailure = status >= 500
        let isGood = !isFailure && (rules.accrualRate == nil || status != 429)
        if isDoubted { return isGood ? .accrualSuccess : .accrualFailure }
        var isTooRare = false
        if let rule = rules.accrualRate {
            isTooRare = accrualRate.note(isGood: isGood, rule, now: now)
        }
        if isFailure {
            if lengthen(.all5xx) >= rules.accrual { return .accrualFailure }
        } else {
            end(.all5xx)
        }
        return isTooRare ? [.accrualFailure, .accrualRate] : []
    }

    var accrualRate: AccrualRate { unsafe AccrualRate(words + Place.accrual) }

    // MARK: Attempts

    /// Attempts of all workers that are being made at it.
    var active: Int { Int(unsafe words[Place.active].load(ordering: .relaxed)) }

    func countAttempt(_ change: Int) {
        let change = UInt64(bitPattern: Int64(change))
        unsafe words[Place.active].wrappingAdd(change, ordering: .relaxed)
    }
}

/// When something has to be done about an endpoint, as far as requests look at it.
struct HostRules: BitwiseCopyable {
    /// Failures in a row.
    var all5xx = Int.max
    var gateway = Int.max
    var local = Int.max
    var splitsLocal = false
    /// There is an outlier policy.
    var judges = false
    /// Failures in a row; 0: no failure accrual.
    var accrual = 0
    var accrualRate: AccrualRateRule?
    /// Attempts are counted for all workers together.
    var countsAttempts = false

    init() {}

    init(_ cluster: ProxyConfiguration.Cluster) {
        if let outlier = cluster.outlier {
            judges = true
            all5xx = outlier.consecutive5xx.count ?? .max
            gateway = outlier.consecutiveGateway.count ?? .max
            local = outlier.consecutiveLocal.count ?? .max
            splitsLocal = outlier.splitsLocalOrigin
        } else if let accrual = cluster.accrual {
            self.accrual = accrual.failures
            accrualRate = accrual.successRate.map(AccrualRateRule.init)
        }
        let algorithm = cluster.balance.algorithm
        countsAttempts = algorithm == .leastRequest || algorithm == .peakEWMA
    }

    /// Whether the cluster's workers have anything to share.
    var isShared: Bool { judges || accrual > 0 || countsAttempts }
}

/// The rules that an answer was the last straw for.
struct HostFindings: OptionSet, BitwiseCopyable {
    let rawValue: UInt8

    static let gateway = HostFindings(rawValue: 1)
    static let all5xx = HostFindings(rawValue: 2)
    static let local = HostFindings(rawValue: 4)
    static let accrualSuccess = HostFindings(rawValue: 8)
    static let accrualFailure = HostFindings(rawValue: 16)
    /// The share of successes is the reason.
    static let accrualRate = HostFindings(rawValue: 32)
}
