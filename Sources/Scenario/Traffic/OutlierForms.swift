// `outlier`, `accrual` and `admission`, wherever they stand.

import Base
import Model

extension Form where Value == OutlierPolicy {
    static let outlier = Shape<OutlierPolicy>.outlier.form.checked
}

extension Shape where Whole == OutlierPolicy {
    fileprivate static var outlier: Shape { Shape(OutlierPolicy(), rules + times) }

    /// A rule that is written down is meant, so it is enforced unless it says otherwise; the
    /// defaults of those that are not are Envoy's.
    private static var rules: [Field<OutlierPolicy>] {
        [
            .init(
                "consecutive_5xx", \.consecutive5xx, .consecutive, standard: "5",
                about: "5xx in a row, and unless they are split off failures to get an answer"),
            .init(
                "consecutive_gateway", \.consecutiveGateway, .consecutive,
                standard: "{count: 5, enforcing: 0%}", about: "502, 503 or 504 in a row"),
            .init(
                "consecutive_local", \.consecutiveLocal, .consecutive, standard: "5",
                about:
                    "failures to connect, timeouts and resets in a row; with "
                    + "`split_local_origin`"),
            .init(
                "success_rate", \.successRate,
                .statistical(
                    .init(threshold: 1.9, enforcing: 100, volume: 100), "factor",
                    .number(TrafficLimits.deviations), standard: "1.9", volume: "100",
                    about: "standard deviations below the mean of all endpoints"),
                standard: "{}", about: "endpoints that succeed less than the others"),
            .init(
                "failure_percentage", \.failurePercentage,
                .statistical(
                    .init(threshold: 85, enforcing: 100, volume: 50), "threshold",
                    .percents, standard: "85%", volume: "50", about: "from so many failures"),
                standard: "{enforcing: 0%}", about: "endpoints that fail so often"),
            .init(
                "split_local_origin", \.splitsLocalOrigin, .boolean, standard: "false",
                about: "whether failures to get an answer are counted apart from 5xx"),
        ]
    }

    private static var times: [Field<OutlierPolicy>] {
        [
            .init(
                "interval", \.interval, .duration(TrafficLimits.span), standard: "10s",
                about: "from one sweep to the next: rates are judged, ejected endpoints return"),
            .init(
                "base", \.baseEjection, .duration(TrafficLimits.span), standard: "30s",
                about: "how long an ejection lasts, times how often in a row"),
            .init(
                "max", \.mostEjection, .duration(TrafficLimits.span), standard: "5m",
                about: "how long it lasts at most, or `base` where that is longer"),
            .init(
                "jitter", \.jitter, .duration(TrafficLimits.pause), standard: "0s",
                about: "a uniform time up to this is added to each ejection"),
            .init(
                "max_percent", \.mostPercent, .percentage, standard: "10",
                about: "of the endpoints, that may be ejected at once"),
            .init(
                "always_eject_one", \.alwaysEjectsOne, .boolean, standard: "false",
                about: "whether one may be where `max_percent` is less than one"),
            .init(
                "health_check_returns", \.returnsOnHealthCheck, .boolean, standard: "true",
                about: "whether an active check that passes brings an endpoint back"),
        ]
    }
}

private enum Off: String, CaseIterable, Sendable { case off }

extension Form where Value == OutlierPolicy.Consecutive {
    fileprivate static var consecutive: Form {
        let count = Form<Int>.integer(TrafficLimits.failures)
        let off = Form<Off>.choice
        let scalar = Form<Int?>(outline: .either([count.outline, off.outline])) {
            node, decoding in
            node.text == Off.off.rawValue ? .some(nil) : count.decode(node, &decoding)
        }
        let shape = Shape<Value>(
            .init(nil, enforcing: 100),
            [
                .init(
                    "count", \.count, scalar, isRequired: true,
                    about: "so many in a row eject an endpoint"),
                .init(
                    "enforcing", \.enforcing, .percents, standard: "100%",
                    about: "of ejections that are made; others are only counted"),
            ])
        return .either(
            scalar: scalar.map { count, _, _ in .init(count, enforcing: 100) },
            mapping: shape.form)
    }
}

extension Form where Value == OutlierPolicy.Statistical {
    fileprivate static func statistical(
        _ blank: Value, _ threshold: String, _ form: Form<Double>, standard: String,
        volume: String, about: String
    ) -> Form {
        let shape = Shape<Value>(
            blank,
            [
                .init(threshold, \.threshold, form, standard: standard, about: about),
                .init(
                    "enforcing", \.enforcing, .percents, standard: "100%",
                    about: "of ejections that are made; others are only counted"),
                .init(
                    "hosts", \.hosts, .integer(TrafficLimits.hosts), standard: "5",
                    about: "endpoints with `volume` that there must be"),
                .init(
                    "volume", \.volume, .integer(TrafficLimits.volume), standard: volume,
                    about: "requests in the interval from which an endpoint counts"),
            ])
        let off = Form<Off>.choice.map { _, _, _ -> Value? in
            var rule = blank
            rule.enforcing = 0
            return rule
        }
        return .either(scalar: off, mapping: shape.form)
    }
}

