import Model
import Testing

@testable import Scenario

/// `global_rate_limit` in proxies' files and declarations.
@Suite struct GlobalLimitFormTests {
    private static func errors(_ limit: String, speech: String = "http2") -> [String] {
        let text = """
            listeners: [{name: in, address: "127.0.0.1:1"}]
            routes:
              - cluster: app
                global_rate_limit: \(limit)
            clusters:
              - {name: app, endpoints: ["127.0.0.1:1"]}
              - {name: limits, protocol: \(speech), endpoints: ["127.0.0.1:2"]}
            """
        do throws(ScenarioError) {
            _ = try ProxyFile.parse(text, file: "f")
            return []
        } catch {
            return error.description.split(separator: "\n").map(String.init)
        }
    }

    @Test(arguments: [
        (
            "{cluster: limit, domain: d, descriptors: [{entries: [{key: a, value: b}]}]}",
            "unknown cluster 'limit'"
        ),
        ("{cluster: limits, domain: d, descriptors: []}", "at least 1 item is needed here"),
        (
            "{cluster: limits, domain: d, descriptors: [{entries: [{key: a}]}]}",
            "one of 'value', 'header' and 'from' is needed"
        ),
        (
            "{cluster: limits, domain: d, "
                + "descriptors: [{entries: [{key: a, value: b, from: path}]}]}",
            "one of 'value', 'header' and 'from' is needed"
        ),
        ("{cluster: limits, domain: d, timeout: 1m, descriptors: []}", "the most allowed here"),
    ])
    func whatIsWrong(_ limit: String, _ word: String) {
        let errors = Self.errors(limit)
        #expect(errors.contains { $0.hasPrefix("f:4:") && $0.contains(word) }, "\(errors)")
    }

    /// A question whose keys and values alone are too long would never be sent.
    @Test(arguments: [(15, true), (16, false)])
    func whatNoQuestionHasRoomFor(_ count: Int, _ fits: Bool) {
        let text = String(repeating: "t", count: 256)
        let entries = Array(repeating: "{key: \(text), value: \(text)}", count: 4)
        let descriptor = "{entries: [\(entries.joined(separator: ", "))]}"
        let all = Array(repeating: descriptor, count: count).joined(separator: ", ")
        let errors = Self.errors("{cluster: limits, domain: d, descriptors: [\(all)]}")
        #expect(errors.count { $0.contains("a question has no room for them") } == (fits ? 0 : 1))
        #expect(errors.allSatisfy { $0.hasPrefix("f:4:") } && errors.isEmpty == fits)
    }

    @Test func aServiceOfHTTP1CannotBeAsked() {
        let limit = "{cluster: limits, domain: d, descriptors: [{entries: [{key: a, value: b}]}]}"
        #expect(Self.errors(limit).isEmpty)
        #expect(Self.errors(limit, speech: "http1").contains { $0.contains("over http2") })
    }

    /// A service without a namespace is one of the declaration's own.
    @Test(arguments: [("limits", "shop/limits"), ("ops/limits", "ops/limits")])
    func servicesHaveNamespaces(_ written: String, _ meant: String) throws {
        let declaration = try MeshDeclaration(
            text: """
                kind: policy
                name: p
                namespace: shop
                to: [cart]
                inbound:
                  global_rate_limit:
                    service: \(written)
                    domain: d
                    descriptors: [{entries: [{key: who, from: identity}]}]
                """, file: "f")
        guard case .policy(let policy) = declaration else {
            Issue.record("no policy")
            return
        }
        #expect(policy.inbound.globalRateLimit?.cluster == meant)
        #expect(policy.inbound.globalRateLimit?.service?.text == meant)
    }
}
