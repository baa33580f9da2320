// A socket with TLS on it that is used as a plain one is: what `receive` and `send` come to means
// the same. For those who give what they have to send as memory that holds still until it is taken:
// bytes that were offered and not taken must be offered again, before others.

import Base
import Glibc
import Posix
import Secure

/// The TLS of one connected, non-blocking socket. For one thread.
final class TLSSocket {
    private let session: TLSSession
    private let scratch: TLSScratch
    /// Bytes that were offered and are encrypted, but not told as sent: they are part of what is
    /// held.
    private var encrypted = 0
    /// Why it failed, where a transfer came to `failed(EPROTO)`.
    private(set) var failure: TLSFailure?

    /// - Parameter scratch: shared by all sockets of the thread.
    init(_ session: TLSSession, scratch: TLSScratch) {
        self.session = session
        self.scratch = scratch
    }

    var isEstablished: Bool { session.isEstablished }
    /// The protocol that both agreed on (ALPN); nil: none.
    var agreedProtocol: String? { session.agreedProtocol }
    /// Whom the peer's certificate names; nil: it has shown none.
    var peerIdentity: PeerIdentity? { session.peerIdentity }

    /// Goes on with the handshake as far as the peer's bytes last. It ends with `wantsMore` only
    /// where the socket has shown that there are none.
    func handshake(on socket: Int32) -> TLSProgress {
        var input = Bytes("")
        while true {
            let progress = session.handshake(&input)
            // What is said last is the alert where it has failed.
            let isOut = flush(to: socket)
            switch progress {
            case .done:
                session.hold(input: input)
                return .done
            case .failed: return progress
            case .wantsMore: break
            }
            guard isOut else { return .failed(TLSError(.handshakeCut)) }
            switch unsafe Socket.receive(socket, into: scratch.input) {
            case .bytes(let count): input = scratch.inputBytes(count)
            case .wouldBlock: return .wantsMore
            case .closed, .failed: return .failed(TLSError(.handshakeCut))
            }
        }
    }

    /// Decrypts into `memory` what there is. Less than `memory` holds: there is no more now, but
    /// possibly an end.
    /// - Parameter ended: an end is announced, so a short read of the socket is not the last.
    func receive(
        from socket: Int32, into memory: UnsafeMutableRawBufferPointer, ended: Bool
    ) -> Transfer {
        var input = Bytes("")
        var filled = 0
        var isDry = false
        defer { session.hold(input: input) }
        // Bound: `memory`; bytes that decrypt to none are few between others.
        while filled < memory.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[filled...])
            switch unsafe session.read(&input, into: rest) {
            case .bytes(let count):
                filled += count
                continue
            case .wantsMore: break
            case .closed: return filled > 0 ? .bytes(filled) : .closed
            case .failed(let error): return filled > 0 ? .bytes(filled) : fail(error.reason, socket)
            }
            if isDry { break }
            let size = unsafe min(scratch.input.count, max(rest.count, Self.leastRead))
            let space = unsafe UnsafeMutableRawBufferPointer(rebasing: scratch.input[..<size])
            switch unsafe Socket.receive(socket, into: space) {
            case .bytes(let count):
                input = scratch.inputBytes(count)
                isDry = count < size && !ended
            case .wouldBlock: isDry = true
            // Whoever reads again finds it again.
            case .closed: return filled > 0 ? .bytes(filled) : fail(.truncated, socket)
            case .failed(let code): return filled > 0 ? .bytes(filled) : .failed(code)
            }
        }
        return filled > 0 ? .bytes(filled) : .wouldBlock
    }

    /// Ciphertext that is asked for at least: a record's head alone would be of no use.
    private static let leastRead = 4096

    private func fail(_ reason: TLSFailure, _ socket: Int32) -> Transfer {
        failure = reason
        _ = flush(to: socket)
        return .failed(EPROTO)
    }

    /// Sends several regions.
    /// - Returns: how many bytes of them the kernel has.
    func send(_ regions: Int, to socket: Int32, _ region: (Int) -> Bytes) -> Transfer {
        var used = unsafe session.takeHeldOutput(into: scratch.output)
        var done = encrypted
        encrypting: for i in 0..<regions {
            let bytes = region(i)
            guard done < bytes.count else {
                done -= bytes.count
                continue
            }
            let rest = bytes[done..<bytes.count]
            done = 0
            switch unsafe session.write(rest, into: scratch.output, used: &used) {
            case .bytes(let count):
                encrypted += count
                if count < rest.count { break encrypting }
            case .wantsMore: break encrypting
            case .closed: return .failed(EPROTO)
            case .failed(let error): return fail(error.reason, socket)
            }
        }
        guard used > 0 else { return .wouldBlock }
        switch Socket.send(socket, scratch.outputBytes(0..<used)) {
        case .bytes(let sent):
            session.hold(output: scratch.outputBytes(sent..<used))
            // What is held has at most as many bytes of plaintext as of ciphertext.
            let left = min(encrypted, session.heldOutputCount)
            let taken = encrypted - left
            encrypted = left
            return taken > 0 ? .bytes(taken) : .wouldBlock
        case .wouldBlock:
            session.hold(output: scratch.outputBytes(0..<used))
            return .wouldBlock
        case .closed: return .closed
        case .failed(let code): return .failed(code)
        }
    }

    func send(_ bytes: Bytes, to socket: Int32) -> Transfer { send(1, to: socket) { _ in bytes } }

    /// Sends what is held apart from offered bytes: tickets, alerts.
    /// - Returns: whether the socket lives; it may have taken only a part.
    @discardableResult
    func flush(to socket: Int32) -> Bool {
        while encrypted == 0, session.heldOutputCount > 0 {
            switch Socket.send(socket, session.heldOutput) {
            case .bytes(let count): session.sent(held: count)
            case .wouldBlock: return true
            case .closed, .failed: return false
            }
        }
        return true
    }

    /// Says that nothing follows, as far as the socket takes it at once.
    func close(on socket: Int32) {
        session.close()
        flush(to: socket)
    }
}
