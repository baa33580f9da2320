// The file of a rate limit service's rules (docs/RATELIMIT.md): one domain, in the form of Envoy's
// rate limit service.

import Base
public import Model

/// The rules of one domain as a file.
public enum RateLimitFile {
    /// Reads a file.
    /// - Throws: `ScenarioError` with everything that is wrong.
    public static func read(path: String) throws(ScenarioError) -> RateLimitRules.Domain {
        try parse(try readText(path), file: path)
    }

    /// Reads a text; `file` stands for it in errors.
    /// - Throws: `ScenarioError.invalid`.
    public static func parse(
        _ text: String, file: String
    ) throws(ScenarioError) -> RateLimitRules.Domain {
        var decoding = Decoding()
        do throws(InvalidDocument) {
            let root = try parseYAML(text, source: .file, nodesMost: Limits.nodes)
            let domain = Shape<RateLimitRules.Domain>.domain.form.decode(root, &decoding)
            guard let domain, decoding.diagnostics.isEmpty else {
                throw InvalidDocument(diagnostics: decoding.diagnostics)
            }
            return domain
        } catch {
            throw .invalid(
                file: file, overrides: [], error.diagnostics.sorted { $0.place < $1.place })
        }
    }
}

extension Shape where Whole == RateLimitRules.Domain {
    fileprivate static var domain: Shape {
        Shape(
            .init("", []),
            [
                .init(
                    "domain", \.name, .limitText, isRequired: true,
                    about: "which questions are meant"),
                .init(
                    "descriptors", \.descriptors, rules(levels: TrafficLimits.limitEntries),
                    isRequired: true, about: "what their first entries may be"),
            ])
    }
}

extension Shape where Whole == RateLimitRules.Limit {
    fileprivate static var limit: Shape {
        Shape(
            .init(0, per: .second),
            [
                .init(
                    "unit", \.unit, .choice, isRequired: true, about: "how long a window is"),
                .init(
                    "requests_per_unit", \.requests,
                    Form<Int>.integer(0...Int(UInt32.max)).map { number, _, _ in UInt32(number) },
                    isRequired: true, about: "how many are let in, in each window"),
            ])
    }
}

/// Descriptors of one level, with no more than so many levels of them.
private func rules(levels: Int) -> Form<[RateLimitRules.Descriptor]> {
    var fields: [Field<RateLimitRules.Descriptor>] = [
        .init("key", \.key, .limitText, isRequired: true, about: "of an entry"),
        .init(
            "value", \.value, Form<String>.limitText.optional,
            about: "of an entry; absent: any, each counted by itself"),
        .init(
            "rate_limit", \.limit, Shape<RateLimitRules.Limit>.limit.form.optional,
            about: "of questions whose descriptor ends here; absent: none"),
        .init(
            "shadow_mode", \.isShadow, .boolean, standard: "false", .with("rate_limit"),
            about: "whether what is over the limit is only counted"),
    ]
    if levels > 1 {
        fields.append(
            .init(
                "descriptors", \.descriptors, rules(levels: levels - 1), standard: "[]",
                about: "what the next entry may be"))
    }
    let item = Shape(RateLimitRules.Descriptor(""), fields).form.placed
    return list(of: item, 0...Limits.nodes).map { items, _, decoding in
        var seen: Set<[String?]> = []
        for item in items where !seen.insert([item.value.key, item.value.value]).inserted {
            decoding.report(item.place, "an entry like this stands in this list already")
        }
        return items.map(\.value)
    }
}
