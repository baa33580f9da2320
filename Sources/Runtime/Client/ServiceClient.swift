// A client of the product's own APIs, for commands: it waits for the answer, and does nothing else.
// A connection for each call, which ends with it; HTTP/1.1, in cleartext or TLS.

public import Base
public import Model
import Posix
import Secure

/// What is asked.
public struct ServiceCall: Equatable, Sendable {
    public var method: String
    /// Path and query, as they go out.
    public var target: String
    /// JSON; nil: no body.
    public var body: [UInt8]?
    /// What the `etag` of the thing must be for it to be done (RFC 9110, 13.1.1); nil: any.
    public var ifMatch: String?

    public init(
        _ method: String, _ target: String, body: [UInt8]? = nil, ifMatch: String? = nil
    ) {
        self.method = method
        self.target = target
        self.body = body
        self.ifMatch = ifMatch
    }
}

/// What was answered.
public struct ServiceReply: Equatable, Sendable {
    public var status: Int
    /// Names in lower case.
    public var fields: [ServiceField]
    /// Without its coding. Bound: `ServiceClientLimits.bodyBytes`.
    public var body: [UInt8]

    /// The value of the first field of that name, which is given in lower case; nil: there is none.
    public subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }
}

/// What became of following a stream.
public enum ServiceStream: Equatable, Sendable {
    /// There was none: an answer with another status than 200, whole.
    case refused(ServiceReply)
    /// The server has ended it in order.
    case ended
    /// The caller has.
    case stopped
}

/// The bounds of a client.
public struct ServiceClientLimits: Equatable, Sendable {
    /// For a connection to each of the server's addresses.
    public var connect = Duration.seconds(5)
    /// From the call to the end of the answer; of a stream to the end of the head.
    public var answer = Duration.seconds(30)
    /// How long a stream may be silent. A service says something every 15 s
    /// (`ServiceLimits.heartbeat`).
    public var silence = Duration.seconds(60)
    /// The head of an answer, bytes.
    public var headBytes = 32 * 1024
    /// The body of an answer, or a line of a stream, bytes.
    public var bodyBytes = 256 << 20

    public init() {}
}

/// A client of one server. Whatever it is asked it does at once, on the caller's thread.
public struct ServiceClient: Sendable {
    /// `host:port`.
    public let server: String
    private let token: String?
    private let limits: ServiceClientLimits
    private let context: TLSContext?

    /// - Parameters:
    ///   - server: `host:port`; what the server's certificate must name, where `tls` says no names.
    ///   - tls: nil: cleartext.
    ///   - token: is sent with every call (RFC 6750, 2.1); never in cleartext to another machine.
    /// - Throws: where a file of certificates or keys cannot be used.
    /// - Precondition: the token is of visible ASCII.
    public init(
        _ server: String, tls: ClientTLS? = nil, token: String? = nil,
        limits: ServiceClientLimits = ServiceClientLimits()
    ) throws(ServiceClientError) {
        precondition(token.map(Self.isToken) ?? true, "a token that cannot be sent")
        self.server = server
        self.token = token
        self.limits = limits
        do throws(TLSFileError) {
            context = try tls.map { tls throws(TLSFileError) in
                var tls = tls
                if tls.serverName == nil { tls.serverName = Self.host(of: server) }
                let options = try TLSFiles.clientOptions(tls, protocols: ["http/1.1"])
                return try TLSFiles.context(tls, options)
            }
        } catch {
            throw ServiceClientError(server, .file(error))
        }
    }

