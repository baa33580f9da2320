import Glibc

/// A file descriptor with one owner, closed when the owner lets go.
public struct Descriptor: ~Copyable, Sendable {
    /// The number, for system calls while the owner lives.
    public let number: Int32

    /// Takes ownership of `number`.
    /// - Precondition: it is open.
    public init(owning number: Int32) {
        precondition(number >= 0, "a descriptor below zero")
        self.number = number
    }

    deinit { close(number) }

    /// Gives up ownership without closing.
    public consuming func release() -> Int32 {
        let number = self.number
        discard self
        return number
    }
}
