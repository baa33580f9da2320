import Base
import Support
import Testing

@testable import Secure

/// The extension `server_name` as anybody may send it, against a second reading of the same rules.
/// One extension a step.
@Suite struct ServerNameFuzz {
    @Test func noiseIsNoName() throws {
        let budget = FuzzBudget.current(seed: 1, steps: 20_000)
        var random = SeededRandom(seed: budget.seed)
        var names = ServerNames()
        _ = try names.add(["*.b", "a"], of: 1)
        let letters = Array("a.bA*\u{FF}".utf8)
        var found = 0
        for step in 0..<budget.steps {
            let text = (0..<random.below(5)).map { _ in letters[random.below(letters.count)] }
            let count = UInt8(text.count)
            var data: [UInt8] = [0, count + 3, 0, 0, count] + text
            if random.below(4) == 0 { data[random.below(data.count)] ^= UInt8(random.below(256)) }
            guard let name = data.withBytes({ ServerNames.asked(in: $0) }) else { continue }
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            let isOurs = parts == ["a"] || parts.count == 2 && parts[0] != "" && parts[1] == "b"
            found += isOurs ? 1 : 0
            guard names.place(of: name) == (isOurs ? 1 : nil) else {
                Issue.record("step \(step): \(name)\n\(budget.rerun("ServerNameFuzz"))")
                return
            }
        }
        #expect(found > 0)
    }
}
