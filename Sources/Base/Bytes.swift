// Views of raw memory. The request path parses and forwards in place, so its currency is "these
// bytes of that buffer"; `Span` cannot be stored, and copying is what must not happen.

public import Glibc

/// A view of bytes that somebody else owns.
///
/// Every access is bounds-checked. The view does not keep the memory alive: it is valid as long as
/// its owner (a buffer of a `BufferPool`, an array in `withBytes`) holds still, which in this
/// program means: until the end of the call that was given it. Never store one in a longer-lived
/// value.
@frozen
@safe
public struct Bytes: @unchecked Sendable {
    // Safety: see above; `base` is valid for `count` bytes while the owner holds still.
    @usableFromInline let base: UnsafePointer<UInt8>
    public let count: Int

    @inlinable
    public init(_ base: UnsafePointer<UInt8>, count: Int) {
        unsafe self.base = base
        self.count = count
    }

    @inlinable
    public init(_ buffer: UnsafeRawBufferPointer) {
        unsafe base =
            buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
            ?? UnsafePointer(bitPattern: 1).unsafelyUnwrapped
        count = buffer.count
    }

    /// The bytes of a literal, which live for ever.
    @inlinable
    public init(_ literal: StaticString) {
        unsafe base = literal.utf8Start
        count = literal.utf8CodeUnitCount
    }

    @inlinable
    public subscript(index: Int) -> UInt8 {
        precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "byte out of bounds")
        return unsafe base[index]
    }

    /// The bytes in `range`.
    @inlinable
    public subscript(range: Range<Int>) -> Bytes {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "bytes out of bounds")
        return unsafe Bytes(base + range.lowerBound, count: range.count)
    }

    /// Eight bytes from `index`, the first in the low bits.
    @inlinable
    public func word(at index: Int) -> UInt64 {
        precondition(index >= 0 && index &+ 8 <= count, "word out of bounds")
        return unsafe UnsafeRawPointer(base + index).loadUnaligned(as: UInt64.self).littleEndian
    }

    /// The memory itself, for a system call.
    @inlinable
    public var raw: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: base, count: count)
    }

    /// Where `byte` first stands at or after `start`; nil if nowhere.
    @inlinable
    public func firstIndex(of byte: UInt8, from start: Int = 0) -> Int? {
        precondition(start >= 0 && start <= count, "search out of bounds")
        guard let found = unsafe memchr(base + start, Int32(byte), count - start) else {
            return nil
        }
        return unsafe UnsafeRawPointer(found) - UnsafeRawPointer(base)
    }

    @inlinable
    public static func == (a: Bytes, b: Bytes) -> Bool {
        unsafe a.count == b.count && memcmp(a.base, b.base, a.count) == 0
    }

    @inlinable
    public static func == (a: Bytes, b: StaticString) -> Bool { a == Bytes(b) }

    /// Whether these are the letters of `lowercase`, in either case (ASCII).
    /// - Precondition: `lowercase` is made of lower-case letters and of what stands below `@` in
    ///   ASCII: hyphens, digits, and so on.
    @inlinable
    public func equalsIgnoringCase(_ lowercase: StaticString) -> Bool {
        equalsIgnoringCase(Bytes(lowercase))
    }

    /// Whether these are the letters of `lowercase`, in either case (ASCII).
    /// - Precondition: as above.
    @inlinable
    public func equalsIgnoringCase(_ lowercase: Bytes) -> Bool {
        guard count == lowercase.count else { return false }
        var i = 0
        while i &+ 8 <= count {
            let wanted = lowercase.word(at: i)
            // Only letters have the bit 0x40; half of it is what tells their cases apart.
            guard word(at: i) | (wanted & 0x4040_4040_4040_4040) >> 1 == wanted else {
                return false
            }
            i &+= 8
        }
        while i < count {
            let wanted = lowercase[i]
            guard self[i] | (wanted & 0x40) >> 1 == wanted else { return false }
            i &+= 1
        }
        return true
    }

    /// The text, with what is not UTF-8 replaced. Allocates: not for the request path.
    public var text: String {
        unsafe String(decoding: UnsafeBufferPointer(start: base, count: count), as: UTF8.self)
    }
}

/// `byte` in lower case if it is an ASCII letter.
@inlinable
public func asciiLowercase(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
}

/// `byte` in upper case if it is an ASCII letter.
@inlinable
public func asciiUppercase(_ byte: UInt8) -> UInt8 {
    byte &- 0x61 < 26 ? byte & 0xDF : byte
}

/// The value of a hexadecimal digit; nil for any other byte.
@inlinable @inline(__always)
public func hexDigit(_ byte: UInt8) -> UInt8? {
    if byte &- 0x30 < 10 { return byte &- 0x30 }
    let letter = asciiLowercase(byte) &- 0x61
    return letter < 6 ? letter + 10 : nil
}

extension Array where Element == UInt8 {
    /// Calls `body` with a view of the array's bytes, valid within the call.
    @inlinable
    public func withBytes<R>(_ body: (Bytes) -> R) -> R {
        unsafe withUnsafeBytes { unsafe body(Bytes($0)) }
    }
}
