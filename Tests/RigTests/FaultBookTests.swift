import Base
import FoundationEssentials
import Model
import Posix
import Report
import Support
import Testing

@testable import Rig

/// What was asked for, held against what was done.
@Suite struct FaultBookTests {
    private static let start = Clock.now()

    private func fault(
        _ name: String = "a", chance: Double = 0.1, at point: FaultPlan.Point = .clientEgress,
        _ effect: FaultPlan.Effect = .init(abort: .http(503))
    ) -> ArmFault {
        ArmFault(
            plan: FaultPlan(name, .requests(effect), at: point, of: "echo", chance: chance),
            span: FaultSpan(name, .seconds(1), .seconds(11)), processes: ["client-proxy"])
    }

    private func lease(
        _ fault: ArmFault, seen: UInt64, hit: UInt64, delayed: UInt64 = 0, aborted: UInt64 = 0,
        problem: String? = nil
    ) -> LeaseRecord {
        var report = FaultReport.Entry(
            name: fault.name, point: fault.plan.point.ofRule ?? .app, isLease: true, sinceNs: 1,
            untilNs: nil, seen: seen, hit: hit)
        report.delayed = delayed
        report.aborted = aborted
        var record = LeaseRecord(
            lease: Lease(
                place: 0, process: "client-proxy",
                rule: FaultRule(name: fault.name, seed: 1, point: .clientEgress),
                begin: Self.start + .seconds(1), end: Self.start + .seconds(11),
                door: NoDoor()))
        record.begun = Self.start + .seconds(1)
        record.ended = Self.start + .seconds(11)
        record.report = report
        record.ledger = FaultReport.Ledger(written: hit, lost: 0)
        record.problem = problem
        return record
    }

    private var book: FaultBook { FaultBook(arm: .mesh, round: 1, start: Self.start) }

    private func line(_ fault: String, _ request: String, abort: Int? = 503) -> FaultLedgerLine {
        var line = FaultLedgerLine(
            timeNs: Clock.wallNanoseconds() + 2_000_000_000, fault: fault, point: .clientEgress,
            request: request, attempt: 1)
        line.abortHTTP = abort
        return line
    }

    /// What has come to a server twice, and was aborted the first time only.
    @Test func oneAttemptOfSeveralMayHaveBeenMet() throws {
        let scratch = try Scratch()
        let fault = fault(at: .serverIngress)
        var book = book
        book.add(fault, [lease(fault, seen: 10, hit: 1, aborted: 1)])
        func write(_ text: String, to file: String) throws {
            try text.write(toFile: scratch.path(file), atomically: false, encoding: .utf8)
        }
        try write(
            """
            {"time_ns": 9000000000000000000, "fault": "a", "point": "server-ingress", \
            "request": "r", "attempt": 1, "abort_http": 503}

            """, to: "ledger")
        func problems(_ first: Int) throws -> [String] {
            try write(
                """
                {"request_id": "r", "status": \(first), "flags": "FI", "duration_us": 9, \
                "details": "fault_filter_abort", "attempts": 0}
                {"request_id": "r", "status": 200, "flags": "", "duration_us": 9, \
                "details": "via_upstream", "attempts": 1}

                """, to: "access")
            try write("r ok 200 \n", to: "ends")
            var told = book
            told.read(
                [
                    .ledger: ["client-proxy": scratch.path("ledger")],
                    .access: ["client-proxy": scratch.path("access")],
                ], outcomes: [scratch.path("ends")])
            return told.faults[0].problems
        }
        #expect(try problems(503) == [])
        #expect(try problems(500).count == 1)
    }

    @Test(arguments: [
        (10_000, 1_000, true), (10_000, 1_110, true), (10_000, 1_140, false), (10_000, 880, false),
        (0, 0, false),
    ])
    func theShareIsHeldAgainstItsInterval(seen: UInt64, hit: UInt64, isGood: Bool) {
        var book = book
        let fault = fault()
        book.add(fault, [lease(fault, seen: seen, hit: hit, aborted: hit)])
        #expect(book.faults[0].problems.isEmpty == isGood, "\(book.faults[0].problems)")
        if seen > 0 {
            let requests = book.faults[0].requests
            #expect(requests?.hit == hit && requests?.seen == seen)
            #expect((requests?.low ?? 1) < Double(hit) / Double(seen))
        }
    }

