// `rate_limits`, wherever they stand.

import Base
import Model

extension Form where Value == [RateLimitPolicy] {
    static let rateLimits = list(
        of: Shape<RateLimitPolicy>.rateLimit.form.checked, 0...TrafficLimits.rateLimits)
}

extension Shape where Whole == RateLimitPolicy {
    fileprivate static var rateLimit: Shape {
        Shape(
            RateLimitPolicy(burst: 1, fill: 1),
            [
                .init(
                    "burst", \.burst, .integer(TrafficLimits.tokens), isRequired: true,
                    about: "tokens of a full bucket, which it is at first"),
                .init(
                    "fill", \.fill, .integer(TrafficLimits.tokens), standard: "1",
                    about: "tokens that come each `interval`"),
                .init(
                    "interval", \.interval, .duration(TrafficLimits.fillInterval),
                    standard: "1s", about: "from tokens to tokens"),
                .init(
                    "headers", \.matches, .requestHeaderMatches, standard: "{}",
                    about: "requests that it counts: fields, as routes ask for them"),
                .init(
                    "per", \.per, Form<RateLimitPolicy.Key>.bucketKey.optional,
                    about:
                        "a bucket for each identity of clients, or each value of a field; absent: "
                        + "one for all"),
                .init(
                    "enabled", \.enabled, .percents, standard: "100%",
                    about: "of requests, that are held against it"),
                .init(
                    "enforced", \.enforced, .percents, standard: "100%",
                    about: "of those without a token, that are turned away; others are counted"),
                .init(
                    "tell", \.tells, .boolean, standard: "false",
                    about: "whether answers have `x-ratelimit-` fields"),
            ])
    }
}

private enum Identity: String, CaseIterable, Sendable { case identity }

private struct BucketDraft: Sendable { var header = "" }

extension Form where Value == RateLimitPolicy.Key {
    fileprivate static var bucketKey: Form {
        let shape = Shape(
            BucketDraft(),
            [
                .init(
                    "header", \.header, .fieldName, isRequired: true,
                    about: "each value of this field has a bucket")
            ])
        return .either(
            scalar: Form<Identity>.choice.map { _, _, _ in .identity },
            mapping: shape.form.map { draft, _, _ in .header(draft.header) })
    }
}

extension RateLimitPolicy {
    var json: JSON {
        var members: [JSON.Member] = [
            .init("burst", .integer(burst)), .init("fill", .integer(fill)),
            .init("interval", interval.json), .init("headers", matches.json),
        ]
        switch per {
        case nil: break
        case .identity: members.append(.init("per", .string(Identity.identity.rawValue)))
        case .header(let name):
            members.append(.init("per", .object([.init("header", .string(name))])))
        }
        return .object(
            members + [
                .init("enabled", enabled.percents), .init("enforced", enforced.percents),
                .init("tell", .boolean(tells)),
            ])
    }
}
