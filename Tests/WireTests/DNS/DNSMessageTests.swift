import Base
import Testing

@testable import Wire

private func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.filter { !$0.isWhitespace }
    return stride(from: 0, to: digits.count, by: 2).compactMap { at in
        UInt8(digits.dropFirst(at).prefix(2), radix: 16)
    }
}

private let shop: DNSName = "cart.shop.mesh"

@Suite struct DNSMessageTests {
    @Test func namesAreComparedWithoutCaseAndKeepIt() throws {
        let loud: DNSName = "CaRt.Shop.MESH."
        #expect(loud == shop && loud.hashValue == shop.hashValue)
        #expect("\(loud)" == "CaRt.Shop.MESH.")
        #expect(
            loud.labels.map { String(decoding: $0, as: UTF8.self) } == ["cart", "shop", "mesh"])
        #expect(loud.labels(below: "mesh")?.count == 2)
        #expect(loud.labels(below: "esh") == nil)
        let zone: DNSName = "mesh"
        #expect(zone.labels(below: shop) == nil)
        let dot = "."
        #expect(DNSName(dot) == .root && "\(DNSName.root)" == ".")
        let dotted = try #require(DNSName(labels: [[0x2E, 0x41]]))
        #expect("\(dotted)" == "\\046A.")
    }

    @Test(arguments: ["", "..", "a..b", ".a", String(repeating: "a", count: 64)])
    func whatIsNoName(text: String) { #expect(DNSName(text) == nil) }

    @Test func aNameHasAtMost255Bytes() {
        // Three of 64 bytes, one of 62, and the root.
        let long = [63, 63, 63, 61].map { [UInt8](repeating: 0x61, count: $0) }
        #expect(DNSName(labels: long)?.wire.count == 255)
        #expect(DNSName(labels: long + [[0x61]]) == nil)
    }

    /// RFC 1035, 4.1.4: F.ISI.ARPA, FOO.F.ISI.ARPA, ARPA and the root, at 20, 40, 64 and 92; here
    /// closer together.
    @Test func pointersAreReadAsTheStandardHasThem() throws {
        let names = bytes("01 46 03 495349 04 41525041 00  03 464F4F C000  C006  00")
        var reader = DNSReader(names)
        for text in ["F.ISI.ARPA.", "FOO.F.ISI.ARPA.", "ARPA.", "."] {
            #expect(try "\(reader.name())" == text)
        }
        #expect(reader.isAtEnd)
    }

    /// A question of `dig +norec -t srv cart.shop.mesh`, byte for byte.
    @Test func aQuestionOfDig() throws {
        let question = bytes(
            "1C2D 0020 0001 0000 0000 0001 04 63617274 04 73686F70 04 6D657368 00 0021 0001"
                + "00 0029 04D0 0000 0000 000C 000A 0008 0102030405060708")
        let message = try DNSMessage(question)
        #expect(message.header.id == 0x1C2D && message.header.isAuthentic)
        #expect(!message.header.isResponse && !message.header.recursionDesired)
        #expect(message.questions == [DNSQuestion(shop, .srv)])
        let value = try #require(message.extension)
        #expect(value.payload == 1232 && value.version == 0 && !value.wantsSignatures)
        #expect(value.options == [.init(code: 10, bytes: [1, 2, 3, 4, 5, 6, 7, 8])])
        #expect(message.encoded() == question)
        #expect(DNSQuestion(of: question) == message.questions[0])
    }

    static func everything() -> DNSMessage {
        var message = DNSMessage(id: 7, DNSQuestion(shop, .any), recursionDesired: true)
        message.header.isResponse = true
        message.header.isAuthoritative = true
        message.header.recursionAvailable = true
        message.code = .badVersion
        message.answers = [
            DNSRecord(shop, .a, life: 1, .address([127, 0, 0, 1])),
            DNSRecord(shop, .aaaa, life: 1, .address([UInt8](repeating: 9, count: 16))),
            DNSRecord(
                shop, .srv, life: 2,
                .service(priority: 1, weight: 2, port: 3, target: "cart-1.cart.shop.mesh")),
            DNSRecord(shop, .mx, life: 3, .exchange(preference: 5, "mail.shop.mesh")),
            DNSRecord(shop, .txt, life: 3, .other([3, 0x61, 0x62, 0x63])),
            DNSRecord("x.mesh", .cname, life: 3, .name(shop)),
            DNSRecord("x.mesh", .a, life: 3, .other([1]), class: DNSClass(rawValue: 3)),
        ]
        message.authorities = [
            DNSRecord(
                "mesh", .soa, life: 4,
                .start(
                    primary: "mesh", mailbox: "h.mesh", serial: 1 << 31, refresh: 2, retry: 3,
                    expire: 4, minimum: 5)), DNSRecord("mesh", .ns, life: 4, .name("mesh")),
        ]
        message.additionals = [
            DNSRecord("cart-1.cart.shop.mesh", .a, life: 1, .address([127, 0, 0, 2]))
        ]
        message.extension = DNSExtension(payload: 1232)
        message.extension?.wantsSignatures = true
        return message
    }

    @Test func everythingComesBackAsItWas() throws {
        let message = Self.everything()
        let bytes = message.encoded()
        #expect(try DNSMessage(bytes) == message)
        // Each name but the targets of SRV and the first is two bytes or begins with labels that
        // are new; without pointers it would be longer by far.
        #expect(bytes.count < 300)
    }

    @Test func whatIsCutSaysSo() throws {
        let message = Self.everything()
        let whole = message.encoded().count
        for limit in 64...whole {
            let bytes = message.encoded(limit: limit)
            #expect(bytes.count <= limit)
            let cut = try DNSMessage(bytes)
            #expect(cut.extension == message.extension && cut.code == message.code)
            let isWhole =
                cut.answers.count == message.answers.count
                && cut.authorities.count == message.authorities.count
            #expect(cut.header.isTruncated == !isWhole)
            #expect(Array(message.answers.prefix(cut.answers.count)) == cut.answers)
        }
    }

    private static let head = "0001 0000 0001 0000 0000 0000"
    /// Four labels of 63 bytes.
    private static let long = String(
        repeating: "3F" + String(repeating: "61", count: 63), count: 4)
    private static let broken: [(String, DNSError)] = [
        ("0001 0000 0001 0000 0000", .short), (head, .short), ("\(head)00 0001", .short),
        ("\(head)03 6161", .short), ("\(head)00 0001 0001 00", .surplus),
        ("\(head)40 0001 0001", .label), ("\(head)80 0001 0001", .label),
        ("\(head)C0", .short),
        // To itself, and ahead.
        ("\(head)C00C 0001 0001", .pointer), ("\(head)01 61 C00C 0001 0001", .pointer),
        ("\(head)C00F 00 0001 0001", .pointer),
        ("\(head)\(long)00", .longName),
        ("0001 0000 0000 0001 0000 0000 00 0001 0001 00000000 0003 010203", .data),
        ("0001 0000 0000 0001 0000 0000 00 0002 0001 00000000 0001 0000", .surplus),
        ("0001 0000 0000 0001 0000 0000 00 0002 0001 00000000 0002 0000", .data),
        ("0001 0000 0000 0001 0000 0000 00 0001 0001 00000000 0004 0102", .short),
        ("0001 0000 0000 0001 0000 0000 00 0029 04D0 00000000 0000", .misplacedOption),
        (
            "0001 0000 0000 0000 0000 0002 00 0029 04D0 00000000 0000 00 0029 04D0 00000000 0000",
            .misplacedOption
        ),
        ("0001 0000 0000 0000 0000 0001 01 61 00 0029 04D0 00000000 0000", .misplacedOption),
        ("0001 0000 0000 0000 0000 0001 00 0029 04D0 00000000 0005 0001 0000 00", .short),
    ]

    @Test(arguments: broken)
    func whatIsNoMessage(hex: String, error: DNSError) {
        #expect(throws: error) { try DNSMessage(bytes(hex)) }
    }

    /// Names of pointers that lead to pointers end, however many there are.
    @Test func aChainOfPointersHasABound() {
        var message = bytes("0001 0000 0001 0000 0000 0000 00")
        for at in 0..<200 {
            let target = at == 0 ? 12 : 13 + 2 * (at - 1)
            message += [0xC0 | UInt8(target >> 8), UInt8(target & 0xFF)]
        }
        var reader = DNSReader(message, at: message.count - 2)
        #expect(throws: DNSError.longName) { try reader.name() }
        var near = DNSReader(message, at: 13 + 2 * 100)
        #expect(throws: Never.self) { try near.name() }
    }
}
