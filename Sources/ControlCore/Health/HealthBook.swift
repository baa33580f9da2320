// What active checks make of endpoints: when which is to be asked, and what follows from the
// answers. Not in the store: each control plane finds out for itself, and knows nothing after a
// start.
//
//     undecided ─────────────────────────────────────────┐
//         │ `healthy` passes in a row,                   │ `unhealthy` failures in a row
//         │ or neither for `healthy + unhealthy - 1`     │
//         ▼                                              ▼
//      healthy ─────────────────────────────────────► unhealthy
//         ▲         `unhealthy` failures in a row        │
//         └──────────────────────────────────────────────┘
//                     `healthy` passes in a row
//
// An endpoint is used until it is found unhealthy, as whoever declared it says: checks take it out
// of use. It is checked whatever its declared health.

public import Base
public import Model

/// What checks say of an endpoint.
public enum HealthVerdict: Sendable {
    /// Too little has been seen yet. Somebody else may know more.
    case undecided
    case healthy
    case unhealthy

    /// Whether it leaves the endpoint in use.
    public var isWell: Bool { self != .unhealthy }
}

/// The endpoints of services with health checks.
public struct HealthBook: ~Copyable {
    /// One check that is to be made.
    public struct Probe: Equatable, Sendable {
        public var endpoint: MeshName
        /// Which of the checks it is: `report` wants it back.
        public var ticket: UInt64
        /// `127.0.0.1:8080` or `[::1]:8080`.
        public var address: String
        /// The name by which the service is asked: `cart.shop.mesh`.
        public var host: String
        public var check: MeshHealthCheck
        public var speech: MeshService.Speech
        /// Whom the endpoint must prove to be where it is asked over mutual TLS; nil: nobody, it
        /// takes cleartext only.
        public var identity: SPIFFEID?
        /// It may be asked in cleartext.
        public var takesCleartext: Bool
    }

    /// What is known of an endpoint.
    public struct Record: Equatable, Sendable {
        public var isHealthy = true
        /// A first verdict has been reached.
        ///
        /// Bound: by the time of `healthy + unhealthy - 1` checks. So many may be seen before one
        /// that has changed once while it was looked at has passed or failed as often in a row as
        /// is asked for; one that changes more often than that is held to be healthy.
        public var isDecided = false
        /// Checks in a row that went as the last one did.
        public var streak = 0
        public var passes: UInt64 = 0
        public var failures: UInt64 = 0
        /// Why the last check failed; nil: it passed, or there was none.
        public var reason: String?
    }

    private struct Entry {
        var probe: Probe
        var record = Record()
        /// A check has begun, and has not been reported.
        var isUnderWay = false
    }

    /// Endpoints that are checked at most: those of a mesh at most. Memory is taken as it is used.
    private static let limit = MeshLimits.declarations
    private var entries: [Entry?] = []
    private var free: [Int] = []
    private var places: [MeshName: Int] = [:]
    private var deadlines = DeadlineHeap(capacity: HealthBook.limit)
    private var ticket: UInt64 = 0
    private var random: SeededRandom
    /// How many endpoints are unhealthy.
    public private(set) var unhealthyCount = 0

    public init(random: SeededRandom) { self.random = random }

    /// How many endpoints are checked.
    public var count: Int { places.count }

    /// What checks say of an endpoint; one that is not checked is healthy.
    public func verdict(on endpoint: MeshName) -> HealthVerdict {
        guard let record = self[endpoint] else { return .healthy }
        if !record.isDecided { return .undecided }
        return record.isHealthy ? .healthy : .unhealthy
    }

    /// What is known of an endpoint; nil: it is not checked.
    public subscript(_ endpoint: MeshName) -> Record? {
        places[endpoint].flatMap { entries[$0]?.record }
    }

    /// All that is known, in no order.
    public var records: [(endpoint: MeshName, record: Record)] {
        places.compactMap { name, place in entries[place].map { (name, $0.record) } }
    }

    /// When the next check is due; nil: none ever.
    public var deadline: Instant? { deadlines.earliest }

    // MARK: The mesh

    /// The mesh has changed. What has moved, or belongs to another service now, begins anew; what
    /// is only asked differently keeps its health.
    /// - Returns: endpoints of which something else is said than before, and those that begin anew.
    /// - Complexity: that of the endpoints of services with checks.
    @discardableResult
    public mutating func follow(_ mesh: MeshState, now: Instant) -> [MeshName] {
        var changed: [MeshName] = []
        var kept: Set<MeshName> = []
        for service in mesh.services.values {
            guard let check = service.health else { continue }
            let host = "\(service.name).\(service.namespace).mesh"
            let identity = service.mtls == .off ? nil : mesh.identity(of: service)
            for endpoint in mesh.endpoints(of: service.meshName) {
                let name = endpoint.meshName
                kept.insert(name)
                let probe = Probe(
                    endpoint: name, ticket: 0, address: endpoint.address, host: host, check: check,
                    speech: service.speech, identity: identity,
                    takesCleartext: service.mtls != .strict)
                if update(probe, now) { changed.append(name) }
            }
        }
        for name in places.keys where !kept.contains(name) {
            if verdict(on: name) != .healthy { changed.append(name) }
            remove(name)
        }
        return changed
    }

