// Recovery from whatever a disk may hold.

import Base
import Support
import Testing

@testable import ControlCore

@Suite struct StoreRecoveryFuzz {
    /// Bits change, bytes go missing, are blanked, repeated or made up: recovery says so, or gives
    /// back a state that once was, and then no frame before the damage is missing.
    @Test func damageIsSaidOrCutStoreRecoveryFuzz() {
        let budget = FuzzBudget.current(steps: 1000)
        let random = SeededRandom(seed: budget.seed)
        var (errors, cuts, whole) = (0, 0, 0)
        for step in 0..<budget.steps {
            var part = random.split(step)
            let written = WrittenLog(
                &part, frames: 1 + part.below(8), valueSize: part.below(4) == 0 ? 1200 : 60)
            var log = written.log
            var snapshot = written.snapshot
            // Everything before this place of the log is as it was written.
            var intact = log.count
            for _ in 0..<part.below(3) { intact = min(intact, Self.hurt(&log, &part)) }
            if part.below(20) == 0 { _ = Self.hurt(&snapshot, &part) }
            do throws(StoreDamage) {
                let recovery = try StoreRecovery(snapshot: snapshot, log: log)
                recovery.contents.checkInvariants()
                let sound = written.states.last { $0.length <= intact }
                guard let found = written.states.first(where: { $0.length == recovery.logEnd }),
                    found.length >= sound?.length ?? 0,
                    StoreSnapshot.bytes(found.state.contents)
                        == StoreSnapshot.bytes(recovery.contents)
                else {
                    Issue.record("step \(step): \(budget.rerun("StoreRecoveryFuzz"))")
                    return
                }
                if recovery.tornBytes > 0 { cuts += 1 } else { whole += 1 }
            } catch {
                errors += 1
                // Nothing wrong is found where nothing is wrong.
                if error.file == .log, snapshot == written.snapshot, error.offset > 0 {
                    let sound = written.states.last { $0.length <= intact }?.length ?? 0
                    #expect(error.offset >= sound, "step \(step)")
                }
            }
        }
        if budget.steps >= 1000 { #expect(min(errors, cuts, whole) > 50, "\(errors) \(cuts)") }
    }

    /// Bytes of nobody, and frames with right sums around them.
    @Test func anyBytesAreSafeStoreRecoveryFuzz() {
        let budget = FuzzBudget.current(steps: 2000)
        var random = SeededRandom(seed: budget.seed)
        let empty = StoreSnapshot.bytes(StoreContents())
        for _ in 0..<budget.steps {
            let noise = (0..<random.below(200)).map { _ in
                random.below(3) == 0 ? UInt8(random.below(5)) : UInt8(random.below(256))
            }
            #expect(throws: StoreDamage.self) {
                _ = try StoreRecovery(snapshot: noise, log: StoreLog.header(base: 0))
            }
            _ = try? StoreRecovery(snapshot: empty, log: noise)
            _ = try? StoreRecovery(snapshot: empty, log: StoreLog.header(base: 0) + noise)
            // Under right sums the noise is read as records and as a snapshot.
            _ = noise.withBytes { StoreLog.records($0, from: UInt64(random.below(3))) }
            var snapshot = Array(empty.prefix(8)) + noise
            snapshot.append(number: snapshot.withBytes(Checksum.of))
            _ = try? StoreRecovery(snapshot: snapshot, log: StoreLog.header(base: 0))
        }
    }

    /// Changes the bytes somehow.
    /// - Returns: how many at the beginning are as they were.
    private static func hurt(_ bytes: inout [UInt8], _ random: inout SeededRandom) -> Int {
        guard !bytes.isEmpty else { return 0 }
        let place = random.below(bytes.count)
        switch random.below(6) {
        case 0: bytes.removeLast(bytes.count - place)
        case 1:
            let before = bytes.count
            bytes += (0..<random.below(600)).map { _ in UInt8(random.below(256)) }
            return before
        case 2:
            for index in place..<min(bytes.count, (place / 512 + 1) * 512) { bytes[index] = 0 }
        case 3: bytes.removeSubrange(place..<min(bytes.count, place + 1 + random.below(20)))
        case 4:
            let end = min(bytes.count, place + 1 + random.below(200))
            bytes.insert(contentsOf: bytes[place..<end], at: place)
        default: bytes[place] ^= UInt8(1 << random.below(8))
        }
        return place
    }
}
