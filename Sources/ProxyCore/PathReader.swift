// Paths as servers may read them.
//
// A request's path goes on as it came, and what it means the server behind decides. Servers decode
// some octets or all, drop what stands behind a `;`, take `\` for a slash, leave out empty segments
// and `.`, or a slash at the end: in any combination (RFC 3986, 6.2.2, and more than that). What
// they all make of a path has one coarsest form, in which every such step is taken. If any server
// takes a path for that of a rule, the coarsest forms of both are the same, so a `deny` is held
// against these. And of a path that a rule means as it stands no server makes one that the rule
// would not mean, so an `allow` is held against what came.
//
// Some servers look no further than the first `;`, or than a `?` or `#` that was encoded. Of what
// came before it the coarsest form is the beginning of that of all, so both are held against.
//
// Where the order of the steps matters there is no such form: `..` takes segments away that earlier
// steps have made, what stands behind a `;` may end early, at an encoded slash, and what stands
// behind `//` at the beginning may be taken for a host (RFC 3986, 3.2). Clients resolve `..`
// themselves (RFC 3986, 5.2.4) and have no use for the others, so such a path is nobody's: every
// `deny` about paths means it, and no `allow`. So is one with escapes that are none, or that are no
// UTF-8, of which decoders make this or that. Envoy has such readings as settings
// (`normalize_path`, `merge_slashes`, `path_with_escaped_slashes_action`).

import Base

/// How servers may read a path.
enum PathReading {
    /// All in one way: as it came.
    case plain
    /// Some in other ways, of which `form` is the coarsest; who looks no further than its first
    /// `cut` bytes takes it for these.
    case coarsest(form: Bytes, cut: Int)
    /// Nobody can tell as what.
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
        guard let (count, cut) = coarsest(path) else { return .unclear }
        return .coarsest(form: memory.bytes(0..<count), cut: min(cut, count))
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

    /// - Returns: bytes of the coarsest form, as many as the path has at most, and of that of what
    ///   comes before the first `;`, `?` or `#`; nil: it is unclear.
    private func coarsest(_ path: Bytes) -> (count: Int, cut: Int)? {
        precondition(path.count <= memory.count, "a path beyond the limit")
        var count = 0
        var cut = Int.max
        // Where the segment begins that is being read, behind its slash.
        var segment = 0
        var isParameter = false
        var last: UInt8 = 0
        var octets = 0
        var i = 0
        while i < path.count {
            var byte = path[i]
            let isSlash = byte == Self.slash
            i += 1
            if byte == UInt8(ascii: "%") {
                guard i + 1 < path.count, let high = hexDigit(path[i]),
                    let low = hexDigit(path[i + 1])
                else { return nil }
                i += 2
                byte = high << 4 | low
                if Self.isNoText(byte, after: last) { return nil }
            }
            last = byte
            octets += 1
            switch byte {
            case Self.slash, UInt8(ascii: "\\"):
                if isParameter && !isSlash || octets == 2 { return nil }
                guard let end = endSegment(segment, count) else { return nil }
                count = end
                if count == 0 || memory[count - 1] != Self.slash {
                    memory[count] = Self.slash
                    count += 1
                }
                segment = count
                isParameter = false
            case UInt8(ascii: ";"):
                guard let end = endSegment(segment, count) else { return nil }
                cut = min(cut, end)
                isParameter = true
            default:
                if isParameter { continue }
                if byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#") {
                    guard let end = endSegment(segment, count) else { return nil }
                    cut = min(cut, end)
                }
                memory[count] = byte
                count += 1
            }
        }
        return endSegment(segment, count).map { ($0, cut) }
    }

    /// Whether an octet ends texts for some, or makes an overlong form, in which UTF-8 hides `.`
    /// and `/` from who does not decode it (RFC 3629, 3 and 10).
    private static func isNoText(_ byte: UInt8, after last: UInt8) -> Bool {
        switch byte {
        case 0, 0xC0, 0xC1, 0xF5...0xFF: true
        case 0x80..<0x90: last == 0xE0 || last == 0xF0
        case 0x90..<0xA0: last == 0xE0
        default: false
        }
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
