import Base
import Testing

@testable import Secure

@Suite struct SessionTests {
    static let versions = [TLSMinimum.v12, .v13]

    /// The highest version is limited on the server's side only here: no option of ours does so.
    private func pair(
        _ minimum: TLSMinimum, server: (inout TLSServerOptions) -> Void = { _ in }
    ) throws -> Pair {
        let authority = try Authority()
        let pair = try Pair(authority, server: server)
        if minimum == .v12 { pair.client.limitToVersion12() }
        return pair
    }

    @Test(arguments: versions)
    func bothVersionsAreSpoken(_ version: TLSMinimum) throws {
        let pair = try pair(version)
        #expect(pair.handshake())
        let expected = version == .v13 ? "1.3" : "1.2"
        #expect("\(pair.client.version)" == expected && "\(pair.server.version)" == expected)
        #expect(pair.client.cipher == pair.server.cipher && !pair.client.cipher.isEmpty)
        #expect(!pair.client.isResumed && !pair.server.isResumed)
        #expect(pair.client.peer == "server.test" && pair.server.peer == nil)
        #expect(pair.client.agreedProtocol == nil)
    }

    @Test(arguments: versions, [1, 2, 5, 100])
    func piecesOfAnySizeWillDo(_ version: TLSMinimum, _ piece: Int) throws {
        let pair = try pair(version)
        #expect(pair.handshake(piece: piece))
        let text = Array("in pieces".utf8)
        let ciphertext = pair.client.encrypt(text)
        var plaintext: [UInt8] = []
        for byte in ciphertext {
            var input = [byte]
            _ = pair.server.receive(&input, plaintext: &plaintext)
            #expect(input.isEmpty)
        }
        #expect(plaintext == text)
    }

    @Test(arguments: versions)
    func recordsMayBeSplitAnywhere(_ version: TLSMinimum) throws {
        let pair = try pair(version)
        #expect(pair.handshake())
        let first = Array("the first record".utf8)
        let second = Array("and the second".utf8)
        var size = 100
        var cut = 0
        while cut <= size {
            let ciphertext = pair.client.encrypt(first) + pair.client.encrypt(second)
            size = ciphertext.count
            var plaintext: [UInt8] = []
            for part in [ciphertext[..<min(cut, size)], ciphertext[min(cut, size)...]] {
                var input = Array(part)
                #expect(pair.server.receive(&input, plaintext: &plaintext).last == .wantsMore)
            }
            #expect(plaintext == first + second, "cut at \(cut)")
            cut += 1
        }
        #expect(cut > first.count + second.count)
    }

