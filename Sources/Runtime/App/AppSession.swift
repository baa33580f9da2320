import Base
import Wire

/// The HTTP/2 of one connection: passes on to the worker what nghttp2 tells, with the exchange as
/// each stream's tag.
///
/// Nothing that is told here ends the connection at once: the session is in the middle of a call.
final class AppSession: HTTP2Session {
    private unowned let worker: AppWorker
    private let slot: Int

    /// Bound: streams of one connection at once.
    static let streams = 256

    init(_ worker: AppWorker, slot: Int) {
        self.worker = worker
        self.slot = slot
        var settings = HTTP2Settings()
        settings.streams = Self.streams
        super.init(server: true, settings)
    }

    override func hasRoom() -> Bool { worker.hasRoom(slot) }
    override func write(_ bytes: Bytes) { worker.append(slot, bytes) }

    override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
        worker.provide(tag, limit: limit)
    }

    override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
        guard worker.hasRoom(slot) else { return false }
        worker.append(slot, header)
        worker.writeStream(tag, count)
        return true
    }

    override func headBegan(_ stream: Int32, tag: Int) { worker.assembler.begin() }

    override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        worker.assembler.add(name, value)
    }

    override func headEnded(_ stream: Int32, tag: Int, endsStream: Bool) {
        // Fields behind a body are let pass.
        if tag < 0 { worker.openStream(slot, stream, endsStream: endsStream) }
    }

    override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) {
        worker.streamData(tag, bytes)
    }

    override func streamEnded(_ stream: Int32, tag: Int) {
        if tag >= 0 { worker.streamEnded(tag) }
    }

    override func endSent(_ stream: Int32, tag: Int) { worker.streamSent(tag) }

    override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
        worker.closeStream(tag)
    }

    override func pingAnswered(_ mark: UInt8) {
        // Whatever was sent before the client knew of the end has come by now.
        if worker.isDraining { submitGoaway(.noError) }
    }
}
