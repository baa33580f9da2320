import Base
import Support
import Testing

@testable import Secure

/// The record boundary under attack: ciphertext is flipped, cut, doubled, dropped and swapped, in
/// the handshake and after it. Whatever comes, the process lives and nobody reads plaintext that
/// was not written. One connection a step.
@Suite struct SessionFuzz {
    @Test func wrongBytesAreNeverPlaintext() throws {
        let budget = FuzzBudget.current(seed: 1, steps: 300)
        var fuzz = try RecordFuzz(seed: budget.seed)
        for step in 0..<budget.steps {
            if let failure = fuzz.step() {
                Issue.record("step \(step): \(failure)\n\(budget.rerun("SessionFuzz"))")
                return
            }
        }
        // The bending reached all three: a handshake that failed, a transfer that failed, and
        // bytes that arrived.
        guard budget.steps >= 300 else { return }
        #expect(fuzz.failedHandshakes > 0 && fuzz.failedTransfers > 0 && fuzz.arrivals > 0)
    }
}

private struct RecordFuzz {
    private var random: SeededRandom
    private let client: TLSContext
    private let server: TLSContext
    private(set) var failedHandshakes = 0
    private(set) var failedTransfers = 0
    private(set) var arrivals = 0

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        let authority = try Authority()
        client = try TLSContext(client: authority.clientOptions())
        // What the client asks for is the second's name, as long as nobody has bent it.
        var options = TLSServerOptions(
            identity: try authority.identity(["default.test"]), protocols: ["h2"])
        options.others = [try authority.identity()]
        server = try TLSContext(server: options)
    }

    /// - Returns: what was wrong; nil: nothing.
    mutating func step() -> String? {
        let pair = Pair(client: client, server: server)
        if random.below(2) == 0 { pair.client.limitToVersion12() }
        if random.below(3) == 0 {
            bendHandshake(pair)
            if pair.clientProgress != .done || pair.serverProgress != .done {
                failedHandshakes += 1
                return nil
            }
        } else if !pair.handshake() {
            return "a handshake failed by itself: \(pair.clientProgress) \(pair.serverProgress)"
        }
        return transfer(pair)
    }

    /// A handshake in pieces, of which some are bent.
    private mutating func bendHandshake(_ pair: Pair) {
        let piece = 100 + random.below(3000)
        while pair.turn(piece: piece) {
            guard random.below(3) == 0 else { continue }
            pair.toServer = bend(pair.toServer)
            pair.toClient = bend(pair.toClient)
            if random.below(4) == 0 { pair.toServer += records(3).flatMap { $0 } }
        }
    }

    private mutating func transfer(_ pair: Pair) -> String? {
        var sent: [UInt8] = []
        var wire: [[UInt8]] = []
        for _ in 0..<1 + random.below(5) {
            let size = 1 + random.below(random.below(4) == 0 ? 40_000 : 200)
            let text = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            sent += text
            wire.append(pair.client.encrypt(text))
        }
        pair.toServer += bend(wire).flatMap { $0 }
        var arrived: [UInt8] = []
        var outcome = TLSTransfer.wantsMore
        while !pair.toServer.isEmpty {
            let count = min(pair.toServer.count, 1 + random.below(20_000))
            var piece = Array(pair.toServer[..<count])
            pair.toServer.removeFirst(count)
            let room = 1 + random.below(20_000)
            outcome = pair.server.receive(&piece, room: room, plaintext: &arrived).last ?? outcome
            _ = pair.server.drain()
            if case .failed = outcome { break }
        }
        if arrived.count > sent.count || arrived != Array(sent[..<arrived.count]) {
            return "\(arrived.count) bytes arrived that are no beginning of \(sent.count) sent"
        }
        if !arrived.isEmpty { arrivals += 1 }
        guard case .failed = outcome else { return nil }
        failedTransfers += 1
        // Once it has failed it stays so.
        var more = pair.client.encrypt([1, 2, 3])
        if pair.server.receive(&more).last != outcome { return "a failed session went on" }
        return nil
    }

    /// Some of the records changed, dropped, doubled or swapped; or none.
    private mutating func bend(_ records: [[UInt8]]) -> [[UInt8]] {
        var records = records
        guard !records.isEmpty else { return records }
        for _ in 0..<random.below(3) {
            let i = random.below(records.count)
            switch random.below(5) {
            case 0: records[i] = bend(records[i])
            case 1: records.swapAt(i, random.below(records.count))
            case 2: records.insert(records[i], at: random.below(records.count))
            case 3: records[i] = []
            default: records.insert(contentsOf: self.records(1), at: i)
            }
        }
        return records
    }

    /// Records of any kind whose contents are noise.
    private mutating func records(_ count: Int) -> [[UInt8]] {
        (0..<count).map { _ in
            let size = random.below(600)
            let head: [UInt8] = [
                UInt8(20 + random.below(6)), 3, UInt8(random.below(5)), UInt8(size >> 8),
                UInt8(size & 255),
            ]
            return head + (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        }
    }

    private mutating func bend(_ bytes: [UInt8]) -> [UInt8] {
        guard !bytes.isEmpty else { return bytes }
        var bytes = bytes
        // The first bytes are the record's head: half of the changes go there.
        let range = random.below(2) == 0 ? min(6, bytes.count) : bytes.count
        let place = random.below(range)
        switch random.below(4) {
        case 0: bytes[place] ^= UInt8(1 << random.below(8))
        case 1: bytes.removeSubrange(place...)
        case 2: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
        default: bytes.remove(at: place)
        }
        return bytes
    }
}
