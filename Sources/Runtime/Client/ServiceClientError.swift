// Why there is no answer: each cause told apart, since what to do about it differs.

import Base
import Glibc
public import Posix
public import Secure

/// A call to one of the product's own APIs that got no answer. What a server answers is none of
/// these, whatever its status.
public struct ServiceClientError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Cause: Error, Equatable, Sendable {
        /// It is not `host:port`.
        case noAddress
        /// What the resolver says of the name.
        case unknownName(String)
        /// A token would go to another machine in cleartext.
        case exposed
        /// Nobody has taken the connection; `ETIMEDOUT`: not in time.
        case unreachable(SystemError)
        /// A file of certificates or keys cannot be used.
        case file(TLSFileError)
        case unsecured(TLSError)
        /// The answer has not come in time, or a stream has been silent.
        case timedOut
        /// The connection ended before the answer did.
        case cut
        case broken(SystemError)
        /// What came is no HTTP/1.1; what is wrong with it.
        case malformed(String)
        /// The answer, or one line of it, has more bytes than this.
        case tooLarge(Int)
        /// A page of a list leads back to one before it.
        case endless
    }

    /// Who was called, `host:port`.
    public var server: String
    public var cause: Cause

    public init(_ server: String, _ cause: Cause) {
        self.server = server
        self.cause = cause
    }

    public var description: String {
        switch cause {
        case .noAddress: "'\(server)' is no address such as 127.0.0.1:7070"
        case .unknownName(let reason): "cannot find \(server): \(reason)"
        case .exposed:
            "\(server) is on another machine: the token is not sent there without TLS (https://…)"
        case .unreachable(let error):
            "cannot connect to \(server): \(unsafe String(cString: strerror(error.code)))"
        case .file(let error): error.description
        case .unsecured(let error): "no TLS with \(server): \(error)"
        case .timedOut: "\(server) has not answered in time"
        case .cut: "\(server) ended the connection before its answer was complete"
        case .broken(let error): "the connection to \(server) failed: \(error)"
        case .malformed(let detail): "\(server) answers with something else than HTTP: \(detail)"
        case .tooLarge(let bytes): "\(server) answers with more than \(bytes) bytes"
        case .endless: "\(server) answers with pages without end"
        }
    }
}
