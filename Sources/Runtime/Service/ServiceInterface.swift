// What an application of a `Service` sees: requests as values, answers as values, and nothing of
// sockets, HTTP's versions or TLS.

public import Base
public import Posix
public import Secure
public import Wire

/// Who asks.
public struct ServicePeer: Equatable, Sendable {
    public var address: SocketAddress
    /// Whether it comes over TLS.
    public var isSecure: Bool
    /// Whom its certificate names, which an authority of the listener's vouches for; nil: it has
    /// shown none, or comes in cleartext.
    public var certificate: PeerIdentity?

    public init(
        address: SocketAddress, isSecure: Bool = false, certificate: PeerIdentity? = nil
    ) {
        self.address = address
        self.isSecure = isSecure
        self.certificate = certificate
    }
}

/// One field of a request or an answer.
public struct ServiceField: Equatable, Sendable {
    /// In lower case.
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// A request that has come whole.
public struct ServiceRequest: Equatable, Sendable {
    /// What it was spoken in.
    public enum Speech: Equatable, Sendable {
        case http1
        case http2
    }

    /// As sent. HEAD comes as GET: the service leaves the body of the answer away.
    public var method: String
    /// The path and the query, taken apart.
    public var target: ServiceTarget
    /// All fields, in order, names in lower case. Bound: `ServiceLimits.headBytes`.
    public var fields: [ServiceField]
    /// Without its coding. Bound: `ServiceLimits.bodyBytes`.
    public var body: [UInt8] = []
    public var peer: ServicePeer
    public var speech: Speech
    /// When it was complete.
    public var now: Instant

    /// The value of the first field of that name, which is given in lower case; nil: there is none.
    public subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }

    /// What `authorization` says behind `Bearer` (RFC 6750, 2.1); nil: nothing of the kind. Whoever
    /// compares it to a secret does so in constant time.
    public var bearerToken: String? {
        guard let value = self["authorization"] else { return nil }
        let words = value.split(separator: " ", maxSplits: 1)
        guard words.count == 2, words[0].lowercased() == "bearer" else { return nil }
        return String(words[1])
    }
}

/// What a request is answered with.
public enum ServiceAnswer {
    /// All of it. `content-length` and `date` are the service's to say. At most 64 fields of 8 KiB
    /// in all; a line end in a value goes out as a blank.
    case whole(status: Int, fields: [ServiceField], body: [UInt8])
    /// A body that goes on: see `ServiceWatch`.
    case watch(ServiceWatch)
    /// The end of a call of gRPC. Over HTTP/1.1, where that has no place, it is 505.
    case call(CallEnding)

    /// A short text for people; a line end is put behind it.
    public static func text(
        _ status: Int, _ text: String, fields: [ServiceField] = []
    ) -> ServiceAnswer {
        .whole(
            status: status, fields: [ServiceField("content-type", "text/plain")] + fields,
            body: Array(text.utf8) + [UInt8(ascii: "\n")])
    }

    /// A document of JSON.
    public static func json(
        _ status: Int, _ body: [UInt8], fields: [ServiceField] = []
    ) -> ServiceAnswer {
        .whole(
            status: status, fields: [ServiceField("content-type", "application/json")] + fields,
            body: body)
    }

    /// 405 with the methods that there are (RFC 9110, 15.5.6); HEAD goes with GET.
    public static func notAllowed(_ methods: [String]) -> ServiceAnswer {
        let all = methods.flatMap { $0 == "GET" ? ["GET", "HEAD"] : [$0] }
        let list = all.joined(separator: ", ")
        return .text(405, "the methods here are \(list)", fields: [ServiceField("allow", list)])
    }
}

/// How a unary call of gRPC ends.
public struct CallEnding: Error, Equatable, Sendable {
    public var status: GRPCStatus
    /// nil: there is none, which is the answer to a call that went wrong.
    public var message: [UInt8]?
    /// For people; a line end goes out as a blank.
    public var text: String

    /// A call that went well.
    public init(_ message: [UInt8]) {
        status = .ok
        self.message = message
        text = ""
    }

    /// A call that went wrong.
    public init(_ status: GRPCStatus, _ text: String) {
        self.status = status
        self.text = text
    }
}

/// An application. All its methods are called on the service's one thread, none within another.
public protocol ServiceHandler: AnyObject {
    /// Answers a request. Takes no time to speak of: everybody waits meanwhile.
    func respond(to request: ServiceRequest) -> ServiceAnswer

    /// The service's turn ends: requests that had come have been answered, what they made watches
    /// say has not gone out yet.
    /// - Returns: when to be called at the latest, where nothing happens before; nil: no matter.
    func turnEnds(_ now: Instant) -> Instant?
}

extension ServiceHandler {
    public func turnEnds(_ now: Instant) -> Instant? { nil }
}

/// The bounds of a service. Memory is bounded by `bodiesBytes`, by the watches' backlogs, and by
/// some 200 KiB for each connection.
public struct ServiceLimits: Equatable, Sendable {
    /// Connections at once. Past it the one that has been idle longest makes room; where none is
    /// idle, new ones wait to be let in.
    public var connections = 256
    /// Requests at once on a connection of HTTP/2.
    public var streams = 64
    /// Start line and fields of a request, bytes. At most 64 KiB.
    public var headBytes = 32 * 1024
    /// The body of a request, bytes. Past it: 413.
    public var bodyBytes = 4 << 20
    /// The bodies of all requests that have not yet come whole, bytes. Past it: 503.
    public var bodiesBytes = 64 << 20
    /// How much of that those may have together who have shown no certificate; nil: all of it.
    public var strangersBytes: Int?
    /// Watches at once. Past it: 503.
    public var watches = 1024
    /// From the first byte of a request to its last, and for the handshake of TLS. Past it: 408.
    public var arrival = Duration.seconds(30)
    /// How long a connection may have no request.
    public var idle = Duration.seconds(60)
    /// How long a client may take nothing of what waits for it. Past it, the stream or connection
    /// is reset.
    public var stall = Duration.seconds(30)
    /// How long a watch may be silent: then an empty line is sent.
    public var heartbeat = Duration.seconds(15)
    /// How long `Service.stop` waits for requests under way.
    public var drain = Duration.seconds(5)

    public init() {}
}
