// Calls to other services, on the same reactor: GET /, one after another, over pooled connections.
// An answer below 400 is a success; anything else makes the caller's answer 502 with the reason.

import Base
import Glibc
import Posix
import Synchronization
import Wire

extension AppWorker {
    static let callTime = Duration.seconds(10)
    private static let noAddress = "its name has no address"

    /// Makes the next call of a request, or goes on with its answer after the last.
    func callNext(_ exchange: Int) {
        guard exchanges[exchange].nextCall < services.order.count else { return delay(exchange) }
        guard !endsLate(exchange) else { return }
        suspend(exchange)
        let service = exchanges[exchange].nextCall
        renewServices()
        guard let endpoint = services.next(service) else {
            return failed(exchange, service, Self.noAddress)
        }
        if let call = takeIdle(endpoint) {
            calls[call].isReused = true
            beginCall(call, for: exchange)
            sendCall(call)
        } else {
            connect(exchange, service, endpoint)
        }
    }

    /// Takes what the resolver has heard since the last time.
    private func renewServices() {
        guard let resolver else { return }
        let version = resolver.version.load(ordering: .acquiring)
        guard version != services.version else { return }
        for endpoint in services.renew(resolver.addresses, version: version) {
            while services.endpoints[endpoint].idle >= 0 {
                closeCall(Int(services.endpoints[endpoint].idle))
            }
        }
    }

    private func takeIdle(_ endpoint: Int) -> Int? {
        let call = Int(services.endpoints[endpoint].idle)
        guard call >= 0 else { return nil }
        services.endpoints[endpoint].idle = calls[call].next
        calls[call].next = -1
        return call
    }

    private func connect(_ exchange: Int, _ service: Int, _ endpoint: Int) {
        guard freeCall >= 0 else { return failed(exchange, service, "too many calls at once") }
        let call = Int(freeCall)
        let socket: Int32
        do throws(SystemError) {
            socket = try Socket.connect(to: services.endpoints[endpoint].address)
        } catch {
            return failed(exchange, service, "the connection was refused")
        }
        let generation = calls[call].generation
        let token = UInt64(generation) << 32 | UInt64(Self.connectionLimit + call)
        do throws(SystemError) {
            try reactor.add(socket, token: token)
        } catch {
            Socket.close(socket)
            return failed(exchange, service, "out of descriptors")
        }
        freeCall = calls[call].next
        services.endpoints[endpoint].calls += 1
        calls[call] = AppCall()
        calls[call].state = .connecting
        calls[call].socket = socket
        calls[call].generation = generation
        calls[call].service = service
        calls[call].endpoint = endpoint
        beginCall(call, for: exchange)
    }

    private func beginCall(_ call: Int, for exchange: Int) {
        calls[call].owner = exchange
        calls[call].hasAnswered = false
        calls[call].inputEnd = 0
        exchanges[exchange].call = Int32(call)
        let end = min(now + Self.callTime, exchanges[exchange].expires)
        deadlines.set(Self.exchangeLimit + call, at: end)
    }

    private func sendCall(_ call: Int) {
        calls[call].state = .head
        let service = services.order[calls[call].service]
        let fields = tracing[calls[call].owner] ?? []
        let transfer = fields.withBytes { fields in
            unsafe withUnsafeTemporaryAllocation(byteCount: 8192, alignment: 8) { memory in
                var writer = unsafe ByteWriter(memory)
                writer.append("GET / HTTP/1.1\r\nhost: ")
                writer.append(text: service.name)
                writer.append("\r\n")
                writer.append(fields)
                writeDeadline(of: calls[call].owner, to: &writer)
                writer.append("\r\n")
                precondition(!writer.overflowed, "a call longer than its memory")
                let bytes = unsafe Bytes(UnsafeRawBufferPointer(rebasing: memory[0..<writer.count]))
                return Socket.send(calls[call].socket, bytes) == .bytes(writer.count)
            }
        }
        // So few bytes fit into the buffer of a new or idle connection, unless it has ended.
        if !transfer { callBroke(call) }
    }