    /// - Returns: whether the endpoint begins, or begins anew.
    private mutating func update(_ probe: Probe, _ now: Instant) -> Bool {
        guard let place = places[probe.endpoint], var entry = entries[place] else {
            add(probe, now)
            return true
        }
        guard entry.probe.address == probe.address, entry.probe.host == probe.host else {
            remove(probe.endpoint)
            add(probe, now)
            return true
        }
        var next = probe
        next.ticket = entry.probe.ticket
        guard entry.probe != next else { return false }
        let intervalChanged = entry.probe.check.interval != next.check.interval
        entry.probe = next
        entry.record.streak = 0
        entries[place] = entry
        if intervalChanged, !entry.isUnderWay { deadlines.set(place, at: now + first(next.check)) }
        return false
    }

    private mutating func add(_ probe: Probe, _ now: Instant) {
        guard let place = free.popLast() ?? (entries.count < Self.limit ? entries.count : nil)
        else { return }
        if place == entries.count { entries.append(nil) }
        entries[place] = Entry(probe: probe)
        places[probe.endpoint] = place
        deadlines.set(place, at: now + first(probe.check))
    }

    private mutating func remove(_ endpoint: MeshName) {
        guard let place = places.removeValue(forKey: endpoint) else { return }
        if entries[place]?.record.isHealthy == false { unhealthyCount -= 1 }
        entries[place] = nil
        deadlines.clear(place)
        free.append(place)
    }

    // MARK: Checks

    /// Anywhere in an interval: so that endpoints that were declared together are not asked
    /// together for ever.
    private mutating func first(_ check: MeshHealthCheck) -> Duration {
        .nanoseconds(Int64(Double(check.interval.nanoseconds) * random.unit()))
    }

    /// An interval, a tenth more or less: so that control planes that were started together do not
    /// ask together for ever.
    private mutating func following(_ check: MeshHealthCheck) -> Duration {
        .nanoseconds(Int64(Double(check.interval.nanoseconds) * (0.9 + 0.2 * random.unit())))
    }

    /// Takes the next check that is due; nil: none is. It must be reported, within its timeout.
    public mutating func next(_ now: Instant) -> Probe? {
        while let place = deadlines.popExpired(now) {
            guard var entry = entries[place] else { continue }
            deadlines.set(place, at: now + following(entry.probe.check))
            // The one before should have ended: a timeout is no longer than an interval, but an
            // interval may be a tenth shorter.
            guard !entry.isUnderWay else { continue }
            ticket += 1
            entry.probe.ticket = ticket
            entry.isUnderWay = true
            entries[place] = entry
            return entry.probe
        }
        return nil
    }

    /// A check has ended. One whose endpoint has been removed or moved meanwhile says nothing.
    /// - Parameter failure: why it has failed; nil: it has passed.
    /// - Returns: whether something else is said of the endpoint than before.
    @discardableResult
    public mutating func report(_ probe: Probe, failure: String?) -> Bool {
        guard let place = places[probe.endpoint], var entry = entries[place],
            entry.probe.ticket == probe.ticket, entry.isUnderWay
        else { return false }
        entry.isUnderWay = false
        let before = entry.record
        entry.record.note(failure, entry.probe.check)
        entries[place] = entry
        let after = entry.record
        if before.isHealthy != after.isHealthy { unhealthyCount += after.isHealthy ? -1 : 1 }
        return before.isHealthy != after.isHealthy || before.isDecided != after.isDecided
    }
}

extension HealthBook.Record {
    fileprivate mutating func note(_ failure: String?, _ check: MeshHealthCheck) {
        let passed = failure == nil
        let isLikeTheLast = passes + failures > 0 && (reason == nil) == passed
        streak = isLikeTheLast ? streak + 1 : 1
        reason = failure
        if passed { passes += 1 } else { failures += 1 }
        let (passesAsked, failuresAsked) = (check.healthyThreshold, check.unhealthyThreshold)
        if streak >= (passed ? passesAsked : failuresAsked) {
            isHealthy = passed
            isDecided = true
        } else if passes + failures >= UInt64(passesAsked + failuresAsked - 1) {
            isDecided = true
        }
    }
}
