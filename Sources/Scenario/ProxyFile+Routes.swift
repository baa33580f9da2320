// Routes as a proxy's file writes them, and what declarations have of it.

import Base
import Model

extension ProxyConfiguration.Route {
    var json: JSON {
        var members: [JSON.Member] = [.init("hosts", .array(hosts.map(JSON.string)))]
        members += conditionMembers
        if !shares.isEmpty { members.append(.init("clusters", .array(shares.map(\.json)))) }
        members += mirrors.members("cluster")
        members += effectMembers
        if priority != .standard { members.append(.init("priority", .string(priority.rawValue))) }
        if !rateLimits.isEmpty {
            members.append(.init("rate_limits", .array(rateLimits.map(\.json))))
        }
        if let globalRateLimit {
            members.append(.init("global_rate_limit", globalRateLimit.json("cluster")))
        }
        return .object(members)
    }
}

extension RouteConditions {
    /// What a route asks of requests beside their host.
    var conditionMembers: [JSON.Member] {
        var members: [JSON.Member] =
            switch path {
            case .exact(let path): [.init("path", .string(path))]
            case .prefix(let prefix): [.init("prefix", .string(prefix))]
            case .regex(let pattern): [.init("regex", .string(pattern))]
            }
        members += [
            .init("methods", .array(methods.map(JSON.string))), .init("headers", headers.json),
        ]
        // Written only where there are some: what is stored of a route stays as it was.
        if !query.isEmpty { members.append(.init("query", query.json)) }
        if !cookies.isEmpty { members.append(.init("cookies", cookies.json)) }
        return members
    }
}

extension RouteEffects {
    /// What becomes of requests, as far as it is said.
    var effectMembers: [JSON.Member] {
        var members: [JSON.Member] = []
        if let redirect { members.append(.init("redirect", redirect.json)) }
        if let answer { members.append(.init("answer", answer.json)) }
        if let rewrite { members.append(.init("rewrite", .object(rewrite.members))) }
        if let hostRewrite { members.append(.init("host_rewrite", .string(hostRewrite))) }
        members += requestHeaders.members("request_headers")
        members += answerHeaders.members("response_headers")
        if let timeout { members.append(.init("timeout", timeout.json)) }
        if let retry { members.append(.init("retry", retry.json)) }
        return members
    }
}

extension ProxyConfiguration.Share {
    fileprivate var json: JSON {
        .object(
            [.init("cluster", .string(cluster)), .init("weight", .integer(weight))]
                + requestHeaders.members("request_headers")
                + answerHeaders.members("response_headers"))
    }
}

extension HeaderChanges {
    /// Nothing where there are no changes.
    func members(_ name: String) -> [JSON.Member] {
        guard !isEmpty else { return [] }
        func object(_ fields: [Field]) -> JSON {
            .object(fields.map { .init($0.name, .string($0.value)) })
        }
        return [
            .init(
                name,
                .object([
                    .init("set", object(self.set)), .init("add", object(add)),
                    .init("remove", .array(remove.map(JSON.string))),
                ]))
        ]
    }
}

extension PathRewrite {
    fileprivate var members: [JSON.Member] {
        switch self {
        case .prefix(let text): [.init("prefix", .string(text))]
        case .path(let text): [.init("path", .string(text))]
        case .regex(let pattern, let substitution):
            [.init("regex", .string(pattern)), .init("substitution", .string(substitution))]
        }
    }
}

extension Redirect {
    fileprivate var json: JSON {
        var members: [JSON.Member] = [.init("status", .integer(status))]
        if let scheme { members.append(.init("scheme", .string(scheme))) }
        if let host { members.append(.init("host", .string(host))) }
        if let port { members.append(.init("port", .integer(port))) }
        members += path?.members ?? []
        members.append(.init("strip_query", .boolean(stripsQuery)))
        return .object(members)
    }
}

extension DirectAnswer {
    fileprivate var json: JSON {
        .object([.init("status", .integer(status)), .init("body", .string(body))])
    }
}