    /// The fields of a request that tell which trace it belongs to, as lines.
    /// - Returns: at most 4 KiB: what goes beyond is not passed on.
    func tracingFields(_ bytes: Bytes) -> [UInt8] {
        var lines: [UInt8] = []
        for index in 0..<head.fieldCount {
            let field = head.fields[index]
            let name = bytes[field.nameRange]
            guard
                field.name == .requestID || name.equalsIgnoringCase("traceparent")
                    || name.equalsIgnoringCase("tracestate")
            else { continue }
            let line = bytes[Int(field.start)..<Int(field.end)]
            if lines.count + line.count <= 4096 { unsafe lines.append(contentsOf: line.raw) }
        }
        return lines
    }

    func handleCall(_ call: Int, _ generation: UInt32, _ readiness: Readiness) {
        guard calls[call].generation == generation else { return }
        switch calls[call].state {
        case .free: return
        case .idle:
            // The service has closed it, or says what nobody asked for.
            if readiness.readable { closeCall(call) }
        case .connecting:
            guard readiness.writable else { return }
            if Socket.error(of: calls[call].socket) != 0 {
                abandon(call, "the connection was refused")
            } else {
                sendCall(call)
            }
        case .head, .body:
            if readiness.readable { readCall(call) }
        }
    }

    func callTimedOut(_ call: Int) {
        let owner = calls[call].owner
        guard exchanges[owner].expires <= now else { return abandon(call, "no answer within 10s") }
        closeCall(call)
        giveUp(owner)
        resume(owner)
    }

    /// Reads an answer to its end. Bound: a body goes on for as long as the call's time lasts, and
    /// is dropped as it comes; each turn reads what is there.
    private func readCall(_ call: Int) {
        if calls[call].input < 0 {
            guard let buffer = buffers.take() else {
                preconditionFailure("more buffers in use than connections can hold")
            }
            calls[call].input = buffer
        }
        while true {
            let memory = unsafe buffers.memory(calls[call].input)
            let end = calls[call].inputEnd
            guard end < memory.count else { return abandon(call, "the answer's head is too large") }
            let transfer = unsafe Socket.receive(
                calls[call].socket, into: UnsafeMutableRawBufferPointer(rebasing: memory[end...]))
            switch transfer {
            case .wouldBlock: return
            case .failed: return callBroke(call)
            case .closed:
                if calls[call].state == .body, calls[call].framing == .untilClose {
                    return completeCall(call)
                }
                return callBroke(call)
            case .bytes(let count):
                calls[call].hasAnswered = true
                calls[call].inputEnd += count
                if useAnswer(call) { return }
            }
        }
    }

    /// Parses what has been read.
    /// - Returns: whether the call has come to its end, one way or the other.
    private func useAnswer(_ call: Int) -> Bool {
        var start = 0
        while calls[call].state == .head {
            let bytes = buffers.bytes(calls[call].input, start..<calls[call].inputEnd)
            switch head.parseResponse(bytes, toHead: false) {
            case .incomplete:
                shiftInput(call, from: start)
                return false
            case .invalid:
                abandon(call, "the answer broke the protocol")
                return true
            case .complete:
                start += head.length
                // 1xx only announces (RFC 9110, 15.2); 101 was not asked for.
                guard head.status >= 200 else { continue }
                calls[call].status = head.status
                calls[call].framing = head.framing
                calls[call].keepAlive = head.keepAlive
                calls[call].chunks = ChunkedBody()
                if case .length(let count) = head.framing { calls[call].bodyLeft = count }
                calls[call].state = .body
            }
        }
        let bytes = buffers.bytes(calls[call].input, start..<calls[call].inputEnd)
        calls[call].inputEnd = 0
        switch calls[call].framing {
        case .none: return end(call, surplus: bytes.count > 0)
        case .length:
            let count = min(bytes.count, calls[call].bodyLeft)
            calls[call].bodyLeft -= count
            guard calls[call].bodyLeft == 0 else { return false }
            return end(call, surplus: count < bytes.count)
        case .chunked:
            switch calls[call].chunks.check(bytes) {
            case .partial: return false
            case .complete(let used): return end(call, surplus: used < bytes.count)
            case .invalid:
                abandon(call, "the answer broke the protocol")
                return true
            }
        case .untilClose: return false
        }
    }

