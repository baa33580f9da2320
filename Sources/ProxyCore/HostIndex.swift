// Routes by their hosts: in a mesh each service has some of its own, and a request is looked up
// among thousands.

import Base
import Model

/// Which rules may mean a host. Built once for each configuration, then only read.
struct HostIndex: ~Copyable {
    /// A host, and the places of its rules in `ordered`.
    private struct Entry: BitwiseCopyable {
        var text: PatternText
        var rules: PatternRange
    }

    /// Places of rules that are still to be held against a request, in two rows that are each in
    /// order.
    struct Places: BitwiseCopyable {
        fileprivate var own: PatternRange
        fileprivate var others: PatternRange
    }

    private let text: Slab<UInt8>
    /// Open addressing, half full at most; an entry of no bytes is empty. No host is.
    private let table: Slab<Entry>
    /// Numbers of rules: those for any host or for suffixes first, then host by host.
    private let ordered: Slab<Int32>
    private let others: PatternRange

    init(_ routes: [ProxyConfiguration.Route]) {
        var byHost: [String: [Int32]] = [:]
        var ordered: [Int32] = []
        for (number, route) in routes.enumerated() {
            if route.hosts.isEmpty || route.hosts.contains(where: { $0.hasPrefix("*.") }) {
                ordered.append(Int32(number))
            } else {
                for host in Set(route.hosts) { byHost[host, default: []].append(Int32(number)) }
            }
        }
        others = PatternRange(0, ordered.count)
        var size = 2
        while size < byHost.count * 2 { size *= 2 }
        let none = Entry(text: PatternText(start: 0, count: 0), rules: PatternRange(0, 0))
        let table = Slab(count: size, repeating: none)
        var text: [UInt8] = []
        for (host, rules) in byHost {
            let bytes = Array(host.utf8)
            var place = bytes.withBytes { Self.hash($0) } & (size - 1)
            while table[place].text.count > 0 { place = (place + 1) & (size - 1) }
            table[place] = Entry(
                text: PatternText(start: Int32(text.count), count: Int32(bytes.count)),
                rules: PatternRange(ordered.count, ordered.count + rules.count))
            text += bytes
            ordered += rules
        }
        self.table = table
        self.text = Slab(text, empty: 0)
        self.ordered = Slab(ordered, empty: -1)
    }

    deinit {
        text.deallocate()
        table.deallocate()
        ordered.deallocate()
    }

    /// - Parameter host: without port.
    func places(of host: Bytes) -> Places {
        var place = Self.hash(host) & (table.count - 1)
        while table[place].text.count > 0 {
            let entry = table[place]
            if Int(entry.text.count) == host.count, isEqual(entry.text, host) {
                return Places(own: entry.rules, others: others)
            }
            place = (place + 1) & (table.count - 1)
        }
        return Places(own: PatternRange(0, 0), others: others)
    }

    /// The next rule in the order of the configuration; nil: there is none left.
    @inline(__always)
    func next(_ places: inout Places) -> Int? {
        let own = places.own.isEmpty ? Int32.max : ordered[Int(places.own.start)]
        let other = places.others.isEmpty ? Int32.max : ordered[Int(places.others.start)]
        guard min(own, other) < .max else { return nil }
        if own < other { places.own.start += 1 } else { places.others.start += 1 }
        return Int(min(own, other))
    }

    private func isEqual(_ pattern: PatternText, _ host: Bytes) -> Bool {
        for i in 0..<host.count where text[Int(pattern.start) + i] != asciiLowercase(host[i]) {
            return false
        }
        return true
    }

    /// FNV-1a, without regard to case. Who asks can choose hosts, but not those in the table.
    private static func hash(_ host: Bytes) -> Int {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for i in 0..<host.count {
            hash = (hash ^ UInt64(asciiLowercase(host[i]))) &* 0x100_0000_01B3
        }
        return Int(truncatingIfNeeded: hash ^ hash >> 32) & .max
    }
}
