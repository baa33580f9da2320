import Base
import Model
import Support
import Testing

@testable import ControlCore

private let check = MeshHealthCheck(
    .http(path: "/healthz"), interval: .seconds(10), timeout: .seconds(1), healthyThreshold: 2,
    unhealthyThreshold: 3)

private let name = MeshName("cart-1", in: "shop")

private func mesh(_ check: MeshHealthCheck? = check, address: String = "127.0.0.1:9001")
    -> MeshState
{
    MeshState([
        .service(MeshService("cart", in: "shop", health: check)),
        .service(MeshService("web")),
        .endpoint(MeshEndpoint("cart-1", in: "shop", service: "cart", address: address)),
        .endpoint(MeshEndpoint("web-1", service: "web", address: "127.0.0.1:8001")),
    ])
}

/// A book that macros can hold: a `HealthBook` itself cannot be copied.
private final class Book {
    private var book: HealthBook

    init(random: SeededRandom) { book = HealthBook(random: random) }

    var count: Int { book.count }
    var unhealthyCount: Int { book.unhealthyCount }
    var deadline: Instant? { book.deadline }
    func isWell(_ endpoint: MeshName) -> Bool { book.verdict(on: endpoint).isWell }
    func verdict(on endpoint: MeshName) -> HealthVerdict { book.verdict(on: endpoint) }
    subscript(_ endpoint: MeshName) -> HealthBook.Record? { book[endpoint] }
    func next(_ now: Instant) -> HealthBook.Probe? { book.next(now) }
    @discardableResult
    func follow(_ mesh: MeshState, now: Instant) -> [MeshName] { book.follow(mesh, now: now) }
    @discardableResult
    func report(_ probe: HealthBook.Probe, failure: String?) -> Bool {
        book.report(probe, failure: failure)
    }
}

@Suite struct HealthBookTests {
    /// Makes the next check at the instant at which it is due, and says how it went.
    private func step(
        _ book: Book, _ now: inout Instant, _ failure: String?
    ) throws -> Bool {
        now = try #require(book.deadline)
        let probe = try #require(book.next(now))
        return book.report(probe, failure: failure)
    }

    @Test func thresholdsDecide() throws {
        let book = Book(random: SeededRandom(seed: 1))
        var now = Instant.zero
        book.follow(mesh(), now: now)
        #expect(book.count == 1 && book.isWell(name) && book[MeshName("web-1")] == nil)
        #expect(book.isWell(MeshName("web-1")))
        // Letters: passes and failures; the state behind each.
        let steps = "fffpfppfpff f".filter { $0 != " " }
        let states = "hhuuuuhhhhhu"
        for (step, state) in zip(steps, states) {
            let before = book.isWell(name)
            let changed = try self.step(book, &now, step == "f" ? "refused" : nil)
            #expect(book.isWell(name) == (state == "h"))
            #expect(changed == (before != book.isWell(name)))
            #expect(book.unhealthyCount == (book.isWell(name) ? 0 : 1))
            #expect(book[name]?.reason == (step == "f" ? "refused" : nil))
        }
        #expect(book[name]?.passes == 4 && book[name]?.failures == 8)
    }

    @Test func checksComeAnIntervalApartMoreOrLess() throws {
        var firsts: [Double] = []
        for seed in 0..<200 {
            let book = Book(random: SeededRandom(seed: UInt64(seed)))
            book.follow(mesh(), now: .zero)
            var now = Instant.zero
            _ = try step(book, &now, nil)
            firsts.append(now.nanoseconds == 0 ? 0 : (now - .zero).seconds)
            var total = 0.0
            for _ in 0..<20 {
                let before = now
                _ = try step(book, &now, nil)
                let pause = (now - before).seconds
                #expect(pause >= 9 && pause <= 11)
                total += pause
            }
            #expect(total > 190 && total < 210)
        }
        // Spread over the interval: a fifth of them in each fifth, within five deviations.
        for part in 0..<5 {
            let count = firsts.filter { $0 >= Double(part) * 2 && $0 < Double(part + 1) * 2 }.count
            #expect(abs(count - 40) < 29)
        }
    }

