import Base
import Support
import Testing

@testable import Wire

@Suite struct WebSocketTests {
    /// What a piece of a connection came to, with the data unmasked and put together.
    enum Seen: Equatable {
        case message(isText: Bool, [UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(UInt16?)
        case invalid(WebSocketError)
    }

    /// Reads `pieces` to the end or to the first error.
    static func read(_ pieces: [[UInt8]], masked: Bool, limit: Int = 1 << 20) -> [Seen] {
        var reader = WebSocketReader(takesMasked: masked, messageLimit: limit)
        var seen: [Seen] = []
        var message: [UInt8] = []
        var isText = false
        for piece in pieces {
            let ended = piece.withBytes { bytes in
                var used = 0
                while true {
                    switch reader.next(bytes, &used) {
                    case .more:
                        #expect(used == bytes.count)
                        return false
                    case .begin(let text):
                        message = []
                        isText = text
                    case .data(let range):
                        message += collect(range.count) { reader.unmask(bytes[range], to: &$0) }
                    case .end: seen.append(.message(isText: isText, message))
                    case .ping: seen.append(.ping(control(reader)))
                    case .pong: seen.append(.pong(control(reader)))
                    case .close(let code): seen.append(.close(code))
                    case .invalid(let error):
                        seen.append(.invalid(error))
                        return true
                    }
                }
            }
            if ended { break }
        }
        return seen
    }

    private static func collect(_ size: Int, _ write: (inout ByteWriter) -> Void) -> [UInt8] {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(size, 1), alignment: 8)
        defer { unsafe memory.deallocate() }
        var writer = unsafe ByteWriter(memory)
        write(&writer)
        #expect(!writer.overflowed)
        return unsafe Array(memory[..<writer.count])
    }

    private static func control(_ reader: WebSocketReader) -> [UInt8] {
        collect(reader.controlLength) { reader.appendControl(to: &$0) }
    }

    /// A frame, masked where there is a key.
    static func frame(
        _ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool = true, key: UInt32? = nil
    ) -> [UInt8] {
        let head = collect(WebSocketFrame.headLimit) {
            WebSocketFrame.append(
                opcode, isFinal: isFinal, length: payload.count, key: key, to: &$0)
        }
        guard let key else { return head + payload }
        return head
            + payload.enumerated().map { i, byte in
                byte ^ UInt8(truncatingIfNeeded: key >> UInt32(24 - 8 * (i & 3)))
            }
    }

    private static func everyCut(_ bytes: [UInt8], _ body: ([[UInt8]], Comment) -> Void) {
        let step = max(1, bytes.count / 300)
        for cut in stride(from: 0, through: bytes.count, by: step) {
            body([Array(bytes[..<cut]), Array(bytes[cut...])], "cut at \(cut)")
        }
        if bytes.count < 1000 { body(bytes.map { [$0] }, "byte by byte") }
    }

    // MARK: What RFC 6455 shows

    /// RFC 6455, section 5.7.
    static let examples: [(bytes: [UInt8], masked: Bool, Seen)] = [
        (
            [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F], false,
            .message(isText: true, Array("Hello".utf8))
        ),
        (
            [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58], true,
            .message(isText: true, Array("Hello".utf8))
        ),
        (
            [0x01, 0x03, 0x48, 0x65, 0x6C, 0x80, 0x02, 0x6C, 0x6F], false,
            .message(isText: true, Array("Hello".utf8))
        ),
        ([0x89, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F], false, .ping(Array("Hello".utf8))),
        (
            [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58], true,
            .pong(Array("Hello".utf8))
        ),
        (
            [0x82, 0x7E, 0x01, 0x00] + [UInt8](repeating: 7, count: 256), false,
            .message(isText: false, [UInt8](repeating: 7, count: 256))
        ),
        (
            [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0] + [UInt8](repeating: 7, count: 65_536), false,
            .message(isText: false, [UInt8](repeating: 7, count: 65_536))
        ),
    ]

    @Test func theExamplesOfTheStandardAreReadHoweverTheyAreCut() {
        for (bytes, masked, seen) in Self.examples {
            Self.everyCut(bytes) { #expect(Self.read($0, masked: masked) == [seen], $1) }
        }
    }

    @Test func theExamplesOfTheStandardAreWritten() {
        let hello = Array("Hello".utf8)
        #expect(Self.frame(.text, hello) == Self.examples[0].bytes)
        #expect(Self.frame(.text, hello, key: 0x37FA_213D) == Self.examples[1].bytes)
        let parts =
            Self.frame(.text, Array("Hel".utf8), isFinal: false)
            + Self.frame(.continuation, Array("lo".utf8))
        #expect(parts == Self.examples[2].bytes)
        for i in [5, 6] {
            guard case .message(_, let payload) = Self.examples[i].2 else { continue }
            #expect(Self.frame(.binary, payload) == Self.examples[i].bytes)
        }
    }

    /// RFC 6455, section 1.3; FIPS 180's own messages.
    @Test func handshakeKeys() {
        let key = Array("dGhlIHNhbXBsZSBub25jZQ==".utf8)
        #expect(key.withBytes { WebSocketHandshake.accept($0) } == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(key.withBytes { WebSocketHandshake.isKey($0) })
        for wrong in ["", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25j====", "AAAA"] {
            #expect(!Array(wrong.utf8).withBytes { WebSocketHandshake.isKey($0) })
        }
        func hex(_ text: String) -> String {
            SHA1.digest(Array(text.utf8)).map {
                let digits = String($0, radix: 16)
                return digits.count == 1 ? "0" + digits : digits
            }.joined()
        }
        #expect(hex("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        #expect(hex("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(
            hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
                == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
        #expect(
            hex(String(repeating: "a", count: 1000)) == "291e9a6c66994949b57ba5e650361e98fc36b1ba")
    }

