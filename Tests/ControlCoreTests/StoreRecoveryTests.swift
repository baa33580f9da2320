import Base
import Testing

@testable import ControlCore

/// A log with its snapshot, and where its frames end.
struct WrittenLog {
    var snapshot: [UInt8]
    var log: [UInt8]
    /// The state after the snapshot and after each frame, with the log's length then.
    var states: [(length: Int, state: StoreState)]

    /// Random work, of which the first part is in the snapshot.
    init(_ random: inout SeededRandom, frames: Int, valueSize: Int = 80) {
        var state = StoreState()
        for _ in 0..<random.below(6) { state = Self.step(state, &random, valueSize)?.0 ?? state }
        snapshot = StoreSnapshot.bytes(state.contents)
        log = StoreLog.header(base: state.revision)
        states = [(log.count, state)]
        while states.count <= frames {
            guard let (next, plan) = Self.step(state, &random, valueSize) else { continue }
            log += StoreLog.frame(plan, at: log.count)
            state = next
            states.append((log.count, state))
        }
    }

    private static func step(
        _ state: StoreState, _ random: inout SeededRandom, _ valueSize: Int
    ) -> (StoreState, StorePlan)? {
        let requests = (0...random.below(3)).map { _ -> StoreRequest in
            switch random.below(6) {
            case 0: return .grant(life: .seconds(Int64(1 + random.below(9))))
            case 1: return .revoke(lease: UInt64(1 + random.below(20)))
            default:
                let value = (0..<random.below(valueSize)).map { _ in UInt8(random.below(256)) }
                let key = StoreKey("services/\(random.below(20))")
                let lease = random.below(3) == 0 ? UInt64(1 + random.below(20)) : 0
                return .transaction(
                    .init(changes: [
                        random.below(4) == 0
                            ? .delete(key) : .put(key, value: value, lease: lease)
                    ]))
            }
        }
        let plan = state.plan(requests[...])
        guard !plan.records.isEmpty else { return nil }
        var next = state
        next.accept(plan, now: .zero)
        return (next, plan)
    }
}

@Suite struct StoreRecoveryTests {
    private func written(frames: Int = 5, seed: UInt64 = 7, valueSize: Int = 80) -> WrittenLog {
        var random = SeededRandom(seed: seed)
        return WrittenLog(&random, frames: frames, valueSize: valueSize)
    }

    private func damage(_ snapshot: [UInt8], _ log: [UInt8]) -> StoreDamage? {
        do throws(StoreDamage) {
            _ = try StoreRecovery(snapshot: snapshot, log: log)
            return nil
        } catch {
            return error
        }
    }

    /// RFC 3720, appendix B.4, and the check value of every catalogue.
    @Test(
        arguments: [
            ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
            ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
            (Array(0..<32), 0x46DD_794E),
            (Array((0..<32).reversed()), 0x113F_DB5C),
            (Array("123456789".utf8), 0xE306_9283),
            ([], 0),
        ] as [([UInt8], UInt32)])
    func checksumIsCRC32C(bytes: [UInt8], sum: UInt32) {
        #expect(bytes.withBytes(Checksum.of) == sum)
        // In pieces, too.
        for cut in 0...bytes.count {
            var parts = Checksum()
            parts.add(Array(bytes[..<cut]))
            parts.add(Array(bytes[cut...]))
            #expect(parts.value == sum)
        }
    }

