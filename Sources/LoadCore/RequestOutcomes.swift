import Base
public import Model

/// What became of one request, by which it can be found again in ledgers and logs.
public struct RequestOutcome: Equatable, Sendable {
    /// Its place in the schedule; see `RequestIdentity`.
    public var number: UInt64
    public var outcome: Outcome
    /// Of HTTP, 100 to 599; 0: it had no answer.
    public var status: Int16
    /// Bit by bit those of `ResponseFlag.allCases` that the answer named.
    public var flags: UInt32

    public init(number: UInt64, outcome: Outcome, status: Int16 = 0, flags: UInt32 = 0) {
        self.number = number
        self.outcome = outcome
        self.status = status
        self.flags = flags
    }

    /// `5d0c7f3a-91be-4c20-8e57-00000000002a error 503 FI`: as a line says it, without its end.
    /// - Parameter seed: of the job.
    public func text(seed: UInt64) -> String {
        let named = ResponseFlag.allCases.enumerated().filter { bit, _ in
            flags >> UInt32(bit) & 1 == 1
        }
        let names = named.map { $0.element.rawValue }.joined(separator: ",")
        let id = RequestIdentity.text(seed: seed, number: number)
        return "\(id) \(outcome.rawValue) \(status) \(names)"
    }
}

/// The outcomes of one thread's requests, in the order of their ends.
struct OutcomeLog {
    /// Bound: 32 MB for a thread. Later ends are not kept.
    static let most = 2_000_000
    private(set) var ends: [RequestOutcome] = []

    /// Nil where nobody asks for them.
    init?(_ job: LoadJob) {
        guard job.outcomes != nil, job.numbersRequests else { return nil }
        ends.reserveCapacity(65_536)
    }

    mutating func note(_ number: UInt64, _ outcome: Outcome, status: Int = 0, flags: UInt32 = 0) {
        guard ends.count < Self.most else { return }
        ends.append(
            RequestOutcome(number: number, outcome: outcome, status: Int16(status), flags: flags))
    }
}
