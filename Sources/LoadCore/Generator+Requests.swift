// What happens to requests: taking up, sending, answers, timeouts.

public import Base
import Model

extension Generator {
    // MARK: Taking up

    /// The intended instant of a request has come.
    mutating func takeUp(_ request: PlannedRequest, at now: Instant) {
        let intended = start + request.offset
        let phase = request.phase
        recorder.planned(phase: phase, due: intended)
        if now - intended >= timeout {
            // The generator itself was stalled for longer than the timeout.
            recorder.lag(now - intended, phase: phase)
            return drop(UInt64(request.number), intended, phase: phase, at: now)
        }
        let target = request.target
        let free = targets[target].free.first
        if free >= 0 {
            // Whoever waits came first; with one waiting no slot is free.
            return dispatch(
                Int(free), intended: intended, takenUp: now, phase: phase, waited: false,
                number: UInt64(request.number))
        }
        recorder.lag(now - intended, phase: phase)
        let waiting = WaitingRequest(
            intended: intended, takenUp: now, phase: Int32(phase),
            number: UInt32(truncatingIfNeeded: request.number))
        guard targets[target].waiting.append(waiting) else {
            return drop(UInt64(request.number), intended, phase: phase, at: now)
        }
        openForWaiting(target, at: now)
    }

    /// Puts a request into a free slot.
    private mutating func dispatch(
        _ slot: Int, intended: Instant, takenUp: Instant, phase: Int, waited: Bool,
        number: UInt64
    ) {
        let (connection, place) = position(slot)
        let target = Int(connections[connection].target)
        targets[target].move(slot: slot, to: .busy, in: slots)
        slots[slot].phase = Int32(phase)
        slots[slot].number = number
        slots[slot].intended = intended
        slots[slot].takenUp = takenUp
        slots[slot].sent = takenUp
        slots[slot].waited = waited
        slots[slot].isSent = false
        slots[slot].firstByteSeen = false
        speech.submit(connection, place: place, number: number)
        connections[connection].phase = Int32(phase)
        connections[connection].busy &+= 1
        connections[connection].carried &+= 1
        askToWrite(connection)
        if connections[connection].carried == requestsPerConnection {
            retire(connection, at: takenUp)
        }
    }

    /// Fills free slots with what waits.
    mutating func serve(_ target: Int, at now: Instant) {
        while targets[target].free.first >= 0 {
            let slot = Int(targets[target].free.first)
            if let request = targets[target].waiting.popFirst() {
                dispatch(
                    slot, intended: request.intended, takenUp: request.takenUp,
                    phase: Int(request.phase), waited: true, number: UInt64(request.number))
            } else if sendsAtOnce {
                recorder.planned(phase: phase, due: now)
                dispatch(
                    slot, intended: now, takenUp: now, phase: phase, waited: false,
                    number: nextNumber)
                nextNumber &+= threads
            } else {
                return
            }
        }
    }

    /// A request that is never sent. It had no answer within its timeout, and its latency says so:
    /// leaving it out would make an overloaded system look faster than one that just keeps up.
    mutating func drop(_ number: UInt64, _ intended: Instant, phase: Int, at now: Instant) {
        outcomes?.note(number, .dropped)
        recorder.failed(
            .dropped, response: max(timeout, now - intended), service: nil, phase: phase)
    }

    /// A request that waits when the run is stopped: never sent, and timed at what it reached. It
    /// is no sign of the system that it waited no longer.
    mutating func dropEarly(_ request: WaitingRequest, at now: Instant) {
        outcomes?.note(UInt64(request.number), .dropped)
        recorder.failed(
            .dropped, response: now - request.intended, service: nil, phase: Int(request.phase))
    }

    // MARK: Sending

