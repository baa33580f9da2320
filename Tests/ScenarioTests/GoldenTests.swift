import Model
import Scenario
import Testing

/// What people and editors see, held word by word.
@Suite struct GoldenTests {
    @Test func plan() throws {
        for path in shipped {
            let file = try scenario(try packageText(path))
            try expectGolden(file.plan, "Tests/Fixtures/plan-\(file.experiment.name).txt")
        }
    }

    @Test func explain() throws {
        let text = try packageText("scenarios/quickstart.yaml")
        let file = try scenario(text, ["rate=200/s", "rounds.max=6"])
        try expectGolden(file.explanation, "Tests/Fixtures/explain-quickstart.txt")
    }

    @Test func schemas() throws {
        try expectGolden(ScenarioFile.schema, "docs/scenario.schema.json")
        try expectGolden(ProxyFile.schema, "docs/proxy.schema.json")
        try expectGolden(MeshFiles.schema, "docs/declaration.schema.json")
    }

    /// The tables of keys in the documentation are those that files are read by.
    @Test func references() throws {
        try expectReference(ScenarioFile.reference, in: "docs/SCENARIOS.md")
        try expectReference(ProxyFile.reference, in: "docs/PROXY.md")
        try expectReference(MeshFiles.reference, in: "docs/MESH.md")
    }

    @Test(arguments: [ScenarioFile.reference, ProxyFile.reference, MeshFiles.reference])
    func noTableHasARowTwice(reference: String) {
        for table in reference.split(separator: "### ") {
            let rows = table.split(separator: "\n").filter { $0.hasPrefix("| `") }
            #expect(Set(rows).count == rows.count, "\(table)")
        }
    }

    private func expectReference(_ reference: String, in path: String) throws {
        let marks = ("<!-- keys: made from the source -->\n", "<!-- end of keys -->\n")
        let text = try packageText(path)
        let start = try #require(text.firstRange(of: marks.0), "\(path) has no place for the keys")
        let end = try #require(text.firstRange(of: marks.1))
        let whole = text[..<start.upperBound] + "\n" + reference + "\n" + text[end.lowerBound...]
        try expectGolden(String(whole), path)
    }

    /// The examples in the documentation are valid.
    @Test(arguments: ["docs/SCENARIOS.md", "docs/PROXY.md"])
    func examples(path: String) throws {
        let blocks = try packageText(path).split(separator: "```yaml\n").dropFirst()
        #expect(!blocks.isEmpty)
        for block in blocks {
            let text = try #require(block.split(separator: "\n```").first.map(String.init))
            do throws(ScenarioError) {
                if path == "docs/PROXY.md" {
                    _ = try ProxyFile.parse(text, file: path)
                } else {
                    _ = try ScenarioFile(text: text, file: path)
                }
            } catch {
                Issue.record("\(error.description)\nin the example:\n\(text)")
            }
        }
    }

    /// Those of docs/MESH.md too, each declared after those before it; and what it shows as JSON is
    /// what is stored.
    @Test func declarations() throws {
        var state = MeshState()
        for (number, text) in try meshExamples().enumerated() {
            do throws(MeshFilesError) {
                state = try MeshFiles(texts: [.init(file: "example \(number)", text)], onto: state)
                    .state
            } catch {
                Issue.record("\(error.description)\nin the example:\n\(text)")
            }
        }
        #expect(Set(state.declarations.map(\.key.kind)) == Set(MeshKind.allCases))
        let block = try packageText("docs/MESH.md").split(separator: "```json\n").dropFirst().first
        let json = try #require(block?.split(separator: "\n```").first.map(String.init))
        #expect(state.declarations.contains { $0.json == json })
    }
}
