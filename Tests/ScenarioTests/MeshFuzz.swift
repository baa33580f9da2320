import Base
import Model
import Scenario
import Support
import Testing

// Two twins. Random declarations within the limits: none has a problem of its own, and their text
// reads back as the same. And random damage to texts of declarations: whatever comes out, it is
// read or refused with at least one error, at places that exist, within bounds; what is read is the
// same when its JSON is read again.

/// Writes and reads so many random declarations, all from one seed.
func fuzzMeshValues(_ budget: FuzzBudget) throws {
    var random = SeededRandom(seed: budget.seed)
    for step in 0..<budget.steps {
        let value = MeshDeclaration.random(&random)
        let again = "at step \(step). Again: \(budget.rerun("MeshValueFuzz"))"
        #expect(value.problems == [], "\(again)\n\(value)")
        do throws(MeshFilesError) {
            let read = try MeshDeclaration(text: value.json, file: "f")
            #expect(read == value, "\(again)\n\(value.json)")
            #expect(read.json == value.json, "\(again)")
        } catch {
            Issue.record("\(error.description)\n\(again)\n\(value.json)")
        }
    }
}

/// Reads so many damaged meshes, all from one seed.
func fuzzMeshFiles(_ budget: FuzzBudget) throws {
    var random = SeededRandom(seed: budget.seed)
    let examples = try meshExamples()
    let corpus = examples.map(Array.init)
    // Onto the undamaged mesh, so that much is accepted.
    var before = MeshState()
    for text in examples {
        before = try MeshFiles(texts: [.init(file: "f", text)], onto: before).state
    }
    var accepted = 0
    for step in 0..<budget.steps {
        let texts = (0...random.below(3)).map { number in
            let text = damaged(corpus[random.below(corpus.count)], &random)
            return MeshFiles.Text(file: "\(number)", text)
        }
        func fail(_ why: String) {
            Issue.record(
                """
                \(why) at step \(step). Again: \(budget.rerun("MeshFuzz"))
                \(texts.map(\.text).joined(separator: "\n#####\n"))
                """)
        }
        do throws(MeshFilesError) {
            let files = try MeshFiles(texts: texts, onto: before)
            accepted += 1
            if !files.state.check().isEmpty { fail("accepted with problems") }
            let json = files.declarations.map { "---\n\($0.json)\n" }.joined()
            let again = try MeshFiles(texts: [.init(file: "json", json)], onto: before)
            if again.declarations != files.declarations { fail("the JSON differs") }
        } catch {
            if error.findings.isEmpty { fail("refused without a reason") }
            if error.findings.count > Limits.diagnostics { fail("too many errors") }
            for finding in error.findings where finding.file != nil {
                guard let number = finding.file.flatMap({ Int($0) }), let place = finding.place
                else {
                    fail("an error without a place: \(error.description)")
                    continue
                }
                let lines = texts[number].text
                    .split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
                if place.line > lines.count + 1 || place.source != .file {
                    fail("an error nowhere: \(error.description)")
                }
            }
        }
    }
    #expect(accepted * 20 > budget.steps, "of \(budget.steps) only \(accepted) accepted")
}

/// Every example of docs/MESH.md.
func meshExamples() throws -> [String] {
    try packageText("docs/MESH.md").split(separator: "```yaml\n").dropFirst().compactMap {
        $0.split(separator: "\n```").first.map { $0 + "\n" }
    }
}

private func damaged(_ text: [Character], _ random: inout SeededRandom) -> String {
    var characters = text
    for _ in 0..<random.below(5) {
        let at = random.below(characters.count + 1)
        switch random.below(5) {
        case 0: characters.removeSubrange(at..<min(at + random.below(20), characters.count))
        case 1: characters.insert(contentsOf: words[random.below(words.count)], at: at)
        case 2 where at < characters.count:
            characters[at] = Character(UnicodeScalar(UInt8(random.below(256))))
        case 3:
            let from = random.below(characters.count + 1)
            let piece = characters[from..<min(from + random.below(100), characters.count)]
            characters.insert(contentsOf: Array(piece), at: at)
        default:
            // A word takes the place of a value.
            guard let colon = characters[at...].firstIndex(of: ":") else { continue }
            let end = characters[colon...].firstIndex { $0.isNewline || $0 == "," }
            characters.replaceSubrange(
                colon..<(end ?? characters.count), with: ": " + words[random.below(words.count)])
        }
    }
    return String(characters)
}

private let words = [
    "\n---\n", "...\n", "- ", "[", "]", "{}", "[{}]", "&a ", "*a", "null", "~", "''", "\"", "\t",
    "kind: route\n", "name: cart\n", "cart", "shop/cart", "*", "*/*", "*/cart", "/", "a/b/c",
    "strict", "tcp", "off", "0", "-1", "1000001", "99999999999999999999", "0s", "1h", "1ns",
    "127.0.0.1:80", "[::1]:0", "spiffe://", "spiffe://meshbench.test/x", "*/sa/web", "**",
    "http: /a?b", "{present: true}", "{present: false}", "{X-A: b, x-a: c}", "é", "\u{0}",
    "\u{85}", "\u{2028}", String(repeating: "a", count: 64),
]

@Suite struct MeshFuzzTests {
    @Test func damagedDeclarations() throws { try fuzzMeshFiles(.current(steps: 1500)) }
}

@Suite struct MeshValueFuzzTests {
    @Test func randomDeclarations() throws { try fuzzMeshValues(.current(steps: 1500)) }
}
