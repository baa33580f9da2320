// Routes by their hosts and paths: in a mesh each service has some of its own, and a request is
// looked up among thousands. What it costs depends on the request, and on how many routes may mean
// it, not on how many there are.
//
// Each host that routes ask for has a row: one for any host, one for each exact host and one for
// each suffix. Within a row, routes stand in groups: by their exact path, or by the bytes that
// every path they mean begins with. A request meets the groups of its host's rows that are exactly
// its path, or a beginning of it. Each group is in the order of the configuration, so that the
// first route of all of them is found by taking the least number again and again.
//
// A route that is found here need not mean the request: that is for `Router` to say.

import Base
import Model

/// Which rules may mean a request. Built once for each configuration, then only read, by one
/// thread.
struct RouteIndex: ~Copyable {
    /// A host, or what hosts end with, and its row. No bytes: empty.
    private struct Host: BitwiseCopyable {
        var text: PatternText
        var row: Int32
    }

    /// Rules of one row. `row` -1: empty.
    private struct Group: BitwiseCopyable {
        var text: PatternText
        var row: Int32
        var isExact: Bool
        var rules: PatternRange
    }

    private let text: Slab<UInt8>
    /// Both by open addressing, half full at most.
    private let hosts: Slab<Host>
    private let groups: Slab<Group>
    /// Numbers of rules, group by group.
    private let ordered: Slab<Int32>
    /// Whether some group is of beginnings so long, and some of paths, and some row of suffixes.
    private let beginnings: Slab<Bool>
    private let exacts: Slab<Bool>
    private let suffixes: Slab<Bool>
    /// Of the request in hand: its rows, and what is left of its groups.
    private let rows: Slab<Int32>
    private let left: Slab<PatternRange>

    init(_ routes: [ProxyConfiguration.Route]) {
        var compiler = Compiler()
        for (number, route) in routes.enumerated() { compiler.add(route, number) }
        let none = PatternText(start: 0, count: 0)
        let hosts = Slab(
            count: Self.size(compiler.rows.count), repeating: Host(text: none, row: -1))
        let groups = Slab(
            count: Self.size(compiler.groups.count),
            repeating: Group(text: none, row: -1, isExact: false, rules: PatternRange(0, 0)))
        for (host, row) in compiler.rows where !host.isEmpty {
            let bytes = Array(host.utf8)
            var hash = Self.basis
            for byte in bytes.reversed() { Self.add(byte, &hash) }
            var place = Self.place(hash, 0, hosts.count)
            while hosts[place].row >= 0 { place = (place + 1) & (hosts.count - 1) }
            hosts[place] = Host(text: compiler.add(bytes), row: row)
        }
        var ordered: [Int32] = []
        for (key, rules) in compiler.groups {
            var hash = Self.basis
            for byte in key.text { Self.add(byte, &hash) }
            var place = Self.place(hash, key.row, groups.count)
            while groups[place].row >= 0 { place = (place + 1) & (groups.count - 1) }
            groups[place] = Group(
                text: compiler.add(key.text), row: key.row, isExact: key.isExact,
                rules: PatternRange(ordered.count, ordered.count + rules.count))
            ordered += rules
        }
        self.hosts = hosts
        self.groups = groups
        text = Slab(compiler.text)
        self.ordered = Slab(ordered)
        let keys = compiler.groups.keys
        beginnings = Self.lengths(keys.filter { !$0.isExact }.map(\.text.count))
        exacts = Self.lengths(keys.filter(\.isExact).map(\.text.count))
        let ends = compiler.rows.keys.filter { $0.hasPrefix(".") }.map(\.utf8.count)
        suffixes = Self.lengths(ends)
        rows = Slab(zeroed: Set(ends).count + 2)
        left = Slab(zeroed: rows.count * (beginnings.count + 1))
    }

    deinit {
        text.deallocate()
        hosts.deallocate()
        groups.deallocate()
        ordered.deallocate()
        beginnings.deallocate()
        exacts.deallocate()
        suffixes.deallocate()
        rows.deallocate()
        left.deallocate()
    }

    private struct Key: Hashable {
        var row: Int32
        var isExact: Bool
        var text: [UInt8]
    }

    private struct Compiler {
        /// Row 0 is of any host.
        var rows: [String: Int32] = ["": 0]
        var groups: [Key: [Int32]] = [:]
        var text: [UInt8] = []

        mutating func add(_ bytes: [UInt8]) -> PatternText {
            text += bytes
            return PatternText(start: Int32(text.count - bytes.count), count: Int32(bytes.count))
        }

