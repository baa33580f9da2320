// The keys of a proxy's `faults` (docs/FAULTS.md).

import Base
import Model

struct FaultRuleDraft: Sendable {
    var rule = FaultRule(name: "", seed: 0, point: .clientEgress)
    var name: Placed<String>?
    var point: Placed<ProxyPoint>?
    var listener: Placed<String>?
    var cluster: Placed<String>?
    var exact: String?
    var regex: String?
    var prefix = "/"
    var abort = FaultAbortDraft()

    /// Where a proxy acts.
    enum ProxyPoint: String, CaseIterable, Sendable {
        case clientEgress = "client-egress-before-retry"
        case perAttempt = "per-attempt"
        case serverIngress = "server-ingress"

        var point: FaultRule.Point {
            switch self {
            case .clientEgress: .clientEgress
            case .perAttempt: .perAttempt
            case .serverIngress: .serverIngress
            }
        }
    }

    var whole: FaultRule {
        var rule = rule
        rule.name = name?.value ?? ""
        rule.point = point?.value.point ?? .clientEgress
        rule.listener = listener?.value
        rule.cluster = cluster?.value
        rule.match.path = exact.map { .exact($0) } ?? regex.map { .regex($0) } ?? .prefix(prefix)
        rule.abort = abort.http.map { .http($0) } ?? abort.grpc.map { .grpc($0) }
        return rule
    }

    /// - Parameters:
    ///   - listeners: the names that there are.
    ///   - clusters: likewise.
    func check(listeners: [String], clusters: [String], _ decoding: inout Decoding) {
        if let listener, !listeners.contains(listener.value) {
            let hint = suggestion(for: listener.value, in: listeners)
            decoding.report(listener.place, "unknown listener '\(listener.value)'\(hint)")
        }
        if let cluster, !clusters.contains(cluster.value) {
            let hint = suggestion(for: cluster.value, in: clusters)
            decoding.report(cluster.place, "unknown cluster '\(cluster.value)'\(hint)")
        }
        if let place = name?.place, let problem = whole.problem {
            decoding.report(place, "this fault cannot be: \(problem)")
        }
    }
}

struct FaultAbortDraft: Sendable {
    var http: Int?
    var grpc: Int?
}

extension ProxyDraft {
    func checkFaults(_ decoding: inout Decoding) {
        refuseDuplicates(faults.map(\.name), "a fault", &decoding)
        for fault in faults {
            fault.check(
                listeners: listeners.compactMap(\.name?.value),
                clusters: clusters.compactMap(\.name?.value), &decoding)
        }
    }
}

extension Shape where Whole == FaultRuleDraft {
    static var fault: Shape {
        Shape(FaultRuleDraft(), whom + what)
    }

    private static var whom: [Field<FaultRuleDraft>] {
        [
            .init(
                "name", \.name, Form<String>.faultName.placed.optional, isRequired: true,
                about: "what the ledger calls it"),
            .init(
                "point", \.point, Form<FaultRuleDraft.ProxyPoint>.choice.placed.optional,
                isRequired: true,
                about: "before retries, for each attempt, or as the server's proxy"),
            .init("seed", \.rule.seed, .seed, standard: "0", about: "from which it draws"),
            .init(
                "listener", \.listener, Form<String>.name.placed.optional,
                about: "only requests that come by it; absent: any"),
            .init(
                "cluster", \.cluster, Form<String>.name.placed.optional,
                about: "only requests that go there; absent: any"),
            .init("path", \.exact, Form<String>.routePath.optional, about: "exactly this path"),
            .init(
                "regex", \.regex, Form<String>.regex.optional, .without("path"),
                about: "what the whole path fits, as of routes"),
            .init(
                "prefix", \.prefix, .routePath, standard: "/", .without("path"),
                about: "paths that begin with these whole segments"),
            .init(
                "methods", \.rule.match.methods,
                list(of: Form<String>.method, 0...FaultRule.mostConditions), standard: "[]",
                about: "methods; empty: any"),
            .init(
                "headers", \.rule.match.headers, .headerMatches, standard: "{}",
                about: "fields with exactly this value, or `{present: true}`"),
            .init(
                "chance", \.rule.chance, .percent, standard: "100%",
                about: "share of the requests that are meant"),
            .init(
                "first_attempts", \.rule.firstAttempts, Form<Int>.integer(1...100).optional,
                about: "only attempts up to this one, counted from 1; absent: all"),
        ]
    }