    /// What is found counts when it has been seen, however long that takes.
    @Test(arguments: [
        // Two passes in a row, or three failures.
        ("pp", "uh"), ("fff", "uus"), ("pfff", "uuus"), ("fpfpp", "uuuhh"), ("ffpp", "uuuh"),
        // Whoever changes more often is healthy after four.
        ("pfpff", "uuuhh"), ("fpfpfff", "uuuhhhs"),
    ])
    func aVerdictIsWhatHasBeenSeen(steps: String, verdicts: String) throws {
        let book = Book(random: SeededRandom(seed: 4))
        #expect(book.verdict(on: name) == .healthy)
        #expect(book.follow(mesh(), now: .zero) == [name])
        var now = Instant.zero
        #expect(book.verdict(on: name) == .undecided)
        for (step, letter) in zip(steps, verdicts) {
            let before = book.verdict(on: name)
            let changed = try self.step(book, &now, step == "f" ? "refused" : nil)
            let verdict = book.verdict(on: name)
            let letters: [HealthVerdict: Character] = [
                .undecided: "u", .healthy: "h", .unhealthy: "s",
            ]
            #expect(letters[verdict] == letter && changed == (verdict != before))
        }
    }

    @Test func timeDecidesNothing() throws {
        let book = Book(random: SeededRandom(seed: 4))
        book.follow(mesh(), now: .zero)
        var now = Instant.zero
        for _ in 0..<2 { _ = try step(book, &now, "refused") }
        now = try #require(book.deadline)
        let slow = try #require(book.next(now))
        // Long after it should have ended.
        now = now + .seconds(3600)
        book.follow(mesh(), now: now)
        #expect(book.verdict(on: name) == .undecided)
        #expect(book.report(slow, failure: "refused"))
        #expect(book.verdict(on: name) == .unhealthy)
        // Whoever comes later is found out about then.
        var more = mesh()
        let other = MeshName("cart-2", in: "shop")
        more.declare(
            .endpoint(
                MeshEndpoint("cart-2", in: "shop", service: "cart", address: "127.0.0.1:9002")))
        #expect(book.follow(more, now: now) == [other])
        #expect(book.verdict(on: other) == .undecided)
        // One that moves begins anew, and so does one that nothing was known of.
        more.declare(
            .endpoint(
                MeshEndpoint("cart-2", in: "shop", service: "cart", address: "127.0.0.1:9003")))
        #expect(book.follow(more, now: now) == [other])
        #expect(book.follow(mesh(), now: now) == [other])
        #expect(book.verdict(on: other) == .healthy)
    }

    @Test func aCheckUnderWayIsNotMadeTwice() throws {
        let book = Book(random: SeededRandom(seed: 2))
        book.follow(mesh(), now: .zero)
        let probe = try #require(book.next(.zero + .seconds(10)))
        #expect(probe.address == "127.0.0.1:9001" && probe.host == "cart.shop.mesh")
        #expect(probe.check == check && probe.speech == .http1)
        #expect(book.next(.zero + .seconds(30)) == nil)
        // In spite of it the schedule goes on.
        #expect(book.deadline != nil)
        book.report(probe, failure: nil)
        #expect(book[name]?.passes == 1)
        // A report counts once.
        book.report(probe, failure: "late")
        #expect(book[name]?.failures == 0)
        #expect(book.next(.zero + .seconds(60)) != nil)
    }

