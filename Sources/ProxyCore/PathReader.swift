// Paths as servers may read them.
//
// A request's path goes on as it came, and what it means the server behind decides. Many servers
// take `/a/./b/../c`, `/a//c`, `/%61/c`, `/a%2fc` and `/a\c` for `/a/c` (RFC 3986, 6.2.2, and more
// than that), others do not. So rules are held against the path as it came, and against what the
// most lenient server would make of it. Envoy has such readings as settings (`normalize_path`,
// `merge_slashes`, `path_with_escaped_slashes_action`).

import Base
import Wire

/// Reads paths as leniently as any server. For one thread: what it returns stands in its memory
/// until the next call.
struct PathReader: ~Copyable {
    private let memory: Slab<UInt8>

    /// - Parameter longest: bytes of the longest path that there can be.
    init(longest: Int) { memory = Slab(zeroed: longest) }

    deinit { memory.deallocate() }

    /// What a lenient server takes a path for; nil: what every other does.
    func otherReading(of path: Bytes) -> Bytes? {
        guard path.count > 0, path[0] == Self.slash, Self.hasReadings(path) else { return nil }
        return memory.bytes(0..<read(path))
    }

    /// The same of a rule's path.
    static func normal(_ path: String) -> [UInt8] {
        let bytes = Array(path.utf8)
        let reader = PathReader(longest: bytes.count)
        return bytes.withBytes { path in
            guard let other = reader.otherReading(of: path) else { return bytes }
            return (0..<other.count).map { other[$0] }
        }
    }

    private static let slash = UInt8(ascii: "/")

    private static func hasReadings(_ path: Bytes) -> Bool {
        var last: UInt8 = 0
        for i in 0..<path.count {
            let byte = path[i]
            switch byte {
            case UInt8(ascii: "%"), UInt8(ascii: "\\"): return true
            case slash, UInt8(ascii: "."): if last == slash { return true }
            default: break
            }
            last = byte
        }
        return false
    }

    /// - Returns: bytes of the reading, as many as the path has at most.
    private func read(_ path: Bytes) -> Int {
        precondition(path.count <= memory.count, "a path beyond the limit")
        var count = 0
        // Where the segment begins that is being read, behind its slash.
        var segment = 0
        var i = 0
        while i < path.count {
            var byte = path[i]
            i += 1
            if byte == UInt8(ascii: "%"), i + 1 < path.count,
                let high = Self.hexDigit(path[i]), let low = Self.hexDigit(path[i + 1])
            {
                i += 2
                byte = high << 4 | low
                if !Self.isPlain(byte) {
                    memory[count] = UInt8(ascii: "%")
                    memory[count + 1] = Self.upperCase(path[i - 2])
                    memory[count + 2] = Self.upperCase(path[i - 1])
                    count += 3
                    continue
                }
            }
            guard byte == Self.slash || byte == UInt8(ascii: "\\") else {
                memory[count] = byte
                count += 1
                continue
            }
            count = endSegment(segment, count)
            if count == 0 || memory[count - 1] != Self.slash {
                memory[count] = Self.slash
                count += 1
            }
            segment = count
        }
        return endSegment(segment, count)
    }

    /// - Returns: the count without a last segment that only says where to go.
    private func endSegment(_ segment: Int, _ count: Int) -> Int {
        let dot = UInt8(ascii: ".")
        guard segment > 0 else { return count }
        if count == segment + 1, memory[segment] == dot { return segment }
        guard count == segment + 2, memory[segment] == dot, memory[segment + 1] == dot else {
            return count
        }
        var start = max(segment - 1, 1)
        while start > 1, memory[start - 1] != Self.slash { start -= 1 }
        return start
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }

    /// Of a hexadecimal digit (RFC 3986, 6.2.2.1).
    private static func upperCase(_ digit: UInt8) -> UInt8 {
        digit >= UInt8(ascii: "a") ? digit - 0x20 : digit
    }

    /// Whether an octet means the same encoded (RFC 3986, 2.3), or is taken for a slash.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-._~/\\".utf8.contains(byte)
        }
    }
}
