public import Glibc

/// A system call that failed, and why.
public struct SystemError: Error, CustomStringConvertible, Equatable, Sendable {
    /// What was tried, for people: `bind 127.0.0.1:80`.
    public var operation: String
    /// The value of `errno`.
    public var code: Int32

    public init(_ operation: String, code: Int32 = errno) {
        self.operation = operation
        self.code = code
    }

    public var description: String { "\(operation): \(unsafe String(cString: strerror(code)))" }
}