    @Test func whatMovesBeginsAnew() throws {
        let book = Book(random: SeededRandom(seed: 3))
        var now = Instant.zero
        book.follow(mesh(), now: now)
        for _ in 0..<3 { _ = try step(book, &now, "refused") }
        #expect(!book.isWell(name))
        // Asked differently, it is what it was.
        var other = check
        other.probe = .tcp
        other.interval = .seconds(1)
        #expect(book.follow(mesh(other), now: now) == [])
        #expect(!book.isWell(name))
        let deadline = try #require(book.deadline)
        #expect(deadline <= now + .seconds(1))
        let old = try #require(book.next(deadline))
        #expect(old.check == other)
        #expect(book.follow(mesh(other, address: "127.0.0.1:9002"), now: now) == [name])
        #expect(book.isWell(name) && book.unhealthyCount == 0)
        // What was found out at the old address says nothing of the new.
        #expect(!book.report(old, failure: "refused"))
        #expect(book[name] == HealthBook.Record())
        for _ in 0..<3 { _ = try step(book, &now, "refused") }
        #expect(!book.isWell(name))
        #expect(book.follow(mesh(nil), now: now) == [name])
        #expect(book.count == 0 && book.deadline == nil && book.isWell(name))
    }
}

/// Any changes and reports against a plain count of what was reported. One a step.
@Suite struct HealthBookFuzz {
    @Test func healthIsWhatReportsMakeOfIt() {
        let budget = FuzzBudget.current(seed: 11, steps: 3000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("HealthBookFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        let book = Book(random: random.split("book"))
        var now = Instant.zero
        var mesh = mesh()
        book.follow(mesh, now: now)
        /// What every endpoint has answered since it began: passes are true.
        var history: [MeshName: [Bool]] = [:]
        var open: [HealthBook.Probe] = []
        for step in 0..<steps {
            now = now + .milliseconds(Int64(random.below(4000)))
            let key = MeshName("e-\(random.below(6))", in: "shop")
            switch random.below(10) {
            case 0:
                mesh.remove(MeshKey(.endpoint, key))
                history[key] = nil
                book.follow(mesh, now: now)
            case 1:
                let address = "127.0.0.1:\(1 + random.below(3))"
                if mesh.endpoints[key]?.address != address { history[key] = nil }
                mesh.declare(
                    .endpoint(
                        MeshEndpoint(key.name, in: "shop", service: "cart", address: address)))
                book.follow(mesh, now: now)
            case 2...5: while let probe = book.next(now) { open.append(probe) }
            default:
                guard !open.isEmpty else { continue }
                let probe = open.remove(at: random.below(open.count))
                let passed = random.below(3) > 0
                let before =
                    (book[probe.endpoint]?.passes ?? 0) + (book[probe.endpoint]?.failures ?? 0)
                book.report(probe, failure: passed ? nil : "no")
                let after =
                    (book[probe.endpoint]?.passes ?? 0) + (book[probe.endpoint]?.failures ?? 0)
                if after > before { history[probe.endpoint, default: []].append(passed) }
            }
            var sick = 0
            for name in mesh.endpoints.keys where name.namespace == "shop" {
                let isWell = wellness(history[name] ?? [])
                if !isWell { sick += 1 }
                if book.isWell(name) != isWell {
                    return "step \(step): \(name.text) is not \(isWell)"
                }
                let isDecided = Self.isDecided(history[name] ?? [])
                if (book.verdict(on: name) != .undecided) != isDecided {
                    return "step \(step): \(name.text) is not \(isDecided ? "" : "un")decided"
                }
            }
            if sick != book.unhealthyCount { return "step \(step): \(sick) are unhealthy" }
        }
        return nil
    }

    /// From the definition: it looks back over all answers.
    private static func wellness(_ answers: [Bool]) -> Bool {
        var isWell = true
        var streak = 0
        for passed in answers {
            streak = passed == isWell ? 0 : streak + 1
            if streak == (isWell ? 3 : 2) {
                isWell.toggle()
                streak = 0
            }
        }
        return isWell
    }

    private static func isDecided(_ answers: [Bool]) -> Bool {
        answers.count >= 4
            || (0..<answers.count).contains { end in
                let last = answers[...end]
                return last.suffix(2) == [true, true] || last.suffix(3) == [false, false, false]
            }
    }
}
