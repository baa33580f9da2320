import Base
import ControlCore
import Model
import Support
import Testing
import Wire

/// A mesh of two namespaces: `shop/cart` with endpoints of every health, `default/web`, and
/// `shop/bytes` without endpoints.
func dnsMesh() -> MeshState {
    func endpoint(
        _ name: String, _ address: String, weight: Int = 1, health: MeshEndpoint.Health = .healthy
    ) -> MeshDeclaration {
        .endpoint(
            MeshEndpoint(
                name, in: "shop", service: "cart", address: address, weight: weight, health: health)
        )
    }
    return MeshState([
        .service(MeshService("cart", in: "shop")), .service(MeshService("web")),
        .service(MeshService("bytes", in: "shop", speech: .tcp)),
        endpoint("cart-1", "127.0.0.1:9001"), endpoint("cart-2", "127.0.0.2:9002", weight: 200_000),
        endpoint("cart-3", "127.0.0.1:9003", weight: 100_000), endpoint("cart-6", "[::1]:9006"),
        endpoint("cart-8", "127.0.0.8:9008", health: .unhealthy),
        endpoint("cart-9", "127.0.0.9:9009", health: .draining),
        .endpoint(MeshEndpoint("web-1", service: "web", address: "127.0.0.1:8001")),
    ])
}

@Suite struct DNSZoneTests {
    private func query(
        _ name: String, _ type: DNSType, payload: UInt16? = nil,
        class: DNSClass = .internet, recursion: Bool = false
    ) throws -> DNSMessage {
        var message = DNSMessage(
            id: 0xABCD, DNSQuestion(try #require(DNSName(name)), type, `class`),
            recursionDesired: recursion)
        message.extension = payload.map { DNSExtension(payload: $0) }
        return message
    }

    private func ask(
        _ message: DNSMessage, over transport: DNSZone.Transport = .udp,
        mesh: MeshState = dnsMesh(), seed: UInt64 = 1, forwards: Bool = false,
        isWell: (MeshName) -> Bool = { _ in true }
    ) throws -> DNSMessage {
        var zone = DNSZone(canForward: forwards, random: SeededRandom(seed: seed))
        let reply = zone.reply(
            to: message.encoded(), over: transport, in: mesh, serial: 42, isWell: isWell)
        guard case .answer(let bytes, _, _) = reply else {
            throw WireFailure.unexpected("\(reply)")
        }
        return try DNSMessage(bytes)
    }

    private func texts(_ records: [DNSRecord]) -> [String] {
        records.map { record in
            switch record.data {
            case .address(let bytes): bytes.map { "\($0)" }.joined(separator: ".")
            case .service(let priority, let weight, let port, let target):
                "\(priority) \(weight) \(port) \(target)"
            case .start(let primary, _, let serial, _, _, _, let minimum):
                "\(primary) \(serial) \(minimum)"
            default: "?"
            }
        }
    }

    @Test func aServiceIsTheAddressesOfItsHealthyEndpoints() throws {
        let answer = try ask(query("CART.shop.mesh", .a, recursion: true))
        #expect(answer.header.isResponse && answer.header.isAuthoritative)
        #expect(answer.header.id == 0xABCD && answer.header.recursionDesired)
        #expect(!answer.header.recursionAvailable && !answer.header.isTruncated)
        #expect("\(answer.questions[0].name)" == "CART.shop.mesh.")
        // Of two endpoints with one address it is said once (RFC 2181, 5).
        #expect(texts(answer.answers).sorted() == ["127.0.0.1", "127.0.0.2"])
        #expect(answer.answers.allSatisfy { $0.life == 1 && $0.type == .a })
        let six = try ask(query("cart.shop.mesh.", .aaaa))
        #expect(
            texts(six.answers) == [
                ([String](repeating: "0", count: 15) + ["1"]).joined(separator: ".")
            ])
        #expect(try texts(ask(query("web.mesh", .a)).answers) == ["127.0.0.1"])
        #expect(try texts(ask(query("web.default.mesh", .a)).answers) == ["127.0.0.1"])
    }

