import Base
import Model
import Testing

/// What is held against requests, and in which order.
@Suite struct MeshRouteTests {
    /// Of two conditions that differ one comes first, whatever they look like: else every process
    /// would have an order of its own.
    @Test func conditionsThatLookAlikeHaveAnOrder() {
        typealias Header = ProxyConfiguration.HeaderMatch
        let tests: [Header] = [
            Header("a", .present), Header("a", .exact("")), Header("a", .absent),
            Header("a", .exact("present")), Header("a", .exact("absent")),
            Header("a", .prefix("x")), Header("a", .prefix("x"), isInverted: true),
            Header("a", .exact("prefix(\"x\") false")), Header("a", .exact("prefix(\"x\")")),
            Header("a", .exact("x")), Header("a", .exact("x"), isInverted: true),
            Header("a", .exact("exact(\"x\") false")), Header("a", .range(1, 2)),
        ]
        let conditions = tests.map {
            MeshRoute.Condition(host: nil, match: .init(headers: [$0]))
        }
        for (i, a) in conditions.enumerated() {
            for (j, b) in conditions.enumerated() where i != j {
                #expect((a < b) != (b < a), "\(tests[i]) and \(tests[j])")
            }
        }
    }
}
