// What is said to an endpoint in a check, and what is made of its answer: bytes out, bytes in. A
// connection is for one check.

import Base
import Model
import Wire

/// How a check has gone.
public enum HealthOutcome: Equatable, Sendable {
    case passed
    /// Why not, for people.
    case failed(String)
}

/// The conversation of one check, once the connection is open.
public final class HealthExchange {
    private enum Speech {
        case connection
        case http1
        case http2(HealthSession)
    }

    private let speech: Speech
    private var output: [UInt8] = []
    private var input: [UInt8] = []
    private var head = Head(limits: HeadLimits(headBytes: HealthExchange.headBytes))
    /// nil: it goes on.
    public private(set) var outcome: HealthOutcome?

    /// Bound: of an answer's head. What stands behind it is not read.
    private static let headBytes = 16 * 1024

    /// - Parameter isSecured: within mutual TLS, which has been opened by then. What takes nothing
    ///   else, and is not spoken to so, is asked nothing.
    public init(_ probe: HealthBook.Probe, isSecured: Bool = false) {
        let isAsked = isSecured || probe.takesCleartext
        // Whoever speaks TLS for a service is a proxy, and takes HTTP/2; bytes pass as they are.
        let isHTTP2 = probe.speech == .http2 || isSecured && probe.speech != .tcp
        let scheme: StaticString = isSecured ? "https" : "http"
        switch (isAsked ? probe.check.probe : .tcp, isHTTP2) {
        case (.tcp, _):
            speech = .connection
            outcome = .passed
        case (.http(let path), true):
            speech = .http2(HealthSession(scheme, path: path, host: probe.host, service: nil))
        case (.http(let path), _):
            speech = .http1
            output = Array(
                ("GET \(path) HTTP/1.1\r\nhost: \(probe.host)\r\nuser-agent: meshbench\r\n"
                    + "accept: */*\r\nconnection: close\r\n\r\n").utf8)
        case (.grpc(let service), _):
            speech = .http2(
                HealthSession(
                    scheme, path: "/grpc.health.v1.Health/Check", host: probe.host, service: service
                ))
        }
        pull()
    }

    /// What is to be sent now; whoever takes it sends all of it.
    public func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    /// Takes what has come.
    public func receive(_ bytes: [UInt8]) {
        guard outcome == nil else { return }
        switch speech {
        case .connection: break
        case .http1:
            input += bytes
            parse()
        case .http2(let session):
            let failure = bytes.withBytes { session.receive($0) }
            outcome = session.outcome
            if failure != nil, outcome == nil {
                outcome = .failed("the answer broke the protocol")
            }
            pull()
        }
    }

    /// The endpoint sends no more.
    public func ended() {
        if outcome == nil { outcome = .failed("the connection ended before the answer did") }
    }

    private func pull() {
        guard case .http2(let session) = speech else { return }
        let goesOn = session.pull() && !session.isDone
        if !goesOn, outcome == nil { outcome = .failed("the answer broke the protocol") }
        output += session.takeOutput()
    }

    private func parse() {
        while outcome == nil {
            switch input.withBytes({ head.parseResponse($0, toHead: false) }) {
            case .incomplete:
                if input.count >= Self.headBytes {
                    outcome = .failed("the answer's head is too large")
                }
                return
            case .invalid: outcome = .failed("the answer broke the protocol")
            case .complete:
                // 1xx only announces (RFC 9110, 15.2).
                if head.status < 200 {
                    input.removeFirst(head.length)
                } else {
                    outcome = Self.outcome(head.status)
                }
            }
        }
    }

    /// As Kubernetes' probes have it.
    static func outcome(_ status: Int) -> HealthOutcome {
        (200...399).contains(status) ? .passed : .failed("status \(status)")
    }
}

/// A check over HTTP/2, whose only stream is the request.
private final class HealthSession: HTTP2Session {
    /// Whether it is a call of gRPC.
    private let isCall: Bool
    private let body: [UInt8]
    private var sent = 0
    private var output: [UInt8] = []
    private var status = 0
    private var callStatus: Int?
    private var answer: [UInt8] = []
    private(set) var outcome: HealthOutcome?

    /// Bound: of what waits to be sent, and of a message of gRPC: an answer has seven bytes.
    private static let limit = 16 * 1024

    /// - Parameter service: that which gRPC's health protocol is asked for; nil: a GET.
    init(_ scheme: StaticString, path: String, host: String, service: String?) {
        isCall = service != nil
        if let service {
            var message = ProtobufWriter()
            if !service.isEmpty { message.append(1, text: service) }
            let count = message.bytes.count
            body =
                [0, 0, UInt8(count >> 16 & 0xFF), UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF)]
                + message.bytes
        } else {
            body = []
        }
        super.init(server: false, HTTP2Settings())
        // Bound: what stands here, with a path and a host as declarations may have them.
        let fields = FieldList(capacity: 8, made: 8 * 1024)
        func add(_ name: StaticString, _ value: String) {
            Array(value.utf8).withBytes { fields.add(copying: Bytes(name), $0) }
        }
        add(":method", isCall ? "POST" : "GET")
        add(":scheme", "\(scheme)")
        add(":authority", host)
        add(":path", path)
        add("user-agent", "meshbench")
        if isCall {
            add("content-type", "application/grpc")
            add("te", "trailers")
        }
        if submitRequest(fields, tag: 0, hasBody: isCall) == nil {
            outcome = .failed("the request cannot be made")
        }
    }

    func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    // MARK: Events

    override func hasRoom() -> Bool { output.count < Self.limit }

    override func write(_ bytes: Bytes) { unsafe output.append(contentsOf: bytes.raw) }

    override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
        let left = body.count - sent
        return .bytes(min(left, limit), isLast: left <= limit)
    }

    override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
        write(header)
        output += body[sent..<sent + count]
        sent += count
        return true
    }

    override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        if name == ":status" { status = Int(value.text) ?? 0 }
        if name == "grpc-status" { callStatus = Int(value.text) ?? -1 }
        return true
    }

    override func headEnded(_ stream: Int32, tag: Int, endsStream: Bool) {
        // Interim answers only announce.
        if !isCall, status >= 200 { outcome = outcome ?? HealthExchange.outcome(status) }
    }

    override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) {
        if answer.count < Self.limit { unsafe answer.append(contentsOf: bytes.raw) }
        consume(stream, bytes.count)
    }

    override func streamEnded(_ stream: Int32, tag: Int) { outcome = outcome ?? judge() }

    override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
        outcome = outcome ?? .failed("the stream was reset")
    }

    override func goawayReceived(last: Int32, _ code: HTTP2Code) {
        if last < 1 { outcome = outcome ?? .failed("the connection takes no requests") }
    }

    private func judge() -> HealthOutcome {
        guard isCall, status == 200 else { return HealthExchange.outcome(status) }
        guard callStatus == 0 else {
            return .failed("grpc-status \(callStatus.map { "\($0)" } ?? "is missing")")
        }
        // `HealthCheckResponse` (grpc.health.v1): field 1 is 1 where it is serving.
        var serving = false
        if answer.count >= GRPCFraming.prefixBytes, answer[0] == 0 {
            Array(answer.dropFirst(GRPCFraming.prefixBytes)).withBytes { bytes in
                var reader = ProtobufReader(bytes)
                while let field = reader.next() {
                    if field.number == 1 { serving = field.value == .number(1) }
                }
            }
        }
        return serving ? .passed : .failed("it says that it is not serving")
    }
}
