// Rules as questions are held against them: at each level an entry is looked up by key and value,
// then by key alone; a limit holds where a question's descriptor ends, and nowhere before.
//
// Source: github.com/envoyproxy/ratelimit, `rateLimitConfigImpl.GetLimit`.

import Model
import Wire

/// Compiled rules. Immutable.
struct RateLimitTree: Sendable {
    /// A limit, and by which number it is told apart from others.
    struct Rule: Equatable, Sendable {
        let number: Int
        let limit: RateLimitResponse.Limit
        let isShadow: Bool
    }

    private struct Key: Hashable, Sendable {
        let key: String
        /// nil: any.
        let value: String?
    }

    private struct Node: Sendable {
        var rule: Rule?
        var children: [Key: Node] = [:]
    }

    private let domains: [String: Node]
    let count: Int

    /// - Precondition: no domain, and no key with the same value, stands twice in one place.
    init(_ rules: RateLimitRules) {
        var count = 0
        // Bound: files have few levels (`TrafficLimits.limitEntries`).
        func node(_ descriptors: [RateLimitRules.Descriptor], _ rule: Rule? = nil) -> Node {
            var whole = Node(rule: rule)
            for descriptor in descriptors {
                let key = Key(key: descriptor.key, value: descriptor.value)
                precondition(whole.children[key] == nil, "a descriptor twice in one place")
                let rule = descriptor.limit.map { limit in
                    Rule(
                        number: count,
                        limit: .init(limit.requests, per: RateLimitUnit(limit.unit)),
                        isShadow: descriptor.isShadow)
                }
                if rule != nil { count += 1 }
                whole.children[key] = node(descriptor.descriptors, rule)
            }
            return whole
        }
        var domains: [String: Node] = [:]
        for domain in rules.domains {
            precondition(domains[domain.name] == nil, "a domain twice")
            domains[domain.name] = node(domain.descriptors)
        }
        self.domains = domains
        self.count = count
    }

    /// The rule that a descriptor is held against, and those of its values that the rule does not
    /// write down: what is counted by itself. Texts that are written are compared as text, and may
    /// be written in several ways (Unicode, annex 15), which must not be counted apart.
    /// - Returns: nil: there is none.
    func rule(
        of descriptor: RateLimitRequest.Descriptor, in domain: String
    ) -> (rule: Rule, values: [String])? {
        guard var node = domains[domain] else { return nil }
        var values: [String] = []
        for entry in descriptor.entries {
            if let next = node.children[Key(key: entry.key, value: entry.value)] {
                node = next
            } else if let next = node.children[Key(key: entry.key, value: nil)] {
                node = next
                values.append(entry.value)
            } else {
                return nil
            }
        }
        guard let rule = node.rule else { return nil }
        return (rule, values)
    }
}

extension RateLimitUnit {
    init(_ unit: RateLimitRules.Unit) {
        self =
            switch unit {
            case .second: .second
            case .minute: .minute
            case .hour: .hour
            case .day: .day
            case .month: .month
            case .year: .year
            }
    }
}
