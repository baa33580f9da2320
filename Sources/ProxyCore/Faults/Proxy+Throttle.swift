// Answers that come only so fast: a token bucket of bytes for each, as Envoy's fault filter has it.
// It holds a sixteenth of a second's bytes at most, and that much at first; what has come and is
// not paid for waits in the upstream's buffer, which stops the upstream when it is full.

import Base
import Model

extension Proxy {
    /// How much of a second the bucket holds.
    private static let slices: Int64 = 16

    /// The answer's body begins, of the attempt that has been settled on.
    func beginThrottle(_ upstream: Int, _ client: Int, now: Instant) {
        connections[client].exchange.fault.rate = connections[upstream].rate
        guard connections[upstream].rate > 0 else { return }
        // All of it passes by here.
        connections[upstream].body.isRead = true
        connections[client].exchange.fault.paid = now - .seconds(1) / Self.slices
    }

    /// How many bytes of the answer's body may pass now.
    func throttledBytes(_ client: Int, now: Instant) -> Int {
        let state = connections[client].exchange.fault
        guard state.rate > 0 else { return .max }
        let paid = max(state.paid, now - .seconds(1) / Self.slices)
        connections[client].exchange.fault.paid = paid
        return Int(Double((now - paid).nanoseconds) * Double(state.rate) / 1e9)
    }

    /// So many bytes of the answer's body have passed; more may be there.
    func pay(_ count: Int, _ upstream: Int, _ client: Int, now: Instant) {
        let state = connections[client].exchange.fault
        guard state.rate > 0 else { return }
        let cost = Double(count) * 1e9 / Double(state.rate)
        connections[client].exchange.fault.paid =
            state.paid + .nanoseconds(Int64(cost.rounded(.up)))
        guard connections[upstream].hasInput, !connections[upstream].body.isComplete,
            !connections[client].output.isFull
        else { return }
        // As much as a slice is, or all of a bucket that is smaller.
        connections[client].exchange.fault.resumes =
            max(now, connections[client].exchange.fault.paid) + .seconds(1) / Self.slices
        deadlines.clear(client)
        arm(client)
    }

    /// More of an answer's body may pass.
    func resumeThrottled(_ client: Int, now: Instant) {
        connections[client].exchange.fault.resumes = .distantFuture
        if let upstream = connections[client].peer { responseBytes(upstream, now: now) }
        if connections[client].stage == .exchange { arm(client) }
    }
}
