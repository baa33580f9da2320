import FoundationEssentials
import Model
import Report
import Testing

@Suite("result.json")
struct ResultFileTests {
    @Test("A result survives writing and reading", arguments: SampleVariant.allCases)
    func roundTrip(variant: SampleVariant) throws {
        let result = variant.result
        let json = result.json()
        let back = try RunResult(json: json)
        #expect(back == result)
        #expect(back.json() == json)
    }

    @Test("Whole nanoseconds beyond 2^53 stay exact")
    func exactIntegers() throws {
        var result = SampleVariant.oneRound.result
        result.phases[0].response.maxNs = .max
        result.phases[0].response.minNs = 9_007_199_254_740_993
        result.scenario.seed = UInt64.max - 1
        let text = String(decoding: result.json(), as: UTF8.self)
        #expect(text.contains("\"max_ns\" : 18446744073709551615"))
        let back = try RunResult(json: result.json())
        #expect(back.phases[0].response.maxNs == .max)
        #expect(back.phases[0].response.minNs == 9_007_199_254_740_993)
        #expect(back.scenario.seed == UInt64.max - 1)
    }

    @Test(
        "Keys name their units in snake case; the user's and Envoy's words stay as they are",
        arguments: [
            "\"schema\" : \"meshbench/result/2\"", "\"achieved_per_second\"", "\"response_p50_ns\"",
            "\"cpu_per_1000rps_cores\"", "\"marginal_per_1000rps_cores\"", "\"value_ns\"",
            "\"resident_bytes\"", "\"schedule_hash\"", "\"UF\"", "\"first_byte\"",
        ])
    func keys(fragment: String) {
        let text = String(decoding: SampleVariant.whole.result.json(), as: UTF8.self)
        #expect(text.contains(fragment))
    }

    @Test(
        "Another schema is refused by its name",
        arguments: ["meshbench/result/1", "meshbench/result/20", "fortio/1", ""])
    func otherSchema(name: String) {
        let json = Array("{\"schema\": \"\(name)\", \"arms\": 3}".utf8)
        #expect(throws: ResultFileError.unknownSchema(name)) { try RunResult(json: json) }
    }

    @Test("What is no result is refused", arguments: ["", "[]", "{}", "{\"schema\": 1}", "{\"sch"])
    func notAResult(text: String) {
        #expect {
            try RunResult(json: Array(text.utf8))
        } throws: { error in
            if case .notAResult = error as? ResultFileError { true } else { false }
        }
    }

    @Test("Damage is reported with its place")
    func damaged() {
        let text = String(decoding: SampleVariant.oneRound.result.json(), as: UTF8.self)
        let broken = text.replacing("\"planned\" : 10000", with: "\"planned\" : \"many\"")
        #expect {
            try RunResult(json: Array(broken.utf8))
        } throws: { error in
            guard case .malformed(let path, let problem) = error as? ResultFileError else {
                return false
            }
            return path == "phases[0].planned" && !problem.isEmpty
        }
        let lacking = text.replacing("\"started_at\"", with: "\"x\"")
        #expect(
            throws: ResultFileError.malformed(path: "the top", problem: "'started_at' is missing")
        ) { try RunResult(json: Array(lacking.utf8)) }
    }

    @Test("A number that is not finite is a bug, not a file")
    func notFinite() async {
        await #expect(processExitsWith: .failure) {
            var result = SampleVariant.oneRound.result
            result.durationSeconds = .nan
            _ = result.json()
        }
    }
}
