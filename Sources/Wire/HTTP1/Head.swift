// The head of an HTTP/1.1 message (RFC 9112), found in place: offsets into the bytes it came in.
//
// One `Head` serves a whole worker: a head is parsed, judged and forwarded within one call, so its
// slots are used again for the next message. Parsing is all or nothing. While a head is incomplete
// only the search for its end goes on (`HeadSearch`), so that a peer that trickles bytes costs a
// scan of each byte and no more.

public import Base

/// How a message's body is delimited (RFC 9112, 6.3).
@frozen
public enum BodyFraming: Equatable, Sendable, BitwiseCopyable {
    case none
    /// So many bytes, 0 or more.
    case length(Int)
    case chunked
    /// Up to the end of the connection; answers only.
    case untilClose
}

/// The bounds of one head.
@frozen
public struct HeadLimits: Sendable, BitwiseCopyable {
    /// Start line and fields together, bytes.
    public var headBytes: Int
    public var fieldCount: Int
    /// The request target, bytes.
    public var targetBytes: Int

    public init(headBytes: Int = 32 * 1024, fieldCount: Int = 100, targetBytes: Int = 8 * 1024) {
        self.headBytes = headBytes
        self.fieldCount = fieldCount
        self.targetBytes = targetBytes
    }
}

/// What came of parsing.
@frozen
public enum HeadParse: Equatable, Sendable {
    case complete
    /// More bytes are needed.
    case incomplete
    case invalid(HeadError)
}

/// A message head in place. Reused: every `parse` overwrites it.
@frozen
public struct Head: ~Copyable {
    /// The fields, `fieldCount` of them.
    public let fields: Slab<Field>
    public internal(set) var fieldCount = 0
    /// Bytes of the whole head, with the empty line (and, for requests, an empty line before it).
    public internal(set) var length = 0
    /// 0 or 1, of HTTP/1.x.
    public internal(set) var minorVersion: UInt8 = 1
    public internal(set) var framing = BodyFraming.none
    /// Whether the connection may serve another message (RFC 9112, 9.3).
    public internal(set) var keepAlive = true
    /// `connection` names `upgrade`, and there is an `upgrade` field.
    public internal(set) var wantsUpgrade = false
    /// `expect: 100-continue`.
    public internal(set) var expectsContinue = false
    /// Whether `connection` names fields beyond the usual ones, so that they must be looked up to
    /// be removed.
    public internal(set) var namesMoreHopFields = false
    /// The field's place in `fields`; -1: none.
    public internal(set) var hostField = -1

    // Requests.
    public internal(set) var method: Range<Int> = 0..<0
    public internal(set) var target: Range<Int> = 0..<0
    /// Path and query: the target, or its part behind the authority in absolute form, where the
    /// path may be missing.
    public internal(set) var path: Range<Int> = 0..<0
    /// The host with its port, from `host` or an absolute target; empty if there is none.
    public internal(set) var authority: Range<Int> = 0..<0
    public internal(set) var isHead = false

    // Answers.
    public internal(set) var status = 0
    public internal(set) var reason: Range<Int> = 0..<0

    public let limits: HeadLimits

    public init(limits: HeadLimits) {
        self.limits = limits
        fields = Slab(count: limits.fieldCount, repeating: Field())
    }

    deinit { fields.deallocate() }
}
