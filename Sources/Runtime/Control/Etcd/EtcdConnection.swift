// Connections to the members of an etcd, for threads that wait: HTTP/1.1, kept for the next
// request.

import Base
import ControlCore
public import Model
import Posix
import Secure
import Synchronization

/// Where an etcd is.
public struct EtcdConfiguration: Equatable, Sendable {
    /// `host:port` of its members' client listeners; at least one.
    public var servers: [String]
    /// nil: cleartext.
    public var tls: ClientTLS?

    public init(servers: [String], tls: ClientTLS? = nil) {
        precondition(!servers.isEmpty, "an etcd without a member")
        self.servers = servers
        self.tls = tls
    }
}

/// A member of the cluster, and how it is spoken to.
final class EtcdServer: Sendable {
    typealias Meaning = Result<[SocketAddress], ServiceClientError.Cause>

    /// `host:port`
    let name: String
    private let context: TLSContext?
    private let resolve: @Sendable (String) -> Meaning
    /// What the name was last found to mean, or why it means nothing.
    private let addresses: Mutex<Meaning>

    /// Looks the name up, unless it is an address: nothing bounds how long that takes.
    init(
        _ name: String, tls: ClientTLS?,
        resolve: @escaping @Sendable (String) -> Meaning = EtcdServer.resolve
    ) throws(TLSFileError) {
        self.name = name
        self.resolve = resolve
        context = try tls.map { tls throws(TLSFileError) in
            var tls = tls
            if tls.serverName == nil { tls.serverName = Self.host(of: name) }
            return try TLSFiles.context(
                tls, try TLSFiles.clientOptions(tls, protocols: ["http/1.1"]))
        }
        addresses = Mutex(resolve(name))
    }

    private static func host(of server: String) -> String {
        let host = server.lastIndex(of: ":").map { server[..<$0] } ?? server[...]
        return String(host.hasPrefix("[") ? host.dropFirst().dropLast() : host)
    }

    /// Looks the name up anew, for the others as well; what was found before stays where it means
    /// nothing any more. For a thread that nobody waits for.
    func lookUp() {
        let found = resolve(name)
        addresses.withLock { addresses in
            if case .failure = found, case .success = addresses { return }
            addresses = found
        }
    }

    @Sendable static func resolve(_ name: String) -> Meaning {
        do throws(ResolveError) {
            return .success(try SocketAddress.resolve(name))
        } catch {
            switch error {
            case .form: return .failure(.noAddress)
            case .name(let reason): return .failure(.unknownName(reason))
            }
        }
    }

    func connect(until deadline: Instant) throws(ServiceClientError.Cause) -> ServiceClientSocket {
        let addresses = try addresses.withLock { $0 }.get()
        // Nothing secret goes to another machine in cleartext, and the store is full of it.
        if context == nil, !addresses.allSatisfy(\.isLoopback) { throw .exposed }
        // A name's addresses are tried one after the other.
        let patience = max(
            .milliseconds(1), (deadline - Clock.now()) / Int64(max(1, addresses.count)))
        let socket = try ServiceClientSocket(to: addresses, patience: patience)
        if let context {
            let session = TLSSession(
                client: context, endpoint: name, address: Self.host(of: name))
            try socket.secure(session, until: deadline)
        }
        return socket
    }
}

/// A connection to one member, made when it is needed.
final class EtcdConnection {
    /// Why there is no answer.
    enum Failure: Error {
        case unsent(String)
        case unanswered(String)
        /// More than is taken.
        case tooLarge
    }

    let server: EtcdServer
    private var socket: ServiceClientSocket?

    /// Bound: a page of keys, unless each is as large as a value may be; then less is asked for.
    private static let bodyBytes = 64 << 20
    private static let headBytes = 32 * 1024

    init(_ server: EtcdServer) { self.server = server }

    func close() { socket = nil }

