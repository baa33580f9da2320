// One connection of a service, without its socket: bytes in, bytes out, and in between requests and
// answers. A speech is how that is done in HTTP/1.1 or in HTTP/2.

import Base

/// How a connection is to end.
enum ServiceEnding: Equatable {
    /// When what waits has been sent.
    case inOrder
    /// At once; what waits is dropped.
    case reset
}

/// What both speeches have in common. For one thread.
class ServiceSpeech: ServiceWatchCarrier {
    let scope: ServiceScope
    let slot: Int
    let peer: ServicePeer
    /// What waits to be sent. Bound: `outputBytes` of frames or chunks, or one whole answer.
    private(set) var output = ServiceOutput()
    /// When `output` began to wait, or was last taken of.
    private(set) var moved: Instant
    var ending: ServiceEnding?

    /// Of watches and frames no more is made ready at once.
    static let outputBytes = 64 * 1024

    init(_ scope: ServiceScope, slot: Int, peer: ServicePeer) {
        self.scope = scope
        self.slot = slot
        self.peer = peer
        moved = scope.now
    }

    // MARK: Output

    func put(_ bytes: [UInt8]) {
        if output.isEmpty { moved = scope.now }
        output.append(bytes)
    }

    func put(_ bytes: Bytes) {
        if output.isEmpty { moved = scope.now }
        output.append(bytes)
    }

    func put(_ text: String) { put(Array(text.utf8)) }

    /// Moves the first bytes of a watch's backlog to the output.
    func put(_ count: Int, of watch: ServiceWatch) {
        if output.isEmpty { moved = scope.now }
        watch.backlog.move(count, to: &output)
        if watch.backlog.isEmpty { scope.drained(watch) }
    }

    /// The kernel has taken the first bytes.
    func sent(_ count: Int) {
        output.drop(count)
        moved = scope.now
    }

    // MARK: For the speeches

    /// Whether bytes of the client's are of use now; if not, they wait in the kernel.
    var wantsInput: Bool { ending == nil && output.isEmpty }
    /// Since when there is no request; nil: there is one.
    var idleSince: Instant? { nil }
    /// When `expire` has something to do; `distantFuture`: never.
    var deadline: Instant { output.isEmpty ? .distantFuture : moved + scope.limits.stall }

    func receive(_ bytes: Bytes) {}
    /// The client sends nothing more.
    func inputEnded() {}
    /// Does what can be done: `output` has been sent, or there is news.
    func advance() {}
    /// The deadline has come.
    func expire() {
        guard !output.isEmpty, moved + scope.limits.stall <= scope.now else { return }
        abandon(.slow)
        ending = .reset
    }
    /// The service stops: no more requests.
    func drain() {}
    /// The connection is over: gives up requests and watches.
    func abandon(_ reason: ServiceWatch.Ending) {}

    // MARK: ServiceWatchCarrier

    func watchHasNews(_ watch: ServiceWatch) { scope.mark(slot) }
    func watchOverflowed(_ watch: ServiceWatch) { scope.mark(slot) }
}

/// A connection, which speaks what its first bytes tell.
final class ServiceConnection {
    private(set) var speech: ServiceSpeech
    /// Bytes that may be the beginning of HTTP/2; nil: it is known what is spoken.
    private var opening: [UInt8]?

    /// How HTTP/2 begins where nobody has agreed on it before (RFC 9113, 3.4).
    static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// - Parameter agreed: what was agreed on by ALPN; nil: nothing.
    init(_ scope: ServiceScope, slot: Int, peer: ServicePeer, agreed: String?) {
        if agreed == "h2" {
            speech = ServiceHTTP2(scope, slot: slot, peer: peer)
        } else {
            speech = ServiceHTTP1(scope, slot: slot, peer: peer)
            opening = []
        }
    }

    func receive(_ bytes: Bytes) {
        guard let before = opening else { return speech.receive(bytes) }
        let all = unsafe before + Array(bytes.raw)
        let preface = Bytes(Self.preface)
        let count = min(all.count, preface.count)
        if all.withBytes({ $0[0..<count] == preface[0..<count] }) {
            guard count == preface.count else {
                opening = all
                // From its first byte on it is a request on its way.
                (speech as? ServiceHTTP1)?.begins()
                return
            }
            speech = ServiceHTTP2(speech.scope, slot: speech.slot, peer: speech.peer)
        }
        opening = nil
        all.withBytes { speech.receive($0) }
        if speech.scope.isDraining { speech.drain() }
    }

    func inputEnded() {
        takeOpening()
        speech.inputEnded()
    }

    func expire() {
        takeOpening()
        speech.expire()
    }

    /// What was held back to see what it is goes to the parser as it is.
    private func takeOpening() {
        guard let before = opening, !before.isEmpty else { return }
        opening = nil
        before.withBytes { speech.receive($0) }
    }
}
