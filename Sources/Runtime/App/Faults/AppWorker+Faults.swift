// What faults do to requests of the workload, and how many of them are worked on at once:
//
//     whole request ─▶ a place, or the queue, or 503 ─▶ hang? ─▶ calls ─▶ delay ─▶ burn ─▶ abort?
//
// Behind the last the place is another's.

import Base
import Fault
import Model
import Posix
import Synchronization
import Wire

extension AppWorker {
    // MARK: Deciding

    /// Notes of a request that has just been admitted what is to be known later, and draws what
    /// faults do to it.
    /// - Parameter inFlight: requests at work, this one included.
    func trace(_ exchange: Int, _ bytes: Bytes, inFlight: Int) {
        var trace = AppTrace()
        trace.arrived = now
        trace.inFlight = Int32(truncatingIfNeeded: inFlight)
        let plan = exchanges[exchange].plan
        trace.attempt = Int32(truncatingIfNeeded: plan.attempt)
        let isDrawn = !faults.isEmpty || plan.succeedAfter > 0
        if isDrawn || requestLog != nil {
            let id = requestID(bytes)
            let kept = min(id.count, AppTrace.idBytes)
            trace.idCount = UInt8(kept)
            for i in 0..<kept { ids[exchange * AppTrace.idBytes + i] = id[i] }
            if plan.succeedAfter > 0 { succeed(exchange, id) }
            if !faults.isEmpty { draw(exchange, bytes, id, &trace) }
        }
        traces[exchange] = trace
    }

    private func requestID(_ bytes: Bytes) -> Bytes {
        for i in 0..<head.fieldCount where head.fields[i].name == .requestID {
            return bytes[head.fields[i].valueRange]
        }
        return Bytes("")
    }

    /// Fails the first attempts of a request that asks for that.
    private func succeed(_ exchange: Int, _ id: Bytes) {
        let plan = exchanges[exchange].plan
        var attempt = plan.attempt
        if attempt == 0 { attempt = id.count > 0 ? commons.attempts.count(fnv1a(id)) : 1 }
        if attempt > plan.succeedAfter {
            exchanges[exchange].plan.status = 200
        } else if plan.status < 400 {
            exchanges[exchange].plan.status = 503
        }
    }

    private func draw(_ exchange: Int, _ bytes: Bytes, _ id: Bytes, _ trace: inout AppTrace) {
        let hash = id.count > 0 ? fnv1a(id) : random.next()
        let request = FaultRequest(hash: hash, attempt: max(1, Int(trace.attempt)))
        for match in faults where match.fault.holds(at: now) && match.means(head, bytes) {
            let effect = match.fault.decide(request, FaultFields())
            if effect.delay > .zero {
                exchanges[exchange].plan.delay = exchanges[exchange].plan.delay + effect.delay
                note(.delayed(effect.delay), of: match.fault, id, request.attempt)
            }
            if effect.abort != .none, trace.abort == .none {
                trace.abort = effect.abort
                trace.aborter = match.fault.serial
            }
            if effect.hangs, trace.hanger == 0 { trace.hanger = match.fault.serial }
        }
    }

    /// The fault of that serial, if it still holds.
    private func holder(_ serial: UInt32) -> HeldFault? {
        guard serial > 0 else { return nil }
        return faults.first { $0.fault.serial == serial && $0.fault.holds(at: now) }?.fault
    }

    /// Counts what was done to a request, and writes it down.
    private func note(_ deed: FaultDeed, of fault: HeldFault, _ id: Bytes, _ attempt: Int) {
        fault.count(deed)
        ledger?.append(atMost: HeldFault.lineBytes) {
            fault.write(
                deed, wall: Clock.wallNanoseconds(), id: id, attempt: attempt, to: &$0)
        }
    }

    private func note(_ deed: FaultDeed, of fault: HeldFault, _ exchange: Int) {
        note(deed, of: fault, id(exchange), max(1, Int(traces[exchange].attempt)))
    }

    private func id(_ exchange: Int) -> Bytes {
        let start = exchange * AppTrace.idBytes
        return ids.bytes(start..<start + Int(traces[exchange].idCount))
    }

    // MARK: Turns

    /// A whole request has come: it is worked on, or waits for its turn.
    func enter(_ exchange: Int) {
        guard commons.gate.isActive else { return work(exchange) }
        nextTicket = nextTicket == .max ? 1 : nextTicket + 1
        traces[exchange].ticket = nextTicket
        switch commons.gate.enter(ticket(exchange)) {
        case .served:
            traces[exchange].hasTurn = true
            work(exchange)
        case .waits: suspend(exchange)
        case .refused:
            traces[exchange].ticket = 0
            replyText(exchange, status: 503) { $0.append("the queue is full\n") }
        }
    }