    // MARK: What is refused

    static let refused: [(bytes: [UInt8], masked: Bool, error: WebSocketError)] = [
        // Reserved bits and opcodes.
        ([0xC1, 0x00], false, .protocolError), ([0xA1, 0x00], false, .protocolError),
        ([0x91, 0x00], false, .protocolError), ([0x83, 0x00], false, .protocolError),
        ([0x87, 0x00], false, .protocolError), ([0x8B, 0x00], false, .protocolError),
        ([0x8F, 0x00], false, .protocolError),
        // A server's frame that is masked, a client's that is not.
        ([0x81, 0x80, 1, 2, 3, 4], false, .protocolError), ([0x81, 0x00], true, .protocolError),
        // Control frames in parts, and too long.
        ([0x09, 0x00], false, .protocolError), ([0x08, 0x00], false, .protocolError),
        ([0x89, 0x7E, 0x00, 0x7E], false, .protocolError),
        // Lengths that are not the shortest form, or negative.
        ([0x82, 0x7E, 0x00, 0x7D], false, .protocolError),
        ([0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], false, .protocolError),
        ([0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0], false, .protocolError),
        // A continuation of nothing; a message within a message.
        ([0x80, 0x00], false, .protocolError),
        ([0x01, 0x01, 0x61, 0x81, 0x00], false, .protocolError),
        ([0x02, 0x00, 0x82, 0x00], false, .protocolError),
        // Close frames.
        ([0x88, 0x01, 0x03], false, .protocolError),
        ([0x88, 0x02, 0x03, 0xE7], false, .protocolError),
        ([0x88, 0x02, 0x03, 0xEC], false, .protocolError),
        ([0x88, 0x02, 0x03, 0xED], false, .protocolError),
        ([0x88, 0x02, 0x03, 0xEE], false, .protocolError),
        ([0x88, 0x02, 0x03, 0xF7], false, .protocolError),
        ([0x88, 0x02, 0x07, 0xD0], false, .protocolError),
        ([0x88, 0x02, 0x13, 0x88], false, .protocolError),
        ([0x88, 0x03, 0x03, 0xE8, 0xFF], false, .invalidText),
        ([0x88, 0x03, 0x03, 0xE8, 0xC3], false, .invalidText),
        // Text that is none.
        ([0x81, 0x01, 0x80], false, .invalidText), ([0x81, 0x02, 0xC0, 0x80], false, .invalidText),
        ([0x81, 0x03, 0xE0, 0x80, 0x80], false, .invalidText),
        ([0x81, 0x03, 0xED, 0xA0, 0x80], false, .invalidText),
        ([0x81, 0x04, 0xF4, 0x90, 0x80, 0x80], false, .invalidText),
        ([0x81, 0x04, 0xF0, 0x8F, 0x80, 0x80], false, .invalidText),
        ([0x81, 0x01, 0xFF], false, .invalidText), ([0x81, 0x01, 0xC3], false, .invalidText),
        ([0x01, 0x01, 0xC3, 0x80, 0x01, 0x41], false, .invalidText),
        // More than is taken, at once or in parts.
        ([0x82, 0x7E, 0x04, 0x01], false, .tooLong),
        ([0x02, 0x01, 0x61, 0x80, 0x7E, 0x04, 0x00], false, .tooLong),
        ([0x82, 0x7F, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], false, .tooLong),
    ]

    @Test func whatTheStandardForbidsIsRefusedHoweverItIsCut() {
        for (bytes, masked, error) in Self.refused {
            Self.everyCut(bytes) { pieces, comment in
                let seen = Self.read(pieces, masked: masked, limit: 1024)
                #expect(seen == [.invalid(error)], "\(bytes) \(comment)")
            }
        }
    }

    @Test func controlFramesMayStandWithinAMessageAndTextMayBeCutWithinACharacter() {
        let key: UInt32 = 0xA1B2_C3D4
        let text = Array("grüße, 世界 🌍".utf8)
        var bytes = Self.frame(.text, Array(text[..<3]), isFinal: false, key: key)
        bytes += Self.frame(.ping, [1, 2, 3], key: key)
        bytes += Self.frame(.continuation, [], isFinal: false, key: key)
        bytes += Self.frame(.continuation, Array(text[3...]), key: key)
        bytes += Self.frame(.pong, [], key: key)
        bytes += Self.frame(.close, [0x03, 0xE8] + Array("bye".utf8), key: key)
        // Passed over.
        bytes += [0xFF, 0xFF]
        Self.everyCut(bytes) {
            #expect(
                Self.read($0, masked: true)
                    == [.ping([1, 2, 3]), .message(isText: true, text), .pong([]), .close(1000)],
                $1)
        }
    }

    @Test func aMessageOfTheMostThatIsTakenIsTaken() {
        let payload = [UInt8](repeating: 1, count: 1024)
        #expect(
            Self.read([Self.frame(.binary, payload)], masked: false, limit: 1024)
                == [.message(isText: false, payload)])
        #expect(Self.read([[0x88, 0x00]], masked: false) == [.close(nil)])
    }
}