    /// What to write next on a connection; empty: nothing. `now` is read right before the write.
    /// The bytes are valid until the next call.
    @inline(__always)
    public mutating func output(_ connection: Int, at now: Instant) -> Bytes {
        let output = speech.output(connection)
        for index in 0..<output.begun {
            let slot = slot(connection, speech.begun(connection, index))
            // One that was given up before it could be sent is no more.
            if slots[slot].state == .busy, !slots[slot].isSent { noteSent(slot, at: now) }
        }
        return output.bytes
    }

    /// The first `count` bytes of the last `output` are with the kernel.
    /// - Returns: whether there is more to write.
    @inline(__always)
    public mutating func wrote(_ connection: Int, _ count: Int) -> Bool {
        speech.wrote(connection, count)
    }

    private mutating func noteSent(_ slot: Int, at now: Instant) {
        let phase = Int(slots[slot].phase)
        slots[slot].isSent = true
        slots[slot].sent = now
        recorder.sent(phase: phase)
        if closedLoop {
            // There is no schedule to be late against: the request is meant to go when it goes.
            slots[slot].intended = now
            let target = Int(connections[slot / speech.places].target)
            targets[target].move(slot: slot, to: .busy, in: slots)
        } else if slots[slot].waited {
            recorder.waited(now - slots[slot].takenUp, phase: phase)
        } else {
            recorder.lag(now - slots[slot].intended, phase: phase)
        }
    }

    /// Requests whose heads the connection holds back, as its peer now lets fewer be under way.
    mutating func haveUnsentWait(_ connection: Int) {
        guard !closedLoop else { return }
        for place in 0..<speech.places {
            let slot = slot(connection, place)
            guard slots[slot].state == .busy, !slots[slot].isSent, !slots[slot].waited else {
                continue
            }
            slots[slot].waited = true
            recorder.lag(
                slots[slot].takenUp - slots[slot].intended, phase: Int(slots[slot].phase))
        }
    }

    mutating func askToWrite(_ connection: Int) {
        if connections[connection].writeAsked { return }
        connections[connection].writeAsked = true
        actions.append(.write(connection: connection))
    }

    // MARK: Answers

    /// Bytes have come. `now` is read after the call that brought them.
    public mutating func received(_ connection: Int, _ bytes: Bytes, at now: Instant) {
        recorder.roll(to: now)
        guard connections[connection].state != .closed else { return }
        if connections[connection].busy > 0 {
            recorder.received(bytes.count, phase: Int(connections[connection].phase))
        }
        let target = Int(connections[connection].target)
        let generation = connections[connection].generation
        var used = 0
        // Requests that wait go out behind the whole piece: what follows an answer may say that
        // the connection is not to be used.
        reading: while true {
            switch speech.read(connection, bytes, &used) {
            case .more: break reading
            case .ready: becomeReady(connection, at: now)
            case .limited: limit(connection)
            case .began(let place): noteFirstByte(slot(connection, place), at: now)
            case .answered(let answer): complete(connection, answer, at: now)
            case .lost(let place, let outcome): lose(connection, place, outcome, at: now)
            case .retiring: retire(connection, at: now)
            case .owing: askToWrite(connection)
            case .refused(let refusal): return refuse(connection, refusal, at: now)
            case .broken: return lose(connection, .malformed, at: now)
            }
            if connections[connection].generation != generation { break }
        }
        serve(target, at: now)
    }

    private mutating func noteFirstByte(_ slot: Int, at now: Instant) {
        guard slots[slot].state == .busy, !slots[slot].firstByteSeen else { return }
        slots[slot].firstByteSeen = true
        recorder.firstByte(now - slots[slot].sent, phase: Int(slots[slot].phase))
    }

    mutating func complete(_ connection: Int, _ answer: Answer, at now: Instant) {
        let slot = slot(connection, answer.place)
        switch slots[slot].state {
        case .busy:
            recorder.answered(
                answer, due: slots[slot].intended, response: now - slots[slot].intended,
                service: now - slots[slot].sent, phase: Int(slots[slot].phase))
            outcomes?.note(
                slots[slot].number, answer.isError ? .error : .ok, status: answer.status,
                flags: answer.flags)
            connections[connection].busy &-= 1
        case .blocked: connections[connection].blocked &-= 1
        case .idle, .free: preconditionFailure("an answer to nothing")
        }
        let retires = connections[connection].retiring || !answer.goesOn
        vacate(slot, of: connection, retires: retires)
        if retires { retire(connection, at: now) }
    }

