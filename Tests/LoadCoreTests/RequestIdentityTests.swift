import Base
import Model
import Testing

@testable import LoadCore

@Suite struct RequestIdentityTests {
    @Test func theFormIsThatOfAUUID() {
        let text = RequestIdentity.text(seed: 7, number: 0x2A)
        let parts = text.split(separator: "-").map(String.init)
        #expect(parts.map(\.count) == [8, 4, 4, 4, 12])
        #expect(parts[2].first == "4" && parts[3].first == "8")
        #expect(parts[4] == "00000000002a")
        #expect(text.utf8.allSatisfy { $0 == UInt8(ascii: "-") || hexDigit($0) != nil })
    }

    @Test func theSameOfTheSame() {
        let one = RequestIdentity.text(seed: 1, number: 5)
        #expect(one == RequestIdentity.text(seed: 1, number: 5))
        #expect(one != RequestIdentity.text(seed: 2, number: 5))
        #expect(one.dropLast(12) == RequestIdentity.text(seed: 1, number: 6).dropLast(12))
    }

    @Test func numbersAreWrittenOverEachOther() throws {
        let job = testJob(
            testPlan(request: RequestPlan(method: "POST", bodySize: 5)), weights: [1, 1])
        let messages = LoadMessages(job)
        let numbered = try #require(NumberedMessages(job, messages))
        for (target, number) in [(0, 0), (0, 1), (1, 0xFFFF_FFFF_FFFF), (0, 1), (1, 2)] {
            let count = messages[target].count
            let text = numbered.message(target, number: UInt64(number), count: count).text
            let id = RequestIdentity.text(seed: job.seed, number: UInt64(number))
            #expect(text.contains("\r\nx-request-id: \(id)\r\n"))
            #expect(text.hasSuffix("\r\n\r\nabcde"))
        }
    }
}
