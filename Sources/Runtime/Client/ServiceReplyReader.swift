// Takes the answer to one request apart, in whatever pieces it comes (RFC 9112): bytes in, head and
// body out, without a socket.

import Base
import Wire

struct ServiceReplyReader: ~Copyable {
    private var head: Head
    /// The head as far as it has come. Bound: `headBytes`, and one piece more.
    private var waiting: [UInt8] = []
    private var framing = BodyFraming.none
    /// Still to come of a body whose length is known.
    private var remaining = 0
    private var chunks = ChunkedBody()
    private let bodyLimit: Int

    /// nil: the head has not come whole.
    private(set) var status: Int?
    private(set) var fields: [ServiceField] = []
    /// What has come of the body and was not taken. Bound: `bodyBytes`.
    private(set) var body: [UInt8] = []
    private(set) var isComplete = false

    /// - Parameters:
    ///   - headBytes: of the head at most.
    ///   - bodyBytes: of the body at most, as far as it is not taken.
    init(headBytes: Int, bodyBytes: Int) {
        head = Head(limits: HeadLimits(headBytes: headBytes, fieldCount: 100, targetBytes: 1))
        bodyLimit = bodyBytes
    }

    /// Reads on. Whatever comes behind the answer is passed over: nothing was asked for.
    mutating func read(_ bytes: Bytes) throws(ServiceClientError.Cause) {
        if let cause = status == nil ? readHead(bytes) : readBody(bytes) { throw cause }
    }

    /// The connection has ended in order.
    mutating func end() throws(ServiceClientError.Cause) {
        guard !isComplete else { return }
        guard status != nil, framing == .untilClose else { throw .cut }
        isComplete = true
    }

    /// Takes what has come of the body.
    mutating func takeBody() -> [UInt8] {
        defer { body = [] }
        return body
    }

    private mutating func readHead(_ bytes: Bytes) -> ServiceClientError.Cause? {
        unsafe waiting.append(contentsOf: bytes.raw)
        while status == nil {
            let all = waiting
            switch all.withBytes({ head.parseResponse($0, toHead: false) }) {
            case .incomplete: return nil
            case .invalid(let error): return .malformed("\(error.detail)")
            case .complete: break
            }
            // Nobody has asked for another protocol.
            guard head.status != 101 else { return .malformed("status 101") }
            // An interim answer is followed by another (RFC 9110, 15.2).
            if head.status >= 200, let cause = all.withBytes({ begin($0) }) { return cause }
            waiting.removeFirst(head.length)
        }
        let rest = waiting
        waiting = []
        return rest.withBytes { readBody($0) }
    }

    private mutating func begin(_ bytes: Bytes) -> ServiceClientError.Cause? {
        status = head.status
        framing = head.framing
        for index in 0..<head.fieldCount {
            let field = head.fields[index]
            fields.append(
                ServiceField(
                    bytes[field.nameRange].text.lowercased(), bytes[field.valueRange].text))
        }
        switch framing {
        case .none, .length(0): isComplete = true
        case .length(let length):
            guard length <= bodyLimit else { return .tooLarge(bodyLimit) }
            remaining = length
        case .chunked, .untilClose: break
        }
        return nil
    }

    private mutating func readBody(_ bytes: Bytes) -> ServiceClientError.Cause? {
        switch framing {
        case .none: return nil
        case .length:
            let taken = min(remaining, bytes.count)
            remaining -= taken
            isComplete = remaining == 0
            return keep(bytes[0..<taken])
        case .untilClose: return keep(bytes)
        case .chunked: return readChunks(bytes)
        }
    }

    private mutating func readChunks(_ bytes: Bytes) -> ServiceClientError.Cause? {
        var rest = bytes
        do throws(HeadError) {
            while rest.count > 0, !chunks.isComplete {
                if chunks.isBehindData {
                    let used = try chunks.nextTrailers(rest).used
                    rest = rest[used..<rest.count]
                } else {
                    let (data, used) = try chunks.nextData(rest)
                    if let cause = keep(rest[data]) { return cause }
                    rest = rest[used..<rest.count]
                }
            }
        } catch {
            return .malformed("\(error.detail)")
        }
        isComplete = chunks.isComplete
        return nil
    }

    private mutating func keep(_ bytes: Bytes) -> ServiceClientError.Cause? {
        guard body.count + bytes.count <= bodyLimit else { return .tooLarge(bodyLimit) }
        unsafe body.append(contentsOf: bytes.raw)
        return nil
    }
}
