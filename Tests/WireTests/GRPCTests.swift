import Base
import Support
import Testing
import Wire

/// What `write` writes, as text.
private func written(_ write: (inout ByteWriter) -> Void) -> String {
    var memory = [UInt8](repeating: 0, count: 256)
    let count = unsafe memory.withUnsafeMutableBytes { memory in
        var writer = unsafe ByteWriter(memory)
        write(&writer)
        #expect(!writer.overflowed)
        return writer.count
    }
    return String(decoding: memory[0..<count], as: UTF8.self)
}

@Suite struct GRPCStatusTests {
    // grpc/doc/statuscodes.md.
    @Test(arguments: [
        (0, "OK"), (1, "CANCELLED"), (2, "UNKNOWN"), (3, "INVALID_ARGUMENT"),
        (4, "DEADLINE_EXCEEDED"), (5, "NOT_FOUND"), (6, "ALREADY_EXISTS"),
        (7, "PERMISSION_DENIED"), (8, "RESOURCE_EXHAUSTED"), (9, "FAILED_PRECONDITION"),
        (10, "ABORTED"), (11, "OUT_OF_RANGE"), (12, "UNIMPLEMENTED"), (13, "INTERNAL"),
        (14, "UNAVAILABLE"), (15, "DATA_LOSS"), (16, "UNAUTHENTICATED"),
    ])
    func names(number: UInt8, name: String) {
        #expect(GRPCStatus(rawValue: number).map { "\($0.name)" } == name)
        #expect(
            Array(String(number).utf8).withBytes { GRPCStatus(field: $0) }
                == GRPCStatus(rawValue: number))
    }

    @Test(arguments: ["", "17", "-1", "00", "05", "256", "1 ", "x", "100"])
    func whatIsNoStatusIsUnknown(field: String) {
        #expect(Array(field.utf8).withBytes { GRPCStatus(field: $0) } == .unknown)
    }

    // grpc/doc/http-grpc-status-mapping.md.
    @Test(arguments: [
        (400, GRPCStatus.internal), (401, .unauthenticated), (403, .permissionDenied),
        (404, .unimplemented), (429, .unavailable), (502, .unavailable), (503, .unavailable),
        (504, .unavailable), (200, .unknown), (302, .unknown), (408, .unknown), (500, .unknown),
        (501, .unknown),
    ])
    func ofHTTP(status: Int, expected: GRPCStatus) {
        #expect(GRPCStatus(httpStatus: status) == expected)
    }

    // grpc/doc/PROTOCOL-HTTP2.md, "Errors".
    @Test(arguments: [
        (0, GRPCStatus.internal), (1, .internal), (2, .internal), (3, .internal), (4, .internal),
        (5, .unknown), (6, .internal), (7, .unavailable), (8, .cancelled), (9, .internal),
        (10, .internal), (11, .resourceExhausted), (12, .permissionDenied), (13, .unknown),
        (99, .internal),
    ])
    func ofAReset(code: Int, expected: GRPCStatus) {
        #expect(GRPCStatus(code: HTTP2Code(code: UInt32(code))) == expected)
    }

    @Test(arguments: [
        ("application/grpc", true), ("application/grpc+proto", true),
        ("Application/GRPC; charset=x", true), ("application/grpc ;x=y", true),
        ("application/grpc-web", false), ("application/grpcx", false), ("application/json", false),
        ("", false),
    ])
    func contentTypes(value: String, isIt: Bool) {
        #expect(Array(value.utf8).withBytes { isGRPC(contentType: $0) } == isIt)
    }
}

@Suite struct GRPCTimeoutTests {
    @Test(arguments: [
        ("1n", Duration.nanoseconds(1)), ("99999999n", .nanoseconds(99_999_999)),
        ("250u", .microseconds(250)), ("10m", .milliseconds(10)), ("1S", .seconds(1)),
        ("2M", .seconds(120)), ("3H", .seconds(10_800)), ("0S", .zero), ("00000001S", .seconds(1)),
        // Past what 64 bits hold.
        ("99999999H", .infinite), ("99999999M", .infinite),
    ])
    func spans(text: String, span: Duration) {
        #expect(Array(text.utf8).withBytes { GRPCTimeout.parse($0) } == span)
    }