    /// Whether a text can be sent as a token: visible ASCII.
    public static func isToken(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    /// Asks, and waits for the whole answer.
    /// - Parameter limit: when it must be there, if the client's own limits leave more time.
    public func ask(
        _ call: ServiceCall, until limit: Instant = .distantFuture
    ) throws(ServiceClientError) -> ServiceReply {
        do throws(ServiceClientError.Cause) {
            let deadline = min(Clock.now() + limits.answer, limit)
            let socket = try open(call, until: deadline)
            var reader = ServiceReplyReader(
                headBytes: limits.headBytes, bodyBytes: limits.bodyBytes)
            try finish(&reader, socket, until: deadline)
            return reply(&reader)
        } catch {
            throw ServiceClientError(server, error)
        }
    }

    /// Asks, and hands over the lines of the answer as they come, until one of the three ends it.
    /// Empty lines, which only say that the server is there, are passed over.
    /// - Parameters:
    ///   - stop: a descriptor that becomes readable when it is enough; negative: none.
    ///   - line: is given a line without its end, and says whether to go on.
    public func follow(
        _ call: ServiceCall, stop: Int32 = -1, _ line: ([UInt8]) -> Bool
    ) throws(ServiceClientError) -> ServiceStream {
        do throws(ServiceClientError.Cause) {
            var deadline = Clock.now() + limits.answer
            let socket = try open(call, until: deadline)
            var reader = ServiceReplyReader(
                headBytes: limits.headBytes, bodyBytes: limits.bodyBytes)
            var lines = ServiceLines()
            while !reader.isComplete {
                switch try socket.receive(until: deadline, stop: stop) {
                case .stopped: return .stopped
                case .ended: try reader.end()
                case .bytes(let bytes): try reader.read(bytes)
                }
                guard let status = reader.status else { continue }
                guard status == 200 else {
                    try finish(&reader, socket, until: deadline)
                    return .refused(reply(&reader))
                }
                deadline = Clock.now() + limits.silence
                lines.append(reader.takeBody())
                while let text = lines.next() {
                    if !text.isEmpty, !line(text) { return .stopped }
                }
                guard lines.waiting <= limits.bodyBytes else { throw .tooLarge(limits.bodyBytes) }
            }
            // Half a line is not the whole of it.
            guard lines.waiting == 0 else { throw .cut }
            return .ended
        } catch {
            throw ServiceClientError(server, error)
        }
    }

    // MARK: The parts of a call

    private static func host(of server: String) -> String {
        let host = server.lastIndex(of: ":").map { server[..<$0] } ?? server[...]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        return String(isBracketed ? host.dropFirst().dropLast() : host)
    }

    /// Connects, secures the connection and sends the request.
    private func open(
        _ call: ServiceCall, until deadline: Instant
    ) throws(ServiceClientError.Cause) -> ServiceClientSocket {
        let addresses: [SocketAddress]
        do throws(ResolveError) {
            addresses = try SocketAddress.resolve(server)
        } catch {
            switch error {
            case .form: throw .noAddress
            case .name(let reason): throw .unknownName(reason)
            }
        }
        if token != nil, context == nil, !addresses.allSatisfy(\.isLoopback) { throw .exposed }
        let socket = try ServiceClientSocket(
            to: addresses, patience: min(limits.connect, deadline - Clock.now()))
        if let context {
            let host = Self.host(of: server)
            let session = TLSSession(client: context, endpoint: server, address: host)
            try socket.secure(session, until: deadline)
        }
        // A server that takes no more may have said why, so the answer is read in any case.
        let request = head(of: call) + (call.body ?? [])
        let sending = request.withBytes { bytes in
            Result { () throws(ServiceClientError.Cause) in
                try socket.send(bytes, until: deadline)
            }
        }
        _ = try sending.get()
        return socket
    }

    private func head(of call: ServiceCall) -> [UInt8] {
        var text = "\(call.method) \(call.target) HTTP/1.1\r\nhost: \(server)\r\n"
        text += "connection: close\r\naccept: application/json\r\n"
        if let token { text += "authorization: Bearer \(token)\r\n" }
        if let ifMatch = call.ifMatch { text += "if-match: \(ifMatch)\r\n" }
        if let body = call.body {
            text += "content-type: application/json\r\ncontent-length: \(body.count)\r\n"
        }
        return Array("\(text)\r\n".utf8)
    }

    /// Reads to the end of the answer.
    private func finish(
        _ reader: inout ServiceReplyReader, _ socket: ServiceClientSocket, until deadline: Instant
    ) throws(ServiceClientError.Cause) {
        while !reader.isComplete {
            switch try socket.receive(until: deadline) {
            case .bytes(let bytes): try reader.read(bytes)
            case .ended, .stopped: try reader.end()
            }
        }
    }

    private func reply(_ reader: inout ServiceReplyReader) -> ServiceReply {
        guard let status = reader.status else { preconditionFailure("an answer without a head") }
        return ServiceReply(status: status, fields: reader.fields, body: reader.takeBody())
    }
}

/// Finds lines in pieces of a stream, each byte once.
struct ServiceLines {
    private var bytes: [UInt8] = []
    /// Where the next line begins.
    private var start = 0
    private var searched = 0

    /// Bytes of the line that is not yet whole.
    var waiting: Int { bytes.count - start }

    mutating func append(_ more: [UInt8]) {
        bytes.removeFirst(start)
        searched -= start
        start = 0
        bytes += more
    }

    /// The next whole line, without its end; nil: more is needed.
    mutating func next() -> [UInt8]? {
        guard let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) else {
            searched = bytes.count
            return nil
        }
        defer {
            start = end + 1
            searched = start
        }
        return Array(bytes[start..<end])
    }
}
