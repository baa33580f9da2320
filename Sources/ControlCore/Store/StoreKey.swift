import Glibc

/// A key of the store: bytes, ordered as unsigned bytes are, so that a prefix is a range (as in
/// etcd; the order of `String` is that of Unicode's canonical forms and would not do).
public struct StoreKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The key itself; by custom `collection/namespace/name` in UTF-8.
    public var bytes: [UInt8]

    public init(bytes: [UInt8]) { self.bytes = bytes }

    /// The key of the text's UTF-8.
    public init(_ text: String) { bytes = Array(text.utf8) }

    /// Whether `self` begins with `prefix`; every key begins with the empty one.
    public func hasPrefix(_ prefix: StoreKey) -> Bool { bytes.starts(with: prefix.bytes) }

    public static func < (a: StoreKey, b: StoreKey) -> Bool {
        let order = unsafe memcmp(a.bytes, b.bytes, min(a.bytes.count, b.bytes.count))
        return order == 0 ? a.bytes.count < b.bytes.count : order < 0
    }

    /// The text, with what is not UTF-8 replaced.
    public var description: String { String(decoding: bytes, as: UTF8.self) }
}
