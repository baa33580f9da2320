import Base
import Support
import Testing

@testable import Wire

/// Messages of every kind, whole, cut short and bent. One message a step.
@Suite struct DNSFuzz {
    @Test func everyMessageComesBackOrIsRefused() {
        let budget = FuzzBudget.current(seed: 53, steps: 4000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("DNSFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        for step in 0..<steps {
            let message = message(&random)
            let whole = message.encoded()
            guard let back = try? DNSMessage(whole), back == message else {
                return "step \(step): \(message) did not come back"
            }
            let limit = 512 + random.below(300)
            let short = message.encoded(limit: limit)
            guard short.count <= limit, (try? DNSMessage(short)) != nil else {
                return "step \(step): cut to \(limit), \(message) is no message"
            }
            if let failure = bend(whole, &random) { return "step \(step): \(failure)" }
        }
        return nil
    }

    /// What may be anything is refused, or is a message like any other.
    private static func bend(_ whole: [UInt8], _ random: inout SeededRandom) -> String? {
        var bytes = whole
        switch random.below(4) {
        case 0: bytes.removeLast(random.below(bytes.count))
        case 1: bytes += (0...random.below(8)).map { _ in UInt8(random.below(256)) }
        default:
            for _ in 0...random.below(6) {
                // Pointers, lengths and letters alike.
                let value = random.below(3) == 0 ? 0xC0 : random.below(256)
                bytes[random.below(bytes.count)] = UInt8(value)
            }
        }
        _ = DNSQuestion(of: bytes)
        guard let read = try? DNSMessage(bytes) else { return nil }
        guard let again = try? DNSMessage(read.encoded()), again == read else {
            return "\(bytes) is read as \(read), which does not come back"
        }
        return nil
    }

    static func message(_ random: inout SeededRandom) -> DNSMessage {
        // Few labels: so names share their ends.
        let names = (0..<4).map { _ in name(&random) }
        func some(_ random: inout SeededRandom) -> DNSName { names[random.below(names.count)] }
        func records(_ random: inout SeededRandom) -> [DNSRecord] {
            (0..<random.below(7)).map { _ in record(some(&random), some(&random), &random) }
        }
        var message = DNSMessage(DNSHeader(id: UInt16(random.below(65_536))))
        message.header.isResponse = random.below(2) == 0
        message.header.opcode = UInt8(random.below(16))
        message.header.recursionDesired = random.below(2) == 0
        message.header.isCheckingDisabled = random.below(2) == 0
        message.questions = [
            DNSQuestion(some(&random), DNSType(rawValue: UInt16(random.below(300))))
        ]
        message.answers = records(&random)
        message.authorities = records(&random)
        message.additionals = records(&random)
        if random.below(2) == 0 {
            var value = DNSExtension(payload: UInt16(random.below(65_536)))
            value.version = UInt8(random.below(256))
            value.wantsSignatures = random.below(2) == 0
            value.options = (0..<random.below(3)).map { _ in
                .init(code: UInt16(random.below(20)), bytes: data(&random))
            }
            message.extension = value
        }
        message.code = DNSCode(rawValue: UInt16(random.below(message.extension == nil ? 16 : 4096)))
        return message
    }

    private static func record(
        _ name: DNSName, _ other: DNSName, _ random: inout SeededRandom
    ) -> DNSRecord {
        func short(_ random: inout SeededRandom) -> UInt16 { UInt16(random.below(65_536)) }
        let life = UInt32(random.below(1 << 31))
        func record(_ type: DNSType, _ data: DNSData) -> DNSRecord {
            DNSRecord(name, type, life: life, data)
        }
        func address(_ count: Int, _ random: inout SeededRandom) -> DNSData {
            .address((0..<count).map { _ in UInt8(random.below(256)) })
        }
        switch random.below(8) {
        case 0: return record(.a, address(4, &random))
        case 1: return record(.aaaa, address(16, &random))
        case 2: return record(.cname, .name(other))
        case 3: return record(.mx, .exchange(preference: short(&random), other))
        case 4:
            return record(
                .srv,
                .service(
                    priority: short(&random), weight: short(&random), port: short(&random),
                    target: other))
        case 5:
            return record(
                .soa,
                .start(
                    primary: other, mailbox: name, serial: UInt32(random.below(1 << 32)),
                    refresh: 1, retry: 2, expire: 3, minimum: 4))
        case 6: return DNSRecord(name, .a, life: life, .other(data(&random)), class: .any)
        default: return record(DNSType(rawValue: 256 + short(&random) % 100), .other(data(&random)))
        }
    }

    private static func name(_ random: inout SeededRandom) -> DNSName {
        let words = ["mesh", "shop", "cart", "a", "MESH", String(repeating: "x", count: 63)]
        let labels = (0..<random.below(4)).map { _ in Array(words[random.below(words.count)].utf8) }
        return DNSName(labels: labels) ?? .root
    }

    private static func data(_ random: inout SeededRandom) -> [UInt8] {
        (0..<random.below(20)).map { _ in UInt8(random.below(256)) }
    }
}