    @Test func whatWasWrittenComesBack() throws {
        let written = written(frames: 40)
        let recovery = try StoreRecovery(snapshot: written.snapshot, log: written.log)
        let last = written.states[40].state
        #expect(
            StoreSnapshot.bytes(recovery.contents) == StoreSnapshot.bytes(last.contents))
        recovery.contents.checkInvariants()
        #expect(recovery.tornBytes == 0)
        #expect(recovery.logEnd == written.log.count)
        let state = StoreState(recovery, limits: StoreLimits(), now: Instant(nanoseconds: 5))
        state.checkInvariants()
        // The history goes back to the snapshot, and is what it was.
        let base = recovery.snapshotRevision
        #expect(state.events(after: base) == last.events(after: base))
        #expect(
            base == 0 || state.events(after: base - 1) == .compacted(revision: base))
    }

    @Test func aLogThatEndsAnywhereIsCutAtItsLastFrame() throws {
        let written = written()
        for length in StoreLog.headerSize...written.log.count {
            let log = Array(written.log[..<length])
            let recovery = try StoreRecovery(snapshot: written.snapshot, log: log)
            let sound = try #require(written.states.last { $0.length <= length })
            #expect(recovery.logEnd == sound.length)
            #expect(recovery.tornBytes == length - sound.length)
            #expect(recovery.contents.revision == sound.state.revision)
        }
        for length in 0..<StoreLog.headerSize {
            #expect(
                damage(written.snapshot, Array(written.log[..<length]))
                    == StoreDamage(.log, at: 0, .beginning))
        }
    }

    @Test func anyBitThatChangesInAnEarlierFrameIsSaidWithItsPlace() throws {
        let written = written()
        for place in 0..<written.states[4].length {
            var log = written.log
            log[place] ^= UInt8(1 << (place % 8))
            let found = try #require(damage(written.snapshot, log), "byte \(place)")
            let sound = written.states.last { $0.length <= place }?.length ?? 0
            #expect(found.offset == sound)
            #expect(found.file == .log)
            #expect(found.what == (sound == 0 ? .beginning : .sum))
        }
    }

    @Test func anyBitThatChangesInASnapshotIsSaid() {
        let written = written()
        for place in written.snapshot.indices {
            var snapshot = written.snapshot
            snapshot[place] ^= UInt8(1 << (place % 8))
            #expect(damage(snapshot, written.log)?.file == .snapshot)
        }
        for length in written.snapshot.indices {
            #expect(
                damage(Array(written.snapshot[..<length]), written.log)?.file == .snapshot)
        }
    }

    /// The last frame, of several sectors: blank sectors are an interrupted write, others damage.
    @Test func blankSectorsAtTheEndAreAnInterruptedWrite() throws {
        var random = SeededRandom(seed: 3)
        var written = WrittenLog(&random, frames: 2)
        let start = written.log.count
        let plan = written.states[2].state.plan([
            .transaction(
                .init(changes: [
                    .put(StoreKey("long"), value: [UInt8](repeating: 0xAA, count: 3000))
                ]))
        ])
        written.log += StoreLog.frame(plan, at: start)
        let cuts = [start] + stride(from: (start / 512 + 1) * 512, to: written.log.count, by: 512)
        for (index, from) in cuts.enumerated() {
            let to = index + 1 < cuts.count ? cuts[index + 1] : written.log.count
            var log = written.log
            for place in from..<to { log[place] = 0 }
            let recovery = try StoreRecovery(snapshot: written.snapshot, log: log)
            #expect(recovery.logEnd == start)
            #expect(recovery.tornBytes == log.count - start)
            // The same in the middle of the log is damage: what follows was written later.
            var next = written.states[2].state
            next.accept(plan, now: .zero)
            let later = next.plan([.grant(life: .seconds(1))])
            log += StoreLog.frame(later, at: log.count)
            #expect(damage(written.snapshot, log) == StoreDamage(.log, at: start, .sum))
            log = written.log
            log[to - 1] ^= 1
            #expect(damage(written.snapshot, log) == StoreDamage(.log, at: start, .sum))
        }
        // The size arrived, nothing else.
        let blank = written.log[..<start] + [UInt8](repeating: 0, count: 2000)
        #expect(
            try StoreRecovery(snapshot: written.snapshot, log: Array(blank)).tornBytes == 2000)
    }

    @Test func aLogOfAnotherSnapshotIsRefused() {
        let written = written()
        let base = written.states[0].state.revision
        let other = written.states[2].state
        #expect(
            damage(StoreSnapshot.bytes(other.contents), written.log)
                == StoreDamage(.log, at: 0, .base(base, snapshot: other.revision)))
        // A frame twice, one left out, and one of another place.
        let (first, second) = (written.states[1].length, written.states[2].length)
        let start = StoreLog.headerSize
        let twice = written.log[..<first] + written.log[start..<first]
        #expect(
            damage(written.snapshot, Array(twice)) == StoreDamage(.log, at: first, .sum))
        let skipped = written.log[..<start] + written.log[first..<second]
        #expect(
            damage(written.snapshot, Array(skipped)) == StoreDamage(.log, at: start, .sum))
        let records = [
            StoreRecord(revision: base + 2, effects: [.grant(life: .seconds(1))])
        ]
        let gap = StoreLog.header(base: base) + StoreLog.frame(records, at: start)
        #expect(
            damage(written.snapshot, gap)
                == StoreDamage(.log, at: start, .revision(base + 2, due: base + 1)))
    }

    /// Frames whose sums are right and that make no sense all the same.
    @Test(
        arguments: [
            [.delete(StoreKey("absent"))], [.revoke(lease: 9)],
            [.put(StoreKey("a"), value: [], lease: 9)], [.grant(life: .zero)],
            [.put(StoreKey(""), value: [], lease: 0)],
            [.delete(StoreKey(bytes: [UInt8](repeating: 1, count: 513)))],
        ] as [[StoreRecord.Effect]])
    func nonsenseIsRefused(effects: [StoreRecord.Effect]) {
        let log =
            StoreLog.header(base: 0)
            + StoreLog.frame([StoreRecord(revision: 1, effects: effects)], at: 20)
        #expect(
            damage(StoreSnapshot.bytes(StoreContents()), log) == StoreDamage(.log, at: 20, .form))
    }
}
