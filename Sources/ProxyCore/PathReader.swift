// Paths as servers may read them.
//
// A request's path goes on as it came, and what it means the server behind decides. Servers decode
// some octets or all, drop what stands behind a `;`, take `\` for a slash, leave out empty segments
// and `.`: in any combination (RFC 3986, 6.2.2, and more than that). What they all make of a path
// has one coarsest form, in which every such step is taken. If any server takes a path for that of
// a rule, the coarsest forms of both are the same, so a `deny` is held against these. And of a path
// that a rule means as it stands no server makes one that the rule would not mean, so an `allow` is
// held against what came.
//
// That holds as long as the order of the steps does not matter. It does for `..`, which takes
// segments away that earlier steps have made, and where what stands behind a `;` may end early, at
// an encoded slash. Clients resolve `..` themselves (RFC 3986, 5.2.4) and have no use for the
// other, so such a path is nobody's: every `deny` about paths means it, and no `allow`. Envoy has
// such readings as settings (`normalize_path`, `merge_slashes`,
// `path_with_escaped_slashes_action`).

import Base

/// How servers may read a path.
enum PathReading {
    /// All in one way: as it came.
    case plain
    /// Some in other ways, of which this is the coarsest.
    case coarsest(Bytes)
    /// With `..`, slashes within parameters, or octets that no text has: nobody can tell as what.
    case unclear

    var isUnclear: Bool {
        if case .unclear = self { true } else { false }
    }
}

/// Reads paths as leniently as any server. For one thread: what it returns stands in its memory
/// until the next call.
struct PathReader: ~Copyable {
    private let memory: Slab<UInt8>

    /// - Parameter longest: bytes of the longest path that there can be.
    init(longest: Int) { memory = Slab(zeroed: longest) }

    deinit { memory.deallocate() }

    /// How servers may read `path`, which has no query.
    func read(_ path: Bytes) -> PathReading {
        guard path.count > 0, path[0] == Self.slash, Self.mayBeReadOtherwise(path) else {
            return .plain
        }
        return coarsest(path).map { .coarsest(memory.bytes(0..<$0)) } ?? .unclear
    }

    private static let slash = UInt8(ascii: "/")
    private static let dot = UInt8(ascii: ".")

    private static func mayBeReadOtherwise(_ path: Bytes) -> Bool {
        var last: UInt8 = 0
        for i in 0..<path.count {
            let byte = path[i]
            switch byte {
            case UInt8(ascii: "%"), UInt8(ascii: "\\"), UInt8(ascii: ";"): return true
            case slash, dot: if last == slash { return true }
            default: break
            }
            last = byte
        }
        return false
    }

    /// - Returns: bytes of the coarsest form, as many as the path has at most; nil: it is unclear.
    private func coarsest(_ path: Bytes) -> Int? {
        precondition(path.count <= memory.count, "a path beyond the limit")
        var count = 0
        // Where the segment begins that is being read, behind its slash.
        var segment = 0
        var isParameter = false
        var i = 0
        while i < path.count {
            var byte = path[i]
            let isSlash = byte == Self.slash
            i += 1
            if byte == UInt8(ascii: "%"), i + 1 < path.count, let high = hexDigit(path[i]),
                let low = hexDigit(path[i + 1])
            {
                i += 2
                byte = high << 4 | low
                if Self.isNoText(byte) { return nil }
            }
            switch byte {
            case Self.slash, UInt8(ascii: "\\"):
                if isParameter, !isSlash { return nil }
                guard let end = endSegment(segment, count) else { return nil }
                count = end
                if count == 0 || memory[count - 1] != Self.slash {
                    memory[count] = Self.slash
                    count += 1
                }
                segment = count
                isParameter = false
            case UInt8(ascii: ";"): isParameter = true
            default:
                if isParameter { continue }
                memory[count] = byte
                count += 1
            }
        }
        return endSegment(segment, count)
    }

    /// Whether an octet ends texts for some, or begins an overlong form, in which UTF-8 hides `.`
    /// and `/` from who does not decode it (RFC 3629, 10).
    private static func isNoText(_ byte: UInt8) -> Bool {
        byte == 0 || byte == 0xC0 || byte == 0xC1
    }

    /// - Returns: the count without a last segment that says nothing; nil: it leads upwards.
    private func endSegment(_ segment: Int, _ count: Int) -> Int? {
        switch count - segment {
        case 1 where memory[segment] == Self.dot: segment
        case 2 where memory[segment] == Self.dot && memory[segment + 1] == Self.dot: nil
        default: count
        }
    }
}
