import Base
import Wire

/// The HTTP/2 of one connection: passes on what nghttp2 tells, with each stream's place as its tag,
/// and cuts off who abuses it.
final class ServiceSession: HTTP2Session {
    private unowned let speech: ServiceHTTP2
    /// Requests that the client may give up, or have given up for a mistake of its own; each that
    /// is answered earns another (CVE-2023-44487, CVE-2025-8671).
    private var resets = Allowance(burst: 200, rate: 20)
    /// Frames that say nothing, or only how this side may go on. Bound: far above what any
    /// implementation sends beside what it was sent.
    private var emptyFrames = Allowance(burst: 1000, rate: 100)

    init(_ speech: ServiceHTTP2) {
        self.speech = speech
        var settings = HTTP2Settings()
        settings.streams = speech.streamLimit
        settings.streamWindow = 256 * 1024
        settings.headerList = speech.scope.limits.headBytes
        settings.extendedConnect = false
        super.init(server: true, settings)
    }

    /// An answer has gone out whole.
    func answered() { resets.give(1) }

    // MARK: Sending

    override func hasRoom() -> Bool { speech.hasRoom }
    override func write(_ bytes: Bytes) { speech.put(bytes) }

    override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
        speech.provide(tag, limit: limit)
    }

    override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
        guard speech.write(tag, header: header, count: count) else { return false }
        // Each may be answered by a window for its stream and one for the connection, and by as
        // many again where small ones are given.
        emptyFrames.give(4)
        return true
    }

    override func endSent(_ stream: Int32, tag: Int) { speech.endSent(tag) }

    // MARK: Hearing

    override func headBegan(_ stream: Int32, tag: Int) { speech.headBegan() }

    override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        if speech.field(name, value) { return true }
        fail(.headTooLarge, .enhanceYourCalm)
        return false
    }

    override func headAbandoned(_ stream: Int32) { speech.headAbandoned() }

    override func headEnded(_ stream: Int32, tag: Int, endsStream: Bool) {
        speech.headEnded(stream, tag, endsStream: endsStream)
    }

    override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) { speech.data(tag, bytes) }

    override func streamEnded(_ stream: Int32, tag: Int) {
        if tag >= 0 { speech.streamEnded(tag) }
    }

    override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
        speech.streamClosed(tag)
    }

    override func pingAnswered(_ mark: UInt8) { speech.pingAnswered() }

    // MARK: Abuse

    override func resetReceived(_ stream: Int32, tag: Int) { takeReset() }
    override func invalidFrame() { takeReset() }

    private func takeReset() {
        guard failure == nil, !resets.take(at: speech.now) else { return }
        fail(.tooManyResets, .enhanceYourCalm)
    }

    override func frameReceived(isEmpty: Bool) {
        guard isEmpty, failure == nil, !emptyFrames.take(at: speech.now) else { return }
        fail(.tooManyEmptyFrames, .enhanceYourCalm)
    }
}