    /// Moves the beginning of a head that is not complete to the front of the buffer.
    private func shiftInput(_ call: Int, from start: Int) {
        guard start > 0 else { return }
        let memory = unsafe buffers.memory(calls[call].input)
        let count = calls[call].inputEnd - start
        if let base = memory.baseAddress { unsafe memmove(base, base + start, count) }
        calls[call].inputEnd = count
    }

    /// The answer is complete. `surplus`: something came behind it, so that the connection is of no
    /// use.
    private func end(_ call: Int, surplus: Bool) -> Bool {
        if surplus { calls[call].keepAlive = false }
        completeCall(call)
        return true
    }

    private func completeCall(_ call: Int) {
        let owner = calls[call].owner
        let service = calls[call].service
        let status = calls[call].status
        if calls[call].keepAlive, !isDraining, services.endpoints[calls[call].endpoint].isCurrent {
            park(call)
        } else {
            closeCall(call)
        }
        if status >= 400 {
            failed(owner, service, "status \(status)")
        } else {
            exchanges[owner].nextCall += 1
            callNext(owner)
        }
        resume(owner)
    }

    /// Keeps a connection for the next call to its endpoint.
    private func park(_ call: Int) {
        exchanges[calls[call].owner].call = -1
        deadlines.clear(Self.exchangeLimit + call)
        if calls[call].input >= 0 {
            buffers.give(calls[call].input)
            calls[call].input = -1
        }
        calls[call].state = .idle
        calls[call].next = services.endpoints[calls[call].endpoint].idle
        services.endpoints[calls[call].endpoint].idle = Int32(call)
    }

    /// The connection ended before the answer did.
    private func callBroke(_ call: Int) {
        guard calls[call].isReused, !calls[call].hasAnswered else {
            return abandon(call, "the connection ended before the answer did")
        }
        let owner = calls[call].owner
        let service = calls[call].service
        var endpoint: Int? = calls[call].endpoint
        // Its name may have come to mean others meanwhile.
        if !services.endpoints[calls[call].endpoint].isCurrent { endpoint = services.next(service) }
        closeCall(call)
        if let endpoint {
            connect(owner, service, endpoint)
        } else {
            failed(owner, service, Self.noAddress)
        }
        resume(owner)
    }

    private func abandon(_ call: Int, _ reason: String) {
        let owner = calls[call].owner
        let service = calls[call].service
        closeCall(call)
        failed(owner, service, reason)
        resume(owner)
    }

    private func failed(_ exchange: Int, _ service: Int, _ reason: String) {
        let name = services.order[service].name
        replyText(exchange, status: 502) {
            $0.append("call to ")
            $0.append(text: name)
            $0.append(" failed: ")
            $0.append(text: reason)
            $0.append("\n")
        }
    }

    /// Ends a connection to a service, whatever it was doing.
    func closeCall(_ call: Int) {
        switch calls[call].state {
        case .free: preconditionFailure("a call was closed twice")
        case .idle: unlinkIdle(call)
        default: exchanges[calls[call].owner].call = -1
        }
        deadlines.clear(Self.exchangeLimit + call)
        if calls[call].input >= 0 { buffers.give(calls[call].input) }
        Socket.close(calls[call].socket)
        let endpoint = calls[call].endpoint
        services.endpoints[endpoint].calls -= 1
        services.release(endpoint)
        let generation = calls[call].generation &+ 1
        calls[call] = AppCall()
        calls[call].generation = generation
        calls[call].next = freeCall
        freeCall = Int32(call)
    }

    private func unlinkIdle(_ call: Int) {
        let endpoint = calls[call].endpoint
        if services.endpoints[endpoint].idle == Int32(call) {
            services.endpoints[endpoint].idle = calls[call].next
            return
        }
        var before = Int(services.endpoints[endpoint].idle)
        while calls[before].next != Int32(call) { before = Int(calls[before].next) }
        calls[before].next = calls[call].next
    }
}
