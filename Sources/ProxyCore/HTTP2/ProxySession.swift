import Base
import Wire

/// The session of one connection. What it hears it tells the proxy, which knows the stream by the
/// slot that is the stream's tag.
final class ProxySession: HTTP2Session {
    private unowned let proxy: Proxy
    /// The connection's slot.
    let slot: Int
    /// The slots of its streams.
    var streams: [Int32] = []
    /// It waits for the end of the turn to send.
    var isMarked = false
    /// Frames wait for room in the connection's output.
    var isBlocked = false
    /// It takes no more streams.
    var isClosing = false
    /// Requests have waited for it to be opened, and for what the peer says then.
    var isAwaited = false
    /// The peer has said what it takes.
    var hasSettings = false
    /// It is over, but for streams whose answers are here and still to be passed on.
    var ending: Ending?

    enum Ending {
        /// When what is queued has been sent.
        case inOrder
        /// The connection itself is gone.
        case broken(reset: Bool)
    }

    /// When the header block began that is not yet complete.
    var headSince: Instant?
    /// When the peer was last heard.
    var heard: Instant
    /// When a PING is given up that has not been answered.
    var pingDeadline: Instant?
    /// The last GOAWAY goes out when the PING behind the first has been answered.
    var announcesShutdown = false
    /// Requests that a client may give up, or have given up for a mistake of its own. Each that is
    /// answered earns another: who gives up more, second after second, is no client. Whoever has
    /// shown a certificate that is believed is one, such as the proxy beside another service, whose
    /// own clients' time may run out all at once.
    private var resets = Allowance(burst: 1000, rate: 100)
    /// Frames that say nothing, or only how this side may go on. Bound: far above what any
    /// implementation sends beside what it was sent.
    private var emptyFrames = Allowance(burst: 1000, rate: 100)
    /// Holds what has come of a header block. Its own: a block may come in pieces, and blocks of
    /// other connections between them.
    private(set) var assembler: HeadAssembler?
    /// An error of the peer's has been counted.
    private var hasErred = false

    init(_ proxy: Proxy, slot: Int, server: Bool, _ settings: HTTP2Settings, now: Instant) {
        self.proxy = proxy
        self.slot = slot
        heard = now
        super.init(server: server, settings)
    }

    // MARK: Sending

    override func hasRoom() -> Bool { proxy.hasRoomForFrames(slot) }
    override func write(_ bytes: Bytes) { proxy.appendFrames(bytes, slot) }

    override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
        proxy.provide(tag, limit: limit, self)
    }

    override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
        guard proxy.writeFrame(of: tag, header: header, count: count, on: slot) else {
            return false
        }
        // Each may be answered by a window for its stream and one for the connection, and by as
        // many again where small ones are given.
        emptyFrames.give(4)
        return true
    }

    override func endSent(_ stream: Int32, tag: Int) { proxy.streamEndSent(tag, self) }

    // MARK: Hearing

    override func headBegan(_ stream: Int32, tag: Int) {
        headSince = proxy.turn
        // There is one already where the last block was given up in the middle.
        let assembler = self.assembler ?? proxy.takeAssembler()
        assembler.begin()
        self.assembler = assembler
    }

    override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        if assembler?.add(name, value) != false { return true }
        proxy.counters.add(.floodedHeads)
        fail(.headTooLarge, .enhanceYourCalm)
        return false
    }

    override func headEnded(_ stream: Int32, tag: Int, endsStream: Bool) {
        headSince = nil
        if tag >= 0 {
            proxy.streamHead(tag, endsStream: endsStream)
        } else if isServer {
            proxy.streamRequest(self, stream, endsStream: endsStream)
        }
        if let assembler { proxy.give(assembler) }
        assembler = nil
    }

    override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) { proxy.streamData(tag, bytes) }

    override func streamEnded(_ stream: Int32, tag: Int) {
        if tag >= 0 { proxy.streamEnded(tag) }
    }

    override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
        proxy.streamClosed(tag, code)
    }

    override func goawayReceived(last: Int32, _ code: HTTP2Code) { proxy.goawayReceived(self) }

    override func settingsReceived() { proxy.settingsReceived(self) }

    override func pingAnswered(_ mark: UInt8) {
        switch mark {
        case Self.keepAliveMark where !announcesShutdown: pingDeadline = nil
        case Self.shutdownMark where announcesShutdown: announceLast()
        default: break
        }
    }

    /// What PINGs hold, so that the answer to one is not taken for that to the other.
    static let keepAliveMark: UInt8 = 1
    static let shutdownMark: UInt8 = 2

    /// The client has heard that the end is near, or has had the time to: now it is told which
    /// request was the last.
    func announceLast() {
        pingDeadline = nil
        announcesShutdown = false
        submitGoaway(.noError)
        proxy.mark(self)
    }

    override func headAbandoned(_ stream: Int32) {
        headSince = nil
        if let assembler { proxy.give(assembler) }
        assembler = nil
    }

    /// A stream has been answered.
    func hasAnswered() { resets.give(1) }

    // MARK: Abuse

    override func resetReceived(_ stream: Int32, tag: Int) {
        proxy.counters.add(.streamResetsReceived)
        // Only who asks can ask and take back, again and again (CVE-2023-44487).
        takeReset()
    }

    /// A request was given up: by the client, or because of it (CVE-2025-8671).
    private func takeReset() {
        guard isServer, failure == nil, !proxy.isIdentified(slot), !resets.take(at: proxy.turn)
        else { return }
        proxy.counters.add(.floodedResets)
        fail(.tooManyResets, .enhanceYourCalm)
    }

    override func frameReceived(isEmpty: Bool) {
        guard isEmpty, failure == nil, !emptyFrames.take(at: proxy.turn) else { return }
        proxy.counters.add(.floodedEmptyFrames)
        fail(.tooManyEmptyFrames, .enhanceYourCalm)
    }

    override func invalidFrame() {
        hasErred = true
        proxy.counters.add(.protocolErrors)
        takeReset()
    }

    override func goawaySent(_ code: HTTP2Code) {
        guard code != .noError, failure == nil else { return }
        // What was not found here the library has found: this is what it says of too many settings.
        if code == .enhanceYourCalm {
            proxy.counters.add(.floodedSettings)
        } else if !hasErred {
            proxy.counters.add(.protocolErrors)
        }
    }
}
