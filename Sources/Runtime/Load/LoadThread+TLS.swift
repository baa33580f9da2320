// Connections with TLS, and how bytes go in and out of a connection with or without. A connection
// is open, and its requests are sent, once its handshake is done.

import Base
import Glibc
import Posix
import Secure

extension LoadThread {
    /// Goes on with a connection's handshake; begins it where it has just been connected.
    /// - Returns: whether it is done. Where it has failed, the generator has been told.
    mutating func shakeHands(_ connection: Int) -> Bool {
        let descriptor = sockets[connection].descriptor
        let tls: TLSSocket
        if let begun = secured[connection] {
            tls = begun
        } else {
            let target = Int(sockets[connection].target)
            let address = addresses[target][Int(sockets[connection].address)]
            guard let scratch else { return false }
            let session = TLSSession(
                client: contexts[target], endpoint: "\(target) \(address)", address: address.host)
            tls = TLSSocket(session, scratch: scratch)
            secured[connection] = tls
            sockets[connection].isShaking = true
        }
        switch tls.handshake(on: descriptor) {
        case .wantsMore: return false
        case .failed(let error):
            failedToOpen(connection, EPROTO, error.reason)
            return false
        case .done:
            // HTTP/2 is spoken over TLS where both have said so (RFC 9113, 3.2).
            if contexts[Int(sockets[connection].target)].offersOnly("h2"),
                tls.agreedProtocol != "h2"
            {
                failedToOpen(connection, EPROTO, .noSharedProtocol)
                return false
            }
            return true
        }
    }

    /// A server may refuse a client's certificate when the client is done already (RFC 8446, 4.4):
    /// then it says so in place of a first answer, and the connection counts as one that could not
    /// be opened too.
    mutating func noteRefusal(_ connection: Int) {
        guard !secured.isEmpty, !sockets[connection].hasReceived,
            let failure = secured[connection]?.failure, failure.isAlert
        else { return }
        openFailures.add(failure)
        settlement?.code = EPROTO
        settlement?.failure = failure
    }

    mutating func endSecured(_ connection: Int) {
        guard !secured.isEmpty, let tls = secured[connection] else { return }
        if sockets[connection].descriptor >= 0 { tls.close(on: sockets[connection].descriptor) }
        secured[connection] = nil
    }

    // MARK: Bytes

    func receive(
        _ connection: Int, into memory: UnsafeMutableRawBufferPointer, toEnd: Bool
    ) -> Transfer {
        let descriptor = sockets[connection].descriptor
        guard !secured.isEmpty, let tls = secured[connection] else {
            return unsafe Socket.receive(descriptor, into: memory)
        }
        return unsafe tls.receive(from: descriptor, into: memory, ended: toEnd)
    }

    func send(_ connection: Int, _ bytes: Bytes) -> Transfer {
        let descriptor = sockets[connection].descriptor
        guard !secured.isEmpty, let tls = secured[connection] else {
            return Socket.send(descriptor, bytes)
        }
        return tls.send(bytes, to: descriptor)
    }
}