    @Test(arguments: versions, [5000, 17_000, 64 * 1024, 100_000])
    func largeDataBothWays(_ version: TLSMinimum, _ room: Int) throws {
        let pair = try pair(version)
        #expect(pair.handshake())
        let data = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        var arrived: [UInt8] = []
        var wire = pair.client.encrypt(data, room: room)
        #expect(pair.server.receive(&wire, room: room, plaintext: &arrived).last == .wantsMore)
        #expect(arrived == data && wire.isEmpty)
        arrived = []
        pair.toClient += pair.server.encrypt(data, room: room)
        #expect(
            pair.client.receive(&pair.toClient, room: room, plaintext: &arrived).last
                == .wantsMore)
        #expect(arrived == data)
        #expect(pair.server.heldInputCount == 0 && pair.server.heldOutputCount == 0)
    }

    @Test func whatIsNotWantedIsHeld() throws {
        let pair = try pair(.v13)
        #expect(pair.handshake())
        let data = (0..<40_000).map { UInt8(truncatingIfNeeded: $0) }
        let wire = pair.client.encrypt(data)
        var memory = [UInt8](repeating: 0, count: 1000)
        var arrived: [UInt8] = []
        let rest = wire.withBytes { bytes in
            var input = bytes
            let outcome = unsafe memory.withUnsafeMutableBytes {
                unsafe pair.server.read(&input, into: $0)
            }
            #expect(outcome == .bytes(1000))
            pair.server.hold(input: input)
            return input.count
        }
        #expect(rest > 0 && pair.server.heldInputCount == rest)
        arrived += memory
        var nothing: [UInt8] = []
        #expect(pair.server.receive(&nothing, room: 777, plaintext: &arrived).last == .wantsMore)
        #expect(arrived == data && pair.server.heldInputCount == 0)
    }

    /// What the kernel did not take goes before all else, and nothing is encrypted meanwhile.
    @Test func whatIsNotSentIsHeld() throws {
        let pair = try pair(.v13)
        #expect(pair.handshake())
        let data = Array(repeating: UInt8(7), count: 10_000)
        var scratch = [UInt8](repeating: 0, count: 32_000)
        var used = 0
        let outcome = unsafe scratch.withUnsafeMutableBytes { memory in
            data.withBytes { unsafe pair.client.write($0, into: memory, used: &used) }
        }
        #expect(outcome == .bytes(10_000) && used > 10_000)
        Array(scratch[100..<used]).withBytes { pair.client.hold(output: $0) }
        #expect(pair.client.heldOutputCount == used - 100)
        var more = 0
        let refused = unsafe scratch.withUnsafeMutableBytes { memory in
            data.withBytes {
                unsafe pair.client.write(
                    $0, into: UnsafeMutableRawBufferPointer(memory), used: &more)
            }
        }
        #expect(refused == .wantsMore && more == 0)
        var wire = Array(scratch[..<100]) + pair.client.drain() + pair.client.encrypt(data)
        var arrived: [UInt8] = []
        #expect(pair.server.receive(&wire, plaintext: &arrived).last == .wantsMore)
        #expect(arrived == data + data)
    }

    @Test(arguments: versions)
    func anEndIsSaid(_ version: TLSMinimum) throws {
        let pair = try pair(version)
        #expect(pair.handshake())
        let text = Array("the end".utf8)
        pair.toServer += pair.client.encrypt(text)
        pair.client.close()
        pair.client.close()
        pair.toServer += pair.client.drain()
        var arrived: [UInt8] = []
        #expect(!pair.server.hasInput)
        let outcomes = pair.server.receive(&pair.toServer, plaintext: &arrived)
        #expect(outcomes == [.bytes(7), .closed] && arrived == text)
        #expect(pair.server.hasInput, "an end that has come is something to tell")
        #expect(pair.server.isClosedByPeer)
        // The other direction goes on, as over a socket that is half closed.
        pair.toClient += pair.server.encrypt(text)
        arrived = []
        _ = pair.client.receive(&pair.toClient, plaintext: &arrived)
        #expect(arrived == text && !pair.client.isClosedByPeer)
    }

    @Test func aMissingEndIsSeen() throws {
        let pair = try pair(.v13)
        #expect(pair.handshake())
        pair.toServer += pair.client.encrypt(Array("cut".utf8))
        #expect(pair.serverRead() == .wantsMore)
        #expect(!pair.server.isClosedByPeer)
    }

    // MARK: ALPN

    @Test(arguments: [
        (["h2", "http/1.1"], ["http/1.1", "h2"], "h2" as String?),
        (["h2", "http/1.1"], ["http/1.1"], "http/1.1"),
        (["http/1.1"], [], nil), ([], ["h2"], nil),
    ])
    func protocolsAreAgreedOn(_ ours: [String], _ offered: [String], _ agreed: String?) throws {
        let pair = try Pair(
            try Authority(), client: { $0.protocols = offered }, server: { $0.protocols = ours })
        #expect(pair.handshake())
        #expect(pair.client.agreedProtocol == agreed && pair.server.agreedProtocol == agreed)
    }

    @Test func noSharedProtocolIsRefused() throws {
        let pair = try Pair(
            try Authority(), client: { $0.protocols = ["h2"] },
            server: { $0.protocols = ["http/1.1"] })
        #expect(!pair.handshake())
        #expect(pair.serverFailure == .noSharedProtocol)
        #expect(pair.clientFailure == .alertNoApplicationProtocol)
    }

    @Test func versionsWithoutOverlapAreRefused() throws {
        let pair = try Pair(try Authority(), server: { $0.minimum = .v13 })
        pair.client.limitToVersion12()
        #expect(!pair.handshake())
        #expect(pair.serverFailure == .noSharedVersion)
        #expect(pair.clientFailure == .alertProtocolVersion)
    }

    @Test(arguments: ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "\u{1}\u{2}\u{3}nonsense of some kind"])
    func cleartextIsRefused(_ text: String) throws {
        let pair = try Pair(try Authority())
        pair.toServer = Array(text.utf8)
        pair.handshake()
        #expect(pair.serverFailure == .notTLS)
    }

    @Test func aCleartextServerIsRefused() throws {
        let pair = try Pair(try Authority())
        pair.toClient = Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)
        pair.handshake()
        #expect(pair.clientFailure == .notTLS)
    }
}
