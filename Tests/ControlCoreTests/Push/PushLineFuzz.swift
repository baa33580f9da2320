import Base
import ControlCore
import Model
import Scenario
import Support
import Testing

// Damaged lines of a watch. Whatever comes, it is refused with a reason, or read as a push that is
// the same when it is written and read again.

/// Reads so many damaged lines, all from one seed.
func fuzzPushLines(_ budget: FuzzBudget) throws {
    var random = SeededRandom(seed: budget.seed)
    let corpus = examples.map { ControlText.line($0, declaration: MeshCodec.json.encode) }
    var read = 0
    for step in 0..<budget.steps {
        let line = damaged(corpus[random.below(corpus.count)], &random)
        func fail(_ why: String) {
            Issue.record(
                """
                \(why) at step \(step). Again: \(budget.rerun("PushLineFuzz"))
                \(String(decoding: line, as: UTF8.self))
                """)
        }
        do throws(MeshBodyError) {
            let push = try MeshCodec.json.push(line)
            read += 1
            if push.isSnapshot, push.authorities == nil || !push.deletes.isEmpty {
                fail("a snapshot that is none")
            }
            if push.puts.contains(where: { !$0.problems.isEmpty }) { fail("wrong declarations") }
            let again = ControlText.line(push, declaration: MeshCodec.json.encode)
            guard let same = try? MeshCodec.json.push(again), same == push else {
                fail("it differs when it is read again")
                continue
            }
        } catch {
            if error.problems.isEmpty { fail("refused without a reason") }
        }
    }
    #expect(read * 20 > budget.steps && read < budget.steps, "\(read) of \(budget.steps) read")
}

@Suite struct PushLineFuzzTests {
    @Test func damagedLines() throws { try fuzzPushLines(.current(steps: 2000)) }
}

private let examples: [MeshPush] = [
    MeshPush(version: 0, isSnapshot: false),
    MeshPush(
        version: 12, isSnapshot: true, authorities: "-----BEGIN CERTIFICATE-----\nMII\"\\\n",
        puts: [
            .service(.init("web", in: "shop", calls: [.init("cart", in: "shop")])),
            .endpoint(.init("cart-1", in: "shop", service: "cart", address: "[::1]:80")),
            .route(.init("r", hosts: ["a.b"], destinations: [.init(.init("cart", in: "shop"))])),
        ]),
    MeshPush(
        version: .max, isSnapshot: false, authorities: "é",
        puts: [
            .policy(.init("p", targets: [.init("*", in: "*")], timeouts: .init(idle: .seconds(1))))
        ],
        deletes: [
            .init(.endpoint, .init("cart-1", in: "shop")), .init(.authorization, .init("z")),
        ],
        checks: .init(
            isWhole: true, undecided: [.init("till-1", in: "shop")],
            unhealthy: [.init("cart-1", in: "shop")])),
    MeshPush(
        version: 3, isSnapshot: false,
        checks: .init(unhealthy: [.init("a"), .init("b")], healthy: [.init("c")])),
]

private func damaged(_ line: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
    var line = line
    for _ in 0..<random.below(4) {
        let at = random.below(line.count + 1)
        switch random.below(5) {
        case 0: line.removeSubrange(at..<min(line.count, at + random.below(30)))
        case 1 where at < line.count: line[at] = UInt8(random.below(256))
        case 2: line.insert(contentsOf: words[random.below(words.count)].utf8, at: at)
        case 3: line.removeSubrange(at...)
        default:
            let from = random.below(line.count + 1)
            let piece = Array(line[from..<min(line.count, from + random.below(60))])
            line.insert(contentsOf: piece, at: at)
        }
    }
    return line
}

private let words = [
    "{", "}", "[", "]", ",", ":", "\"", "\\", "\n", "\t ", "null", "true", "-1", "1e9", "[]",
    "\"version\":7", "\"deleted\":[\"services/a/b\"],", "\"declarations\":[", "\\u000a", "\u{0}",
    "99999999999999999999", "{\"kind\":\"service\",\"name\":\"a\"},",
]
