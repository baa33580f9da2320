import Base
import Model

/// What a job's connections write, the same bytes every time, which all threads share: for each
/// target one message, which is a request, and one greeting, which comes before the first.
@safe
public final class LoadMessages: @unchecked Sendable {
    // Safety: written here, only read afterwards, freed in `deinit`; whoever lends a view of it
    // keeps the object.
    private let memory: UnsafeMutableRawBufferPointer
    private let ends: [Int]
    /// What answers the key of every greeting's WebSocket handshake; empty: there is none.
    let webSocketAccept: [UInt8]
    /// What frames of a WebSocket are masked with.
    let maskingKey: UInt32

    // Bound: `LoadLimits.bodies` and a head or two for each target.
    /// - Precondition: `job.validate()` passed.
    public init(_ job: LoadJob) {
        let handshake: WebSocketOpening? =
            switch job.plan.speech {
            case .websocket, .websocketHTTP2: WebSocketOpening(seed: job.seed)
            default: nil
            }
        webSocketAccept = handshake.map { Array($0.accept.utf8) } ?? []
        maskingKey = handshake?.maskingKey ?? 0
        let parts = job.targets.flatMap { target in
            [job.message(to: target, handshake), job.greeting(to: target, handshake)]
        }
        unsafe memory = .allocate(
            byteCount: parts.reduce(0) { $0 + $1.count }, alignment: 64)
        var end = 0
        ends = unsafe parts.map { [memory] part in
            unsafe UnsafeMutableRawBufferPointer(rebasing: memory[end...]).copyBytes(from: part)
            end += part.count
            return end
        }
    }

    deinit { unsafe memory.deallocate() }

    /// The message to a target; valid as long as this object.
    subscript(target: Int) -> Bytes { part(2 * target) }

    /// What is written to a target before the first message; may be empty.
    func greeting(_ target: Int) -> Bytes { part(2 * target + 1) }

    private func part(_ index: Int) -> Bytes {
        let start = index == 0 ? 0 : ends[index - 1]
        return unsafe Bytes(UnsafeRawBufferPointer(rebasing: memory[start..<ends[index]]))
    }
}
