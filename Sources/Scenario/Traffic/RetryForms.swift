// `retry`, wherever it stands.

import Base
import Model

extension Form where Value == RetryPolicy {
    static let retry = Shape<RetryPolicy>.retry.form.checked
}

extension Shape where Whole == RetryPolicy {
    fileprivate static var retry: Shape {
        Shape(
            RetryPolicy(on: []),
            [
                .init(
                    "on", \.on, list(of: Form<RetryPolicy.Condition>.choice, 0...16),
                    isRequired: true, about: "what is a failure; empty: nothing is sent again"),
                .init(
                    "max", \.most, .integer(TrafficLimits.retries), standard: "1",
                    about: "retries of one request"),
                .init(
                    "statuses", \.statuses,
                    list(
                        of: Form<Int>.integer(TrafficLimits.statuses), 0...TrafficLimits.statusCount
                    ),
                    standard: "[]", about: "of the condition `retriable-status-codes`"),
                .init(
                    "headers", \.headers, .headerMatches, standard: "{}",
                    about:
                        "of the condition `retriable-headers`: fields of the answer with exactly "
                        + "this value, or `{present: true}`"),
                .init(
                    "per_try", \.perTry, Form<Duration>.duration(TrafficLimits.span).optional,
                    about: "how long one attempt may take; absent: as long as the request"),
                .init(
                    "backoff", \.backoff, Shape<RetryPolicy.Backoff>.backoff.form, standard: "{}",
                    about: "the wait before a retry"),
                .init(
                    "wait_headers", \.waitHeaders,
                    list(
                        of: Shape<RetryPolicy.WaitHeader>.waitHeader.form,
                        0...TrafficLimits.waitHeaders),
                    standard: "[]",
                    about: "fields of the answer that say the wait, such as `retry-after`"),
                .init(
                    "wait_max", \.waitMost, .duration(TrafficLimits.span), standard: "5m",
                    about: "what such a field may say at most; more, and it is not followed"),
                .init(
                    "budget", \.budget, Form<RetryPolicy.Budget>.budget.optional,
                    about:
                        "what all retries together may come to; absent: the breaker's `retries`"),
                .init(
                    "previous_hosts", \.avoidsPreviousHosts, .avoidance, standard: "any",
                    about: "whether endpoints that have been tried are avoided"),
                .init(
                    "reselections", \.reselections, .integer(TrafficLimits.reselections),
                    standard: "1",
                    about: "how often another endpoint is drawn for one that has been tried"),
                .init(
                    "non_idempotent", \.includesUnsafe, .boolean, standard: "false",
                    about:
                        "whether requests such as POST are sent again though their endpoint may "
                        + "have seen them"),
                .init(
                    "body_limit", \.bodyLimit, .size(TrafficLimits.retriedBody),
                    standard: "64KiB", about: "a request whose body is longer is sent once"),
                .init(
                    "hedge", \.hedges, .boolean, standard: "false",
                    about:
                        "after `per_try` the attempt goes on beside the next, and the first good "
                        + "answer is taken"),
            ])
    }
}

extension Shape where Whole == RetryPolicy.Backoff {
    fileprivate static var backoff: Shape {
        Shape(
            .init(),
            [
                .init(
                    "base", \.base, .duration(TrafficLimits.span), standard: "25ms",
                    about: "before the n-th retry, a uniform time up to (2^n - 1) times this"),
                .init(
                    "max", \.most, .duration(TrafficLimits.span), standard: "250ms",
                    about: "the longest wait"),
            ])
    }
}

extension Shape where Whole == RetryPolicy.WaitHeader {
    fileprivate static var waitHeader: Shape {
        Shape(
            .init(name: ""),
            [
                .init(
                    "name", \.name, .fieldName, isRequired: true, about: "the field"),
                .init(
                    "format", \.format, .choice, standard: "seconds",
                    about: "seconds from now, or since 1970"),
            ])
    }
}

private enum Avoidance: String, CaseIterable, Sendable {
    case any
    case avoid
}

