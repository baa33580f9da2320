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

/// Runs `call` again while it is interrupted by a signal; -1 becomes an error.
@inlinable
func retryingInterrupts(_ operation: @autoclosure () -> String, _ call: () -> Int32)
    throws(SystemError) -> Int32
{
    while true {
        let result = call()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw SystemError(operation(), code: code) }
    }
}
