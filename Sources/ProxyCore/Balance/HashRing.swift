// Consistent hashing on a ring: each endpoint has points on it, as many as its weight says, and a
// request belongs to the next point at or above its own hash. An endpoint that goes takes only its
// own requests with it.

import Base

/// Envoy's ring, point for point: the same endpoints by the same names give the same ring.
///
/// Source: Envoy, `RingHashLoadBalancer::Ring`; the search is ketama's.
struct HashRing {
    private struct Point: BitwiseCopyable {
        var hash: UInt64
        var member: Int32
    }

    private var points: [Point] = []

    /// Envoy's `maximum_ring_size`.
    static let mostPoints = 8 << 20

    var count: Int { points.count }

    init() {}

    /// - Parameters:
    ///   - members: their names and weights.
    ///   - leastPoints: Envoy's `minimum_ring_size`; there are more if the smallest weight would
    ///     not come to a whole point.
    init(_ members: [(name: String, weight: Double)], leastPoints: Int) {
        guard !members.isEmpty else { return }
        let sum = members.reduce(0) { $0 + $1.weight }
        let least = members.reduce(1) { min($0, $1.weight / sum) }
        let scale = min(
            (least * Double(leastPoints)).rounded(.up) / least, Double(Self.mostPoints))
        points.reserveCapacity(Int(scale.rounded(.up)))
        var made = 0.0
        var wanted = 0.0
        for (i, member) in members.enumerated() {
            wanted += scale * (member.weight / sum)
            let key = Array("\(member.name)_".utf8)
            var number = 0
            while made < wanted {
                let hash = (key + Array(String(number).utf8)).withBytes { XXHash64.hash($0) }
                points.append(Point(hash: hash, member: Int32(i)))
                number += 1
                made += 1
            }
        }
        points.sort { ($0.hash, $0.member) < ($1.hash, $1.member) }
    }

    /// The member that a request of this hash belongs to.
    /// - Parameter attempt: 0, or how many points further: whom it goes to when the members before
    ///   are to be avoided.
    /// - Precondition: the ring has members.
    /// - Complexity: O(log points).
    func member(_ hash: UInt64, attempt: Int = 0) -> Int {
        var (low, high) = (0, points.count)
        while low < high {
            let middle = (low + high) / 2
            if points[middle].hash < hash { low = middle + 1 } else { high = middle }
        }
        let place = low == points.count ? 0 : low
        return Int(points[(place + attempt) % points.count].member)
    }
}
