import Base

/// An answer that goes on: lines that the application says when it has them, until it or the client
/// ends it. Chunks in HTTP/1.1, DATA in HTTP/2; to a client of HTTP/1.0, bytes until the end of the
/// connection.
///
/// For the service's thread alone: whoever has news on another thread hands them over with
/// `Service.perform`.
///
/// What the client has not taken is its backlog. A line that does not fit ends the watch at once:
/// what waits is dropped, and the connection (in HTTP/2: the stream, with ENHANCE_YOUR_CALM) is
/// reset, so that the client knows that it has missed something and asks anew. The same happens to
/// one that takes nothing for `ServiceLimits.stall`. A watch that the application ends, and one
/// that ends because the service stops, ends in order: a last chunk, or END_STREAM.
///
/// A held one (`init(held:)`) says nothing at all, not even its status, until the application
/// answers, once and with all of it: for questions that wait until there is something to say. If
/// it ends without, the client is told 503.
public final class ServiceWatch {
    /// How it came to its end.
    public enum Ending: Equatable, Sendable {
        /// The application ended it, and the client has been sent all of it; or the request was
        /// HEAD.
        case finished
        /// The client has left.
        case left
        /// The client did not read, or not fast enough.
        case slow
        /// There are too many watches already: this one was answered with 503.
        case refused
        /// The service stops.
        case stopped
    }

    let status: Int
    let fields: [ServiceField]
    private let backlogLimit: Int
    /// What waits to be taken. Bound: `backlogLimit`.
    var backlog = ServiceOutput()
    /// Nothing more will be said.
    private(set) var isEnded = false
    /// What a held one is answered with.
    private(set) var word: (status: Int, fields: [ServiceField], body: [UInt8])?
    let isHeld: Bool
    /// It overflowed before it was an answer.
    private(set) var hasOverflowed = false
    /// It is over; `onEnd` has been called, or will be at the end of this turn.
    private(set) var ending: Ending?
    /// What it will have come to once the last line is out.
    private(set) var orderlyEnding = Ending.finished
    /// Told of news; whom it goes through.
    weak var carrier: (any ServiceWatchCarrier)?

    /// Called when all that was said is on its way, so that there is room for more: for those who
    /// have much to say and can wait. Not from within `send`, `end` or `respond`.
    public var onDrained: (() -> Void)?
    /// Called once, when it is over; not from within `send`, `end` or `respond`.
    public var onEnd: ((Ending) -> Void)?

    /// - Parameters:
    ///   - backlog: bytes that may wait for the client.
    public init(
        status: Int = 200,
        fields: [ServiceField] = [ServiceField("content-type", "application/jsonl")],
        backlog: Int = 1 << 20
    ) {
        self.status = status
        self.fields = fields
        backlogLimit = backlog
        isHeld = false
    }

    /// An answer that is not known yet. How long it may take is the application's to bound.
    public init(held: Void) {
        status = 200
        fields = []
        backlogLimit = 0
        isHeld = true
    }

    /// Answers what is held, and so ends it.
    /// - Returns: whether anybody is left to hear it.
    /// - Precondition: it is held.
    @discardableResult
    public func answer(
        _ status: Int, fields: [ServiceField] = [], body: [UInt8] = []
    ) -> Bool {
        precondition(isHeld, "an answer behind the beginning of another")
        guard isOpen else { return false }
        word = (status, fields, body)
        end()
        return true
    }

    /// What the client of a held one is told in the end.
    var lastWord: (status: Int, fields: [ServiceField], body: [UInt8]) {
        word
            ?? (503, [ServiceField("content-type", "text/plain")], Array("stopping\n".utf8))
    }

    /// Whether what is said still goes somewhere.
    public var isOpen: Bool { ending == nil && !isEnded && !hasOverflowed }

    /// Bytes that wait.
    public var waiting: Int { backlog.count }

    /// Says a line; its end is put behind it. May be called before the watch is an answer.
    /// - Returns: whether the watch is still open.
    @discardableResult
    public func send(_ line: [UInt8]) -> Bool {
        precondition(!isHeld, "a line of what has not begun")
        guard isOpen else { return false }
        guard backlog.count + line.count + 1 <= backlogLimit else {
            backlog.removeAll()
            hasOverflowed = true
            carrier?.watchOverflowed(self)
            return false
        }
        backlog.append(line)
        backlog.append([UInt8(ascii: "\n")])
        carrier?.watchHasNews(self)
        return true
    }

    /// Says that nothing follows.
    public func end() { end(as: .finished) }

    func end(as ending: Ending) {
        guard isOpen else { return }
        isEnded = true
        orderlyEnding = ending
        carrier?.watchHasNews(self)
    }

    /// It is over.
    /// - Returns: whom to tell; nil: nobody, or it was over before.
    func close(_ ending: Ending) -> (() -> Void)? {
        guard self.ending == nil else { return nil }
        self.ending = ending
        backlog.removeAll()
        carrier = nil
        onDrained = nil
        guard let onEnd else { return nil }
        self.onEnd = nil
        return { onEnd(ending) }
    }
}

/// The connection or stream that a watch goes through. Only takes notes: it may be in the middle of
/// something.
protocol ServiceWatchCarrier: AnyObject {
    func watchHasNews(_ watch: ServiceWatch)
    func watchOverflowed(_ watch: ServiceWatch)
}
