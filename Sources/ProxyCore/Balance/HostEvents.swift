// What the workers of a proxy have found out about endpoints, told to whoever asks: each ejection
// and each return, and how often all of that was.

public import Base

/// Something that happened to an endpoint.
///
/// Source: Envoy, `envoy.data.cluster.v3.OutlierDetectionEvent`.
public struct HostEvent: Equatable, Sendable {
    public enum Action: String, Sendable {
        case eject
        case uneject
        /// Failure accrual: one request is let through.
        case probe
    }

    /// Counts the events of a board, from 1.
    public let number: Int
    public let at: Instant
    public let cluster: String
    /// The endpoint's address.
    public let upstream: String
    public let action: Action
    /// Why it was ejected, this time or last.
    public let reason: EjectionReason
    /// Whether it was done, or would have been (`enforcing`).
    public let isEnforced: Bool
    /// How often it has been ejected.
    public let ejections: Int
    /// Since the opposite happened to it; nil: it never has.
    public let sinceLast: Duration?
}

/// How often the endpoints of a cluster were ejected. Of `reason`, by `EjectionReason.rawValue`.
///
/// Source: Envoy, "Outlier detection statistics" of a cluster.
public struct HostTallies: Equatable, Sendable {
    /// Endpoints that are judged.
    public internal(set) var hosts = 0
    /// Endpoints that are left out at this moment, for any reason that requests have shown.
    public internal(set) var active = 0
    /// A rule was met, whatever came of it.
    public internal(set) var detected = [Int](repeating: 0, count: EjectionReason.allCases.count)
    public internal(set) var enforced = [Int](repeating: 0, count: EjectionReason.allCases.count)
    /// A rule was met, and as many were out already as may be.
    public internal(set) var overflow = 0
    public internal(set) var returned = 0
    /// Requests sent to endpoints that failure accrual had shut.
    public internal(set) var probes = 0
}

/// The last events of a board.
struct HostEventLog {
    /// Bound: those of an hour in which ten endpoints flap in every interval of ten seconds.
    static let capacity = 4096
    private var events: [HostEvent] = []
    private var oldest = 0
    private(set) var count = 0

    mutating func append(_ make: (_ number: Int) -> HostEvent) {
        count += 1
        let event = make(count)
        if events.count < Self.capacity {
            events.append(event)
        } else {
            events[oldest] = event
            oldest = (oldest + 1) % Self.capacity
        }
    }

    /// In their order.
    var all: [HostEvent] { Array(events[oldest...] + events[..<oldest]) }
}
