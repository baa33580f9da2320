import Testing

@testable import Scenario

/// What routes do with requests, in proxies' files.
@Suite struct RouteFormTests {
    private static func errors(_ route: String) -> [String] {
        let text = """
            listeners: [{name: in, address: "127.0.0.1:1"}]
            routes:
              - \(route)
            clusters: [{name: app, endpoints: ["127.0.0.1:1"]}]
            """
        do throws(ScenarioError) {
            _ = try ProxyFile.parse(text, file: "f")
            return []
        } catch {
            return error.description.split(separator: "\n").map(String.init)
        }
    }

    /// What is said of requests to somebody has no meaning where nobody is asked.
    @Test(
        arguments: [
            "host_rewrite: a", "timeout: 1s", "retry: {on: [5xx]}", "priority: high",
            "request_headers: {set: {a: b}}",
        ], ["redirect: {host: b}", "answer: {status: 204}"])
    func whatARouteThatAnswersItselfCannotDo(_ said: String, _ answer: String) {
        let found = Self.errors("{\(answer), \(said)}")
        #expect(found.count == 1)
        #expect(found.first?.hasSuffix("the route answers itself: nobody is asked") == true)
        #expect(found.first?.hasPrefix("f:3:") == true)
        #expect(Self.errors("{\(answer)}") == [])
        #expect(Self.errors("{cluster: app, \(said)}") == [])
    }

    /// A client that goes where it comes from comes back for ever.
    @Test(arguments: ["{}", "{status: 307}", "{strip_query: false}"])
    func aRedirectToTheSamePlace(_ redirect: String) {
        let found = Self.errors("redirect: \(redirect)")
        #expect(found.count == 1)
        #expect(found.first?.contains("clients would be sent where they come from") == true)
    }

    @Test(arguments: [
        "{path: /a}", "{prefix: /}", "{scheme: https}", "{host: a}", "{port: 81}",
        "{strip_query: true}", "{regex: a, substitution: b}",
    ])
    func aRedirectElsewhere(_ redirect: String) {
        #expect(Self.errors("redirect: \(redirect)") == [])
    }

    /// Each mistake is told once.
    @Test(arguments: ["{path: a}", "{status: 305, host: a}", "{regex: a}"])
    func aRedirectThatIsWrong(_ redirect: String) {
        #expect(Self.errors("redirect: \(redirect)").count == 1)
    }
}