    private static var what: [Field<FaultRuleDraft>] {
        [
            .init(
                "trust_headers", \.rule.trustsHeaders, .boolean, standard: "false",
                about: "requests say what is done to them, by `x-envoy-fault-…`"),
            .init(
                "delay", \.rule.delay, Form<DelayDistribution>.delay.optional,
                about: "how long they are held back: fixed, percentiles, or `{exp: 20ms}`"),
            .init(
                "abort", \.abort, Shape<FaultAbortDraft>.abort.form, standard: "{}",
                about: "what they are answered: `{http: 503}` or `{grpc: 14}`"),
            .init(
                "response_rate", \.rule.responseRate, Form<Int>.size(1024...(1 << 40)).optional,
                about: "bytes per second of the answers' bodies; absent: as they come"),
        ]
    }
}

extension Shape where Whole == FaultAbortDraft {
    fileprivate static var abort: Shape {
        Shape(
            FaultAbortDraft(),
            [
                .init(
                    "http", \.http, Form<Int>.integer(200...599).optional, about: "a status"),
                .init(
                    "grpc", \.grpc, Form<Int>.integer(1...16).optional, .without("http"),
                    about: "a status of gRPC; who makes no call gets 200"),
            ])
    }
}

extension Form where Value == String {
    fileprivate static var faultName: Form {
        .word(
            "a name of letters, digits, '.', '_' and '-'", pattern: "[A-Za-z0-9._-]+", atMost: 64,
            FaultRule.isName)
    }
}

// MARK: - Writing

extension FaultRule {
    /// As the file has it.
    var json: JSON {
        var members: [JSON.Member] = [
            .init("name", .string(name)), .init("point", .string(point.rawValue)),
            .init("seed", .integer(Int(truncatingIfNeeded: seed))),
        ]
        if let listener { members.append(.init("listener", .string(listener))) }
        if let cluster { members.append(.init("cluster", .string(cluster))) }
        switch match.path {
        case .exact(let path): members.append(.init("path", .string(path)))
        case .prefix(let prefix): members.append(.init("prefix", .string(prefix)))
        case .regex(let pattern): members.append(.init("regex", .string(pattern)))
        }
        members += [
            .init("methods", .array(match.methods.map(JSON.string))),
            .init("headers", match.headers.json),
            .init("chance", .string("\(decimal(chance * 100, digits: 12))%")),
        ]
        if let firstAttempts { members.append(.init("first_attempts", .integer(firstAttempts))) }
        members.append(.init("trust_headers", .boolean(trustsHeaders)))
        if let delay { members.append(.init("delay", delay.json)) }
        switch abort {
        case nil: break
        case .http(let status):
            members.append(.init("abort", .object([.init("http", .integer(status))])))
        case .grpc(let status):
            members.append(.init("abort", .object([.init("grpc", .integer(status))])))
        }
        if let responseRate {
            members.append(.init("response_rate", .string("\(responseRate)B")))
        }
        return .object(members)
    }
}

extension DelayDistribution {
    /// As files have it.
    var json: JSON {
        func object(_ members: [(String, JSON)]) -> JSON {
            .object(members.map { JSON.Member($0.0, $0.1) })
        }
        switch law {
        case .exponential(let mean): return object([("exp", mean.json)])
        case .uniform(let least, let most):
            return object([("least", least.json), ("most", most.json)])
        case .normal(let mean, let deviation):
            return object([("mean", mean.json), ("deviation", deviation.json)])
        case .pareto(let least, let shape):
            return object([("least", least.json), ("shape", .string(decimal(shape, digits: 12)))])
        case nil: break
        }
        if points.count == 1, points[0].quantile == 0.5 { return points[0].delay.json }
        if points.isEmpty { return Duration.zero.json }
        return object(points.map { ("p\(decimal($0.quantile * 100, digits: 12))", $0.delay.json) })
    }
}
