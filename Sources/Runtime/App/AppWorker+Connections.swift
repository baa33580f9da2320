// The life of a connection, apart from its requests.

import Base
import Glibc
import Posix
import Wire

extension AppWorker {
    /// Takes connections that wait in the listener's queue.
    /// - Returns: whether more may wait.
    @discardableResult
    func accept() -> Bool {
        // Bound: so many before events of other descriptors have their turn; the listener stays
        // readable.
        for _ in 0..<64 {
            guard freeConnection >= 0 else {
                pauseAccepting()
                return false
            }
            guard let number = listener?.number else { return false }
            switch Socket.accept(number) {
            case .none: return false
            case .exhausted:
                pauseAccepting()
                deadlines.set(Self.acceptTimer, at: now + Self.acceptPause)
                return false
            case .connection(let socket, _): open(socket)
            }
        }
        return true
    }

    private func open(_ socket: Int32) {
        let slot = Int(freeConnection)
        let token = UInt64(connections[slot].generation) << 32 | UInt64(slot)
        do throws(SystemError) {
            try reactor.add(socket, token: token)
        } catch {
            // Out of kernel memory, as `exhausted` above: this client is told by a reset.
            Socket.close(socket, reset: true)
            return
        }
        freeConnection = connections[slot].nextFree
        let generation = connections[slot].generation
        connections[slot] = AppConnection()
        connections[slot].kind = speech == .tcp ? .tcp : .http
        connections[slot].state = connections[slot].restState
        connections[slot].socket = socket
        connections[slot].generation = generation
        exchanges[slot] = AppExchange()
        openConnections += 1
        if let context { beginSecured(slot, context) }
    }

    private func pauseAccepting() {
        guard isAccepting, let number = listener?.number else { return }
        reactor.remove(number)
        isAccepting = false
    }

    func resumeAccepting() {
        guard !isAccepting, let number = listener?.number else { return }
        do throws(SystemError) {
            try reactor.add(reading: number, token: Self.listenerToken)
            isAccepting = true
        } catch {
            deadlines.set(Self.acceptTimer, at: now + Self.acceptPause)
        }
    }

    /// Ends a connection at once, and the call it waits for.
    func close(_ slot: Int) {
        precondition(connections[slot].state != .free, "a connection was closed twice")
        endStreams(slot)
        abandon(exchange: slot)
        if connections[slot].kind == .webSocket { webSocketMessages[slot] = nil }
        if connections[slot].output >= 0 { buffers.give(connections[slot].output) }
        if connections[slot].input >= 0 { buffers.give(connections[slot].input) }
        deadlines.clear(slot)
        endSecured(slot)
        Socket.close(connections[slot].socket)
        let generation = connections[slot].generation &+ 1
        connections[slot] = AppConnection()
        connections[slot].generation = generation
        connections[slot].nextFree = freeConnection
        freeConnection = Int32(slot)
        openConnections -= 1
        // If it was the lack of slots that stopped it; after a lack of descriptors a timer runs.
        if deadlines.deadline(of: Self.acceptTimer) == nil { resumeAccepting() }
    }

    /// Gives up a request that was not answered.
    func abandon(exchange: Int) {
        if exchanges[exchange].call >= 0 { closeCall(Int(exchanges[exchange].call)) }
        if exchanges[exchange].isCounted {
            counters.end(status: nil)
            traces[exchange].isAbandoned = true
        }
        release(exchange)
    }

    /// Gives up what a request held.
    func release(_ exchange: Int) {
        endTrace(exchange)
        if exchanges[exchange].hasPage { pages[exchange] = nil }
        if exchanges[exchange].keepsBody { echoes[exchange] = nil }
        if !services.order.isEmpty { tracing[exchange] = nil }
        exchanges[exchange] = AppExchange()
    }

    /// Ends the sending side and reads on until the client ends too.
    func beginLingering(_ slot: Int) {
        tls(slot)?.close(on: connections[slot].socket)
        Socket.endSending(connections[slot].socket)
        connections[slot].state = .lingering
        deadlines.set(slot, at: now + Self.lingerTime)
    }

