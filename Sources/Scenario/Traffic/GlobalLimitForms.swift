// `global_rate_limit`, wherever it stands.

import Base
import Model

extension Form where Value == GlobalRateLimit {
    /// Of a proxy's file.
    static let toCluster = limit(
        .init(
            "cluster", \.cluster, .name, isRequired: true,
            about: "where the service is; it speaks `http2`"))

    /// Of declarations. A namespace that is not written is left out until `resolved`.
    static let toService = limit(
        .init(
            "service", \.cluster, .serviceText, isRequired: true,
            about: "who is asked, of `protocol: http2`; the proxies must be told of it (`calls`)"))

    private static func limit(_ place: Field<GlobalRateLimit>) -> Form {
        Shape(
            GlobalRateLimit(cluster: "", domain: "", descriptors: []),
            [
                place,
                .init(
                    "domain", \.domain, .limitText, isRequired: true,
                    about: "whose rules are meant"),
                .init(
                    "timeout", \.timeout, .duration(TrafficLimits.limitTimeout), standard: "20ms",
                    about: "how long a request waits for the answer"),
                .init(
                    "deny", \.denies, .boolean, standard: "false",
                    about: "whether requests are answered 500 when there is none; else they go on"),
                .init(
                    "tell", \.tells, .boolean, standard: "false",
                    about: "whether answers have `x-ratelimit-` fields"),
                .init(
                    "descriptors", \.descriptors,
                    list(
                        of: Shape<GlobalRateLimit.Descriptor>.descriptor.form,
                        1...TrafficLimits.limitDescriptors),
                    isRequired: true,
                    about: "what the service is told of a request; one that lacks a part is not"),
            ]
        ).form.checked
    }
}

extension Shape where Whole == GlobalRateLimit.Descriptor {
    fileprivate static var descriptor: Shape {
        Shape(
            .init([]),
            [
                .init(
                    "entries", \.entries,
                    list(of: Form<GlobalRateLimit.Entry>.entry, 1...TrafficLimits.limitEntries),
                    isRequired: true, about: "in the order of the service's rules")
            ])
    }
}

private struct EntryDraft: Sendable {
    var key = ""
    var value: String?
    var header: String?
    var part: GlobalRateLimit.Part?
}

extension Form where Value == GlobalRateLimit.Entry {
    fileprivate static var entry: Form {
        let shape = Shape(
            EntryDraft(),
            [
                .init(
                    "key", \.key, .limitText, isRequired: true,
                    about: "what the service's rules call it"),
                .init(
                    "value", \.value, Form<String>.limitText.optional,
                    about: "the same for all requests"),
                .init(
                    "header", \.header, Form<String>.fieldName.optional, .without("value"),
                    about: "the first line of this field"),
                .init(
                    "from", \.part, Form<GlobalRateLimit.Part>.choice.optional,
                    .without("header"),
                    about:
                        "another part of the request: its path with the query, method or host, the "
                        + "client's address or identity"),
            ])
        return shape.form.map { draft, node, decoding in
            if let part = draft.part, draft.value == nil { return .init(draft.key, .part(part)) }
            if let header = draft.header { return .init(draft.key, .header(header)) }
            if let value = draft.value, draft.part == nil { return .init(draft.key, .text(value)) }
            decoding.report(node.place, "one of 'value', 'header' and 'from' is needed")
            return nil
        }
    }
}

extension Form where Value == String {
    static let limitText = scalar(.text(pattern: nil), "a text") { text throws(FormError) in
        guard isLimitText(text) else {
            throw FormError(
                "1 to \(TrafficLimits.limitTextBytes) bytes without control characters are needed")
        }
        return text
    }
}

// MARK: - Writing

extension GlobalRateLimit {
    /// - Parameter place: the key of who is asked.
    func json(_ place: String) -> JSON {
        .object([
            .init(place, .string(cluster)), .init("domain", .string(domain)),
            .init("timeout", timeout.json), .init("deny", .boolean(denies)),
            .init("tell", .boolean(tells)),
            .init(
                "descriptors",
                .array(
                    descriptors.map {
                        .object([.init("entries", .array($0.entries.map(\.json)))])
                    })),
        ])
    }
}

extension GlobalRateLimit.Entry {
    fileprivate var json: JSON {
        let source: JSON.Member =
            switch value {
            case .text(let text): .init("value", .string(text))
            case .header(let name): .init("header", .string(name))
            case .part(let part): .init("from", .string(part.rawValue))
            }
        return .object([.init("key", .string(key)), source])
    }
}