    @Test(arguments: [
        "", "1", "S", "1s", "1h", "123456789S", "-1S", "+1S", "1.5S", " 1S", "1S ", "1 S", "1mS",
    ])
    func whatIsNone(text: String) {
        #expect(Array(text.utf8).withBytes { GRPCTimeout.parse($0) } == nil)
    }

    @Test(arguments: [
        (Duration.nanoseconds(-5), "1n"), (.zero, "1n"), (.nanoseconds(99_999_999), "99999999n"),
        (.nanoseconds(100_000_000), "100000u"), (.nanoseconds(100_000_999), "100000u"),
        (.seconds(99), "99000000u"), (.seconds(100), "100000m"), (.seconds(100_000), "100000S"),
        (.seconds(100_000_000), "1666666M"), (.infinite, "38430716M"),
        (.nanoseconds(.max), "99999999M"),
    ])
    func writes(span: Duration, text: String) {
        #expect(written { GRPCTimeout.write(span, to: &$0) } == text)
    }
}

@Suite struct GRPCTextTests {
    @Test(arguments: [
        ("plain", "plain"), ("100%", "100%25"), ("a\nb", "a%0Ab"), ("é~ \u{7F}", "%C3%A9~ %7F"),
        ("", ""),
    ])
    func thereAndBack(text: String, field: String) {
        #expect(
            written { out in Array(text.utf8).withBytes { GRPCText.write($0, to: &out) } } == field)
        #expect(Array(field.utf8).withBytes { GRPCText.decode($0) } == Array(text.utf8))
    }

    @Test(arguments: [
        ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%c3%A9", "é"), ("a%", "a%"), ("%%41", "%A"),
    ])
    func aBadMessageIsReadAsFarAsItCan(field: String, text: String) {
        #expect(Array(field.utf8).withBytes { GRPCText.decode($0) } == Array(text.utf8))
    }
}

/// The messages of a body, and why it holds no more.
private struct Reading: Equatable {
    var messages: [[UInt8]] = []
    var flags: [Bool] = []
    var error: GRPCFramingError?
}

