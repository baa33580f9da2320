// The request path keeps its state in slabs: one allocation at start, elements addressed by index.
// Elements are plain values without references, so that reading a field is one load: no retain, no
// exclusivity check, no copy.

import Glibc

/// A fixed number of plain values at fixed addresses, owned by whoever created it.
///
/// `Slab` is a handle: copies share the memory. Its owner calls `deallocate()` exactly once, or
/// keeps it for the life of the process. Not for values with references: nothing is deinitialized.
@frozen
@safe
public struct Slab<Element: BitwiseCopyable>: @unchecked Sendable {
    // Safety: `base` is valid for `count` initialized elements until `deallocate()`; every access
    // is bounds-checked. Sharing between threads is the owner's affair, as with any memory.
    @usableFromInline let base: UnsafeMutablePointer<Element>
    /// The number of elements.
    public let count: Int

    /// `count` elements, each `value`.
    public init(count: Int, repeating value: Element) {
        self.init(uninitialized: count)
        unsafe base.initialize(repeating: value, count: count)
    }

    /// Memory that whoever calls this fills before it is read.
    private init(uninitialized count: Int) {
        precondition(count >= 0, "a slab of \(count) elements")
        guard let memory = unsafe malloc(max(count, 1) * MemoryLayout<Element>.stride) else {
            preconditionFailure("no memory for \(count) elements")
        }
        unsafe base = memory.bindMemory(to: Element.self, capacity: max(count, 1))
        self.count = count
    }

    /// `count` elements of all-zero bits, in memory that the kernel provides when it is first
    /// touched: a large table costs only what is used of it.
    /// - Precondition: all-zero bits are a value of `Element`.
    public init(zeroed count: Int) {
        precondition(count >= 0, "a slab of \(count) elements")
        let bytes = max(count, 1) * MemoryLayout<Element>.stride
        guard let memory = unsafe calloc(1, bytes) else {
            preconditionFailure("no memory for \(bytes) bytes")
        }
        unsafe base = memory.bindMemory(to: Element.self, capacity: max(count, 1))
        self.count = count
    }

    @inlinable
    public subscript(index: Int) -> Element {
        @_transparent
        unsafeAddress {
            precondition(index >= 0 && index < count, "slab index out of bounds")
            return unsafe UnsafePointer(base + index)
        }
        @_transparent
        nonmutating unsafeMutableAddress {
            precondition(index >= 0 && index < count, "slab index out of bounds")
            return unsafe base + index
        }
    }

    public func deallocate() { unsafe free(base) }
}

extension Slab {
    /// A copy of an array.
    public init(_ array: [Element]) {
        self.init(uninitialized: array.count)
        for (i, element) in array.enumerated() { unsafe (base + i).initialize(to: element) }
    }
}

extension Slab where Element == UInt8 {
    /// A view of the bytes in `range`.
    public func bytes(_ range: Range<Int>) -> Bytes {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "slab bytes out of bounds")
        return unsafe Bytes(UnsafePointer(base + range.lowerBound), count: range.count)
    }

    /// All of it, to be written to.
    public var memory: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(start: base, count: count)
    }
}
