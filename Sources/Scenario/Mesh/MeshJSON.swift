// Declarations as JSON: the form of files with every value written out, so that what is stored does
// not change with a default, in the one text that its value has. Reading is that of files.

import Base
public import Model

extension MeshDeclaration {
    /// The declaration on one line, keys in the order of their bytes and nothing between: the same
    /// bytes for equal values. `init(text:file:)` reads it back.
    public var json: String { String(decoding: canonical, as: UTF8.self) }

    /// The same as UTF-8.
    var canonical: [UInt8] { tree.canonical }

    /// The same over several lines, for people; a file of declarations may hold it as it is.
    public var text: String { tree.document() + "\n" }

    private var tree: JSON {
        let members =
            switch self {
            case .service(let service): service.members
            case .endpoint(let endpoint): endpoint.members
            case .route(let route): route.members
            case .policy(let policy): policy.members
            case .authorization(let authorization): authorization.members
            }
        let names: [JSON.Member] = [
            .init("kind", .string(key.kind.rawValue)), .init("name", .string(key.name.name)),
            .init("namespace", .string(key.name.namespace)),
        ]
        return .object(names + members)
    }
}

extension MeshService {
    fileprivate var members: [JSON.Member] {
        var members: [JSON.Member] = [
            .init("protocol", .string(speech.rawValue)), .init("mtls", .string(mtls.rawValue)),
        ]
        if let identity { members.append(.init("identity", .string(identity.rawValue))) }
        if let health { members.append(.init("health", health.json)) }
        if let calls { members.append(.init("calls", calls.json)) }
        return members
    }
}

extension MeshHealthCheck {
    fileprivate var json: JSON {
        var members: [JSON.Member] = [
            .init("interval", interval.json), .init("timeout", timeout.json),
            .init("healthy", .integer(healthyThreshold)),
            .init("unhealthy", .integer(unhealthyThreshold)),
        ]
        switch probe {
        case .tcp: break
        case .http(let path): members.append(.init("http", .string(path)))
        case .grpc(let service): members.append(.init("grpc", .string(service)))
        }
        return .object(members)
    }
}

extension MeshEndpoint {
    fileprivate var members: [JSON.Member] {
        var members: [JSON.Member] = [
            .init("service", .string(service)), .init("address", .string(address)),
            .init("weight", .integer(weight)), .init("health", .string(health.rawValue)),
        ]
        if let zone { members.append(.init("zone", .string(zone))) }
        // Written only where there are some: what is stored of an endpoint stays as it was.
        if level != 0 { members.append(.init("level", .integer(level))) }
        if !labels.isEmpty { members.append(.init("labels", labels.labelsJSON)) }
        return members
    }
}

extension MeshRoute {
    fileprivate var members: [JSON.Member] {
        var members: [JSON.Member] = [
            .init("hosts", .array(hosts.map(JSON.string))),
            .init("matches", .array(matches.map(\.json))),
            .init(
                "to",
                .array(
                    destinations.map {
                        .object(
                            [
                                .init("service", .string($0.service.text)),
                                .init("weight", .integer($0.weight)),
                            ] + $0.requestHeaders.members("request_headers")
                                + $0.answerHeaders.members("response_headers"))
                    })),
        ]
        members += mirrors.map(RequestMirror<String>.init).members("service")
        members += effectMembers
        members += [
            .init("priority", .string(priority.rawValue)),
            .init("rate_limits", .array(rateLimits.map(\.json))),
        ]
        // Written only where there is one: what is stored of others stays as it was.
        if let globalRateLimit {
            members.append(.init("global_rate_limit", globalRateLimit.json("service")))
        }
        return members
    }
}

extension MeshRoute.Match {
    fileprivate var json: JSON {
        .object(conditionMembers)
    }
}

extension MeshPolicy {
    fileprivate var members: [JSON.Member] {
        let spans = [
            ("connect", timeouts.connect), ("request", timeouts.request), ("idle", timeouts.idle),
            ("stream_idle", timeouts.streamIdle), ("max_stream", timeouts.maxStream),
            ("max_connection", timeouts.maxConnection),
        ]
        var members: [JSON.Member] = [
            .init("to", targets.json),
            .init(
                "timeout",
                .object(spans.compactMap { name, span in span.map { .init(name, $0.json) } })),
        ]
        if let breaker { members.append(.init("breaker", breaker.json)) }
        if let balance { members.append(.init("balance", balance.json)) }
        return members + attemptMembers + [.init("inbound", inbound.json)]
    }
}

extension MeshPolicy.Inbound {
    fileprivate var json: JSON {
        var members: [JSON.Member] = [
            .init("rate_limits", .array(rateLimits.map(\.json)))
        ]
        if let globalRateLimit {
            members.append(.init("global_rate_limit", globalRateLimit.json("service")))
        }
        if let admission { members.append(.init("admission", admission.json)) }
        return .object(members)
    }
}

extension MeshAuthorization {
    fileprivate var members: [JSON.Member] {
        [
            .init("action", .string(action.rawValue)), .init("to", targets.json),
            .init("rules", .array(rules.map(\.json))),
        ]
    }
}

extension MeshAuthorization.Rule {
    /// Also as a proxy's file writes it.
    var json: JSON {
        .object([
            .init("identities", .array(identities.map { .string($0.rawValue) })),
            .init("namespaces", .array(namespaces.map(JSON.string))),
            .init("methods", .array(methods.map(JSON.string))),
            .init("paths", .array(paths.map(JSON.string))),
            .init("prefixes", .array(prefixes.map(JSON.string))),
            .init("headers", headers.json), .init("ports", .array(ports.map(JSON.integer))),
        ])
    }
}

extension [MeshName] {
    fileprivate var json: JSON { .array(map { .string($0.text) }) }
}