    @Test func allMeansAll() {
        var book = book
        let fault = fault(chance: 1)
        book.add(fault, [lease(fault, seen: 100, hit: 99, aborted: 99)])
        #expect(book.faults[0].problems.count == 1)
    }

    @Test func aLostLeaseIsAProblem() {
        var book = book
        let fault = fault()
        book.add(fault, [lease(fault, seen: 1000, hit: 100, aborted: 100, problem: "it was lost")])
        #expect(book.faults[0].problems == ["client-proxy: it was lost"])
    }

    @Test func countsAndLedgersAgree() {
        var book = book
        let fault = fault()
        book.add(fault, [lease(fault, seen: 1000, hit: 100, aborted: 100)])
        for number in 0..<100 { book.add(line("a", "\(number)"), of: "client-proxy") }
        book.balance()
        #expect(book.faults[0].problems == [])
        #expect(book.faults[0].requests?.lines == 100 && book.entries.count == 100)

        var short = self.book
        short.add(fault, [lease(fault, seen: 1000, hit: 100, aborted: 100)])
        for number in 0..<99 { short.add(line("a", "\(number)"), of: "client-proxy") }
        short.balance()
        #expect(
            short.faults[0].problems == [
                "100 things were done by the processes' counts and 99 by their ledgers"
            ])
    }

    @Test func eachLineIsFoundAgain() {
        var book = book
        let fault = fault()
        book.add(fault, [lease(fault, seen: 1000, hit: 100, aborted: 100)])
        for number in 0..<100 { book.add(line("a", "\(number)"), of: "client-proxy") }
        var same = book
        same.match("client-proxy", against: "the log") { _, line in line.abortHTTP == 503 }
        #expect(same.faults[0].problems == [] && same.faults[0].requests?.matched == 100)
        var other = book
        other.match("client-proxy", against: "the log") { id, _ in
            id == "7" ? false : id == "8" ? nil : true
        }
        #expect(
            other.faults[0].problems == [
                "1 requests of client-proxy's ledger look otherwise in the log: '7' for one",
                "1 requests of client-proxy's ledger are not in the log",
            ])
        other.accuse("client-proxy", 3, "x")
        #expect(other.faults[0].problems.count == 3)
    }

    /// Two faults of 10 % and 20 % meet 2 % of the requests together.
    @Test(arguments: [(20, true), (100, false)])
    func faultsDrawByThemselves(both: Int, isGood: Bool) {
        var book = book
        let (a, b) = (
            fault("a", chance: 0.1), fault("b", chance: 0.2, .init(delay: .fixed(.seconds(1))))
        )
        book.add(a, [lease(a, seen: 1000, hit: 100, aborted: 100)])
        book.add(b, [lease(b, seen: 1000, hit: 200, delayed: 200)])
        for number in 0..<100 { book.add(line("a", "\(number)"), of: "client-proxy") }
        for number in 0..<200 {
            book.add(line("b", "\(number + 100 - both)"), of: "client-proxy")
        }
        book.balance()
        book.checkJoint()
        #expect(book.faults.allSatisfy(\.problems.isEmpty) == isGood, "\(book.faults[1].problems)")
    }

    /// Of two aborts that meet the same request the first is done, and stands in a ledger alone.
    @Test func ofTwoAbortsOneIsDone() {
        var book = book
        let aborts = ["a", "b"].map { fault($0, chance: 0.5) }
        for abort in aborts {
            book.add(abort, [lease(abort, seen: 1000, hit: 500, aborted: 500)])
        }
        for number in 0..<500 { book.add(line("a", "\(number)"), of: "client-proxy") }
        for number in 500..<1000 { book.add(line("b", "\(number)"), of: "client-proxy") }
        let delay = fault("c", chance: 0.5, .init(delay: .fixed(.seconds(1))))
        var three = book
        book.checkJoint()
        #expect(book.faults.flatMap(\.problems) == [])
        // A delay is done beside either; that it meets both of them alike is not told by one.
        three.add(delay, [lease(delay, seen: 1000, hit: 500, delayed: 500)])
        for number in 250..<750 {
            three.add(line("c", "\(number)", abort: nil), of: "client-proxy")
        }
        three.checkJoint()
        #expect(three.faults.flatMap(\.problems) == [])
    }

    /// What is drawn for is each attempt: one request that comes twice may be met by either.
    @Test func eachAttemptIsMetByItself() {
        var book = book
        let (a, b) = (
            fault("a", chance: 0.5, at: .serverIngress),
            fault("b", chance: 0.5, at: .serverIngress, .init(delay: .fixed(.seconds(1))))
        )
        book.add(a, [lease(a, seen: 400, hit: 200, aborted: 200)])
        book.add(b, [lease(b, seen: 400, hit: 200, delayed: 200)])
        // 200 requests of two attempts each: one is met by the first fault, and one by both in
        // every second request, else by each in another attempt.
        for number in 0..<200 {
            var line = line("a", "\(number)")
            line.attempt = 1
            book.add(line, of: "client-proxy")
            line.fault = "b"
            line.attempt = number < 100 ? 1 : 2
            book.add(line, of: "client-proxy")
        }
        book.checkJoint()
        #expect(book.faults.flatMap(\.problems) == [])
    }

    @Test func aProcessThatDidNotDieIsAProblem() {
        var book = book
        let crash = ArmFault(
            plan: FaultPlan("crash", .kill, at: .proxy, of: "echo"),
            span: FaultSpan("crash", .seconds(1), .seconds(3)), processes: ["server-proxy echo/0"])
        var record = FaultRecord(fault: crash)
        record.begun = Self.start + .seconds(1)
        record.ended = Self.start + .seconds(3)
        book.add(record, served: Self.start + .milliseconds(3500))
        record.problems = ["server-proxy echo/0 exited with 0"]
        book.add(record, served: nil)
        book.add(FaultRecord(fault: crash), served: nil)
        #expect(book.faults.map(\.problems.isEmpty) == [true, false, false])
        #expect(book.faults[0].servedSeconds == 3.5 && book.faults[0].requests == nil)
        #expect(book.entries[0].action == "kill" && book.entries[0].begunNs == 1_000_000_000)
    }

    /// What a scenario has changed in the mesh is a part of what was measured.
    @Test func aChangeThatWasNotMadeMakesTheRunInvalid() {
        let samples = [ArmName.direct, .mesh].map { Made.sample(round: 0, arm: $0) }
        var experiment = Made.experiment()
        experiment.rounds = RoundsPlan(min: 1, max: 2)
        func trust(_ done: [Bool?]) -> Trust {
            let changes = done.enumerated().map { index, done in
                RunResult.Change(
                    arm: .mesh, round: index + 1, what: "drain echo/1", dueSeconds: 1, done: done)
            }
            return Trust(
                samples, rounds: [0], experiment: experiment, changes: changes, warnings: [])
        }
        #expect(trust([true, nil]).isDelivered && trust([true, nil]).validity.valid)
        let bad = trust([true, false, false])
        #expect(!bad.isDelivered && !bad.validity.valid)
        #expect(
            bad.validity.reasons.contains(
                "the change 'drain echo/1' was not made: round 2, mesh; and 1 more times"))
    }

    /// Whatever else is right: what was not done proves nothing.
    @Test func oneProblemMakesTheRunInvalid() {
        var experiment = Made.experiment()
        experiment.rounds = RoundsPlan(min: 2, max: 2)
        let samples = (0..<2).flatMap { round in
            [ArmName.direct, .mesh].map { Made.sample(round: round, arm: $0) }
        }
        func validity(_ problems: [String]) -> RunResult.Validity {
            let fault = RunResult.Fault(
                arm: .mesh, round: 2, name: "a", what: "abort 503", point: "app", processes: [],
                beginSeconds: 1, endSeconds: 2, problems: problems)
            return Trust(
                samples, rounds: [0, 1], experiment: experiment, faults: [fault], warnings: []
            ).validity
        }
        #expect(validity([]).valid)
        let bad = validity(["it was lost", "and more"])
        #expect(!bad.valid)
        #expect(
            bad.reasons == [
                "the fault 'a' was not what was asked for: round 2, mesh: it was lost; and 1 more"
            ])
    }
}

struct NoDoor: FaultDoor {
    func hold(_ name: String, _ order: FaultOrder) throws(DeskError) {}
    func drop(_ name: String) throws(DeskError) {}
    func report() throws(DeskError) -> FaultReport { FaultReport(faults: [], ledger: nil) }
}
