// Connections that are secured: between the socket and the proxy's buffers stands a TLS session.
//
//      recv ─▶ scratch ─▶ session.read ─▶ proxy.space
//      proxy.output ─▶ session.write ─▶ scratch ─▶ send
//
// Both scratch memories are the worker's: a session holds only what could not go on. The proxy is
// told that bytes are sent when the kernel has them, not when they are encrypted.

import Base
import Glibc
import Model
import Posix
import ProxyCore
import Secure

extension ProxyWorker {
    /// What is held to be sent and is no more than this goes along with what follows it, in one
    /// send: the end of a handshake with the first request.
    private static let joinedBytes = 4096

    /// Begins with a connection that is to be secured. An upstream's is not connected yet.
    func beginSecured(_ slot: Int, _ session: TLSSession, isConnected: Bool) {
        secured[slot] = SecuredSocket(session: session, isConnected: isConnected)
    }

    // MARK: Events

    func handleSecured(_ slot: Int, _ generation: UInt32, _ readiness: Readiness) {
        if secured[slot]?.isConnected == false {
            guard readiness.writable || readiness.failed else { return }
            if Socket.error(of: sockets[slot] - 1) != 0 { return proxy.failed(slot, now: now) }
            secured[slot]?.isConnected = true
            proxy.handshakeBegan(slot)
        }
        if proxy.isHandshaking(slot) { return shakeHands(slot, ended: readiness.ended) }
        if readiness.writable { flushSecured(slot) }
        guard readiness.readable, stillOpen(slot, generation) else { return }
        readSecured(slot, ended: readiness.ended)
        if readiness.broken { letGoIfBroken(slot, generation) }
    }

    /// Goes on with a handshake as far as the peer's bytes last.
    /// - Parameter ended: an end may be behind the bytes, so a short read is not the last.
    private func shakeHands(_ slot: Int, ended: Bool) {
        guard let session = secured.session(of: slot) else { return }
        var input = Bytes("")
        var isDry = false
        for _ in 0..<Self.readsPerTurn {
            let progress = session.handshake(&input)
            switch progress {
            case .done:
                session.hold(input: input)
                return agree(slot, session)
            case .failed(let error):
                // The alert that says so; whoever does not take it at once goes without.
                _ = sendHeld(slot, session)
                return proxy.handshakeFailed(slot, error.reason, now: now)
            case .wantsMore: break
            }
            guard sendHeld(slot, session) != .failed else {
                return proxy.handshakeFailed(slot, .handshakeCut, now: now)
            }
            if isDry { return }
            switch unsafe Socket.receive(sockets[slot] - 1, into: scratch.input) {
            case .bytes(let count):
                input = scratch.inputBytes(count)
                isDry = unsafe count < scratch.input.count && !ended
            case .wouldBlock: return
            case .closed, .failed: return proxy.handshakeFailed(slot, .handshakeCut, now: now)
            }
        }
        session.hold(input: input)
        proxy.readLater(slot)
    }

    /// A client's first byte tells whether it begins a handshake.
    func tellApart(_ slot: Int, ended: Bool) {
        switch Socket.peek(sockets[slot] - 1) {
        case .byte(let byte):
            let context = contexts.listener(proxy.listener(of: slot))
            if byte != Self.handshakeRecord && proxy.takesCleartext(slot) || context == nil {
                return proxy.beganInCleartext(slot, now: now)
            }
            guard let context else { return }
            beginSecured(slot, TLSSession(server: context), isConnected: true)
            shakeHands(slot, ended: ended)
        case .none: break
        case .closed: proxy.ended(slot, now: now)
        case .failed: proxy.failed(slot, now: now)
        }
    }

    /// The content type of the record that a ClientHello comes in (RFC 8446, 5.1). No method of
    /// HTTP begins with it, and no preface of HTTP/2.
    private static let handshakeRecord: UInt8 = 22

    private func agree(_ slot: Int, _ session: TLSSession) {
        let agreement = TLSAgreement(
            version: session.version, agreed: AgreedProtocol(name: session.agreedProtocol),
            isResumed: session.isResumed, peer: session.peer,
            identity: proxy.isUpstream(slot) ? nil : identity(of: session),
            serverName: session.serverName)
        proxy.secured(slot, agreement, now: now)
    }

    /// An X.509 certificate of SPIFFE's has exactly one URI (X509-SVID, 2): more say nothing.
    private func identity(of session: TLSSession) -> SPIFFEID? {
        let uris = session.peerURIs
        return uris.count == 1 ? SPIFFEID(rawValue: uris[0]) : nil
    }

    // MARK: Reading

    /// Reads until there is no more, or no room.
    func readSecured(_ slot: Int, ended: Bool) {
        if proxy.isHandshaking(slot) { return shakeHands(slot, ended: ended) }
        guard let session = secured.session(of: slot) else { return }
        let generation = proxy.generation(of: slot) & 0x3FFF_FFFF
        var input = Bytes("")
        decrypt(slot, session, &input, ended: ended)
        guard stillOpen(slot, generation) else { return }
        session.hold(input: input)
        // Reading may have something to say: that keys have changed.
        if session.heldOutputCount > 0 { flushSecured(slot) }
    }

