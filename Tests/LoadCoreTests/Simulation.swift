// A server and a network without time: they drive the generator by events in virtual nanoseconds.

import Base
import Model
import Testing

@testable import LoadCore

/// What the simulated server does; every draw is from the simulation's generator.
struct ServerModel: Sendable {
    /// How an exchange ends.
    enum Ending: Sendable {
        case answer(String)
        /// Part of the answer, then the end of the connection.
        case cut(String)
        /// The answer or part of it, then a reset.
        case reset(String, share: Double)
        case silence
    }

    var connectDelay: @Sendable (inout SeededRandom) -> Duration = { _ in .microseconds(50) }
    var refuses: @Sendable (inout SeededRandom, Instant) -> Bool = { _, _ in false }
    /// Whether the generator's own machine cannot open a connection.
    var lacks: @Sendable (inout SeededRandom, Instant) -> Bool = { _, _ in false }
    var delay: @Sendable (inout SeededRandom, Instant) -> Duration = { _, _ in .microseconds(100) }
    var ending: @Sendable (inout SeededRandom, Instant) -> Ending = { _, _ in .answer(plain) }
    /// Answers arrive in up to this many pieces.
    var pieces = 1
    /// The chance that an idle connection is closed after an answer.
    var idleClose = 0.0
    /// How much later than asked the generator is woken, and what a turn of it costs.
    var lateness: @Sendable (inout SeededRandom) -> Duration = { _ in .zero }

    static let plain = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
}

/// One generator thread against a simulated server.
final class Simulation {
    private enum Event {
        case settled(refused: Bool, lacking: Bool)
        case writable
        case bytes([UInt8])
        case end(clean: Bool)
    }

    var generator: Generator
    private(set) var now = Instant(nanoseconds: 1_000_000_000)
    private let model: ServerModel
    private var random: SeededRandom
    private var generations: [Int]
    /// By connection: whether a request has been written in part.
    private var begun: [Bool]
    /// By connection: whether its greeting has been answered, and when the last answer ends.
    private var greeted: [Bool]
    private var lastAnswer: [Instant]
    private let job: LoadJob
    /// Sorted, the next at the end.
    private var events: [(at: Instant, order: Int, slot: Int, generation: Int, event: Event)] = []
    private var order = 0
    private(set) var seconds: [LoadResult.SecondTally] = []
    private(set) var steps = 0
    var stopAt: Instant?
    /// After every call; slow with many connections.
    var checksInvariants = false

    init(_ job: LoadJob, thread: Int = 0, _ model: ServerModel, seed: UInt64 = 1) {
        generator = Generator(job: job, thread: thread, messages: LoadMessages(job))
        self.model = model
        random = SeededRandom(seed: seed)
        generations = [Int](repeating: 0, count: generator.connectionCount)
        begun = [Bool](repeating: false, count: generator.connectionCount)
        greeted = begun
        lastAnswer = [Instant](repeating: .zero, count: generator.connectionCount)
        self.job = job
    }

    /// Runs to the end; returns the tallies of the phases.
    func run(limit: Int = 10_000_000) -> [LoadResult.PhaseTally] {
        generator.prepare(at: now)
        perform()
        let start = now + .milliseconds(1)
        generator.begin(at: start)
        while !generator.isFinished {
            precondition(steps < limit, "the simulation does not end")
            step()
        }
        generator.finishSeconds()
        seconds += generator.takeSeconds()
        return generator.tallies()
    }

    private func step() {
        steps += 1
        let due = generator.nextInstant
        var next = min(due, events.last?.at ?? .distantFuture)
        if let stopAt { next = min(next, stopAt) }
        precondition(next < .distantFuture, "nothing will ever happen again")
        now = max(now, next) + model.lateness(&random)
        if let stop = stopAt, now >= stop {
            stopAt = nil
            generator.stop(at: now)
            perform()
        }
        // In the middle of a batch of events as well as behind it.
        if random.unit() < 0.5 {
            generator.takeUpDue(at: now)
            perform()
        }
        let heard = now
        while let event = events.last, event.at <= now {
            events.removeLast()
            if event.generation == generations[event.slot] { deliver(event.event, event.slot) }
            perform()
            if checksInvariants { generator.checkInvariants() }
        }
        generator.advance(to: now, heard: heard)
        perform()
        if checksInvariants { generator.checkInvariants() }
        if generator.hasClosedSeconds { seconds += generator.takeSeconds() }
    }

    private func deliver(_ event: Event, _ slot: Int) {
        switch event {
        case .settled(let refused, let lacking):
            if refused || lacking {
                generations[slot] += 1
                generator.failedToOpen(slot, at: now, local: lacking)
            } else {
                generator.opened(slot, at: now)
            }
        case .writable: write(slot)
        case .bytes(let bytes): bytes.withBytes { generator.received(slot, $0, at: now) }
        case .end(let clean): generator.closed(slot, at: now, clean: clean)
        }
    }

    private func perform() {
        while let action = generator.nextAction() {
            switch action {
            case .open(let slot, _):
                begun[slot] = false
                greeted[slot] = job.plan.speech != .websocket
                lastAnswer[slot] = .zero
                let delay = model.connectDelay(&random)
                let refused = model.refuses(&random, now)
                let lacking = model.lacks(&random, now)
                schedule(slot, after: delay, .settled(refused: refused, lacking: lacking))
            case .close(let slot): generations[slot] += 1
            case .refuse(let slot, _): generations[slot] += 1
            case .write(let slot): write(slot)
            }
        }
    }

