// What routes and limits ask of requests, in a proxy's file and in declarations.

import Base
import Model

/// What a route asks of requests beside their host.
struct ConditionsDraft: RouteConditions {
    var exact: String?
    var regex: String?
    var prefix = "/"
    var methods: [String] = []
    var headers: [ProxyConfiguration.HeaderMatch] = []
    var query: [ProxyConfiguration.ParameterMatch] = []
    var cookies: [ProxyConfiguration.ParameterMatch] = []

    var path: ProxyConfiguration.PathMatch {
        exact.map { .exact($0) } ?? regex.map { .regex($0) } ?? .prefix(prefix)
    }

    /// Refuses what the table of keys cannot: a key is held against one other there.
    func check(_ node: Node, _ decoding: inout Decoding) {
        guard node.value("regex") != nil, let prefix = node.value("prefix") else { return }
        decoding.report(prefix.place, "'prefix' has no meaning beside 'regex'")
    }
}

extension Shape where Whole == ConditionsDraft {
    static var conditions: [Field<ConditionsDraft>] {
        [
            .init("path", \.exact, Form<String>.routePath.optional, about: "exactly this path"),
            .init(
                "regex", \.regex, Form<String>.regex.optional, .without("path"),
                about: "what the whole path fits (docs/PROXY.md, \"Expressions\")"),
            .init(
                "prefix", \.prefix, .routePath, standard: "/", .without("path"),
                about: "paths that begin with these whole segments; not beside `regex`"),
            .init(
                "methods", \.methods, list(of: Form<String>.method, 0...MeshLimits.methods),
                standard: "[]", about: "methods; empty: any"),
            .init(
                "headers", \.headers, .requestHeaderMatches, standard: "{}",
                about: "fields, and what is asked of their values; a text: exactly this"),
            .init(
                "query", \.query, .query, standard: "{}",
                about: "parameters of the query, in the same way; escapes stay as they came"),
            .init(
                "cookies", \.cookies, .cookies, standard: "{}",
                about: "cookies, in the same way"),
        ]
    }
}

/// A condition on a value as a file writes it.
private struct TestDraft: Sendable {
    var present = false
    var absent = false
    var exact: String?
    var prefix: String?
    var suffix: String?
    var contains: String?
    var regex: String?
    var from: Int?
    var to: Int?
    var isInverted = false

    /// What is asked; empty, or several, is wrong.
    var tests: [ProxyConfiguration.ValueTest] {
        var tests: [ProxyConfiguration.ValueTest] = []
        if present { tests.append(.present) }
        if absent { tests.append(.absent) }
        if let exact { tests.append(.exact(exact)) }
        if let prefix { tests.append(.prefix(prefix)) }
        if let suffix { tests.append(.suffix(suffix)) }
        if let contains { tests.append(.contains(contains)) }
        if let regex { tests.append(.regex(regex)) }
        if let from, let to { tests.append(.range(Int64(from), Int64(to))) }
        return tests
    }
}

extension Shape where Whole == TestDraft {
    /// - Parameter isInvertible: whether `not` is a key.
    fileprivate static func test(isInvertible: Bool) -> Shape {
        var fields: [Field<TestDraft>] = [
            .init("present", \.present, .boolean, about: "`true`: it is there, with any value"),
            .init("absent", \.absent, .boolean, about: "`true`: it is not there"),
            .init("exact", \.exact, Form<String>.fieldValue.optional, about: "its whole value"),
            .init("prefix", \.prefix, Form<String>.fieldValue.optional, about: "its beginning"),
            .init("suffix", \.suffix, Form<String>.fieldValue.optional, about: "its end"),
            .init(
                "contains", \.contains, Form<String>.fieldValue.optional,
                about: "what stands in it"),
            .init(
                "regex", \.regex, Form<String>.regex.optional,
                about: "what all of it fits (docs/PROXY.md, \"Expressions\")"),
            .init(
                "from", \.from, Form<Int>.integer(Int.min...Int.max).optional, .with("to"),
                about: "a whole decimal number that is at least this"),
            .init(
                "to", \.to, Form<Int>.integer(Int.min...Int.max).optional, .with("from"),
                about: "and less than this"),
        ]
        if isInvertible {
            fields.append(
                .init(
                    "not", \.isInverted, .boolean, standard: "false",
                    about: "it is there, and this does not hold"))
        }
        return Shape(TestDraft(), fields)
    }
}