        mutating func add(_ route: ProxyConfiguration.Route, _ number: Int) {
            let (path, isExact): ([UInt8], Bool) =
                switch route.path {
                case .exact(let path): (Array(path.utf8), true)
                // Which also means `*`, and what has no path.
                case .prefix("/"): ([], false)
                case .prefix(let path): (Array(path.utf8), false)
                case .regex(let pattern): ((try? LinearRegex(pattern))?.literalPrefix ?? [], false)
                }
            for host in route.hosts.isEmpty ? [""] : Set(route.hosts) {
                let name = host.hasPrefix("*.") ? String(host.dropFirst()) : host
                let row = rows[name] ?? Int32(rows.count)
                rows[name] = row
                groups[Key(row: row, isExact: isExact, text: path), default: []]
                    .append(Int32(number))
            }
        }
    }

    private static func size(_ count: Int) -> Int {
        var size = 2
        while size < count * 2 { size *= 2 }
        return size
    }

    private static func lengths(_ counts: [Int]) -> Slab<Bool> {
        let slab = Slab(count: (counts.max() ?? -1) + 1, repeating: false)
        for count in counts { slab[count] = true }
        return slab
    }

    // MARK: Looking up

    /// Begins with a request.
    /// - Parameter host: without port.
    /// - Returns: how many groups may mean it, for `next`.
    func groups(of host: Bytes, _ path: Bytes) -> Int {
        let count = findRows(host)
        var found = 0
        var hash = Self.basis
        let last = min(path.count, max(beginnings.count, exacts.count) - 1)
        var i = 0
        while i <= last {
            if i < beginnings.count, beginnings[i] {
                for r in 0..<count { find(rows[r], path[0..<i], false, hash, &found) }
            }
            if i == path.count {
                if i < exacts.count, exacts[i] {
                    for r in 0..<count { find(rows[r], path, true, hash, &found) }
                }
                break
            }
            Self.add(path[i], &hash)
            i += 1
        }
        return found
    }

    /// The next rule in the order of the configuration; nil: there is none left.
    /// - Parameter count: what `groups` has returned.
    @inline(__always)
    func next(_ count: Int) -> Int? {
        var least = Int32.max
        for i in 0..<count where !left[i].isEmpty {
            least = min(least, ordered[Int(left[i].start)])
        }
        guard least < .max else { return nil }
        // A rule for several hosts may stand in several rows.
        for i in 0..<count where !left[i].isEmpty && ordered[Int(left[i].start)] == least {
            left[i].start += 1
        }
        return Int(least)
    }

    /// From its end, so that one pass finds the host and all that it ends with.
    /// - Returns: how many there are, in `rows`.
    private func findRows(_ host: Bytes) -> Int {
        rows[0] = 0
        var count = 1
        var hash = Self.basis
        var i = host.count
        while i > 0 {
            i -= 1
            Self.add(asciiLowercase(host[i]), &hash)
            let length = host.count - i
            let isEnd =
                i > 0 && host[i] == UInt8(ascii: ".") && length < suffixes.count
                && suffixes[length]
            guard isEnd || i == 0 else { continue }
            var place = Self.place(hash, 0, hosts.count)
            while hosts[place].row >= 0 {
                let entry = hosts[place]
                if Int(entry.text.count) == length, isEqual(entry.text, host[i..<host.count]) {
                    rows[count] = entry.row
                    count += 1
                    break
                }
                place = (place + 1) & (hosts.count - 1)
            }
        }
        return count
    }

    private func find(
        _ row: Int32, _ path: Bytes, _ isExact: Bool, _ hash: UInt64, _ found: inout Int
    ) {
        var place = Self.place(hash, row, groups.count)
        while groups[place].row >= 0 {
            let group = groups[place]
            if group.row == row, group.isExact == isExact, Int(group.text.count) == path.count,
                text.bytes(Int(group.text.start)..<Int(group.text.start) + path.count) == path
            {
                left[found] = group.rules
                found += 1
                return
            }
            place = (place + 1) & (groups.count - 1)
        }
    }

    private func isEqual(_ pattern: PatternText, _ host: Bytes) -> Bool {
        for i in 0..<host.count where text[Int(pattern.start) + i] != asciiLowercase(host[i]) {
            return false
        }
        return true
    }

    // FNV-1a. Who asks can choose hosts and paths, but not those in the tables.

    private static let basis: UInt64 = 0xCBF2_9CE4_8422_2325

    @inline(__always)
    private static func add(_ byte: UInt8, _ hash: inout UInt64) {
        hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
    }

    @inline(__always)
    private static func place(_ hash: UInt64, _ row: Int32, _ size: Int) -> Int {
        let mixed = mix(hash &+ UInt64(UInt32(bitPattern: row)) &* 0x9E37_79B9_7F4A_7C15)
        return Int(truncatingIfNeeded: mixed) & (size - 1)
    }
}
