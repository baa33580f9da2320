import Base
import Model
import Posix
import Synchronization
import Testing

@testable import Rig

/// Leases against processes that are not what they should be.
@Suite struct LeaseKeeperTests {
    private final class Door: FaultDoor {
        struct Seen {
            var holds: [Instant] = []
            var drops = 0
            var isHeld = false
            var since: Int64 = 0
            /// Calls that come to nothing.
            var deaf = 0
            /// After so many renewals it forgets.
            var forgets = Int.max
        }
        let seen: Mutex<Seen>

        init(deaf: Int = 0, forgets: Int = .max) {
            seen = Mutex(Seen(deaf: deaf, forgets: forgets))
        }

        func hold(_ name: String, _ order: FaultOrder) throws(DeskError) {
            let isDeaf = seen.withLock { seen -> Bool in
                if seen.deaf > 0 {
                    seen.deaf -= 1
                    return true
                }
                if !seen.isHeld { seen.since += 1 }
                seen.isHeld = true
                seen.holds.append(Clock.now())
                return false
            }
            if isDeaf { throw .unreachable("not now") }
        }

        func drop(_ name: String) throws(DeskError) {
            seen.withLock {
                $0.drops += 1
                $0.isHeld = false
            }
        }

        func report() throws(DeskError) -> FaultReport {
            seen.withLock { seen in
                if seen.holds.count > seen.forgets { seen.isHeld = false }
                let entry = FaultReport.Entry(
                    name: "a", point: .app, isLease: true, sinceNs: seen.since, untilNs: nil,
                    seen: 10, hit: 3)
                return FaultReport(
                    faults: seen.isHeld ? [entry] : [], ledger: .init(written: 3, lost: 0))
            }
        }
    }

    private func lease(_ door: Door, begin: Instant, for duration: Duration) -> Lease {
        Lease(
            place: 0, process: "p", rule: FaultRule(name: "a", seed: 1, point: .app, hangs: true),
            begin: begin, end: begin + duration, door: door)
    }

    /// What became of a lease, once it is over.
    private func outcome(_ lease: Lease) throws -> LeaseRecord {
        let keeper = try LeaseKeeper([lease])
        let deadline = Clock.now() + .seconds(20)
        while keeper.records.contains(where: { $0.ended == nil }), Clock.now() < deadline {
            Clock.sleep(until: Clock.now() + .milliseconds(1))
        }
        return try #require(keeper.finish().first)
    }

    @Test func itIsHeldWhenItIsDueAndAskedBeforeItsEnd() throws {
        let door = Door()
        let begin = Clock.now() + .milliseconds(20)
        let record = try outcome(lease(door, begin: begin, for: .milliseconds(30)))
        #expect(record.problem == nil)
        #expect(try #require(record.begun) >= begin)
        #expect(try #require(record.ended) >= begin + .milliseconds(30))
        #expect(record.report?.hit == 3 && record.ledger?.written == 3)
        #expect(door.seen.withLock { $0.drops } == 1)
    }

    @Test func itIsAskedForAgain() throws {
        let door = Door()
        let record = try outcome(lease(door, begin: Clock.now(), for: .milliseconds(1000)))
        #expect(record.problem == nil)
        #expect(door.seen.withLock { $0.holds.count } >= 2)
    }

    @Test func whoDoesNotHoldItIsTold() throws {
        let never = Door(deaf: .max)
        let record = try outcome(lease(never, begin: Clock.now(), for: .milliseconds(60)))
        #expect(record.begun == nil && record.problem == "it could not be held: not now")
        let soon = Door(deaf: 1)
        let late = try outcome(lease(soon, begin: Clock.now(), for: .milliseconds(200)))
        #expect(late.begun != nil && late.report != nil)
    }

    @Test func aLeaseThatWasLostIsNoticed() throws {
        let record = try outcome(
            lease(Door(forgets: 0), begin: Clock.now(), for: .milliseconds(20)))
        #expect(record.problem == "the lease was lost before the end")
    }

    @Test func whoeverEndsEarlyLeavesNothing() throws {
        let door = Door()
        let keeper = try LeaseKeeper([lease(door, begin: Clock.now(), for: .seconds(60))])
        let deadline = Clock.now() + .seconds(20)
        while door.seen.withLock({ !$0.isHeld }), Clock.now() < deadline {
            Clock.sleep(until: Clock.now() + .milliseconds(1))
        }
        keeper.stop()
        #expect(door.seen.withLock { $0.drops == 1 && !$0.isHeld })
    }
}
