// What the access logs of proxies say of requests that a fault has met: that of the proxy that did
// it, that of the proxy before an application that did it, and those of the proxies that the
// requests were for.

import Base
import FoundationEssentials
import Model

/// What an access log says of the requests that stand in ledgers.
struct AccessTrace {
    /// By the request's id: one request may come to a proxy several times.
    private(set) var lines: [String: [AccessLine]] = [:]
    /// Those that show a fault and stand in no ledger.
    private(set) var strangers: [String] = []
    /// Whether the whole file was looked at.
    private(set) var isWhole = true

    init(_ path: String, of requests: Set<String>) {
        let decoder = JSONDecoder()
        var count = 0
        forEachLine(of: path, atMost: FaultBook.mostLines) { text in
            count += 1
            guard let line = try? decoder.decode(AccessLine.self, from: text),
                let id = line.requestID, !id.isEmpty
            else { return }
            if requests.contains(id) {
                lines[id, default: []].append(line)
            } else if line.hasFault {
                strangers.append(id)
            }
        }
        isWhole = count < FaultBook.mostLines
    }
}

extension FaultBook {
    /// The process's own access log: each line of its ledger is about an exchange in it, which has
    /// the flag and lasted as long as it was held back.
    mutating func compare(_ process: String, with log: AccessTrace) {
        match(process, against: "its access log", isWhole: log.isWhole) { id, line in
            guard let seen = log.lines[id] else { return nil }
            // An attempt that was aborted shows in the log only if it was the last.
            guard seen.contains(where: { $0.lasted(line) }) else { return false }
            guard line.point != .perAttempt, let status = line.abortHTTP else { return true }
            return seen.contains { $0.status == status || !$0.isAnswered }
        }
        let strangers =
            log.strangers
            + log.lines.filter { id, lines in
                !hasLine(process, id) && lines.contains(where: \.hasFault)
            }.keys
        if let first = strangers.min() { accuse(process, strangers.count, first) }
    }

    /// The log of the proxy before an application: what the application says to have held back took
    /// as long there, and what it says to have answered came from it.
    mutating func compareApplications(_ logs: [String: AccessTrace]) {
        let ledgers = spans.filter { $0.point == .app }.flatMap(\.requests.keys)
        for process in Set(ledgers).sorted() {
            let proxy = sidecarName(of: process)
            guard let log = logs[proxy], log.isWhole, !harmed.contains(proxy),
                !harmed.contains(process)
            else { continue }
            match(process, against: "the access log of \(proxy)", counts: false) { id, line in
                guard let seen = log.lines[id] else { return nil }
                guard seen.contains(where: { $0.lasted(line) }) else { return false }
                guard let status = line.abortHTTP else { return true }
                // The proxy may have given up before.
                return seen.contains { $0.status == status || !$0.isUpstreams }
            }
        }
    }

    /// What was aborted before it was sent has not come to whom it was for: to a service's proxies
    /// a request has come at most as often as the proxies that ask it have sent it, without what
    /// was aborted of that. Several that ask may do so under one id.
    /// - Parameter mirrored: services to which requests come otherwise.
    mutating func checkArrivals(_ logs: [String: AccessTrace], besides mirrored: Set<String>) {
        // A caller that was ended has not written down what it had sent.
        guard harmed.isDisjoint(with: logs.keys), logs.values.allSatisfy(\.isWhole) else { return }
        for span in spans where span.point.isAtClient {
            guard let service = span.service, let cluster = span.cluster,
                !mirrored.contains(service)
            else { continue }
            let servers = logs.filter { $0.key.hasPrefix(sidecarPrefix(service)) }.values
            let come = span.aborts.keys.filter { id in
                var sent = logs.values.reduce(0) { sum, log in
                    sum + (log.lines[id] ?? []).count(of: [cluster], \.attempts)
                }
                for other in spans where other.point == .perAttempt && other.cluster == cluster {
                    sent -= other.aborts[id] ?? 0
                }
                let arrived = servers.reduce(0) { sum, log in
                    sum + (log.lines[id] ?? []).count(of: Self.ownClusters) { _ in 1 }
                }
                return arrived > sent
            }
            guard let first = come.min() else { continue }
            accuse(
                span,
                "\(come.count) requests were aborted and have come to \(service) all the same: "
                    + "'\(first)' for one")
        }
    }

    /// What the proxies of a service call the service itself.
    private static let ownClusters = [ProxyConfiguration.appName, Experiment.ownCluster]
}

extension [AccessLine] {
    /// The sum over exchanges that went to one of the clusters.
    fileprivate func count(of clusters: [String], _ value: (AccessLine) -> Int) -> Int {
        reduce(0) { sum, line in
            guard let cluster = line.cluster, clusters.contains(cluster) else { return sum }
            return sum + value(line)
        }
    }
}

extension AccessLine {
    /// Whether it took as long as it was held back.
    fileprivate func lasted(_ line: FaultLedgerLine) -> Bool {
        guard let delay = line.delayNs, isAnswered else { return true }
        // Both are cut to whole microseconds.
        return (durationUs + 1) * 1000 >= delay
    }

    /// Whether the client waited for the answer.
    fileprivate var isAnswered: Bool { !flags.split(separator: ",").contains("DC") && status > 0 }

    /// Whether the answer is the upstream's.
    fileprivate var isUpstreams: Bool { isAnswered && details == "via_upstream" }
}
