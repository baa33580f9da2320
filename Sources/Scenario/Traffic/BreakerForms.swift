// `breaker`, wherever it stands.

import Model

extension Form where Value == BreakerPolicy {
    static let breaker = Shape<BreakerPolicy>.breaker.form.checked
}

extension Shape where Whole == BreakerPolicy {
    fileprivate static var breaker: Shape {
        Shape(
            BreakerPolicy(),
            limits(
                \.standard.connections, \.standard.pending, \.standard.requests,
                \.standard.retries) + [
                    .init(
                        "high", \.high, Shape<BreakerPolicy.Limits>.limits.form, standard: "{}",
                        about: "the same of requests of routes with `priority: high`"),
                    .init(
                        "strict", \.isStrict, .boolean, standard: "false",
                        about:
                            "whether the limits hold for all workers of a proxy together, to the "
                            + "request"),
                ])
    }
}

extension Shape where Whole == BreakerPolicy.Limits {
    fileprivate static var limits: Shape {
        Shape(.init(), limits(\.connections, \.pending, \.requests, \.retries))
    }
}

extension Shape {
    fileprivate typealias Count = any WritableKeyPath<Whole, Int> & Sendable

    /// The keys of one priority.
    fileprivate static func limits(
        _ connections: Count, _ pending: Count, _ requests: Count, _ retries: Count
    ) -> [Field<Whole>] {
        [
            .init(
                "connections", connections, .integer(TrafficLimits.connections),
                standard: "1024", about: "connections open at once"),
            .init(
                "pending", pending, .integer(TrafficLimits.requests), standard: "1024",
                about:
                    "requests that wait for a connection to be free or to be opened; 0: none can "
                    + "be sent that needs a new one"),
            .init(
                "requests", requests, .integer(TrafficLimits.requests), standard: "1024",
                about: "requests in flight; more are answered 503 at once"),
            .init(
                "retries", retries, .integer(TrafficLimits.requests), standard: "3",
                about: "retries in flight, unless a retry budget says"),
        ]
    }
}

extension BreakerPolicy {
    var json: JSON {
        .object(
            standard.members + [
                .init("high", .object(high.members)), .init("strict", .boolean(isStrict)),
            ])
    }
}

extension BreakerPolicy.Limits {
    fileprivate var members: [JSON.Member] {
        [
            .init("connections", .integer(connections)), .init("pending", .integer(pending)),
            .init("requests", .integer(requests)), .init("retries", .integer(retries)),
        ]
    }
}
