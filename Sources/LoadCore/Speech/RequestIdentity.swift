// What requests are known by: `x-request-id`, from which faults draw whom they mean, and by which
// logs of several processes are joined. It is the same in every run of the same job:
//
//     5d0c7f3a-91be-4c20-8e57-00000000002a
//     └── of the job's seed ──┘ └ number ┘
//
// The number is the request's place in the schedule of all threads, in hexadecimal; without a
// schedule (closed arrivals), the n-th of thread t of T has n·T + t. The form is that of a UUID
// (RFC 9562, version 4).

import Base
import Model

/// The `x-request-id` of a job's requests.
public enum RequestIdentity {
    /// The digits of the number, at the end.
    static let digits = 12

    /// Of the request with this number in a job with this seed.
    public static func text(seed: UInt64, number: UInt64) -> String {
        var random = SeededRandom(seed: seed).split("x-request-id")
        let first = hex(random.next(), 16)
        let last = hex(random.next() >> 52, 3)
        func part(_ range: Range<Int>) -> String {
            String(first.dropFirst(range.lowerBound).prefix(range.count))
        }
        let end = hex(number & 0xFFFF_FFFF_FFFF, digits)
        return "\(part(0..<8))-\(part(8..<12))-4\(part(12..<15))-8\(last)-\(end)"
    }

    private static func hex(_ value: UInt64, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}

/// The messages of one thread to each target, in memory of its own, in which the number of the
/// request at hand is written over that of the one before.
final class NumberedMessages {
    private let memory: Slab<UInt8>
    /// By target: where its message begins, and where its number ends.
    private let starts: [Int]
    private let ends: [Int]
    private var last: [UInt64]

    /// - Returns: nil: the job's requests have no number.
    init?(_ job: LoadJob, _ messages: LoadMessages) {
        guard job.plan.speech == .http1, job.numbersRequests else { return nil }
        let id = Array(RequestIdentity.text(seed: job.seed, number: 0).utf8)
        var (starts, ends, count) = ([Int](), [Int](), 0)
        for target in job.targets.indices {
            let message = messages[target]
            starts.append(count)
            let place = (0...message.count - id.count).first { start in
                id.withBytes { $0 == message[start..<start + id.count] }
            }
            guard let place else { preconditionFailure("a request without its identifier") }
            ends.append(count + place + id.count)
            count += message.count
        }
        memory = Slab(count: count, repeating: 0)
        for target in job.targets.indices {
            let message = messages[target]
            for i in 0..<message.count { memory[starts[target] + i] = message[i] }
        }
        self.starts = starts
        self.ends = ends
        last = Array(repeating: 0, count: starts.count)
    }

    deinit { memory.deallocate() }

    /// The message to a target of the request with this number; valid until the next call.
    /// - Parameter count: its bytes.
    func message(_ target: Int, number: UInt64, count: Int) -> Bytes {
        if last[target] != number {
            last[target] = number
            var rest = number
            var place = ends[target]
            for _ in 0..<RequestIdentity.digits {
                place &-= 1
                let nibble = UInt8(truncatingIfNeeded: rest & 15)
                memory[place] = nibble < 10 ? 0x30 &+ nibble : 0x57 &+ nibble
                rest >>= 4
            }
        }
        return memory.bytes(starts[target]..<starts[target] + count)
    }
}