    /// Drops what comes. Returns false always: only the end is waited for.
    func linger(_ slot: Int) -> Bool {
        connections[slot].inputStart = 0
        connections[slot].inputEnd = 0
        // Bound: a client that goes on sending is cut off, by the budget or by the timer.
        while connections[slot].canRead {
            budget -= 1
            guard budget > 0, fill(slot) else { break }
            connections[slot].inputEnd = 0
        }
        if budget <= 0 { close(slot) }
        return false
    }

    /// Reads once into the connection's buffer.
    /// - Returns: whether something came. If the client has ended or failed, the connection is
    ///   closed.
    func fill(_ slot: Int) -> Bool {
        guard connections[slot].canRead else {
            releaseInput(slot)
            return false
        }
        if connections[slot].input < 0 {
            guard let buffer = buffers.take() else {
                preconditionFailure("more buffers in use than connections can hold")
            }
            connections[slot].input = buffer
        }
        compact(slot)
        let memory = unsafe buffers.memory(connections[slot].input)
        let end = connections[slot].inputEnd
        let space = memory.count - end
        precondition(space > 0, "a read into a full buffer")
        let transfer = unsafe receive(
            slot, into: UnsafeMutableRawBufferPointer(rebasing: memory[end...]))
        switch transfer {
        case .bytes(let count):
            connections[slot].inputEnd += count
            if count < space, !connections[slot].sawEnd { connections[slot].canRead = false }
            return true
        case .wouldBlock:
            connections[slot].canRead = false
            releaseInput(slot)
            return false
        case .closed, .failed:
            close(slot)
            return false
        }
    }

    /// Moves what is unused to the front of the buffer, where there is no room behind it.
    private func compact(_ slot: Int) {
        let start = connections[slot].inputStart
        let count = connections[slot].inputEnd - start
        guard start > 0, count == 0 || connections[slot].inputEnd == Self.bufferBytes else {
            return
        }
        let memory = unsafe buffers.memory(connections[slot].input)
        if count > 0, let base = memory.baseAddress { unsafe memmove(base, base + start, count) }
        connections[slot].inputStart = 0
        connections[slot].inputEnd = count
    }

    /// An idle connection holds no buffer.
    private func releaseInput(_ slot: Int) {
        guard connections[slot].input >= 0,
            connections[slot].inputStart == connections[slot].inputEnd
        else { return }
        buffers.give(connections[slot].input)
        connections[slot].input = -1
        connections[slot].inputStart = 0
        connections[slot].inputEnd = 0
    }

    /// What has been read and not yet used.
    func unread(_ slot: Int) -> Bytes {
        let range = connections[slot].inputStart..<connections[slot].inputEnd
        return range.isEmpty ? Bytes("") : buffers.bytes(connections[slot].input, range)
    }

    /// Accepts no more, ends idle connections, and lets those with a request end it.
    ///
    /// A request that has arrived is one to end, also where it has not been read and where its
    /// connection still waits in the listener's queue: with the listener it would be reset.
    func beginDraining() {
        isDraining = true
        releaseHung()
        // Bound: `connectionLimit`.
        while accept() {}
        pauseAccepting()
        listener = nil
        deadlines.clear(Self.acceptTimer)
        for slot in 0..<Self.connectionLimit where connections[slot].state == .handshake {
            close(slot)
        }
        for slot in 0..<Self.connectionLimit where connections[slot].isResting {
            connections[slot].canRead = true
            advance(slot)
            if connections[slot].isResting,
                connections[slot].inputStart == connections[slot].inputEnd
            {
                close(slot)
            }
        }
        for slot in 0..<Self.connectionLimit where connections[slot].state == .streams {
            connections[slot].canRead = true
            advance(slot)
            drainStreams(slot)
        }
        deadlines.set(Self.drainTimer, at: now + Self.drainTime)
    }

    /// Ends whatever is left.
    func closeAll() {
        for slot in 0..<Self.connectionLimit where connections[slot].state != .free {
            close(slot)
        }
    }
}
