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
        case written
        case bytes([UInt8])
        case end(clean: Bool)
    }

    var generator: Generator
    private(set) var now = Instant(nanoseconds: 1_000_000_000)
    private let model: ServerModel
    private var random: SeededRandom
    private var generations: [Int]
    /// Sorted, the next at the end.
    private var events: [(at: Instant, order: Int, slot: Int, generation: Int, event: Event)] = []
    private var order = 0
    private(set) var seconds: [LoadResult.SecondTally] = []
    private(set) var steps = 0
    var stopAt: Instant?
    /// After every call; slow with many connections.
    var checksInvariants = false

    init(_ job: LoadJob, thread: Int = 0, _ model: ServerModel, seed: UInt64 = 1) {
        generator = Generator(job: job, thread: thread)
        self.model = model
        random = SeededRandom(seed: seed)
        generations = [Int](repeating: 0, count: generator.connectionCount)
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
        case .written: generator.written(slot)
        case .bytes(let bytes): bytes.withBytes { generator.received(slot, $0, at: now) }
        case .end(let clean): generator.closed(slot, at: now, clean: clean)
        }
    }

    private func perform() {
        while let action = generator.nextAction() {
            switch action {
            case .open(let slot, _):
                let delay = model.connectDelay(&random)
                let refused = model.refuses(&random, now)
                let lacking = model.lacks(&random, now)
                schedule(slot, after: delay, .settled(refused: refused, lacking: lacking))
            case .close(let slot): generations[slot] += 1
            case .send(let slot, _):
                now = now + .nanoseconds(Int64(random.below(3000)))
                generator.sending(slot, at: now)
                if random.unit() < 0.9 {
                    generator.written(slot)
                } else {
                    schedule(slot, after: .microseconds(1), .written)
                }
                answer(slot)
            }
        }
    }

    private func answer(_ slot: Int) {
        let delay = model.delay(&random, now)
        let bytes: [UInt8]
        var closes = random.unit() < model.idleClose
        var clean = true
        switch model.ending(&random, now) {
        case .silence: return
        case .answer(let text): bytes = Array(text.utf8)
        case .cut(let text):
            bytes = Array(text.utf8.prefix(random.below(text.utf8.count)))
            closes = true
        case .reset(let text, let share):
            bytes = Array(text.utf8.prefix(Int((Double(text.utf8.count) * share).rounded())))
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
            for (list, state) in [
                (target.closed, Connection.State.closed), (target.opening, .opening),
                (target.free, .free), (target.busy, .busy),
            ] {
                var slot = list.first
                var previous: Int32 = -1
                var intended = Instant.zero
                var count = 0
                while slot >= 0 {
                    let connection = connections[Int(slot)]
                    precondition(connection.state == state, "a connection in the wrong list")
                    precondition(connection.previous == previous, "a broken link")
                    if state == .busy {
                        precondition(connection.intended >= intended, "busy out of order")
                        intended = connection.intended
                    }
                    previous = slot
                    slot = connection.next
                    count += 1
                }
                precondition(count == list.count, "a wrong count")
                seen += count
            }
            precondition(
                target.waiting.count == 0 || target.free.count == 0,
                "a request waits beside a free connection")
        }
        precondition(seen == connections.count, "a connection is lost")
    }
}
