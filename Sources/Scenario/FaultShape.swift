// The keys of a fault: where, what and when. What they may say together stands in
// `Consistency+Faults.swift`.

import Base
import Model

/// A fault as written, with the places that the checks across keys need.
struct FaultDraft: Sendable {
    var name = Placed("", .nowhere)
    var target = FaultTargetDraft()
    var action = FaultActionDraft()
    var timing = FaultTimingDraft()
}

struct FaultTargetDraft: Sendable {
    var point: Placed<FaultPlan.Point>?
    var service: Placed<String>?
    var from: Placed<String>?
    var hosts: Placed<FaultPlan.Hosts>?
    var match: Placed<FaultRule.Match>?
}

/// A word, or a mapping of what becomes of requests.
struct FaultActionDraft: Sendable {
    /// What is said in a word.
    enum Verb: String, CaseIterable, Sendable {
        case hang
        case kill
        case stop
        case refuse
        case blackHole = "black-hole"
    }

    var place = Place.nowhere
    var verb: Verb?
    var delay: Placed<DelayDistribution>?
    var abort: Placed<FaultRule.Abort>?
    var responseRate: Placed<Int>?
    var capacity: Placed<AppCapacity>?
}

struct FaultTimingDraft: Sendable {
    var chance: Placed<Double>?
    var firstAttempts: Placed<Int>?
    var after = Placed(Duration.zero, .nowhere)
    var lasts: Placed<Duration>?
}

extension Form where Value == [FaultDraft] {
    static var faults: Form {
        dictionary(
            of: Shape<FaultDraft>.fault.form, atMost: 100, keyPattern: "[a-z0-9-]+"
        ) { key in
            isName(key) && key.utf8.count <= 64
                ? nil : "a name of lower-case letters, digits and hyphens is needed here"
        }
        .map { pairs, _, _ in
            pairs.map { pair in
                var draft = pair.value
                draft.name = pair.key
                return draft
            }
        }
    }
}

extension Shape where Whole == FaultDraft {
    static var fault: Shape {
        Shape(
            FaultDraft(),
            [
                .init(
                    "where", \.target, Shape<FaultTargetDraft>.target.form, isRequired: true,
                    about: "what acts, or is acted upon"),
                .init(
                    "do", \.action, .action, isRequired: true,
                    about:
                        """
                        what is done: a word, `hang`, `kill`, `stop`, `refuse` or `black-hole`, or \
                        what becomes of requests
                        """
                ),
                .init(
                    "when", \.timing, Shape<FaultTimingDraft>.timing.form, standard: "{}",
                    about: "when, within the phases that name it, and to how many requests"),
            ])
    }
}

extension Shape where Whole == FaultTargetDraft {
    fileprivate static var target: Shape {
        Shape(
            FaultTargetDraft(),
            [
                .init(
                    "point", \.point, Form<FaultPlan.Point>.choice.placed.optional,
                    isRequired: true,
                    about:
                        """
                        the proxies of callers, before retries or for each attempt; those beside \
                        the hosts; the hosts' processes (`app`) and those of their proxies \
                        (`proxy`); whatever is called there (`wire`); the control plane
                        """
                ),
                .init(
                    "service", \.service, Form<String>.name.placed.optional,
                    about: "the service that is called; not at `control-plane`"),
                .init(
                    "from", \.from, Form<String>.name.placed.optional,
                    about: "at a caller's point: the load or service that calls; absent: all"),
                .init(
                    "hosts", \.hosts, Form<FaultPlan.Hosts>.hosts.placed.optional,
                    about:
                        """
                        which replicas: `all`, so many (`1`) or a share (`50%`) drawn from the \
                        seed, or a list of numbers from 0; absent: all
                        """
                ),
                .init(
                    "match", \.match, Form<FaultRule.Match>.match.placed.optional,
                    about: "only these requests"),
            ])
    }
}

extension Form where Value == FaultRule.Match {
    fileprivate static var match: Form {
        Shape.requestMatch(methods: FaultRule.mostConditions).form.map { draft, node, decoding in
            let match = FaultRule.Match(
                path: draft.path, methods: draft.methods, headers: draft.headers)
            if let problem = match.problem { decoding.report(node.place, problem) }
            return match
        }
    }
}

extension Form where Value == FaultPlan.Hosts {
    fileprivate static var hosts: Form {
        let numbers = list(of: Form<Int>.integer(0...63), 1...64)
        let kind = "all, a number of hosts, a share such as 50%, or a list of numbers"
        let pattern = "all|[1-9][0-9]?|[0-9]+(\\.[0-9]+)?%"
        let word = Form.scalar(.text(pattern: pattern), kind) { text throws(FormError) in
            if text == "all" { return .all }
            if let count = Int(text), (1...64).contains(count) { return .count(count) }
            if text.hasSuffix("%"), let share = try? Quantity.percent(text), share > 0, share <= 1 {
                return .share(share)
            }
            throw FormError("\(kind), is needed, not '\(abbreviated(text))'")
        }
        return .init(outline: .either([word.outline, numbers.outline])) { node, decoding in
            if case .sequence = node.content {
                return numbers.decode(node, &decoding).map { .numbers($0) }
            }
            return word.decode(node, &decoding)
        }
    }
}