extension Form where Value == String {
    /// A regular expression.
    static var regex: Form {
        scalar(.text(pattern: nil), "a regular expression") { text throws(FormError) in
            if let problem = regexProblem(text) { throw FormError(problem) }
            return text
        }
    }
}

private typealias NamedTest = (test: ProxyConfiguration.ValueTest, isInverted: Bool)

/// A value, or what is asked of it.
private func tests(isInvertible: Bool) -> Form<NamedTest> {
    let shape = Shape<TestDraft>.test(isInvertible: isInvertible)
    return .either(
        scalar: Form<String>.fieldValue.map { text, _, _ in (.exact(text), false) },
        mapping: shape.form.map { draft, node, decoding in
            guard draft.tests.count == 1 else {
                decoding.report(
                    node.place,
                    "one of present, absent, exact, prefix, suffix, contains, regex, or from and "
                        + "to is needed")
                return nil
            }
            let match = ProxyConfiguration.HeaderMatch(
                "", draft.tests[0], isInverted: draft.isInverted)
            if let problem = match.problem {
                decoding.report(node.place, problem)
                return nil
            }
            return (match.test, match.isInverted)
        })
}

extension Form where Value == [ProxyConfiguration.HeaderMatch] {
    /// Conditions on fields, whose names come out in lower case.
    static var requestHeaderMatches: Form {
        dictionary(of: tests(isInvertible: true), atMost: 64, keyPattern: fieldNamePattern) { key in
            isFieldName(key) ? nil : "'\(abbreviated(key))' is no name of a field"
        }
        .map { pairs, _, decoding in
            let names = pairs.map { Placed($0.key.value.lowercased(), $0.key.place) }
            refuseDuplicates(names, "a field", &decoding)
            return zip(names, pairs).map {
                .init($0.value, $1.value.test, isInverted: $1.value.isInverted)
            }
        }
    }
}

extension Form where Value == [ProxyConfiguration.ParameterMatch] {
    /// Conditions on parameters of the query.
    static var query: Form { parameters("[!\"$%'-;?-~]+") { isQueryName($0) } }
    /// Conditions on cookies, whose names are words (RFC 6265, 4.1.1).
    static var cookies: Form { parameters(fieldNamePattern) { isFieldName($0) } }

    private static func parameters(
        _ pattern: String, _ isName: @escaping @Sendable (String) -> Bool
    ) -> Form {
        dictionary(of: tests(isInvertible: false), atMost: 64, keyPattern: pattern) { key in
            isName(key) ? nil : "'\(abbreviated(key))' is no name that stands in a request"
        }
        .map { pairs, _, _ in pairs.map { .init($0.key.value, $0.value.test) } }
    }
}

private func isQueryName(_ text: String) -> Bool {
    (1...256).contains(text.utf8.count) && isTargetText(text)
        && !text.utf8.contains { "&=".utf8.contains($0) }
}

// MARK: - Writing

extension [ProxyConfiguration.HeaderMatch] {
    /// Conditions on fields as files write them.
    var json: JSON {
        .object(map { .init($0.name, $0.test.json(isInverted: $0.isInverted)) })
    }
}

extension [ProxyConfiguration.ParameterMatch] {
    var json: JSON { .object(map { .init($0.name, $0.test.json(isInverted: false)) }) }
}

extension ProxyConfiguration.ValueTest {
    fileprivate func json(isInverted: Bool) -> JSON {
        var members: [JSON.Member] =
            switch self {
            case .present: [.init("present", .boolean(true))]
            case .absent: [.init("absent", .boolean(true))]
            case .exact(let text): [.init("exact", .string(text))]
            case .prefix(let text): [.init("prefix", .string(text))]
            case .suffix(let text): [.init("suffix", .string(text))]
            case .contains(let text): [.init("contains", .string(text))]
            case .regex(let pattern): [.init("regex", .string(pattern))]
            case .range(let low, let high):
                [.init("from", .integer(Int(low))), .init("to", .integer(Int(high)))]
            }
        if case .exact(let text) = self, !isInverted { return .string(text) }
        if isInverted { members.append(.init("not", .boolean(true))) }
        return .object(members)
    }
}