    /// Writes what there is; one in ten times the kernel takes but a part at first.
    private func write(_ slot: Int) {
        while true {
            if !begun[slot] { now = now + .nanoseconds(Int64(random.below(3000))) }
            let bytes = generator.output(slot, at: now)
            if bytes.count == 0 { return }
            let taken = random.unit() < 0.9 ? bytes.count : random.below(bytes.count + 1)
            let isMore = generator.wrote(slot, taken)
            // The server answers as soon as it has seen the beginning.
            if !begun[slot], greeted[slot] { answer(slot) }
            begun[slot] = taken < bytes.count
            if !greeted[slot], taken == bytes.count { greet(slot) }
            if taken < bytes.count { return schedule(slot, after: .microseconds(1), .writable) }
            if !isMore { return }
        }
    }

    private func greet(_ slot: Int) {
        greeted[slot] = true
        let accept = WebSocketOpening(seed: job.seed).accept
        let answers = [
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                + "sec-websocket-accept: \(accept)\r\n\r\n",
            "HTTP/1.1 503 No\r\ncontent-length: 1\r\n\r\n!",
        ]
        let refuses = model.refuses(&random, now)
        schedule(slot, after: .microseconds(20), .bytes(Array(answers[refuses ? 1 : 0].utf8)))
    }

    /// An answer as the speech of the job has it.
    private func encoded(_ text: String) -> [UInt8] {
        let body = Array(text.utf8)
        switch job.plan.speech {
        case .tcp: return UInt32(body.count).bigEndianBytes + body
        case .websocket:
            // Behind a ping, which changes nothing.
            let ping: [UInt8] = random.unit() < 0.1 ? [0x89, 0x01, 0x21] : []
            precondition(body.count <= 125, "a frame with a longer head")
            return ping + [0x82, UInt8(body.count)] + body
        default: return body
        }
    }

    private func answer(_ slot: Int) {
        // Answers keep their order.
        let earliest = max(.zero, lastAnswer[slot] - now)
        let delay = max(earliest, model.delay(&random, now))
        let bytes: [UInt8]
        var closes = random.unit() < model.idleClose
        var clean = true
        switch model.ending(&random, now) {
        case .silence: return
        case .answer(let text): bytes = encoded(text)
        case .cut(let text):
            let whole = encoded(text)
            bytes = Array(whole.prefix(random.below(whole.count)))
            closes = true
        case .reset(let text, let share):
            let whole = encoded(text)
            bytes = Array(whole.prefix(Int((Double(whole.count) * share).rounded())))
            closes = true
            clean = false
        }
        var at = delay
        var from = 0
        for piece in 0..<model.pieces where from < bytes.count {
            let last = piece == model.pieces - 1
            let count = last ? bytes.count - from : 1 + random.below(bytes.count - from)
            schedule(slot, after: at, .bytes(Array(bytes[from..<from + count])))
            from += count
            at = at + .nanoseconds(Int64(random.below(2000)))
        }
        lastAnswer[slot] = now + at
        if closes {
            let pause = Duration.nanoseconds(Int64(random.below(100_000)))
            schedule(slot, after: at + pause, .end(clean: clean))
        }
    }

    private func schedule(_ slot: Int, after delay: Duration, _ event: Event) {
        order += 1
        let entry = (now + delay, order, slot, generations[slot], event)
        // Later events first; of equal instants, the one scheduled first is delivered first.
        var low = 0
        var high = events.count
        while low < high {
            let middle = (low + high) / 2
            let other = events[middle]
            if (other.at, other.order) > (entry.0, entry.1) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        events.insert(entry, at: low)
    }
}

extension Generator {
    /// What holds between any two calls.
    func checkInvariants() {
        var seen = 0
        for target in targets {
            seen += connectionCount(target.closed, .closed)
            seen += connectionCount(target.opening, .opening)
            seen += connectionCount(target.open, .open)
            checkSlots(target.free, .free)
            checkSlots(target.busy, .busy)
            precondition(
                target.waiting.count == 0 || target.free.count == 0,
                "a request waits beside a free slot")
        }
        precondition(seen == connections.count, "a connection is lost")
        for i in 0..<connections.count { checkConnection(i) }
    }

    private func connectionCount(
        _ list: LinkedList<Connection>, _ state: Connection.State
    ) -> Int {
        forEach(list, connections) { precondition($0.state == state, "in the wrong list") }
        return list.count
    }

    private func checkSlots(_ list: LinkedList<RequestSlot>, _ state: RequestSlot.State) {
        var intended = Instant.zero
        forEach(list, slots) { slot in
            precondition(slot.state == state, "in the wrong list")
            if state == .busy {
                precondition(slot.intended >= intended, "busy out of order")
                intended = slot.intended
            }
        }
    }

    private func forEach<Element: Linked>(
        _ list: LinkedList<Element>, _ elements: Slab<Element>, _ body: (Element) -> Void
    ) {
        var index = list.first
        var previous: Int32 = -1
        var count = 0
        while index >= 0 {
            let element = elements[Int(index)]
            precondition(element.previous == previous, "a broken link")
            body(element)
            previous = index
            index = element.next
            count += 1
        }
        precondition(count == list.count, "a wrong count")
    }

    private func checkConnection(_ index: Int) {
        let connection = connections[index]
        let states = (0..<speech.places).map { slots[slot(index, $0)].state }
        precondition(Int(connection.busy) == states.count { $0 == .busy }, "a wrong count")
        precondition(Int(connection.blocked) == states.count { $0 == .blocked }, "a wrong count")
        let takes = connection.state == .open && !connection.retiring
        precondition(
            takes ? !states.contains(.idle) : !states.contains(.free),
            "a slot is free where its connection takes nothing, or idle where it does")
        if connection.state != .open {
            precondition(states.allSatisfy { $0 == .idle }, "a slot of a closed connection")
        }
    }
}
