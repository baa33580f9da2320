public import Glibc

/// Appends to a region of memory that somebody else owns; what does not fit is refused, never cut.
///
/// Once an append has not fitted, `overflowed` is true and every further append does nothing, so
/// that a writer checks once, at the end.
@frozen
@safe
public struct ByteWriter {
    // Safety: the owner of the memory outlives the writer, which lives within one call.
    @usableFromInline let base: UnsafeMutablePointer<UInt8>
    public let capacity: Int
    @usableFromInline var end: Int
    @usableFromInline var full = false

    /// Bytes written, those that stood before included.
    @inlinable public var count: Int { end }
    /// Whether an append did not fit.
    @inlinable public var overflowed: Bool { full }

    /// A writer over `memory` that goes on after the first `count` bytes.
    @inlinable
    public init(_ memory: UnsafeMutableRawBufferPointer, count: Int = 0) {
        precondition(count >= 0 && count <= memory.count, "a writer past its memory")
        unsafe base =
            memory.baseAddress?.assumingMemoryBound(to: UInt8.self)
            ?? UnsafeMutablePointer(bitPattern: 1).unsafelyUnwrapped
        capacity = memory.count
        end = count
    }

    @inlinable
    @inline(__always)
    mutating func claim(_ n: Int) -> UnsafeMutablePointer<UInt8>? {
        guard n <= capacity &- end, !full else {
            full = true
            return nil
        }
        let place = unsafe base + end
        end &+= n
        return unsafe place
    }

    @inlinable
    public mutating func append(_ bytes: Bytes) {
        guard let place = unsafe claim(bytes.count) else { return }
        unsafe memcpy(place, bytes.base, bytes.count)
    }

    @inlinable
    public mutating func append(_ literal: StaticString) { append(Bytes(literal)) }

    @inlinable
    public mutating func append(_ byte: UInt8) {
        guard let place = unsafe claim(1) else { return }
        unsafe place.pointee = byte
    }

    /// The text's UTF-8.
    public mutating func append(text: String) {
        for byte in text.utf8 { append(byte) }
    }

    /// `value` in decimal.
    @inlinable
    public mutating func append(decimal value: UInt64) {
        var rest = value
        var digits = 1
        while rest >= 10 {
            rest /= 10
            digits &+= 1
        }
        guard let place = unsafe claim(digits) else { return }
        rest = value
        for i in stride(from: digits - 1, through: 0, by: -1) {
            unsafe place[i] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }

    /// `value` in lower-case hexadecimal of exactly `digits` digits.
    @inlinable
    public mutating func append(hex value: UInt64, digits: Int) {
        guard let place = unsafe claim(digits) else { return }
        for i in 0..<digits {
            let nibble = UInt8(truncatingIfNeeded: value >> UInt64(4 * (digits - 1 - i))) & 15
            unsafe place[i] = nibble < 10 ? 0x30 &+ nibble : 0x57 &+ nibble
        }
    }
}
