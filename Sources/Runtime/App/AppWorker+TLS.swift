// Connections with TLS, and how bytes go in and out of a connection with or without.

import Base
import Posix
import Secure

extension AppWorker {
    /// From the accept to the end of the handshake.
    private static let handshakeTime = Duration.seconds(10)

    /// The connection's TLS; nil: it is in cleartext.
    func tls(_ slot: Int) -> TLSSocket? { secured.isEmpty ? nil : secured[slot] }

    func beginSecured(_ slot: Int, _ context: TLSContext) {
        secured[slot] = TLSSocket(TLSSession(server: context), scratch: scratch)
        connections[slot].state = .handshake
        deadlines.set(slot, at: now + Self.handshakeTime)
    }

    func endSecured(_ slot: Int) {
        guard let tls = tls(slot) else { return }
        tls.close(on: connections[slot].socket)
        secured[slot] = nil
    }

    /// Goes on with the handshake.
    /// - Returns: whether it is done.
    func shakeHands(_ slot: Int) -> Bool {
        guard let tls = tls(slot) else { return false }
        switch tls.handshake(on: connections[slot].socket) {
        case .wantsMore: return false
        case .failed:
            close(slot)
            return false
        case .done:
            deadlines.clear(slot)
            connections[slot].state = connections[slot].restState
            // What came along with its end is with TLS already: no event will tell of it.
            connections[slot].canRead = true
            if tls.agreedProtocol == "h2" { beginStreams(slot) }
            return true
        }
    }

    // MARK: Bytes

    func receive(_ slot: Int, into memory: UnsafeMutableRawBufferPointer) -> Transfer {
        let socket = connections[slot].socket
        guard let tls = tls(slot) else { return unsafe Socket.receive(socket, into: memory) }
        return unsafe tls.receive(from: socket, into: memory, ended: connections[slot].sawEnd)
    }

    func send(_ slot: Int, _ bytes: Bytes) -> Transfer {
        let socket = connections[slot].socket
        guard let tls = tls(slot) else { return Socket.send(socket, bytes) }
        return tls.send(bytes, to: socket)
    }

    func send(_ slot: Int, regions count: Int, _ region: (Int) -> Bytes) -> Transfer {
        let socket = connections[slot].socket
        guard let tls = tls(slot) else {
            return Socket.send(socket, regions: count, region).transfer
        }
        return tls.send(count, to: socket, region)
    }
}
