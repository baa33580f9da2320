import Base
import Support
import Testing
import Wire

@Suite struct RateLimitMessageTests {
    private typealias Entry = RateLimitRequest.Entry

    private static func read(
        _ bytes: [UInt8]
    ) -> Result<RateLimitRequest, RateLimitMessageError> {
        bytes.withBytes { bytes in
            Result { () throws(RateLimitMessageError) in try RateLimitRequest(bytes) }
        }
    }

    private static func verdict(_ bytes: [UInt8]) -> RateLimitVerdict? {
        bytes.withBytes { RateLimitVerdict($0) }
    }

    /// As protoc's code writes it (`domain: "d"`, one descriptor of two entries, three hits).
    @Test func aQuestionAsOthersWriteIt() throws {
        let bytes: [UInt8] =
            [0x0A, 1, 0x64, 0x12, 14, 0x0A, 5, 0x0A, 1, 0x61, 0x12, 0, 0x0A, 5]
            + [0x0A, 1, 0x62, 0x12, 0, 0x18, 3]
        let question = RateLimitRequest(
            domain: "d", descriptors: [.init([Entry("a", ""), Entry("b", "")])], hits: 3)
        #expect(try Self.read(bytes).get() == question)
        #expect(question.bytes == bytes)
    }

    @Test func aQuestionIsReadAsItWasWritten() throws {
        let question = RateLimitRequest(
            domain: "shop",
            descriptors: [
                .init([Entry("route", "all")]),
                .init([Entry("user", "mia"), Entry("path", "/ä?b=c")]),
            ], hits: .max)
        #expect(try Self.read(question.bytes).get() == question)
    }

    @Test(
        arguments: [
            ([], RateLimitMessageError.incomplete),
            ([0x0A, 1, 0x64], .incomplete),
            ([0x0A, 1, 0x64, 0x12, 0], .incomplete),
            ([0x0A, 1, 0x64, 0x12, 2, 0x0A, 0], .incomplete),
            ([0x0A, 2, 0x64], .malformed),
            ([0x0A, 1, 0xFF], .malformed),
            ([0x08, 1], .malformed),
            ([0x10, 1], .malformed),
            ([0x1A, 0], .malformed),
            ([0x0B], .malformed),
        ] as [([UInt8], RateLimitMessageError)])
    func whatIsNoQuestion(_ bytes: [UInt8], _ error: RateLimitMessageError) {
        #expect(Self.read(bytes) == .failure(error))
    }

    @Test func moreThanAnybodyMeans() {
        let entry = Entry("k", "v")
        func question(_ descriptors: Int, _ entries: Int, domain: Int = 1) -> [UInt8] {
            RateLimitRequest(
                domain: String(repeating: "d", count: domain),
                descriptors: Array(
                    repeating: .init(Array(repeating: entry, count: entries)), count: descriptors)
            ).bytes
        }
        #expect((try? Self.read(question(64, 32, domain: 1024)).get()) != nil)
        #expect(Self.read(question(65, 1)) == .failure(.tooLarge))
        #expect(Self.read(question(1, 33)) == .failure(.tooLarge))
        #expect(Self.read(question(1, 1, domain: 1025)) == .failure(.tooLarge))
    }

    @Test func anAnswerAsTheProxyUnderstandsIt() {
        let answer = RateLimitResponse(
            .overLimit,
            [
                .init(.ok),
                .init(.ok, limit: .init(10, per: .hour, name: "n"), remaining: 3, reset: 60),
                .init(.overLimit, limit: .init(2, per: .minute), remaining: 0, reset: 5),
                .init(.overLimit, limit: .init(4, per: .day), remaining: 0, reset: 9),
            ])
        // Of two that leave nothing, the one that does so for longer.
        #expect(
            Self.verdict(answer.bytes)
                == RateLimitVerdict(
                    .overLimit, limit: 4, window: 86_400, remaining: 0, reset: 9))
        #expect(Self.verdict(RateLimitResponse(.ok, []).bytes) == RateLimitVerdict(.ok))
    }

    /// Fields to add, a body and metadata say nothing; nor does a unit that nobody knows.
    @Test func whatIsLetBe() {
        let more: [UInt8] = [0x1A, 2, 0x0A, 0, 0x22, 0, 0x2A, 1, 0x78, 0x32, 0, 0x3A, 0]
        #expect(Self.verdict([0x08, 1] + more) == RateLimitVerdict(.ok))
        let week: [UInt8] = [0x12, 6, 0x12, 4, 0x08, 3, 0x10, 7]
        #expect(Self.verdict([0x08, 1] + week) == RateLimitVerdict(.ok, limit: 3))
    }

    /// Rounded up, and never less than nothing.
    @Test func timesUntilTheReset() {
        func reset(_ duration: [UInt8]) -> UInt32? {
            let status = [0x12, 2, 0x08, 3, 0x22, UInt8(duration.count)] + duration
            return Self.verdict([0x08, 1, 0x12, UInt8(status.count)] + status)?.reset
        }
        #expect(reset([0x08, 2]) == 2)
        #expect(reset([0x08, 2, 0x10, 1]) == 3)
        #expect(reset([0x08] + Array(repeating: 0xFF, count: 9) + [1]) == 0)
        #expect(reset([0x0A, 0]) == nil)
    }

    @Test(
        arguments: [
            [], [0x08, 0], [0x08, 3], [0x0A, 0], [0x10, 1], [0x08, 1, 0x12, 9],
            [0x08, 1, 0x12, 2, 0x10, 1], [0x08, 1, 0x12, 2, 0x1A, 0],
            [0x08, 1, 0x12, 4, 0x12, 2, 0x0A, 0],
        ] as [[UInt8]])
    func whatIsNoAnswer(_ bytes: [UInt8]) { #expect(Self.verdict(bytes) == nil) }

    @Test func lengthsAreWhatIsWritten() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 1 << 21, 1 << 28, Int.max] {
            var writer = ProtobufWriter()
            writer.append(1, value)
            #expect(ProtobufSize.varint(value) == writer.bytes.count - 1, "\(value)")
        }
        for (number, count) in [(1, 0), (15, 127), (16, 128), (2047, 300)] {
            var writer = ProtobufWriter()
            writer.append(number, bytes: Array(repeating: 7, count: count))
            #expect(ProtobufSize.field(number, count) == writer.bytes.count)
        }
    }
}
