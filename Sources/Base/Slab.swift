// The request path keeps its state in slabs: one allocation at start, elements addressed by index.
// Elements are plain values without references, so that reading a field is one load: no retain, no
// exclusivity check, no copy.

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
        precondition(count >= 0, "a slab of \(count) elements")
        unsafe base = .allocate(capacity: max(count, 1))
        unsafe base.initialize(repeating: value, count: count)
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

    public func deallocate() { unsafe base.deallocate() }
}
