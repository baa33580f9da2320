// The way to a simulated etcd: answers that are lost, late or refused, and a watch that lags,
// breaks and comes in pieces.

import Base
import ControlCore

@testable import Runtime

final class SimulatedEtcdLink: EtcdLink {
    private let etcd: SimulatedEtcd
    private var random: SeededRandom
    private var replica = EtcdReplica()
    private var news: [EtcdNews] = []
    private var asked: Set<UInt64> = []
    /// The watch: the revision from which on it tells, and the lines that are on their way.
    private var watched: UInt64?
    private var lines: [String] = []
    private var copied: Int?
    private(set) var now = Instant.zero
    /// Whether anything goes wrong.
    var isFaulty = true
    /// Requests that were given up and may be carried out later. Shared by all links.
    let late: LateRequests
    private(set) var tally: [String: Int] = [:]
    /// Of which the store's copy is, as far as it has taken it.
    private(set) var cluster: Int?

    init(_ etcd: SimulatedEtcd, _ late: LateRequests, random: SeededRandom) {
        self.etcd = etcd
        self.late = late
        self.random = random
    }

    private func note(_ what: String) { tally[what, default: 0] += 1 }

    private func chance(_ percent: Int) -> Bool { isFaulty && random.below(100) < percent }

    func ask(_ request: EtcdRequest, until deadline: Instant) -> EtcdReply {
        now = now + .milliseconds(Int64(1 + random.below(20)))
        if chance(10) { late.carryOutOne(etcd, &random) }
        if chance(4) { return .unsent("nobody there") }
        if chance(12) {
            now = min(deadline, now + .milliseconds(700))
            if random.below(2) == 0 {
                note("lost answers")
                _ = try? etcd.answer(request)
            } else if random.below(2) == 0 {
                late.requests.append(request)
            }
            return .unanswered("no answer")
        }
        if chance(4) {
            if random.below(2) == 0 { _ = try? etcd.answer(request) }
            let (status, body) = etcd.failure(503, 14, "etcdserver: leader changed")
            return .answer(status: status, body: body)
        }
        guard let (status, body) = try? etcd.answer(request) else { return .unanswered("broken") }
        return .answer(status: status, body: body)
    }

    func takeNews() -> [EtcdNews] {
        // Now and then something has come meanwhile.
        if random.below(4) == 0 { step() }
        defer { news = [] }
        for item in news {
            if case .update(.contents) = item { cluster = copied }
        }
        return news
    }

    func waitForNews(until deadline: Instant) {
        now = min(max(now, deadline), now + .milliseconds(Int64(5 + random.below(50))))
        for _ in 0..<1 + random.below(6) { step() }
    }

    func keepAlive(_ lease: UInt64) { asked.insert(lease) }

    /// Brings everything that there is.
    func settle() {
        isFaulty = false
        // By then a commit that has failed is forgotten.
        now = now + .seconds(10)
        for _ in 0..<200 {
            now = now + .milliseconds(1)
            step()
        }
    }

    // MARK: The one who watches

    private func step() {
        if let lease = asked.popFirst(), !etcd.leases.contains(lease) {
            news.append(.ended(lease: lease))
        }
        do throws(EtcdFault) {
            if chance(3) { throw .cancelled("the connection broke") }
            switch replica.step {
            case .probe: try replica.read(probe: try answer(EtcdReplica.probe))
            case .page:
                if chance(5) {
                    replica.pageFailed(tooLarge: true)
                    return
                }
                if let update = try replica.read(page: try answer(replica.request)) {
                    note("copies")
                    copied = etcd.cluster
                    if case .contents(_, _, goesOn: true) = update { note("copies that go on") }
                    news.append(.update(update))
                }
            case .watch: try watch()
            }
            news.append(.well(now))
        } catch {
            note("breaks")
            news.append(.trouble("\(error)"))
            disconnect()
        }
    }

    private func disconnect() {
        replica.disconnected()
        watched = nil
        lines = []
    }

    private func answer(_ request: EtcdRequest) throws(EtcdFault) -> [UInt8] {
        guard let (status, body) = try? etcd.answer(request), status == 200 else {
            replica.pageFailed(tooLarge: false)
            throw .cancelled("status")
        }
        return body
    }

    private func watch() throws(EtcdFault) {
        guard let from = watched else {
            watched = replica.revision + 1
            say("\"created\":true")
            return
        }
        // The questions that go on beside the watch.
        if random.below(10) == 0 { try replica.read(probe: try answer(EtcdReplica.probe)) }
        guard replica.step == .watch else { return disconnect() }
        if lines.isEmpty {
            // A revision that is to come waits until it does.
            if from <= etcd.compacted {
                say("\"canceled\":true,\"compact_revision\":\"\(etcd.compacted)\"")
            } else {
                tell(from)
            }
        }
        guard !lines.isEmpty, !chance(30) else { return }
        let line = lines.removeFirst()
        if let update = try replica.read(line: Array(line.utf8)) { news.append(.update(update)) }
        if replica.step != .watch {
            watched = nil
            lines = []
        }
    }

    /// Some of what has happened, in one answer, or several that belong together.
    private func tell(_ from: UInt64) {
        let commits = etcd.history.filter { $0.revision >= from }.prefix(1 + random.below(3))
        guard let last = commits.last else {
            if random.below(4) == 0 { say("") }
            return
        }
        watched = last.revision + 1
        var events = commits.flatMap(etcd.events)[...]
        while !events.isEmpty {
            let count = random.below(3) == 0 ? 1 + random.below(events.count) : events.count
            let part = events.prefix(count)
            events = events.dropFirst(count)
            if !events.isEmpty { note("fragments") }
            say(
                (events.isEmpty ? "" : "\"fragment\":true,")
                    + "\"events\":[\(part.joined(separator: ","))]")
        }
    }

    private func say(_ rest: String) {
        lines.append("{\"result\":{\(etcd.header)\(rest.isEmpty ? "" : ",")\(rest)}}")
    }
}

/// Requests that were given up and are still on their way.
final class LateRequests {
    var requests: [EtcdRequest] = []

    func carryOutOne(_ etcd: SimulatedEtcd, _ random: inout SeededRandom) {
        guard !requests.isEmpty else { return }
        let request = requests.remove(at: random.below(requests.count))
        _ = try? etcd.answer(request)
    }
}
