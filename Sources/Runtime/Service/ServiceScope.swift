// What the connections of a service have in common: the application, the bounds that hold for all
// of them together, the parser, and who has something to do.

import Base
import Wire

/// A request that is answered with an error before the application sees it.
struct ServiceRefusal: Error, Equatable {
    var status: Int
    var text: String

    init(_ status: Int, _ text: String) {
        self.status = status
        self.text = text
    }

    init(_ error: HeadError) {
        self.init(error.status, Bytes(error.detail).text)
    }
}

/// Shared by all connections of one service, on its thread. Touches no socket and no clock.
final class ServiceScope {
    let limits: ServiceLimits
    private let handler: any ServiceHandler
    /// The present turn.
    var now: Instant
    /// CLOCK_REALTIME less the clock of `now`, nanoseconds.
    var wallOffset: Int64 = 0
    var head: Head
    var isDraining = false
    /// Bytes of bodies that have not come whole.
    private(set) var bodiesBytes = 0
    /// Of these, of those who have shown no certificate.
    private var strangersBytes = 0
    private(set) var watches = 0
    /// Connections with something to do, each once.
    private(set) var marked: [Int] = []
    private var isMarked: [Bool]
    /// What the application is to be told at the end of the turn.
    private var news: [() -> Void] = []
    /// The head of an answer over HTTP/2, while it is made. Bound: what an application may say
    /// (`ServiceAnswer.whole`), and what the service adds.
    let fields = FieldList(capacity: 64 + 3, made: 8 * 1024 + 512)
    private var spareAssembler: HeadAssembler?

    init(_ limits: ServiceLimits, handler: any ServiceHandler, now: Instant) {
        precondition(
            limits.connections > 0 && limits.headBytes <= 64 * 1024 && limits.headBytes >= 1024,
            "limits that no service can hold")
        self.limits = limits
        self.handler = handler
        self.now = now
        head = Head(limits: HeadLimits(headBytes: limits.headBytes))
        isMarked = Array(repeating: false, count: limits.connections)
    }

    // MARK: Who has something to do

    func mark(_ slot: Int) {
        guard !isMarked[slot] else { return }
        isMarked[slot] = true
        marked.append(slot)
    }

    /// All that are marked, who are so no more.
    func takeMarked() -> [Int] {
        for slot in marked { isMarked[slot] = false }
        defer { marked = [] }
        return marked
    }

    /// Whether the next turn should come at once.
    var hasMore: Bool { !marked.isEmpty || !news.isEmpty }

    // MARK: The application

    func respond(to request: ServiceRequest) -> ServiceAnswer { handler.respond(to: request) }

    /// Tells the application what there is to tell.
    /// - Returns: when it wants to be called at the latest.
    func endTurn() -> Instant? {
        // What the application does may make more news: those are for the next turn, so that it
        // cannot keep itself busy for ever.
        let news = news
        self.news = []
        for tell in news { tell() }
        return handler.turnEnds(now)
    }

    /// Takes a watch as an answer.
    /// - Returns: false: it is over already, and the client is to be told that it cannot be.
    func begin(_ watch: ServiceWatch, _ carrier: any ServiceWatchCarrier) -> Bool {
        guard watch.carrier == nil, watch.ending == nil else {
            preconditionFailure("a watch was answered with twice")
        }
        let isOver = watch.hasOverflowed || watches >= limits.watches || isDraining
        guard !isOver else {
            if let tell = watch.close(watch.hasOverflowed ? .slow : .refused) { news.append(tell) }
            return false
        }
        watches += 1
        watch.carrier = carrier
        return true
    }

    /// A watch that had begun is over.
    func end(_ watch: ServiceWatch, _ ending: ServiceWatch.Ending) {
        guard watch.ending == nil else { return }
        watches -= 1
        if let tell = watch.close(ending) { news.append(tell) }
    }

    func drained(_ watch: ServiceWatch) {
        if watch.onDrained != nil { news.append { watch.onDrained?() } }
    }

    // MARK: Bounds

    /// Sets memory aside for a part of a body.
    /// - Parameters:
    ///   - body: bytes of the body that are there already.
    ///   - connection: bytes of all bodies of its connection; one alone cannot have all that there
    ///     is for everybody.
    func hold(
        _ count: Int, of body: Int, on connection: Int, for peer: ServicePeer
    ) throws(ServiceRefusal) {
        guard body + count <= limits.bodyBytes else {
            throw ServiceRefusal(413, "a body has at most \(limits.bodyBytes) bytes")
        }
        let share = max(limits.bodyBytes, limits.bodiesBytes / 4)
        let strangers = peer.certificate == nil ? count : 0
        guard bodiesBytes + count <= limits.bodiesBytes, connection + count <= share,
            strangers == 0 || strangersBytes + count <= limits.strangersBytes ?? .max
        else { throw ServiceRefusal(503, "too many bodies are on their way") }
        bodiesBytes += count
        strangersBytes += strangers
    }

    func release(_ count: Int, for peer: ServicePeer) {
        bodiesBytes -= count
        if peer.certificate == nil { strangersBytes -= count }
        precondition(bodiesBytes >= 0 && strangersBytes >= 0, "more was released than was held")
    }

    func takeAssembler() -> HeadAssembler {
        defer { spareAssembler = nil }
        return spareAssembler ?? HeadAssembler(HeadLimits(headBytes: limits.headBytes))
    }

    func give(_ assembler: HeadAssembler) { spareAssembler = assembler }

    // MARK: Messages

    /// The request whose head stands in `bytes`, without its body.
    func request(
        _ bytes: Bytes, _ peer: ServicePeer, _ speech: ServiceRequest.Speech
    ) throws(ServiceRefusal) -> ServiceRequest {
        let method = bytes[head.method].text
        guard method != "CONNECT" else { throw ServiceRefusal(501, "this is no proxy") }
        guard let target = ServiceTarget(bytes[head.path].text) else {
            throw ServiceRefusal(400, "the target cannot be read")
        }
        var fields: [ServiceField] = []
        for i in 0..<head.fieldCount {
            let field = head.fields[i]
            fields.append(
                ServiceField(
                    bytes[field.nameRange].text.lowercased(), bytes[field.valueRange].text))
        }
        return ServiceRequest(
            method: head.isHead ? "GET" : method, target: target, fields: fields, peer: peer,
            speech: speech, now: now)
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    var date: [UInt8] {
        var text = [UInt8](repeating: 0, count: 29)
        unsafe text.withUnsafeMutableBytes {
            var writer = unsafe ByteWriter($0)
            writer.append(httpDate: max(0, now.nanoseconds + wallOffset) / 1_000_000_000)
        }
        return text
    }

    /// Whether the status allows a body at all (RFC 9110, 6.4.1).
    static func allowsBody(_ status: Int) -> Bool { status != 204 && status != 304 }
}
