public import Base
public import Model

/// Why a fault is not held.
public enum LeaseRefusal: Error, Equatable {
    /// What is wrong with what was asked for, for people.
    case problem(String)
    /// As many are held as may be.
    case tooMany
    /// The process was started with a fault of this name, which no lease replaces.
    case standing
}

/// The faults that a process holds: those that it was started with, and leases.
public struct LeaseTable {
    /// Bound: each is looked at for each request.
    public static let most = 64

    /// What holds, in the order in which it came.
    public private(set) var held: [HeldFault] = []
    private var nextSerial: UInt32 = 1
    private let isProxy: Bool

    /// - Parameters:
    ///   - isProxy: whether the process acts at a proxy's points, or at the workload's.
    ///   - standing: what it was started with, without a `problem`.
    public init(isProxy: Bool, standing: [FaultRule] = [], now: Instant) {
        self.isProxy = isProxy
        replace(standing: standing, now: now)
    }

    /// Holds a fault for a while, or longer.
    /// - Returns: whether what is held has changed, rather than only until when.
    public mutating func hold(
        _ name: String, _ order: FaultOrder, now: Instant
    ) throws(LeaseRefusal) -> Bool {
        var rule = order.rule
        guard rule.name.isEmpty || rule.name == name else {
            throw .problem("the rule's name is another one")
        }
        rule.name = name
        if let problem = rule.problem { throw .problem(problem) }
        guard rule.point.isProxy == isProxy else {
            throw .problem("point: \(isProxy ? "this is a proxy" : "this is the workload: app")")
        }
        guard (1...FaultOrder.ttlMost).contains(order.ttlMs) else {
            throw .problem("ttl_ms: 1 to \(FaultOrder.ttlMost)")
        }
        let until = now + .milliseconds(Int64(order.ttlMs))
        _ = expire(now)
        let place = held.firstIndex { $0.rule.name == name }
        if let place {
            guard held[place].isLease else { throw .standing }
            if held[place].rule == rule {
                held[place].renew(until: until)
                return false
            }
        } else if held.count >= Self.most {
            throw .tooMany
        }
        let fault = make(rule, now: now, until: until)
        if let place {
            held[place].end(at: now)
            held[place] = fault
        } else {
            held.append(fault)
        }
        return true
    }

    /// Ends a lease.
    /// - Returns: whether there was one.
    public mutating func drop(_ name: String, now: Instant) -> Bool {
        _ = expire(now)
        guard let place = held.firstIndex(where: { $0.rule.name == name && $0.isLease }) else {
            return false
        }
        held.remove(at: place).end(at: now)
        return true
    }

    /// Clears away what has ended.
    /// - Returns: whether anything had.
    public mutating func expire(_ now: Instant) -> Bool {
        let before = held.count
        held.removeAll { !$0.holds(at: now) }
        return held.count != before
    }

    /// When the next lease ends; nil: there is none.
    public var nextEnd: Instant? {
        held.filter(\.isLease).map(\.until).min()
    }

    /// Has others stand in place of those that the process was started with. Those that are the
    /// same go on.
    public mutating func replace(standing rules: [FaultRule], now: Instant) {
        var old = held.filter { !$0.isLease }
        let leases = held.filter(\.isLease)
        let standing = rules.map { rule in
            if let place = old.firstIndex(where: { $0.rule == rule }) {
                return old.remove(at: place)
            }
            return make(rule, now: now, until: nil)
        }
        for fault in old { fault.end(at: now) }
        held = standing + leases
    }

    private mutating func make(_ rule: FaultRule, now: Instant, until: Instant?) -> HeldFault {
        let fault = HeldFault(rule, serial: nextSerial, since: now, until: until)
        nextSerial &+= 1
        return fault
    }
}