    @Test(arguments: ["cart.shop.mesh", "_http._tcp.cart.shop.mesh", "_X._TCP.cart.shop.mesh"])
    func portsAreInSRV(name: String) throws {
        let answer = try ask(query(name, .srv, payload: 4096))
        // 16 bits of weight: the greatest is the greatest there is, and nobody's share is none.
        #expect(
            texts(answer.answers).sorted() == [
                "0 1 9001 cart-1.cart.shop.mesh.", "0 1 9006 cart-6.cart.shop.mesh.",
                "0 32767 9003 cart-3.cart.shop.mesh.", "0 65535 9002 cart-2.cart.shop.mesh.",
            ])
        #expect(answer.additionals.count == 4 && answer.extension?.payload == 1232)
        for record in answer.answers {
            guard case .service(_, _, _, let target) = record.data else { continue }
            let there = answer.additionals.filter { $0.name == target }
            #expect(there.count == 1)
            let asked = try ask(query("\(target)", there[0].type))
            #expect(asked.answers == there)
        }
    }

    @Test func whateverItsHealthAnEndpointHasItsName() throws {
        #expect(try texts(ask(query("cart-8.cart.shop.mesh", .a)).answers) == ["127.0.0.8"])
        // It is the other one's name.
        #expect(try ask(query("cart-8.bytes.shop.mesh", .a)).code == .nameError)
    }

    private static let nothing: [(String, DNSType, DNSCode)] = [
        ("mesh", .a, .noError), ("shop.mesh", .a, .noError),
        ("bytes.shop.mesh", .a, .noError), ("bytes.shop.mesh", .srv, .noError),
        ("cart.shop.mesh", .txt, .noError), ("_tcp.cart.shop.mesh", .srv, .noError),
        ("_http._tcp.cart.shop.mesh", .a, .noError), ("cart-1.cart.shop.mesh", .aaaa, .noError),
        ("web.mesh", .aaaa, .noError), ("default.mesh", .a, .noError),
        ("cart.mesh", .a, .nameError), ("cart.shop.shop.mesh", .a, .nameError),
        ("nobody.mesh", .a, .nameError), ("nobody.shop.mesh", .srv, .nameError),
        ("_http._udp.cart.shop.mesh", .srv, .nameError), ("_http.cart.shop.mesh", .srv, .nameError),
        ("_http._tcp.nobody.mesh", .srv, .nameError), ("_tcp.mesh", .srv, .nameError),
        ("a.cart-1.cart.shop.mesh", .a, .nameError),
    ]

    @Test(arguments: nothing)
    func whereThereIsNothing(name: String, type: DNSType, code: DNSCode) throws {
        let answer = try ask(query(name, type))
        #expect(answer.code == code && answer.answers.isEmpty)
        #expect(answer.header.isAuthoritative && answer.additionals.isEmpty)
        // RFC 2308, 3: how long to believe it.
        #expect(texts(answer.authorities) == ["mesh. 42 1"])
        #expect(answer.authorities[0].type == .soa && answer.authorities[0].life == 1)
    }

    @Test func theZoneHasItsStartAndAnyIsAnsweredInShort() throws {
        #expect(try texts(ask(query("mesh", .soa)).answers) == ["mesh. 42 1"])
        #expect(try ask(query("mesh", .any)).answers.map(\.type) == [.soa])
        #expect(try ask(query("cart-6.cart.shop.mesh", .any)).answers.map(\.type) == [.aaaa])
        #expect(try ask(query("_x._tcp.web.mesh", .any)).answers.map(\.type) == [.srv])
    }

    @Test func checksLeaveOutWhoeverFailsThem() throws {
        let sick: Set = ["cart-2", "cart-3", "cart-6"]
        let answer = try ask(query("cart.shop.mesh", .srv)) { !sick.contains($0.name) }
        #expect(texts(answer.answers) == ["0 1 9001 cart-1.cart.shop.mesh."])
        let none = try ask(query("cart.shop.mesh", .a)) { _ in false }
        #expect(none.code == .noError && none.answers.isEmpty && none.authorities.count == 1)
    }

    @Test func whatWasKnownIsForgottenWhenTold() throws {
        var zone = DNSZone(canForward: false, random: SeededRandom(seed: 1))
        var mesh = dnsMesh()
        func count(_ zone: inout DNSZone) throws -> Int {
            let reply = zone.reply(
                to: try query("cart.shop.mesh", .srv).encoded(), over: .tcp, in: mesh, serial: 1)
            guard case .answer(let bytes, _, _) = reply else { return -1 }
            return try DNSMessage(bytes).answers.count
        }
        #expect(try count(&zone) == 4)
        mesh.remove(MeshKey(.endpoint, MeshName("cart-1", in: "shop")))
        zone.forget()
        #expect(try count(&zone) == 3)
    }

    @Test func everybodyIsFirstAboutAsOften() throws {
        var zone = DNSZone(canForward: false, random: SeededRandom(seed: 5))
        let bytes = try query("cart.shop.mesh", .srv).encoded()
        var first: [String: Int] = [:]
        for _ in 0..<4000 {
            let reply = zone.reply(to: bytes, over: .tcp, in: dnsMesh(), serial: 1)
            guard case .answer(let bytes, _, _) = reply else { continue }
            first[texts(try DNSMessage(bytes).answers)[0], default: 0] += 1
        }
        // Five deviations of a quarter of 4000: 5 × √750.
        #expect(first.count == 4 && first.values.allSatisfy { abs($0 - 1000) < 137 })
    }

    @Test func moreThanFitsIsCutOverUDPAndNotOverTCP() throws {
        var mesh = dnsMesh()
        for index in 0..<600 {
            mesh.declare(
                .endpoint(
                    MeshEndpoint(
                        "w-\(index)", service: "web",
                        address: "10.0.\(index / 250).\(index % 250):80"))
            )
        }
        func ask(_ type: DNSType, _ transport: DNSZone.Transport, _ payload: UInt16?) throws
            -> (answer: DNSMessage, size: Int)
        {
            var zone = DNSZone(canForward: false, random: SeededRandom(seed: 1))
            let reply = zone.reply(
                to: try query("web.mesh", type, payload: payload).encoded(), over: transport,
                in: mesh, serial: 1)
            guard case .answer(let bytes, _, let cut) = reply else {
                throw WireFailure.unexpected("\(reply)")
            }
            let answer = try DNSMessage(bytes)
            #expect(answer.header.isTruncated == cut)
            return (answer, bytes.count)
        }
        // 512 bytes without EDNS, and with too little said; else what is said, up to 1232.
        for (payload, limit) in [(nil, 512), (100, 512), (900, 900), (65_535, 1232)] {
            let (answer, size) = try ask(.a, .udp, payload.map { UInt16($0) })
            #expect(answer.header.isTruncated && size <= limit && size > limit - 16)
        }
        let (whole, _) = try ask(.srv, .tcp, nil)
        #expect(!whole.header.isTruncated && whole.answers.count == DNSZone.endpointLimit)
        #expect(whole.additionals.count == DNSZone.endpointLimit)
    }

    @Test func othersAreRefusedOrForwarded() throws {
        for recursion in [false, true] {
            let other = try query("example.org", .a, recursion: recursion)
            #expect(try ask(other).code == .refused)
            var zone = DNSZone(canForward: true, random: SeededRandom(seed: 1))
            let reply = zone.reply(to: other.encoded(), over: .udp, in: dnsMesh(), serial: 1)
            if recursion {
                #expect(reply == .forward(other.questions[0], limit: 512))
            } else {
                guard case .answer(_, .refused, _) = reply else {
                    Issue.record("\(reply)")
                    continue
                }
            }
        }
        #expect(try ask(query("cart.shop.mesh", .a), forwards: true).header.recursionAvailable)
        let chaos = try query("version.mesh", .txt, class: DNSClass(rawValue: 3))
        #expect(try ask(chaos).code == .refused)
    }

    @Test func whatIsNoQuestion() throws {
        var zone = DNSZone(canForward: true, random: SeededRandom(seed: 1))
        func reply(_ bytes: [UInt8]) -> DNSZone.Reply {
            zone.reply(to: bytes, over: .udp, in: dnsMesh(), serial: 1)
        }
        let good = try query("cart.shop.mesh", .a)
        #expect(reply(Array(good.encoded().prefix(11))) == .none)
        // Answering answers, two servers could keep each other busy for ever.
        var response = good
        response.header.isResponse = true
        #expect(reply(response.encoded()) == .none)
        var update = good
        update.header.opcode = 5
        #expect(try ask(update).code == .notImplemented)
        var two = good
        two.questions += good.questions
        #expect(try ask(two).code == .formatError)
        var none = good
        none.questions = []
        #expect(try ask(none).code == .formatError)
        guard case .answer(let bytes, .formatError, false) = reply(good.encoded() + [0]) else {
            Issue.record("what has something behind it was taken")
            return
        }
        let answer = try DNSMessage(bytes)
        #expect(answer.header.id == good.header.id && answer.questions.isEmpty)
        var future = try query("cart.shop.mesh", .a, payload: 1232)
        future.extension?.version = 1
        let refusal = try ask(future)
        #expect(refusal.code == .badVersion && refusal.answers.isEmpty)
        #expect(refusal.extension?.version == 0)
    }
}

