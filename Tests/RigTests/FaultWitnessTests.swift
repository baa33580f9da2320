import Base
import FoundationEssentials
import Model
import Posix
import Report
import Support
import Testing

@testable import Rig

/// What is held against a ledger is what others have written down, not only who did it.
@Suite struct FaultWitnessTests {
    private static let start = Clock.now()

    /// A line of an access log.
    private struct Line {
        var id = "r"
        var cluster = "default/echo"
        var attempts = 1
        var status = 200
        var flags = ""
        var details = "via_upstream"
        var durationUs = 100

        var text: String {
            """
            {"request_id": "\(id)", "status": \(status), "flags": "\(flags)", \
            "details": "\(details)", "attempts": \(attempts), "cluster": "\(cluster)", \
            "duration_us": \(durationUs)}

            """
        }

        static var aborted: Line {
            Line(attempts: 0, status: 503, flags: "FI", details: "fault_filter_abort")
        }

        static var arrived: Line { Line(cluster: "app") }
    }

    /// A fault with one line in the ledger of one process, for the request `r`.
    private struct Deed {
        var point = FaultPlan.Point.clientEgress
        var process = "client-proxy"
        var attempts = [1]
        var delayNs: Int?
        var abort: Int? = 503
    }

    /// The problems of the book after it has read what there is.
    private func problems(
        _ deed: Deed, _ logs: [String: [Line]], harmed: String? = nil, mirrored: Set<String> = []
    ) throws -> [String] {
        let scratch = try Scratch()
        let rulePoint = try #require(deed.point.ofRule)
        let fault = ArmFault(
            plan: FaultPlan("a", .requests(.init(abort: .http(503))), at: deed.point, of: "echo"),
            span: FaultSpan("a", .seconds(1), .seconds(11)), processes: [deed.process])
        let count = UInt64(deed.attempts.count)
        var report = FaultReport.Entry(
            name: "a", point: rulePoint, isLease: true, sinceNs: 1, untilNs: nil, seen: count,
            hit: count)
        report.aborted = deed.abort == nil ? 0 : count
        report.delayed = deed.delayNs == nil ? 0 : count
        let rule = try #require(fault.rule(seed: 1, isJoined: true))
        var lease = LeaseRecord(
            lease: Lease(
                place: 0, process: deed.process, rule: rule, begin: Self.start + .seconds(1),
                end: Self.start + .seconds(11), door: NoDoor()))
        lease.begun = Self.start + .seconds(1)
        lease.ended = Self.start + .seconds(11)
        lease.report = report
        lease.ledger = FaultReport.Ledger(written: count, lost: 0)
        var book = FaultBook(arm: .mesh, round: 1, start: Self.start)
        book.add(fault, [lease])
        if let harmed {
            var cut = FaultRecord(
                fault: ArmFault(
                    plan: FaultPlan("cut", .kill, at: .proxy, of: "echo"),
                    span: FaultSpan("cut", .seconds(1), .seconds(3)), processes: [harmed]))
            cut.begun = Self.start + .seconds(1)
            book.add(cut, served: nil)
        }

        let ledger = deed.attempts.map { attempt in
            "{\"time_ns\": 9000000000000000000, \"fault\": \"a\", "
                + "\"point\": \"\(rulePoint.rawValue)\", \"request\": \"r\", "
                + "\"attempt\": \(attempt)"
                + (deed.delayNs.map { ", \"delay_ns\": \($0)" } ?? "")
                + (deed.abort.map { ", \"abort_http\": \($0)" } ?? "") + "}\n"
        }.joined()
        try write(ledger, "ledger", scratch)
        try write("r failed 503 \n", "ends", scratch)
        var access: [String: String] = [:]
        for (index, log) in logs.sorted(by: { $0.key < $1.key }).enumerated() {
            try write(log.value.map(\.text).joined(), "access-\(index)", scratch)
            access[log.key] = scratch.path("access-\(index)")
        }
        book.read(
            [.ledger: [deed.process: scratch.path("ledger")], .access: access],
            outcomes: [scratch.path("ends")], mirrored: mirrored)
        return book.faults[0].problems
    }