// MARK: - What

extension Form where Value == FaultActionDraft {
    fileprivate static var action: Form {
        let word = Form<FaultActionDraft.Verb>.choice.map { verb, node, _ in
            FaultActionDraft(place: node.place, verb: verb)
        }
        let mapping = Shape<FaultActionDraft>.effect.form.map { draft, node, decoding in
            var draft = draft
            draft.place = node.place
            if case .mapping(let entries) = node.content, entries.isEmpty {
                decoding.report(node.place, "nothing is said of what to do")
            }
            return Optional(draft)
        }
        return .either(scalar: word, mapping: mapping)
    }
}

extension Shape where Whole == FaultActionDraft {
    fileprivate static var effect: Shape {
        Shape(
            FaultActionDraft(),
            [
                .init(
                    "delay", \.delay, Form<DelayDistribution>.delay.placed.optional,
                    about:
                        """
                        requests are held back first: for so long, or percentiles such as \
                        `{p50: 10ms, p99: 50ms}`
                        """
                ),
                .init(
                    "abort", \.abort, Form<FaultRule.Abort>.abort.placed.optional,
                    about: "they are answered with this status: `503`, or `{grpc: 14}`"),
                .init(
                    "response_rate", \.responseRate,
                    Form<Int>.size(1024...(1 << 40)).placed.optional,
                    about: "bytes per second of each answer's body"),
                .init(
                    "capacity", \.capacity,
                    Shape<AppCapacity>.capacity.form.placed.optional,
                    about: "how much each process can do at once, in place of what it could"),
            ])
    }
}

private struct AbortDraft: Sendable {
    var http: Int?
    var grpc: Int?
}

extension Form where Value == FaultRule.Abort {
    fileprivate static var abort: Form {
        let status = Form<Int>.integer(200...599)
        let shape = Shape(
            AbortDraft(),
            [
                .init("http", \.http, status.optional, about: "a status of HTTP"),
                .init(
                    "grpc", \.grpc, Form<Int>.integer(1...16).optional, .without("http"),
                    about: "a status of gRPC, by number"),
            ])
        return .either(
            scalar: status.map { status, _, _ in .http(status) },
            mapping: shape.form.map { draft, node, decoding in
                if let status = draft.http { return .http(status) }
                if let status = draft.grpc { return .grpc(status) }
                let isEmpty =
                    if case .mapping(let entries) = node.content { entries.isEmpty } else { false }
                if isEmpty { decoding.report(node.place, "one of http, grpc is needed here") }
                return nil
            })
    }
}

// MARK: - When

extension Shape where Whole == FaultTimingDraft {
    fileprivate static var timing: Shape {
        let duration = Form<Duration>.duration(.zero...(.seconds(86_400)))
        return Shape(
            FaultTimingDraft(),
            [
                .init(
                    "chance", \.chance, Form<Double>.percent.placed.optional,
                    about:
                        """
                        the share of requests, by a hash of the seed, the fault's name and the \
                        request; absent: all
                        """
                ),
                .init(
                    "first_attempts", \.firstAttempts,
                    Form<Int>.integer(1...100).placed.optional,
                    about: "only attempts up to this one; absent: all"),
                .init(
                    "after", \.after, duration.placed, standard: "0s",
                    about: "from the start of the phase"),
                .init(
                    "for", \.lasts,
                    Form<Duration>.duration(.milliseconds(1)...(.seconds(86_400))).placed.optional,
                    about: "how long; absent: to the end of the phase"),
            ])
    }
}

extension FaultActionDraft {
    /// What it comes to; nil: nothing.
    var plan: FaultPlan.Action? {
        switch verb {
        case .kill: return .kill
        case .stop: return .stop
        case .refuse: return .refuse
        case .blackHole: return .blackHole
        case .hang: return .requests(.init(hangs: true))
        case nil:
            let effect = FaultPlan.Effect(
                delay: delay?.value, abort: abort?.value, responseRate: responseRate?.value,
                capacity: capacity?.value)
            return effect == .init() ? nil : .requests(effect)
        }
    }
}

extension FaultDraft {
    var plan: FaultPlan? {
        guard let point = target.point?.value, let action = action.plan else { return nil }
        return FaultPlan(
            name.value, action, at: point, of: target.service?.value, from: target.from?.value,
            hosts: target.hosts?.value ?? .all, match: target.match?.value ?? .init(),
            chance: timing.chance?.value ?? 1, firstAttempts: timing.firstAttempts?.value,
            after: timing.after.value, lasts: timing.lasts?.value)
    }
}