    private func ticket(_ exchange: Int) -> AppTicket {
        AppTicket(worker: index, exchange: Int32(exchange), number: traces[exchange].ticket)
    }

    /// Gives up what a request has of the process's capacity.
    func leave(_ exchange: Int) {
        guard traces[exchange].ticket > 0 else { return }
        let ticket = ticket(exchange)
        let hadTurn = traces[exchange].hasTurn
        traces[exchange].ticket = 0
        traces[exchange].hasTurn = false
        // One that has been called meanwhile finds out that it is gone (`takeTurns`).
        if hadTurn { call(commons.gate.leave()) } else { _ = commons.gate.leave(queue: ticket) }
    }

    /// Lets a request know that its turn has come, whose worker may be another.
    private func call(_ ticket: AppTicket?) {
        guard let ticket else { return }
        ticket.worker == index ? called.append(ticket) : commons.post(ticket)
    }

    /// Goes on with requests whose turn has come, and with what faults that are gone had held up.
    func attendFaults() {
        let version = commons.board.version.load(ordering: .acquiring)
        if version != faultVersion {
            faultVersion = version
            faults = commons.board.faults.filter { $0.rule.capacity == nil }
                .map(AppFaultMatch.init)
            releaseHung()
        }
        let others = inbox.take()
        if !others.isEmpty { called += others }
        // Bound: each has waited, and is called once; who comes meanwhile is none of them.
        while !called.isEmpty {
            let tickets = called
            called = []
            for ticket in tickets { takeTurn(ticket) }
        }
    }

    private func takeTurn(_ ticket: AppTicket) {
        let exchange = Int(ticket.exchange)
        guard traces[exchange].ticket == ticket.number, !traces[exchange].hasTurn else {
            return call(commons.gate.leave())
        }
        traces[exchange].hasTurn = true
        work(exchange)
        resume(exchange)
    }

    // MARK: Work

    /// Does what a request is to cost.
    private func work(_ exchange: Int) {
        if exchange >= Self.connectionLimit, isRPC(exchange),
            stream(exchange).rpc.isOver || stream(exchange).rpc.isEnding
        {
            return leave(exchange)
        }
        guard !endsLate(exchange) else { return }
        if traces[exchange].began == .zero { traces[exchange].began = now }
        if let fault = holder(traces[exchange].hanger), !isDraining {
            note(.hung, of: fault, exchange)
            hung[exchange] = fault
            suspend(exchange)
            let end = deadlines.deadline(of: Self.hungTimer) ?? .distantFuture
            deadlines.set(Self.hungTimer, at: min(end, fault.until))
            return
        }
        goOn(exchange)
    }

    private func goOn(_ exchange: Int) {
        exchanges[exchange].nextCall = 0
        services.order.isEmpty ? delay(exchange) : callNext(exchange)
    }

    /// Lets those go on whose fault is gone.
    func releaseHung() {
        deadlines.clear(Self.hungTimer)
        guard !hung.isEmpty else { return }
        for (exchange, fault) in hung {
            // One before it may have ended the connection of both.
            guard hung[exchange] === fault else { continue }
            if fault.holds(at: now), !isDraining {
                let end = deadlines.deadline(of: Self.hungTimer) ?? .distantFuture
                deadlines.set(Self.hungTimer, at: min(end, fault.until))
                continue
            }
            hung[exchange] = nil
            goOn(exchange)
            resume(exchange)
        }
    }

    /// A request has cost what it was to cost.
    /// - Returns: false: a fault has answered it.
    func passesAbort(_ exchange: Int) -> Bool {
        leave(exchange)
        let trace = traces[exchange]
        guard let fault = holder(trace.aborter) else { return true }
        note(.aborted(trace.abort), of: fault, exchange)
        traces[exchange].aborter = 0
        switch trace.abort {
        case .none: preconditionFailure("an abort that is none")
        case .http(let status): exchanges[exchange].plan.status = Int(status)
        case .grpc(let status):
            exchanges[exchange].plan.status = 200
            guard exchange >= Self.connectionLimit, isRPC(exchange) else { return true }
            failRPC(exchange, GRPCStatus(rawValue: UInt8(status)) ?? .unknown, "fault")
            return false
        }
        return true
    }

    // MARK: The end

    /// A request is over: it leaves its line, and what it has of the capacity.
    func endTrace(_ exchange: Int) {
        guard traces[exchange].arrived > .zero else { return }
        leave(exchange)
        hung[exchange] = nil
        let trace = traces[exchange]
        let status = trace.isAbandoned ? 0 : exchanges[exchange].plan.status
        requestLog?.append(atMost: AppRequestLine.most) {
            AppRequestLine(
                trace: trace, id: id(exchange), status: status, now: now,
                wall: Clock.wallNanoseconds()
            ).write(to: &$0)
        }
        traces[exchange] = AppTrace()
    }
}