extension Form where Value == AccrualPolicy {
    static let accrual = Shape<AccrualPolicy>(
        AccrualPolicy(),
        [
            .init(
                "max_failures", \.failures, .integer(TrafficLimits.failures), standard: "7",
                about: "5xx or failures in a row that shut an endpoint out"),
            .init(
                "min_penalty", \.leastWait, .duration(TrafficLimits.span), standard: "1s",
                about: "before the first request that tries it again; doubled by each that fails"),
            .init(
                "max_penalty", \.mostWait, .duration(TrafficLimits.span), standard: "1m",
                about: "the longest wait"),
            .init(
                "jitter", \.jitter, .percent, standard: "50%",
                about: "of each wait, by which it may be longer"),
            .init(
                "success_rate", \.successRate, Form<AccrualPolicy.SuccessRate>.accrued.optional,
                about:
                    "endpoints that succeed too rarely are shut out too, 429 being no success; "
                    + "absent: only those that fail in a row"),
        ]
    ).form.checked
}

extension Form where Value == AccrualPolicy.SuccessRate {
    fileprivate static let accrued = Shape<AccrualPolicy.SuccessRate>(
        .init(),
        [
            .init(
                "threshold", \.threshold, .percents, standard: "80%",
                about: "successes below which an endpoint is shut out"),
            .init(
                "window", \.window, .duration(TrafficLimits.span), standard: "10s",
                about: "after so long an answer weighs 1/e"),
            .init(
                "requests", \.requests, .integer(TrafficLimits.failures), standard: "5",
                about: "answers that there must be, anew after each return and three idle windows"),
        ]
    ).form
}

extension Form where Value == AdmissionPolicy {
    static let admission = Shape<AdmissionPolicy>(
        AdmissionPolicy(),
        [
            .init(
                "threshold", \.threshold, .percents, standard: "95%",
                about: "successes below which requests are turned away"),
            .init(
                "window", \.window, .duration(TrafficLimits.admissionWindow), standard: "30s",
                about: "the time that is looked at"),
            .init(
                "aggression", \.aggression, .number(TrafficLimits.aggression), standard: "1",
                about: "1: in proportion; more: sooner"),
            .init(
                "max_rejected", \.mostRejected, .percents, standard: "80%",
                about: "of requests, that are turned away at most"),
            .init(
                "min_rate", \.leastRate, .rate(TrafficLimits.rates), standard: "0/s",
                about: "requests below which none is"),
        ]
    ).form.checked
}

// MARK: - Writing

extension OutlierPolicy {
    var json: JSON {
        .object([
            .init("consecutive_5xx", consecutive5xx.json),
            .init("consecutive_gateway", consecutiveGateway.json),
            .init("consecutive_local", consecutiveLocal.json),
            .init("success_rate", successRate.json("factor", successRate.threshold.json)),
            .init(
                "failure_percentage",
                failurePercentage.json("threshold", failurePercentage.threshold.percents)),
            .init("split_local_origin", .boolean(splitsLocalOrigin)),
            .init("interval", interval.json), .init("base", baseEjection.json),
            .init("max", mostEjection.json), .init("jitter", jitter.json),
            .init("max_percent", mostPercent.json),
            .init("always_eject_one", .boolean(alwaysEjectsOne)),
            .init("health_check_returns", .boolean(returnsOnHealthCheck)),
        ])
    }
}

extension OutlierPolicy.Consecutive {
    fileprivate var json: JSON {
        .object([
            .init("count", count.map(JSON.integer) ?? .string(Off.off.rawValue)),
            .init("enforcing", enforcing.percents),
        ])
    }
}

extension OutlierPolicy.Statistical {
    fileprivate func json(_ name: String, _ threshold: JSON) -> JSON {
        .object([
            .init(name, threshold), .init("enforcing", enforcing.percents),
            .init("hosts", .integer(hosts)), .init("volume", .integer(volume)),
        ])
    }
}

extension AccrualPolicy {
    var json: JSON {
        var members: [JSON.Member] = [
            .init("max_failures", .integer(failures)), .init("min_penalty", leastWait.json),
            // A share of 1, to the four digits that percents have.
            .init("max_penalty", mostWait.json),
            .init("jitter", ((jitter * 1e6).rounded() / 1e4).percents),
        ]
        if let rate = successRate {
            members.append(
                .init(
                    "success_rate",
                    .object([
                        .init("threshold", rate.threshold.percents),
                        .init("window", rate.window.json),
                        .init("requests", .integer(rate.requests)),
                    ])))
        }
        return .object(members)
    }
}

extension AdmissionPolicy {
    var json: JSON {
        .object([
            .init("threshold", threshold.percents), .init("window", window.json),
            .init("aggression", aggression.json), .init("max_rejected", mostRejected.percents),
            .init("min_rate", leastRate.perSecond),
        ])
    }
}