    /// - Parameter input: what is left over of what was received.
    private func decrypt(_ slot: Int, _ session: TLSSession, _ input: inout Bytes, ended: Bool) {
        let generation = proxy.generation(of: slot) & 0x3FFF_FFFF
        // Nothing more is in the socket: a short read has shown it.
        var isDry = false
        // Bound: each read is followed by one that decrypts what it brought, as a rule.
        for _ in 0..<2 * Self.readsPerTurn {
            guard let space = unsafe proxy.space(slot) else { return }
            switch unsafe session.read(&input, into: space) {
            case .bytes(let count):
                bytesThisTurn += count
                proxy.received(slot, count, now: now)
                guard stillOpen(slot, generation) else { return }
                if isDry, input.count == 0, !session.hasInput { return }
                if proxy.hasEffects { return proxy.readLater(slot) }
            case .wantsMore:
                if isDry { return proxy.nothingRead(slot) }
                guard receive(slot, &input, room: space.count, ended: ended, &isDry) else {
                    return
                }
            case .closed: return proxy.ended(slot, now: now)
            case .failed(let error):
                _ = sendHeld(slot, session)
                guard stillOpen(slot, generation) else { return }
                return proxy.securityFailed(slot, error.reason, now: now)
            }
        }
        proxy.readLater(slot)
    }

    /// Receives ciphertext, about as much as there is room for.
    /// - Returns: whether some came; if not, the proxy has been told.
    private func receive(
        _ slot: Int, _ input: inout Bytes, room: Int, ended: Bool, _ isDry: inout Bool
    ) -> Bool {
        let size = unsafe min(scratch.input.count, max(room, Self.joinedBytes))
        let memory = unsafe UnsafeMutableRawBufferPointer(rebasing: scratch.input[..<size])
        switch unsafe Socket.receive(sockets[slot] - 1, into: memory) {
        case .bytes(let count):
            input = scratch.inputBytes(count)
            isDry = count < size && !ended
            return true
        case .wouldBlock: proxy.nothingRead(slot)
        case .closed: proxy.securityFailed(slot, .truncated, now: now)
        case .failed: proxy.failed(slot, now: now)
        }
        return false
    }

    // MARK: Sending

    /// Sends what is held and what the proxy has, until all is sent or the socket takes no more.
    func flushSecured(_ slot: Int) {
        guard let session = secured.session(of: slot), !proxy.isHandshaking(slot) else { return }
        let generation = proxy.generation(of: slot) & 0x3FFF_FFFF
        while stillOpen(slot, generation), !proxy.isConnecting(slot) {
            if session.heldOutputCount > Self.joinedBytes {
                switch sendHeld(slot, session) {
                case .all: break
                case .some: return
                case .failed:
                    guard stillOpen(slot, generation) else { return }
                    return proxy.sendingFailed(slot, now: now)
                }
                continue
            }
            var used = unsafe session.takeHeldOutput(into: scratch.output)
            guard encrypt(slot, session, &used) else { return proxy.sendingFailed(slot, now: now) }
            guard used > 0 else { return allSent(slot) }
            switch Socket.send(sockets[slot] - 1, scratch.outputBytes(0..<used)) {
            case .bytes(let sent):
                session.hold(output: scratch.outputBytes(sent..<used))
                acknowledge(slot, session)
                if sent < used { return }
            case .wouldBlock: return session.hold(output: scratch.outputBytes(0..<used))
            case .closed, .failed: return proxy.sendingFailed(slot, now: now)
            }
        }
    }

    /// Encrypts the proxy's output behind the `used` bytes of the scratch, as far as there is room.
    /// - Returns: whether the session lives.
    private func encrypt(_ slot: Int, _ session: TLSSession, _ used: inout Int) -> Bool {
        var done = secured[slot]?.encrypted ?? 0
        var taken = 0
        defer { secured[slot]?.encrypted += taken }
        for i in 0..<proxy.outputCount(slot) {
            let region = proxy.output(slot, i)
            guard done < region.count else {
                done -= region.count
                continue
            }
            let bytes = region[done..<region.count]
            done = 0
            switch unsafe session.write(bytes, into: scratch.output, used: &used) {
            case .bytes(let count):
                taken += count
                if count < bytes.count { return true }
            case .wantsMore: return true
            case .closed, .failed: return false
            }
        }
        return true
    }

    private enum Sent { case all, some, failed }

    /// Sends what is held.
    private func sendHeld(_ slot: Int, _ session: TLSSession) -> Sent {
        while session.heldOutputCount > 0 {
            switch Socket.send(sockets[slot] - 1, session.heldOutput) {
            case .bytes(let count):
                session.sent(held: count)
                acknowledge(slot, session)
            case .wouldBlock: return .some
            case .closed, .failed: return .failed
            }
        }
        return .all
    }

    /// Tells the proxy what has been sent. Of its encrypted bytes at most as many are still held as
    /// there is ciphertext.
    private func acknowledge(_ slot: Int, _ session: TLSSession) {
        guard let encrypted = secured[slot]?.encrypted, encrypted > 0 else { return }
        let left = min(encrypted, session.heldOutputCount)
        secured[slot]?.encrypted = left
        if encrypted > left { proxy.sent(slot, encrypted - left, now: now) }
    }

    private func allSent(_ slot: Int) {
        if secured[slot]?.endsAfterOutput == true {
            secured[slot]?.endsAfterOutput = false
            Socket.endSending(sockets[slot] - 1)
        }
        proxy.nothingToSend(slot, now: now)
    }

    /// Ends the sending side: says so by TLS, then to the socket.
    func endSendingSecured(_ slot: Int) {
        guard let session = secured.session(of: slot) else { return }
        session.close()
        secured[slot]?.endsAfterOutput = true
        flushSecured(slot)
    }

    /// What is to be said before a connection is closed, and to be forgotten.
    /// - Parameter reset: it is not a proper end, so it is not told as one.
    func closeSecured(_ slot: Int, reset: Bool) {
        guard let session = secured.session(of: slot) else { return }
        secured[slot]?.encrypted = 0
        if !reset {
            session.close()
            _ = sendHeld(slot, session)
        }
        secured[slot] = nil
    }
}
