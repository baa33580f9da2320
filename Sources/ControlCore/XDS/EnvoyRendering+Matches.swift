import Model

// What routes and rules ask of requests, in Envoy's matchers. A field that stands on several lines
// is one value to Envoy, joined by commas.

extension EnvoyRendering {
    /// - Throws: where Envoy has no words for a condition.
    static func match(
        _ match: MeshRoute.Match, of route: MeshName
    ) throws(EnvoyRefusal) -> EnvoyValue {
        var conditions: EnvoyValue =
            switch match.path {
            case .exact(let path): ["path": .text(path)]
            case .prefix(let prefix) where prefix.hasSuffix("/"): ["prefix": .text(prefix)]
            case .prefix(let prefix): ["path_separated_prefix": .text(prefix)]
            case .regex(let pattern): ["safe_regex": regex(pattern)]
            }
        let headers = headers(match.methods, match.headers)
        if !headers.isEmpty { conditions = conditions.with("headers", .list(headers)) }
        for parameter in match.query + match.cookies {
            guard case .range = parameter.test else { continue }
            throw EnvoyRefusal(
                "the route \(route.text) asks for a number in '\(parameter.name)', and Envoy "
                    + "compares parameters and cookies as text")
        }
        if !match.query.isEmpty {
            conditions = conditions.with(
                "query_parameters", .list(match.query.map { condition($0.name, $0.test) }))
        }
        if !match.cookies.isEmpty {
            conditions = conditions.with("cookies", .list(match.cookies.map(cookie)))
        }
        return conditions
    }

    /// Envoy has no words for a cookie's presence but a text that anything fits, or not even that.
    private static func cookie(_ match: ProxyConfiguration.ParameterMatch) -> EnvoyValue {
        switch match.test {
        case .present: condition(match.name, .regex(#"\C*"#))
        case .absent: condition(match.name, .regex(#"\C*"#)).with("invert_match", true)
        default: condition(match.name, match.test)
        }
    }

    /// Matchers that must all hold.
    static func headers(
        _ methods: [String], _ headers: [ProxyConfiguration.HeaderMatch]
    ) -> [EnvoyValue] {
        let method: [EnvoyValue] =
            methods.isEmpty ? [] : [["name": ":method", "string_match": oneOf(methods)]]
        return method
            + headers.map { header in
                let asked = condition(header.name, header.test)
                // Of a field that is not there Envoy holds that neither a test nor its opposite
                // does, as we do.
                return header.isInverted ? asked.with("invert_match", true) : asked
            }
    }

    /// The same in any reading: methods count in lower case too, and a value among others of a
    /// list or on one line of several.
    /// - Precondition: the conditions are plain (`MeshAuthorization.Rule` has no others).
    static func headersInAnyReading(
        _ methods: [String], _ headers: [ProxyConfiguration.HeaderMatch]
    ) -> [EnvoyValue] {
        let pattern = "(?i:\(methods.joined(separator: "|")))"
        let method: [EnvoyValue] =
            methods.isEmpty
            ? [] : [["name": ":method", "string_match": ["safe_regex": regex(pattern)]]]
        return method
            + headers.map { header in
                precondition(header.isPlain, "a rule with a condition that was not checked")
                guard let value = header.value else { return condition(header.name, .present) }
                // By `\C`, as other values need not be UTF-8.
                let pattern = #"(?:\C*[,;])?[ \t]*"# + quoted(value) + #"[ \t]*(?:[,;]\C*)?"#
                return [
                    "name": .text(header.name), "string_match": ["safe_regex": regex(pattern)],
                ]
            }
    }

    /// A matcher of a field, a parameter or a cookie, which have nearly the same words.
    private static func condition(
        _ name: String, _ test: ProxyConfiguration.ValueTest
    ) -> EnvoyValue {
        func text(_ kind: String, _ text: String) -> EnvoyValue {
            ["name": .text(name), "string_match": .object([.init(name: kind, value: .text(text))])]
        }
        return switch test {
        case .present: ["name": .text(name), "present_match": true]
        case .absent: ["name": .text(name), "present_match": false]
        case .exact(let value): text("exact", value)
        case .prefix(let value): text("prefix", value)
        case .suffix(let value): text("suffix", value)
        case .contains(let value): text("contains", value)
        case .regex(let pattern):
            ["name": .text(name), "string_match": ["safe_regex": regex(pattern)]]
        case .range(let low, let high):
            [
                "name": .text(name),
                "range_match": ["start": .text("\(low)"), "end": .text("\(high)")],
            ]
        }
    }

    static func regex(_ pattern: String) -> EnvoyValue { ["regex": .text(pattern)] }

    /// One of some words.
    private static func oneOf(_ words: [String]) -> EnvoyValue {
        guard words.count > 1 else { return ["exact": .text(words[0])] }
        return ["safe_regex": regex(words.map(quoted).joined(separator: "|"))]
    }

    /// A text as a regular expression that means it (RE2: a backslash before punctuation).
    static func quoted(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            let isPlain =
                scalar.value >= 0x80 || scalar.properties.isAlphabetic
                || ("0"..."9").contains(scalar)
            if !isPlain { result += "\\" }
            result.unicodeScalars.append(scalar)
        }
        return result
    }
}
