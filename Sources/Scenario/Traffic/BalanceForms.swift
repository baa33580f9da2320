// `balance`, wherever it stands: a word, or a mapping.

import Base
import Model

extension Form where Value == BalancePolicy {
    static let balance = Form.either(
        scalar: Form<BalancePolicy.Algorithm>.choice.map { algorithm, _, _ in .init(algorithm) },
        mapping: Shape<BalancePolicy>.balance.form
    ).checked
}

extension Shape where Whole == BalancePolicy {
    fileprivate static var balance: Shape { Shape(BalancePolicy(), algorithms + sets) }

    private static var algorithms: [Field<BalancePolicy>] {
        [
            .init(
                "algorithm", \.algorithm, .choice, standard: "round-robin",
                about: "which endpoint a request goes to"),
            .init(
                "hash", \.hash,
                list(of: Form<BalancePolicy.HashKey>.hashKey, 0...TrafficLimits.hashKeys),
                standard: "[]",
                about:
                    "what `ring-hash` and `maglev` hash: the first that a request has; `source` is "
                    + "the client's address"),
            .init(
                "ring_size", \.ringSize, .integer(TrafficLimits.ringSize), standard: "1024",
                about: "points of the ring, at least one for each endpoint"),
            .init(
                "table_size", \.tableSize, .integer(TrafficLimits.tableSize), standard: "65537",
                about: "slots of Maglev's table, a prime"),
            .init(
                "choices", \.choices, .integer(TrafficLimits.choices), standard: "2",
                about: "endpoints that `least-request` draws to choose from"),
            .init(
                "decay", \.decay, .duration(TrafficLimits.span), standard: "10s",
                about: "`peak-ewma`: after so long a latency weighs 1/e"),
            .init(
                "standard_latency", \.standardLatency, .duration(TrafficLimits.span),
                standard: "30ms", about: "`peak-ewma`: what is taken of a new endpoint"),
        ]
    }

    private static var sets: [Field<BalancePolicy>] {
        [
            .init(
                "panic", \.panicThreshold, .percents, standard: "50%",
                about: "of endpoints available, below which all are taken; `0%`: never"),
            .init(
                "fail_on_panic", \.failsOnPanic, .boolean, standard: "false",
                about: "whether requests are answered 503 then, instead of taking all"),
            .init(
                "slow_start", \.slowStart, .duration(TrafficLimits.pause), standard: "0s",
                about: "in which the share of a new endpoint rises; `0s`: none"),
            .init(
                "prefer_zone", \.prefersZone, .boolean, standard: "false",
                about: "whether endpoints of the proxy's own zone come first"),
            .init(
                "zone_minimum", \.zoneMinimum, .integer(0...MeshLimits.endpoints),
                standard: "0",
                about: "with fewer endpoints than this zones do not count; Envoy's is 6"),
            .init(
                "subsets", \.subsets,
                list(of: Shape<BalancePolicy.SubsetKey>.subset.form, 0...TrafficLimits.subsets),
                standard: "[]",
                about: "requests go only to endpoints with the labels that their fields say"),
        ]
    }
}

private enum Source: String, CaseIterable, Sendable { case source }

private struct KeyDraft: Sendable {
    var header: String?
    var cookie: String?
}

extension Form where Value == BalancePolicy.HashKey {
    fileprivate static var hashKey: Form {
        let shape = Shape(
            KeyDraft(),
            [
                .init(
                    "header", \.header, Form<String>.fieldName.optional,
                    about: "the value of this field"),
                .init(
                    "cookie", \.cookie, Form<String>.cookieName.optional, .without("header"),
                    about: "the value of this cookie"),
            ])
        let mapping = shape.form.map { draft, node, decoding -> Value? in
            if let header = draft.header { return .header(header) }
            if let cookie = draft.cookie { return .cookie(cookie) }
            decoding.report(node.place, "the key 'header' or 'cookie' is missing")
            return nil
        }
        return .either(
            scalar: Form<Source>.choice.map { _, _, _ in .source }, mapping: mapping)
    }
}

extension Shape where Whole == BalancePolicy.SubsetKey {
    fileprivate static var subset: Shape {
        Shape(
            .init(label: "", header: ""),
            [
                .init(
                    "label", \.label, .labelName, isRequired: true, about: "of endpoints"),
                .init(
                    "header", \.header, .fieldName, isRequired: true,
                    about: "the field that says its value"),
            ])
    }
}

extension Form where Value == [String: String] {
    /// What endpoints are labelled with.
    static let labels = dictionary(
        of: Form<String>.labelValue, atMost: TrafficLimits.labels, keyPattern: labelNamePattern
    ) { key in
        isLabelName(key) ? nil : "'\(abbreviated(key))' is no name of a label"
    }
    .map { pairs, _, _ in
        Dictionary(uniqueKeysWithValues: pairs.map { ($0.key.value, $0.value) })
    }
}

private let labelNamePattern = "[A-Za-z0-9._/-]+"

extension Form where Value == String {
    fileprivate static var labelName: Form {
        word(
            "a name of letters, digits, ., _, / and -,", pattern: labelNamePattern,
            atMost: TrafficLimits.labelBytes, isLabelName)
    }

    fileprivate static var labelValue: Form {
        scalar(.text(pattern: nil), "a text") { text throws(FormError) in
            guard isLabelValue(text) else {
                throw FormError(
                    "a value of \(TrafficLimits.labelBytes) visible characters at most is needed")
            }
            return text
        }
    }

    fileprivate static var cookieName: Form {
        word("a name of a cookie", pattern: fieldNamePattern, isFieldName)
    }
}

// MARK: - Writing

extension BalancePolicy {
    var json: JSON {
        // Written only where it is said: what is stored of a policy stays as it was.
        var last: [JSON.Member] = []
        if failsOnPanic { last.append(.init("fail_on_panic", .boolean(true))) }
        if zoneMinimum > 0 { last.append(.init("zone_minimum", .integer(zoneMinimum))) }
        return .object(
            [
                .init("algorithm", .string(algorithm.rawValue)),
                .init("hash", .array(hash.map(\.json))),
                .init("ring_size", .integer(ringSize)), .init("table_size", .integer(tableSize)),
                .init("choices", .integer(choices)), .init("decay", decay.json),
                .init("standard_latency", standardLatency.json),
                .init("panic", panicThreshold.percents), .init("slow_start", slowStart.json),
                .init("prefer_zone", .boolean(prefersZone)),
                .init(
                    "subsets",
                    .array(
                        subsets.map {
                            .object([
                                .init("label", .string($0.label)),
                                .init("header", .string($0.header)),
                            ])
                        })),
            ] + last)
    }
}

extension BalancePolicy.HashKey {
    fileprivate var json: JSON {
        switch self {
        case .header(let name): .object([.init("header", .string(name))])
        case .cookie(let name): .object([.init("cookie", .string(name))])
        case .source: .string(Source.source.rawValue)
        }
    }
}

extension [String: String] {
    /// In the order of their names.
    var labelsJSON: JSON {
        .object(sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) })
    }
}