    /// The request in this place ended without an answer; its connection goes on.
    private mutating func lose(
        _ connection: Int, _ place: Int, _ outcome: Outcome, at now: Instant
    ) {
        let slot = slot(connection, place)
        end(slot, outcome, at: now)
        let isRetiring = connections[connection].retiring
        vacate(slot, of: connection, retires: isRetiring)
        if isRetiring { retire(connection, at: now) }
    }

    /// A slot has no request any more: another may have it, unless the connection takes none, or
    /// its peer lets fewer be under way by now.
    private mutating func vacate(_ slot: Int, of connection: Int, retires: Bool) {
        let isFree =
            !retires && connections[connection].offered <= connections[connection].allowed
        if !isFree { connections[connection].offered &-= 1 }
        targets[Int(connections[connection].target)].move(
            slot: slot, to: isFree ? .free : .idle, in: slots)
    }

    // MARK: Timeouts

    /// Gives up requests and attempts to open that have taken too long.
    /// - Parameter heard: the instant that counts; see `advance`.
    mutating func expire(by heard: Instant, at now: Instant) {
        for target in targets.indices {
            while targets[target].busy.first >= 0 {
                let slot = Int(targets[target].busy.first)
                if slots[slot].intended + timeout > heard { break }
                timeOut(slot, at: now)
            }
            while let request = targets[target].waiting.first, request.intended + timeout <= heard {
                _ = targets[target].waiting.popFirst()
                drop(
                    UInt64(request.number), request.intended, phase: Int(request.phase), at: now)
            }
            while targets[target].opening.first >= 0 {
                let connection = Int(targets[target].opening.first)
                if connections[connection].openingSince + timeout > heard { break }
                actions.append(.close(connection: connection))
                speech.reset(connection)
                failedToOpen(connection, at: now)
            }
        }
    }

    /// A request that was sent had no complete answer in time.
    mutating func timeOut(_ slot: Int, at now: Instant) {
        let (connection, place) = position(slot)
        let target = Int(connections[connection].target)
        end(slot, .timeout, at: now)
        if speech.giveUp(connection, place: place) {
            vacate(slot, of: connection, retires: connections[connection].retiring)
            askToWrite(connection)
            if connections[connection].retiring { retire(connection, at: now) }
            return serve(target, at: now)
        }
        targets[target].move(slot: slot, to: .blocked, in: slots)
        connections[connection].blocked &+= 1
        let isStuck = speech.isStuck(connection, blocked: Int(connections[connection].blocked))
        if isStuck || connections[connection].retiring { retire(connection, at: now) }
    }

    /// Records the end of a busy slot's request without a complete answer.
    mutating func end(_ slot: Int, _ outcome: Outcome, at now: Instant) {
        // What its connection took down before it could be written was under way on it.
        if !slots[slot].isSent { noteSent(slot, at: now) }
        outcomes?.note(slots[slot].number, outcome)
        let timed = outcome == .timeout
        recorder.failed(
            outcome, response: timed ? now - slots[slot].intended : nil,
            service: timed ? now - slots[slot].sent : nil, phase: Int(slots[slot].phase))
        connections[slot / speech.places].busy &-= 1
    }

    // MARK: Slots

    @inline(__always)
    func slot(_ connection: Int, _ place: Int) -> Int { connection &* speech.places &+ place }

    @inline(__always)
    func position(_ slot: Int) -> (connection: Int, place: Int) {
        // A division costs more than all the rest where there is one place.
        if speech.places == 1 { return (slot, 0) }
        return (slot / speech.places, slot % speech.places)
    }
}