    private func write(_ text: String, _ file: String, _ scratch: Scratch) throws {
        try text.write(toFile: scratch.path(file), atomically: false, encoding: .utf8)
    }

    // MARK: What was aborted before it was sent

    private let hop = "server-proxy echo/0"

    @Test func whatWasAbortedHasNotCome() throws {
        #expect(try problems(Deed(), ["client-proxy": [.aborted], hop: []]) == [])
        #expect(
            try problems(Deed(), ["client-proxy": [.aborted], hop: [.arrived]]) == [
                "1 requests were aborted and have come to echo all the same: 'r' for one"
            ])
    }

    /// Under one id a service may be asked by several, of whom one was let through.
    @Test func whoElseAsksUnderTheSameIDMay() throws {
        let front = "server-proxy front/0"
        let logs = ["client-proxy": [Line.aborted], front: [Line()], hop: [Line.arrived]]
        #expect(try problems(Deed(), logs) == [])
        #expect(
            try problems(Deed(), logs.merging([hop: [.arrived, .arrived]]) { $1 }).count == 1)
        // A service whose name begins alike is another.
        #expect(
            try problems(Deed(), logs.merging(["server-proxy echo2/0": [.arrived]]) { $1 }) == [])
    }

    /// What a service sends on is not what has come to it.
    @Test func whatItSendsOnIsNotWhatHasCome() throws {
        let onward = Line(cluster: "default/leaf")
        #expect(try problems(Deed(), ["client-proxy": [.aborted], hop: [onward]]) == [])
    }

    /// Two attempts of three were aborted: the third may come, and no other.
    @Test func attemptsAreCounted() throws {
        let deed = Deed(point: .perAttempt, attempts: [1, 2])
        let asked = ["client-proxy": [Line(attempts: 3)]]
        #expect(try problems(deed, asked.merging([hop: [.arrived]]) { $1 }) == [])
        #expect(
            try problems(deed, asked.merging([hop: [.arrived, .arrived]]) { $1 }).count == 1)
    }

    /// Who was killed has not written down what it had sent; a mirror is in no log.
    @Test func nothingIsConcludedFromWhatIsMissing() throws {
        let logs = ["client-proxy": [Line.aborted], hop: [Line.arrived]]
        #expect(try problems(Deed(), logs, harmed: hop) == [])
        #expect(try problems(Deed(), logs, mirrored: ["echo"]) == [])
        #expect(try problems(Deed(), logs, mirrored: ["other"]).count == 1)
    }

    // MARK: What an application has done

    @Test func anApplicationsProxyHasSeenTheSame() throws {
        let deed = Deed(point: .app, process: "echo/0", abort: 500)
        let told = Line(cluster: "app", status: 500)
        #expect(try problems(deed, [hop: [told]]) == [])
        #expect(
            try problems(deed, [hop: [.arrived]]) == [
                "1 requests of echo/0's ledger look otherwise in the access log of \(hop): "
                    + "'r' for one"
            ])
        #expect(
            try problems(deed, [hop: []]) == [
                "1 requests of echo/0's ledger are not in the access log of \(hop)"
            ])
        // One attempt of two.
        #expect(try problems(deed, [hop: [.arrived, told]]) == [])
        // The proxy gave up first.
        let late = Line(cluster: "app", status: 504, flags: "UT", details: "response_timeout")
        #expect(try problems(deed, [hop: [late]]) == [])
        #expect(try problems(deed, [hop: []], harmed: hop) == [])
        #expect(try problems(deed, [:]) == [], "nobody is before it")
    }

    @Test func whatWasHeldBackTookAsLong() throws {
        let deed = Deed(point: .app, process: "echo/0", delayNs: 50_000_000, abort: nil)
        #expect(try problems(deed, [hop: [Line(cluster: "app", durationUs: 50_001)]]) == [])
        #expect(try problems(deed, [hop: [Line(cluster: "app", durationUs: 49_000)]]).count == 1)
        let left = Line(cluster: "app", status: 0, flags: "DC", durationUs: 9)
        #expect(try problems(deed, [hop: [left]]) == [])
    }
}