extension Form where Value == Bool {
    fileprivate static var avoidance: Form {
        Form<Avoidance>.choice.map { word, _, _ in word == .avoid }
    }
}

// MARK: - Budgets

private enum Floor: Sendable {
    case inFlight(Int)
    case perSecond(Double)
}

private struct BudgetDraft: Sendable {
    var percent = 20.0
    var window: Duration?
    var floor: Placed<Floor>?
}

extension Form where Value == RetryPolicy.Budget {
    fileprivate static var budget: Form {
        let shape = Shape(
            BudgetDraft(),
            [
                .init(
                    "percent", \.percent, .percentage, standard: "20",
                    about: "retries against requests"),
                .init(
                    "per", \.window, Form<Duration>.duration(TrafficLimits.budgetWindow).optional,
                    about:
                        "of the requests of the last so much time; absent: of those in flight"),
                .init(
                    "min", \.floor, Form<Floor>.floor.placed.optional,
                    about:
                        "retries that there may be in any case: in flight (3), with `per` a rate "
                        + "besides (10/s)"),
            ])
        return shape.form.map { draft, _, decoding in
            switch (draft.window, draft.floor?.value) {
            case (nil, nil): return .concurrency(percent: draft.percent, least: 3)
            case (nil, .inFlight(let least)):
                return .concurrency(percent: draft.percent, least: least)
            case (let window?, nil):
                return .rate(percent: draft.percent, window: window, leastPerSecond: 10)
            case (let window?, .perSecond(let rate)):
                return .rate(percent: draft.percent, window: window, leastPerSecond: rate)
            case (let window, _):
                if let place = draft.floor?.place {
                    decoding.report(
                        place,
                        window == nil
                            ? "a number of retries in flight is needed; a rate is, with `per`"
                            : "with `per` a rate such as 10/s is needed")
                }
                return nil
            }
        }
    }
}

extension Form where Value == Floor {
    fileprivate static var floor: Form {
        let count = Form<Int>.integer(TrafficLimits.requests)
        let rate = Form<Double>.rate(TrafficLimits.rates)
        return .init(outline: .either([count.outline, rate.outline])) { node, decoding in
            if node.text?.hasSuffix("/s") == true {
                return rate.decode(node, &decoding).map { .perSecond($0) }
            }
            return count.decode(node, &decoding).map { .inFlight($0) }
        }
    }
}

// MARK: - Writing

extension RetryPolicy {
    var json: JSON {
        var members: [JSON.Member] = [
            .init("on", .array(on.map { .string($0.rawValue) })), .init("max", .integer(most)),
            .init("statuses", .array(statuses.map(JSON.integer))),
            .init("headers", headers.json),
        ]
        if let perTry { members.append(.init("per_try", perTry.json)) }
        members += [
            .init(
                "backoff",
                .object([.init("base", backoff.base.json), .init("max", backoff.most.json)])),
            .init(
                "wait_headers",
                .array(
                    waitHeaders.map {
                        .object([
                            .init("name", .string($0.name)),
                            .init("format", .string($0.format.rawValue)),
                        ])
                    })),
            .init("wait_max", waitMost.json),
        ]
        if let budget { members.append(.init("budget", budget.json)) }
        let avoidance = avoidsPreviousHosts ? Avoidance.avoid : .any
        return .object(
            members + [
                .init("previous_hosts", .string(avoidance.rawValue)),
                .init("reselections", .integer(reselections)),
                .init("non_idempotent", .boolean(includesUnsafe)),
                .init("body_limit", .string("\(bodyLimit)B")), .init("hedge", .boolean(hedges)),
            ])
    }
}

extension RetryPolicy.Budget {
    fileprivate var json: JSON {
        switch self {
        case .concurrency(let percent, let least):
            .object([.init("percent", percent.json), .init("min", .integer(least))])
        case .rate(let percent, let window, let least):
            .object([
                .init("percent", percent.json), .init("per", window.json),
                .init("min", least.perSecond),
            ])
        }
    }
}
