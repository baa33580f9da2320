import Scenario
import Testing

/// What is refused before any key is looked at.
@Suite struct YAMLTests {
    @Test(
        arguments: [
            ("a: 1\n  b: 2", "2:4: mapping values are not allowed in this context"),
            (
                "a: [1, 2",
                """
                2:1: did not find expected ',' or ']' while parsing a flow sequence that begins \
                on line 1
                """
            ),
            (
                "a: \"x",
                """
                1:6: found unexpected end of stream while scanning a quoted scalar that begins \
                on line 1
                """
            ),
            ("a: 1\n---\nb: 2", "2:1: one document is expected, here begins another"),
            ("a: *nobody", "1:4: '*nobody' names no anchor before it"),
            ("a: &x [*x]", "1:8: '*x' names no anchor before it"),
            ("a: !int 3", "1:4: tags such as '!int' have no meaning here"),
            ("? [a]\n: b", "1:3: a key must be a word, not a list"),
            ("a: 1\nb: 2\na: 3", "3:1: the key 'a' is already on line 1"),
            ("a: {b: 1, b: 2}", "1:11: the key 'b' is already on line 1"),
            ("a: \u{1}", "1:4: control characters are not allowed"),
            (
                "\tname: x",
                """
                1:1: found character that cannot start any token while scanning for the next \
                token that begins on line 1
                """
            ),
        ] as [(String, String)])
    func noDocument(text: String, error: String) {
        #expect(errors(text).first == error)
    }

    @Test func deepNestingIsRefused() {
        let deep = String(repeating: "[", count: 10_000)
        #expect(errors("a: " + deep) == ["1:35: nested deeper than 32 levels"])
    }

    @Test func manyValuesAreRefused() {
        let many = String(repeating: "x,", count: 30_000)
        #expect(errors("a: [\(many)]") == ["1:39999: more than 20000 values in one file"])
    }

    /// Ten aliases of ten aliases of ten …: 10⁹ values in 300 bytes.
    @Test func aliasesAreCountedAsOftenAsTheyAreUsed() {
        var text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        for level in 1...8 {
            let uses = [String](repeating: "*a\(level - 1)", count: 10).joined(separator: ",")
            text += "a\(level): &a\(level) [\(uses)]\n"
        }
        #expect(errors(text).first?.hasSuffix("more than 20000 values in one file") == true)
    }

    @Test func aliasesStandForWhatTheyName() throws {
        let text = minimal.replacing("  - name: echo", with: "  - &a {name: echo}")
        #expect(errors(text).isEmpty)
        #expect(
            errors(text.replacing("load:", with: "  - *a\nload:")) == [
                "3:15: there is already a service 'echo', on line 3"
            ])
    }

    @Test func largeFilesAreRefused() {
        let text = minimal + "#" + String(repeating: "x", count: 1 << 20)
        #expect(errors(text) == ["1:1: more than 1048576 bytes, or 100 --set flags"])
    }

    @Test func aMissingFileIsNamed() {
        let error = #expect(throws: ScenarioError.self) { try ScenarioFile(path: "/no/such.yaml") }
        #expect(error?.description == "/no/such.yaml: No such file or directory")
    }
}
