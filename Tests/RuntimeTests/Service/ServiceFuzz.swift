import Base
import Support
import Testing

@testable import Runtime

/// Whatever the pieces in which bytes come and go, the same is asked and the same is answered; and
/// nothing is held for a connection that is over.
@Suite struct ServiceFuzz {
    @Test func piecesMakeNoDifference() {
        let budget = FuzzBudget.current(seed: 11, steps: 400)
        if let failure = Self.pieces(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("ServiceFuzz/pieces"))")
        }
    }

    @Test func whateverFramesComeNothingIsHeld() {
        let budget = FuzzBudget.current(seed: 12, steps: 400)
        if let failure = Self.frames(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("ServiceFuzz/whateverFrames"))")
        }
    }

    private static var limits: ServiceLimits {
        var limits = ServiceLimits()
        limits.headBytes = 1024
        limits.bodyBytes = 300
        limits.streams = 4
        limits.watches = 3
        return limits
    }

    // MARK: HTTP/1.1

    static func pieces(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        for step in 0..<steps {
            var bytes: [UInt8] = []
            for _ in 0...random.below(5) { bytes += message(&random) }
            if random.below(3) == 0, !bytes.isEmpty {
                bytes[random.below(bytes.count)] = UInt8(random.below(256))
            }
            let whole = run(bytes, [bytes.count])
            var cuts: [Int] = []
            while cuts.reduce(0, +) < bytes.count {
                cuts.append(min(1 + random.below(60), bytes.count - cuts.reduce(0, +)))
            }
            let pieces = run(bytes, cuts, most: 1 + random.below(50))
            guard whole.isClean, pieces.isClean else {
                return "something is held behind step \(step)"
            }
            guard whole.text == pieces.text, whole.requests == pieces.requests else {
                return "step \(step): \(String(decoding: bytes, as: UTF8.self).debugDescription)\n"
                    + "whole: \(whole.text)\npieces: \(pieces.text)"
            }
        }
        return nil
    }

    private static func run(
        _ bytes: [UInt8], _ cuts: [Int], most: Int = .max
    ) -> (text: String, requests: [ServiceRequest], isClean: Bool) {
        let bench = ServiceBench(limits)
        // A watch ends at once, so that what comes behind it is looked at.
        bench.handler.onWatch = { watch in
            guard !watch.isHeld else { return _ = watch.answer(200, body: Array("news".utf8)) }
            watch.send(Array("news".utf8))
            watch.end()
        }
        var start = 0
        for cut in cuts where bench.ending == nil {
            bytes[start..<start + cut].withContiguousBytes { bench.connection.receive($0) }
            bench.step(most: most)
            start += cut
        }
        bench.endInput()
        // Whether a body is welcomed depends on when it comes.
        let text = bench.text.replacing("HTTP/1.1 100 Continue\r\n\r\n", with: "")
        return (text, bench.handler.requests, bench.leaves())
    }

    private static func message(_ random: inout SeededRandom) -> [UInt8] {
        let path = ["/echo", "/watch", "/held", "/empty", "/big?size=70000", "/%41", "/method"][
            random.below(7)]
        let version = random.below(8) == 0 ? "1.0" : "1.1"
        let body = String(repeating: "b", count: random.below(9) == 0 ? 301 : random.below(200))
        let head = "HTTP/\(version)\r\nhost: a\r\n"
        switch random.below(5) {
        case 0: return Array("GET \(path) \(head)\r\n".utf8)
        case 1: return Array("HEAD \(path) \(head)x: \(body)\r\n\r\n".utf8)
        case 2:
            let expects = random.below(2) == 0 ? "expect: 100-continue\r\n" : ""
            return Array(
                "PUT \(path) \(head)\(expects)content-length: \(body.count)\r\n\r\n\(body)".utf8)
        default:
            var text = "POST \(path) \(head)transfer-encoding: chunked\r\n\r\n"
            for _ in 0..<random.below(4) {
                let size = 1 + random.below(90)
                text +=
                    String(size, radix: 16) + "\r\n" + String(repeating: "c", count: size) + "\r\n"
            }
            return Array((text + "0\r\n\r\n").utf8)
        }
    }

    // MARK: HTTP/2

    static func frames(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        var (requests, watches) = (0, 0)
        for step in 0..<steps {
            let bench = ServiceBench(limits, agreed: random.below(2) == 0 ? "h2" : nil)
            bench.handler.backlog = 50
            var next = -1
            var bytes = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
            if random.below(8) > 0 { bytes += frame(4, 0, 0, []) }
            bench.say(bytes)
            for _ in 0..<random.below(40) where bench.ending == nil {
                bench.takes = random.below(4) > 0
                bench.say(frame(&random, next: &next))
                if random.below(3) == 0 {
                    let watch = bench.handler.watches.randomElement(using: &random)
                    if watch?.isHeld == true { watch?.answer(200) } else { watch?.send([1, 2, 3]) }
                }
                if random.below(9) == 0 { bench.handler.watches.last?.end() }
                if random.below(12) == 0 { bench.pass(.seconds(Int64(random.below(40)))) }
                if random.below(40) == 0 {
                    bench.scope.isDraining = true
                    bench.connection.speech.drain()
                }
                bench.step()
                if random.below(3) == 0 { _ = bench.scope.endTurn() }
            }
            guard bench.leaves() else { return "something is held behind step \(step)" }
            requests += bench.handler.requests.count
            watches += bench.handler.watches.count
        }
        // Otherwise it would be the protocol that is looked at, and not the service.
        let isDeep = requests > steps && watches > steps / 4
        return isDeep ? nil : "only \(requests) requests and \(watches) watches in \(steps) steps"
    }

    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: Int, _ payload: [UInt8]) -> [UInt8] {
        let count = payload.count
        return [UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags]
            + [24, 16, 8, 0].map { UInt8(stream >> $0 & 255) } + payload
    }

    /// A head in HPACK without the tables that would have to be known: RFC 7541, 6.1 and 6.2.2.
    private static func head(_ random: inout SeededRandom) -> [UInt8] {
        // :method GET or POST, :scheme http.
        var block: [UInt8] = [random.below(3) == 0 ? 0x83 : 0x82, 0x86]
        func add(_ name: UInt8, _ value: String) {
            block += [name, UInt8(value.utf8.count)] + value.utf8
        }
        let paths = ["/echo", "/watch", "/held", "/empty", "/big?size=70000", "/%zz"]
        add(0x04, paths[random.below(6)])
        add(0x01, "a")
        if random.below(10) == 0 { block += [0x0F, 0x0D, 3] + "301".utf8 }
        return block
    }

    /// - Parameter next: the stream that a client by the book would begin.
    private static func frame(_ random: inout SeededRandom, next: inout Int) -> [UInt8] {
        let stream = random.below(40) > 0 ? max(1, next - 2 * random.below(4)) : random.below(20)
        switch random.below(24) {
        case 0...12:
            if random.below(40) > 0 { next += 2 }
            return frame(1, [4, 5, 5, 5][random.below(4)], next, head(&random))
        case 13...16:
            return frame(
                0, UInt8(random.below(2)), stream,
                [UInt8](repeating: 9, count: random.below(200)))
        case 17...18: return frame(3, 0, stream, [0, 0, 0, 8])
        case 19: return frame(8, 0, random.below(2) == 0 ? 0 : stream, [0, 0, 0x7F, 0xFF])
        case 20...22: return frame(6, UInt8(random.below(2)), 0, [UInt8](repeating: 0, count: 8))
        default:
            return frame(
                UInt8(random.below(11)), UInt8(random.below(256)), stream,
                (0..<random.below(20)).map { _ in UInt8(random.below(256)) })
        }
    }
}

extension ArraySlice where Element == UInt8 {
    fileprivate func withContiguousBytes<R>(_ body: (Bytes) -> R) -> R {
        Array(self).withBytes(body)
    }
}
