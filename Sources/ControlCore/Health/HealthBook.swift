// What active checks make of endpoints: when which is to be asked, and what follows from the
// answers. Not in the store: each control plane finds out for itself, and knows nothing after a
// start.
//
//                     `unhealthy` failures in a row
//     healthy ───────────────────────────────────────► unhealthy
//        ▲                                                │
//        └────────────────────────────────────────────────┘
//                     `healthy` passes in a row
//
// An endpoint begins as healthy, as whoever declared it says: checks take it out of use. It is
// checked whatever its declared health.

public import Base
public import Model

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
        /// The service takes mutual TLS only, which checks do not speak: they see whether a
        /// connection can be opened.
        public var isSecured: Bool
    }

    /// What is known of an endpoint.
    public struct Record: Equatable, Sendable {
        public var isHealthy = true
        /// Checks in a row that spoke against `isHealthy`.
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
    /// From then on what is found is worth as much as what somebody found before: whatever was
    /// unhealthy when this began has been seen to be. Nil: no mesh has been looked at.
    public private(set) var settlesAt: Instant?
    /// Bound: one service that is asked rarely must not keep what is known of the others from
    /// counting.
    private static let settlingMost = Duration.seconds(60)

    public init(random: SeededRandom) { self.random = random }

    /// How many endpoints are checked.
    public var count: Int { places.count }

    /// Whether checks leave an endpoint in use; those that are not checked they do.
    public func isWell(_ endpoint: MeshName) -> Bool { self[endpoint]?.isHealthy ?? true }

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
    /// - Returns: endpoints that were unhealthy and are not held to be that any longer.
    /// - Complexity: that of the endpoints of services with checks.
    @discardableResult
    public mutating func follow(_ mesh: MeshState, now: Instant) -> [MeshName] {
        var changed: [MeshName] = []
        var kept: Set<MeshName> = []
        var settling = Duration.zero
        for service in mesh.services.values {
            guard let check = service.health else { continue }
            let host = "\(service.name).\(service.namespace).mesh"
            settling = max(settling, check.slowest)
            for endpoint in mesh.endpoints(of: service.meshName) {
                let name = endpoint.meshName
                kept.insert(name)
                let probe = Probe(
                    endpoint: name, ticket: 0, address: endpoint.address, host: host, check: check,
                    speech: service.speech, isSecured: service.mtls == .strict)
                if update(probe, now) { changed.append(name) }
            }
        }
        for name in places.keys where !kept.contains(name) {
            if !isWell(name) { changed.append(name) }
            remove(name)
        }
        if settlesAt == nil { settlesAt = now + min(settling, Self.settlingMost) }
        return changed
    }

    /// - Returns: whether an unhealthy endpoint is no longer held to be that.
    private mutating func update(_ probe: Probe, _ now: Instant) -> Bool {
        guard let place = places[probe.endpoint], var entry = entries[place] else {
            add(probe, now)
            return false
        }
        guard entry.probe.address == probe.address, entry.probe.host == probe.host else {
            let wasWell = entry.record.isHealthy
            remove(probe.endpoint)
            add(probe, now)
            return !wasWell
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
    /// - Returns: whether the endpoint has become healthy or unhealthy by it.
    @discardableResult
    public mutating func report(_ probe: Probe, failure: String?) -> Bool {
        guard let place = places[probe.endpoint], var entry = entries[place],
            entry.probe.ticket == probe.ticket, entry.isUnderWay
        else { return false }
        entry.isUnderWay = false
        var record = entry.record
        record.reason = failure
        if failure == nil { record.passes += 1 } else { record.failures += 1 }
        let isAgainst = (failure == nil) != record.isHealthy
        record.streak = isAgainst ? record.streak + 1 : 0
        let check = entry.probe.check
        let threshold = record.isHealthy ? check.unhealthyThreshold : check.healthyThreshold
        let changes = record.streak >= threshold
        if changes {
            record.isHealthy.toggle()
            record.streak = 0
            unhealthyCount += record.isHealthy ? -1 : 1
        }
        entry.record = record
        entries[place] = entry
        return changes
    }
}

extension MeshHealthCheck {
    /// The longest time until an endpoint that fails is seen to be unhealthy: intervals are a tenth
    /// longer at most.
    fileprivate var slowest: Duration {
        let rounds = Double(interval.nanoseconds) * 1.1 * Double(unhealthyThreshold)
        return .nanoseconds(Int64(rounds)) + timeout
    }
}