/// Questions of every kind, whole and bent. One a step.
@Suite struct DNSZoneFuzz {
    @Test func everyAnswerIsOneToItsQuestion() {
        let budget = FuzzBudget.current(seed: 3, steps: 4000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("DNSZoneFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        var zone = DNSZone(canForward: true, random: random.split("zone"))
        let mesh = dnsMesh()
        let labels = ["mesh", "shop", "cart", "web", "cart-1", "_tcp", "_http", "MESH", "org"]
        for step in 0..<steps {
            let words = (0..<random.below(6)).map { _ in Array(labels[random.below(9)].utf8) }
            let name = DNSName(labels: words + (random.below(4) == 0 ? [] : [Array("mesh".utf8)]))
            var query = DNSMessage(
                id: UInt16(random.below(65_536)),
                DNSQuestion(
                    name ?? .root, DNSType(rawValue: [1, 28, 33, 6, 255, 16][random.below(6)])),
                recursionDesired: random.below(2) == 0)
            if random.below(2) == 0 {
                query.extension = DNSExtension(payload: UInt16(random.below(5000)))
            }
            var bytes = query.encoded()
            let isBent = random.below(2) == 0
            if isBent {
                for _ in 0...random.below(4) {
                    bytes[random.below(bytes.count)] = UInt8(random.below(256))
                }
            }
            let isDatagram = random.below(2) == 0
            let reply = zone.reply(
                to: bytes, over: isDatagram ? .udp : .tcp, in: mesh, serial: 1)
            switch reply {
            case .none: if bytes[2] & 0x80 == 0 { return "step \(step): no answer to \(bytes)" }
            case .forward(let question, _):
                if question.name.labels(below: DNSZone.name) != nil, question.class == .internet {
                    return "step \(step): \(bytes) would be asked elsewhere"
                }
            case .answer(let answer, _, _):
                guard let read = try? DNSMessage(answer), read.header.isResponse,
                    Array(answer.prefix(2)) == Array(bytes.prefix(2)),
                    answer.count <= (isDatagram ? DNSZone.payload : DNSMessage.byteLimit)
                else { return "step \(step): \(bytes) is answered \(answer)" }
                if !isBent, read.questions != query.questions {
                    return "step \(step): \(read.questions) is not \(query.questions)"
                }
            }
        }
        return nil
    }
}