    /// Sends a request and waits for the answer.
    func ask(
        _ request: EtcdRequest, until deadline: Instant
    ) throws(Failure) -> (status: Int, body: [UInt8]) {
        let socket = try send(request, until: deadline)
        var reader = ServiceReplyReader(headBytes: Self.headBytes, bodyBytes: Self.bodyBytes)
        do throws(ServiceClientError.Cause) {
            while !reader.isComplete {
                switch try socket.receive(until: deadline) {
                case .bytes(let bytes): try reader.read(bytes)
                case .ended, .stopped:
                    close()
                    try reader.end()
                }
            }
        } catch {
            close()
            if case .tooLarge = error { throw .tooLarge }
            throw .unanswered(describe(error))
        }
        let isLast = reader.fields.contains { $0.name == "connection" && $0.value == "close" }
        if isLast { close() }
        return (reader.status ?? 0, reader.takeBody())
    }

    /// Sends a request whose answer is a stream, on a connection that is then the stream's.
    func follow(_ request: EtcdRequest, until deadline: Instant) throws(Failure) -> EtcdStream {
        let socket = try send(request, until: deadline)
        self.socket = nil
        return EtcdStream(socket, server)
    }

    private func send(
        _ request: EtcdRequest, until deadline: Instant
    ) throws(Failure) -> ServiceClientSocket {
        let socket: ServiceClientSocket
        do throws(ServiceClientError.Cause) {
            if let kept = self.socket {
                socket = kept
            } else {
                socket = try server.connect(until: deadline)
            }
        } catch {
            throw .unsent(describe(error))
        }
        self.socket = socket
        let head =
            "POST /v3/\(request.path) HTTP/1.1\r\nhost: \(server.name)\r\n"
            + "content-type: application/json\r\ncontent-length: \(request.body.count)\r\n\r\n"
        let bytes = Array(head.utf8) + request.body
        let sending = bytes.withBytes { bytes in
            Result { () throws(ServiceClientError.Cause) in
                try socket.send(bytes, until: deadline)
            }
        }
        do throws(ServiceClientError.Cause) {
            guard try sending.get() else { throw .cut }
        } catch {
            close()
            throw .unanswered(describe(error))
        }
        return socket
    }

    private func describe(_ cause: ServiceClientError.Cause) -> String {
        "\(ServiceClientError(server.name, cause))"
    }
}

/// A stream of lines.
final class EtcdStream {
    enum Arrival {
        case lines([[UInt8]])
        /// Nothing has come in time.
        case silence
        case stopped
    }

    private let socket: ServiceClientSocket
    private let server: EtcdServer
    private var reader = ServiceReplyReader(headBytes: 32 * 1024, bodyBytes: 256 << 20)
    private var lines = ServiceLines()

    /// Bound: a line, which is a transaction of the largest size in base64, with room.
    private static let lineBytes = 4 * StoreLimits.frameBytes

    fileprivate init(_ socket: ServiceClientSocket, _ server: EtcdServer) {
        self.socket = socket
        self.server = server
    }

    /// What comes next.
    /// - Parameter stop: a descriptor whose readability ends the wait.
    func next(until deadline: Instant, stop: Int32) throws(EtcdConnection.Failure) -> Arrival {
        do throws(ServiceClientError.Cause) {
            switch try socket.receive(until: deadline, stop: stop) {
            case .stopped: return .stopped
            case .ended:
                try reader.end()
                throw .cut
            case .bytes(let bytes): try reader.read(bytes)
            }
            lines.append(reader.takeBody())
            var found: [[UInt8]] = []
            while let line = lines.next() { if !line.isEmpty { found.append(line) } }
            guard lines.waiting <= Self.lineBytes else { throw .tooLarge(Self.lineBytes) }
            guard !reader.isComplete else { throw .cut }
            return .lines(found)
        } catch {
            switch error {
            case .timedOut: return .silence
            case .tooLarge: throw .tooLarge
            default: throw .unanswered("\(ServiceClientError(server.name, error))")
            }
        }
    }
}
