// What must hold of attempts between any two calls into a proxy.

import Base
import Model

extension Proxy {
    /// Whether an upstream is among those attempts of a client's that have overrun their time.
    func isRival(_ upstream: Int, of client: Int) -> Bool {
        var rival = Int(tries[client].rivals) - 1
        var count = 0
        while rival >= 0 {
            if rival == upstream { return true }
            count += 1
            precondition(count <= connections.count, "rivals in a ring")
            rival = Int(connections[rival].next)
        }
        return false
    }

    /// Every breaker counts what is there: nothing that has ended is still held.
    func checkBreakers() {
        var counted = breakers.map { _ in [Int](repeating: 0, count: 8) }
        var pooled = breakers.map { _ in [0, 0] }
        func count(_ resource: Resource, _ cluster: Int, _ priority: UInt8) {
            if cluster >= 0 { counted[cluster][Breaker.place(resource, priority)] += 1 }
        }
        for slot in 0..<touchedSlots {
            let connection = connections[slot]
            let exchange = connection.exchange
            switch connection.role {
            case .free: continue
            case .upstream:
                let cluster = Int(upstreams.endpoints[Int(connection.endpoint)].cluster)
                if !connection.isStream { count(.connections, cluster, connection.priority) }
                if cluster >= 0, connection.stage == .pooled || connection.isPooled {
                    pooled[cluster][Int(connection.priority)] += 1
                }
                if connection.holdsRequest { count(.requests, cluster, connection.priority) }
                if connection.holdsPending { count(.pending, cluster, connection.priority) }
                precondition(
                    !connection.holdsRequest || connection.isAttempt, "held by no attempt")
                precondition(
                    !connection.holdsPending || connection.holdsRequest, "waits for nothing")
            case .downstream:
                let cluster = Int(exchange.cluster)
                if connection.stage == .pending { count(.pending, cluster, exchange.priority) }
                if exchange.holdsRetry { count(.retries, cluster, exchange.priority) }
                precondition(
                    tries[slot].rivals == 0 || connection.stage == .exchange,
                    "rivals of nobody's")
                precondition(
                    !exchange.holdsRetry
                        || [.exchange, .waiting, .pending].contains(connection.stage)
                        || exchange.isAgain, "a retry of nobody's")
            }
        }
        for (cluster, breaker) in breakers.enumerated() {
            for priority in 0..<2 as Range<UInt8> {
                precondition(
                    breaker.pooled(priority) == pooled[cluster][Int(priority)], "a pool miscounted")
                precondition(
                    !isShared(cluster) || waiting(cluster, priority) == 0
                        || queues.nextLook < .distantFuture, "nobody looks at a queue")
                for resource in Resource.allCases {
                    let found = counted[cluster][Breaker.place(resource, priority)]
                    precondition(
                        breaker.count(resource, priority) == found,
                        "\(resource) of cluster \(cluster): \(breaker.count(resource, priority)) "
                            + "counted, \(found) there")
                }
            }
        }
    }
}