/// What `GRPCFraming` finds in a body that comes in pieces.
private func messages(_ body: [UInt8], cuts: [Int] = [], limit: Int) -> Reading {
    var reading = Reading()
    var framing = GRPCFraming(limit: limit)
    var message: [UInt8] = []
    do throws(GRPCFramingError) {
        var start = 0
        for end in cuts + [body.count] {
            while start < end {
                let piece = try next(&framing, Array(body[start..<end]))
                if piece.begins { #expect(message.isEmpty) }
                message += body[start + piece.payload.lowerBound..<start + piece.payload.upperBound]
                if piece.ends {
                    reading.messages.append(message)
                    reading.flags.append(framing.isCompressed)
                    #expect(message.count == framing.messageBytes)
                    message = []
                }
                start += piece.used
            }
        }
        try framing.finish()
    } catch {
        reading.error = error
    }
    return reading
}

private func next(_ framing: inout GRPCFraming, _ bytes: [UInt8]) throws(GRPCFramingError)
    -> GRPCFraming.Piece
{
    var error: GRPCFramingError?
    let piece: GRPCFraming.Piece? = bytes.withBytes { bytes in
        do throws(GRPCFramingError) {
            return try framing.next(bytes)
        } catch let found {
            error = found
            return nil
        }
    }
    if let error { throw error }
    guard let piece else { throw .truncated }
    return piece
}

@Suite struct GRPCFramingTests {
    @Test(arguments: [
        ([UInt8(2), 0, 0, 0, 0], GRPCFramingError.badFlag),
        ([255], .badFlag),
        ([0, 0, 0, 0, 11], .tooLarge),
        ([1, 255, 255, 255, 255], .tooLarge),
        ([0, 0, 0, 0, 3, 1, 2], .truncated),
        ([0], .truncated),
    ])
    func whatIsNoMessage(body: [UInt8], error: GRPCFramingError) {
        #expect(messages(body, limit: 10).error == error)
    }

    @Test func anEmptyMessageBeginsAndEnds() {
        let reading = messages([1, 0, 0, 0, 0], limit: 0)
        #expect(reading == Reading(messages: [[]], flags: [true]))
    }

    @Test func prefixes() {
        let text = written { GRPCFraming.writePrefix(0x0102_0304, to: &$0) }
        #expect(Array(text.utf8) == [0, 1, 2, 3, 4])
    }
}

/// Framing against a reader of whole bodies that shares no code with it. One body a step.
@Suite struct GRPCFramingFuzz {
    @Test func bodiesAgreeWithTheReference() {
        let budget = FuzzBudget.current(seed: 4, steps: 4000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("GRPCFramingFuzz"))")
        }
    }

    private static let limit = 300

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        for step in 0..<steps {
            var body: [UInt8] = []
            for _ in 0..<random.below(4) {
                let count = random.below(random.below(8) == 0 ? limit + 2 : 12)
                body += [UInt8(random.below(2)), 0, 0, UInt8(count >> 8), UInt8(count & 255)]
                body += (0..<count).map { _ in UInt8(random.below(256)) }
            }
            if random.below(3) == 0, !body.isEmpty {
                body[random.below(body.count)] = UInt8(random.below(256))
            }
            if random.below(3) == 0 { body.removeLast(random.below(body.count + 1)) }
            let cuts = (0..<random.below(5)).map { _ in random.below(body.count + 1) }.sorted()
            let found = messages(body, cuts: cuts, limit: limit)
            if found != reference(body) {
                return "step \(step): \(found) in \(body) cut at \(cuts)"
            }
        }
        return nil
    }

    private static func reference(_ body: [UInt8]) -> Reading {
        var reading = Reading()
        var rest = body[...]
        while let flag = rest.first {
            guard flag < 2 else {
                reading.error = .badFlag
                return reading
            }
            let prefix = rest.prefix(5)
            let size = prefix.dropFirst().reduce(0) { $0 << 8 + Int($1) }
            if prefix.count == 5, size > limit {
                reading.error = .tooLarge
                return reading
            }
            guard prefix.count == 5, rest.count >= 5 + size else {
                reading.error = .truncated
                return reading
            }
            reading.messages.append(Array(rest.dropFirst(5).prefix(size)))
            reading.flags.append(flag == 1)
            rest = rest.dropFirst(5 + size)
        }
        return reading
    }
}

@Suite struct ProtobufTests {
    // Cut from the encoding guide's own examples (protobuf.dev, "Encoding").
    @Test func fields() throws {
        var writer = ProtobufWriter()
        writer.append(1, 150)
        writer.append(2, text: "testing")
        writer.append(3) { $0.append(1, 3) }
        #expect(
            writer.bytes == [
                0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6E, 0x67, 0x1A, 0x02,
                0x08, 0x03,
            ])
        let found = writer.bytes.withBytes { bytes in
            var found: [String] = []
            var reader = ProtobufReader(bytes)
            while let field = reader.next() {
                switch field.value {
                case .number(let number): found.append("\(field.number)=\(number)")
                case .bytes(let range): found.append("\(field.number)=\(bytes[range].count)B")
                }
            }
            return reader.isWellFormed ? found : []
        }
        #expect(found == ["1=150", "2=7B", "3=2B"])
    }

    @Test(arguments: [
        [UInt8(0x08)], [0x08, 0x80], [0x12, 5, 1], [0x00, 1], [0x0B], [0x0D, 1, 2, 3], [0x09, 1],
        [0x08] + [UInt8](repeating: 0xFF, count: 10) + [1],
        [0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
    ])
    func whatIsNoMessage(bytes: [UInt8]) {
        let isWellFormed = bytes.withBytes { bytes in
            var reader = ProtobufReader(bytes)
            while reader.next() != nil {}
            return reader.isWellFormed
        }
        #expect(!isWellFormed)
    }

    @Test func fixedNumbersAreRead() {
        let numbers = ([0x0D, 1, 0, 0, 2] + [0x11, 3, 0, 0, 0, 0, 0, 0, 4]).withBytes { bytes in
            var reader = ProtobufReader(bytes)
            return [reader.next()?.value, reader.next()?.value]
        }
        #expect(numbers == [.number(0x0200_0001), .number(0x0400_0000_0000_0003)])
    }
}
