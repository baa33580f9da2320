import Model
import Testing

@testable import Report

/// The matrix of `meshbench conform`, and `junit.xml`.
@Suite("Conformance")
struct ConformanceTests {
    private func entry(
        _ name: String, _ proves: [Int], _ verdict: RunResult.Verdict,
        control: RunResult.Verdict? = .pass, code: Int32 = 0
    ) -> Conformance.Entry {
        Conformance.Entry(
            name: name, about: "", proves: proves, verdict: verdict, control: control,
            exitCode: code, reasons: verdict == .pass ? [] : ["1 of 2 expectations | failed"],
            durationSeconds: 12.34, folder: "\(name)/1")
    }

    private var mixed: Conformance {
        Conformance(
            dataPlane: "reference", startedAt: "2026-11-29T06:00:00Z", durationSeconds: 61,
            scenarios: [
                entry("one", [1], .pass), entry("two", [1, 5], .fail, control: .fail, code: 99),
                entry("three", [25], .inconclusive, control: nil),
            ])
    }

    @Test("A feature is as good as the worst of its scenarios")
    func rows() {
        let rows = mixed.rows
        #expect(rows.map(\.feature.number) == [1, 5, 25])
        #expect(rows.map(\.verdict) == [.fail, .fail, .inconclusive])
        #expect(rows.map(\.control) == [.fail, .fail, nil])
        #expect(rows[0].scenarios == ["one", "two"])
        #expect(mixed.exit.code == 99)
        #expect(mixed.exit.reasons.count == 2)
    }

    @Test("As text, in a hundred columns")
    func text() {
        let text = mixed.text(colour: false)
        for line in text.split(separator: "\n") { #expect(line.count <= 100, "\(line)") }
        #expect(text.hasPrefix("Data plane 'reference': 1 of 3 scenarios passed, in "))
        #expect(text.contains("holds"))
        #expect(text.contains("40 of 43 features have no scenario"))
        let whole = Conformance(
            dataPlane: "reference", startedAt: "2026-11-29T06:00:00Z", durationSeconds: 61,
            scenarios: [entry("all", Array(1...43), .pass)])
        #expect(!whole.text(colour: false).contains("have no scenario"))
    }

    @Test("What was stopped, and what was not begun, has not passed")
    func stopped() {
        var cut = entry("two", [5], .pass, code: ExitCode.interrupted.rawValue)
        cut.reasons = ["stopped by the user"]
        let result = Conformance(
            dataPlane: "reference", startedAt: "2026-11-29T06:00:00Z", durationSeconds: 61,
            scenarios: [entry("one", [1], .pass), cut], notBegun: ["three", "four"])
        #expect(result.exit.code == ExitCode.interrupted.rawValue)
        #expect(
            result.exit.reasons == [
                "two: stopped by the user", "stopped by the user: 2 not run",
            ])
        for text in [result.text(colour: false), result.markdown] {
            #expect(text.contains("1 of 4 scenarios passed"))
            #expect(text.contains("not begun: three, four"))
            #expect(text.contains("stopped by the user"))
        }
        #expect(mixed.markdown.contains("not begun") == false)
    }

    @Test("As Markdown, in which a bar is no border")
    func markdown() {
        let text = mixed.markdown
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("| 1 ") }
        #expect(rows.count == 1)
        #expect(rows.first?.contains("`one`, `two`") == true)
        #expect(text.contains("expectations \\| failed"))
    }

    @Test("As JSON")
    func json() throws {
        let text = String(decoding: mixed.json(), as: UTF8.self)
        #expect(text.contains("\"schema\" : \"meshbench/conform/1\""))
        #expect(text.contains("\"exit_code\" : 99"))
        #expect(text.contains("\"data_plane\" : \"reference\""))
    }

    @Test("A run with controls shows them in every output")
    func controls() throws {
        var result = SampleVariant.oneArm.result
        var held = try #require(result.expectations.first)
        held.verdict = .pass
        held.name = "refused"
        result.controls = [
            .init(
                arm: ArmName(rawValue: "control"), of: .mesh, changes: ["without policies.<a>"],
                expectations: [held], verdict: .fail)
        ]
        let text = result.summaryText(colour: false)
        #expect(text.contains("holds, and must not: no teeth"))
        let page = result.reportHTML()
        #expect(page.contains("id=\"control\""))
        #expect(page.contains("without policies.&lt;a&gt;"))
        let xml = result.junitXML()
        #expect(xml.contains("failures=\"1\""))
        #expect(xml.contains("<failure message=\"holds, and must not: no teeth"))
        #expect(try RunResult(json: result.json()) == result)
    }

    @Test("junit.xml is XML", arguments: SampleVariant.allCases)
    func junit(variant: SampleVariant) throws {
        let result = variant.result
        let xml = result.junitXML()
        // The reader knows pages only.
        let elements = try readXML("<!DOCTYPE html>" + xml.drop { $0 != "\n" })
        #expect(elements.first?.name == "testsuites")
        let cases = elements.count { $0.name == "testcase" }
        #expect(cases == 1 + result.expectations.count)
        #expect(xml.contains("tests=\"\(cases)\""))
        #expect(xml.contains("<error message=") == !result.validity.valid || result.failure != nil)
    }
}
