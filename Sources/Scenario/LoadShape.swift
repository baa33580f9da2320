import Base
import Model

extension Shape where Whole == LoadDraft {
    static var load: Shape {
        Shape(LoadDraft(), scheduleFields + requestFields)
    }

    private static var scheduleFields: [Field<LoadDraft>] {
        [
            .init(
                "name", \.name, Form<String>.name.placed.optional, isRequired: true,
                about: "what the report calls it"),
            .init(
                "to", \.to, Form<String>.name.placed.optional, isRequired: true,
                about: "the service that is called"),
            .init(
                "protocol", \.speech, Form<LoadPlan.Speech>.choice, standard: "http1",
                about: "what the load speaks"),
            .init(
                "tls", \.security, Form<LoadPlan.Security>.choice, standard: "off",
                about:
                    """
                    who shows a certificate to whom: nobody (`off`: cleartext), the server, or \
                    both (`mutual`)
                    """
            ),
            .init(
                "rate", \.rate, Form<RateShape>.shape.placed.optional,
                about:
                    """
                    requests per second: `1000/s`, `{from: 100/s, to: 2000/s}` over each phase, \
                    or `{steps: [500/s, 1000/s]}` of equal length
                    """
            ),
            .init(
                "arrivals", \.arrivals, .choice, standard: "constant",
                about:
                    """
                    evenly spaced (`constant`), exponential gaps (`poisson`), random within even \
                    slots (`uniform`), or as soon as a connection is free (`closed`)
                    """
            ),
            .init(
                "connections", \.connections, Form<Int>.connections.placed,
                standard: "16", about: "connections kept open, over all threads"),
            .init(
                "streams", \.streams, Form<Int>.streams.placed, standard: "1",
                about:
                    """
                    requests that one connection carries at once; 1 for `http1`; for \
                    `websocket-http2` the WebSockets on it
                    """),
            .init(
                "zone", \.zone, Form<String>.label.optional,
                about: "where its sidecar runs, as `zones` of services; absent: nobody knows"),
            .init(
                "threads", \.threads, .integer(1...64), standard: "1",
                about: "threads of the generator"),
            .init(
                "timeout", \.timeout, .duration(.milliseconds(1)...(.seconds(3600))),
                standard: "3s", about: "from the intended instant to the complete answer"),
        ]
    }

    private static var requestFields: [Field<LoadDraft>] {
        [
            .init(
                "method", \.request.method, .method, standard: "GET", about: "of every request"),
            .init(
                "path", \.request.path, .path, standard: "/", about: "path and query"),
            .init(
                "headers", \.request.headers, .requestHeaders, standard: "{}",
                about: "fields besides `host` and those of the connection"),
            .init(
                "body_size", \.request.bodySize, .size(0...(64 << 20)), standard: "0B",
                about: "bytes of body sent with every request"),
            .init(
                "requests_per_connection", \.requestsPerConnection, .integer(0...1_000_000_000),
                standard: "0", about: "after this many a connection is replaced; 0: never"),
        ]
    }
}

/// Keys that exclude each other are optional here and checked together.
private struct RateParts: Sendable {
    var from: Double?
    var to: Double?
    var steps: [Double]?
}

extension Form where Value == RateShape {
    private static let range = 0.0...1_000_000.0

    static var shape: Form {
        let rate = Form<Double>.rate(range)
        let parts = Shape(
            RateParts(),
            [
                .init(
                    "from", \.from, rate.optional, .without("steps"),
                    about: "the rate at the start of each phase"),
                .init("to", \.to, rate.optional, .without("steps"), about: "the rate at its end"),
                .init(
                    "steps", \.steps, list(of: rate, 1...100).optional,
                    about: "rates, each for an equal part of the phase"),
            ])
        return .either(
            scalar: rate.map { rate, _, _ in .constant(rate) },
            mapping: parts.form.map { parts, node, decoding in
                if let steps = parts.steps { return .steps(steps) }
                if let from = parts.from, let to = parts.to { return .ramp(start: from, end: to) }
                if node.value("steps") == nil, node.value("from") == nil || node.value("to") == nil
                {
                    decoding.report(
                        node.place, "a rate that varies has `from` and `to`, or `steps`")
                }
                return nil
            })
    }
}
