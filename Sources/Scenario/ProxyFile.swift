// The configuration file of the reference proxy (docs/PROXY.md): YAML or JSON, which YAML contains.
// The rig writes such files for the proxies it starts, so that what a proxy ran with can be read
// and reused.

import Base
public import Model

/// A proxy's configuration as a file.
public enum ProxyFile {
    /// Reads a configuration from a file.
    /// - Throws: `ScenarioError` with everything that is wrong.
    public static func read(path: String) throws(ScenarioError) -> ProxyConfiguration {
        try parse(try readText(path, most: Limits.proxyBytes), file: path)
    }

    /// Reads a configuration from a text; `file` stands for it in errors.
    /// - Throws: `ScenarioError.invalid`.
    public static func parse(
        _ text: String, file: String
    ) throws(ScenarioError) -> ProxyConfiguration {
        var decoding = Decoding()
        do throws(InvalidDocument) {
            let root = try parseYAML(text, source: .file, nodesMost: Limits.proxyNodes)
            let draft = Shape.proxy.form.decode(root, &decoding)
            draft?.check(&decoding)
            guard let draft, decoding.diagnostics.isEmpty else {
                throw InvalidDocument(diagnostics: decoding.diagnostics)
            }
            return draft.whole
        } catch {
            throw .invalid(
                file: file, overrides: [], error.diagnostics.sorted { $0.place < $1.place })
        }
    }

    /// The JSON Schema (draft 2020-12) of proxy files.
    public static var schema: String {
        document(
            title: "meshbench proxy", id: "urn:meshbench:schema:proxy:1",
            Shape.proxy.form.outline)
    }

    /// The configuration as a file that reads back as the same, in JSON.
    public static func text(_ configuration: ProxyConfiguration) -> String {
        configuration.json.document() + "\n"
    }
}

extension ProxyDraft {
    fileprivate func check(_ decoding: inout Decoding) {
        refuseDuplicates(listeners.map(\.name), "a listener", &decoding)
        refuseDuplicates(clusters.map(\.name), "a cluster", &decoding)
        let addresses = listeners.map(\.address).filter { $0?.value.hasSuffix(":0") == false }
        refuseDuplicates(addresses, "a listener at", &decoding)
        let names = clusters.compactMap(\.name?.value)
        checkEndpoints(&decoding)
        checkFaults(&decoding)
        for listener in listeners { listener.check(&decoding) }
        for route in routes { route.check(&decoding) }
        if routes.isEmpty, let listener = listeners.first(where: { $0.cluster == nil }),
            let place = listener.name?.place
        {
            decoding.report(place, "the key 'routes' is missing: this listener has no `cluster`")
        }
        let asked =
            routes.compactMap(\.limitCluster) + listeners.compactMap(\.limitCluster)
        let referred = routes.flatMap(\.clusters) + listeners.map(\.cluster) + asked
        for cluster in asked {
            let found = clusters.first { $0.name?.value == cluster.value }
            if found?.cluster.speech == .http1 {
                decoding.report(
                    cluster.place, "a rate limit service is asked over http2 (`protocol`)")
            }
        }
        for case let cluster? in listeners.filter({ $0.speech == .tcp }).map(\.cluster) {
            let found = clusters.first { $0.name?.value == cluster.value }
            if found?.cluster.speech == .http2 {
                decoding.report(
                    cluster.place, "a tcp listener forwards to no cluster that speaks http2")
            }
        }
        guard names.count == clusters.count, !names.isEmpty else { return }
        for case let cluster? in referred where !names.contains(cluster.value) {
            let hint = suggestion(for: cluster.value, in: names)
            decoding.report(cluster.place, "unknown cluster '\(cluster.value)'\(hint)")
        }
    }

    /// Bound: what every worker's endpoint table holds, in all clusters together.
    private static let endpointsMost = 65_536

    private func checkEndpoints(_ decoding: inout Decoding) {
        var count = 0
        for draft in clusters {
            count += draft.cluster.endpoints.count
            guard count > Self.endpointsMost, let name = draft.name else { continue }
            return decoding.report(
                name.place, "more than \(Self.endpointsMost) endpoints in all clusters together")
        }
    }

    fileprivate var whole: ProxyConfiguration {
        var whole = configuration
        whole.listeners = listeners.compactMap { draft in
            guard let name = draft.name, let address = draft.address else { return nil }
            var listener = ProxyConfiguration.Listener(
                name: name.value, address: address.value, speech: draft.speech,
                cluster: draft.cluster?.value, tls: draft.tls, isPermissive: draft.isPermissive,
                authorization: draft.authorization?.value)
            listener.rateLimits = draft.rateLimits?.value ?? []
            listener.globalRateLimit = draft.globalRateLimit?.value
            listener.trustsHeaders = draft.trustsHeaders
            return listener
        }
        whole.routes = routes.map(\.whole)
        whole.clusters = clusters.map { draft in
            var cluster = draft.cluster
            cluster.name = draft.name?.value ?? ""
            return cluster
        }
        whole.faults = faults.map(\.whole)
        return whole
    }
}

// MARK: - Writing

extension ProxyConfiguration {
    fileprivate var json: JSON {
        var members: [JSON.Member] = [
            .init("listeners", .array(listeners.map(\.json))),
            .init("routes", .array(routes.map(\.json))),
            .init("clusters", .array(clusters.map(\.json))),
        ]
        if let admin { members.append(.init("admin", .string(admin))) }
        if let accessLog { members.append(.init("access_log", .string(accessLog))) }
        if let zone { members.append(.init("zone", .string(zone))) }
        members.append(.init("faults", .array(faults.map(\.json))))
        if let ledger { members.append(.init("ledger", .string(ledger))) }
        members += [
            .init("workers", .integer(workers)), .init("limits", limits.json),
            .init("timeouts", timeouts.json), .init("headers", headers.json),
            .init("upgrades", .array(upgrades.map(JSON.string))),
        ]
        return .object(members)
    }
}

extension ProxyConfiguration.Listener {
    fileprivate var json: JSON {
        var members: [JSON.Member] = [
            .init("name", .string(name)), .init("address", .string(address)),
            .init("protocol", .string(speech.rawValue)),
        ]
        if let cluster { members.append(.init("cluster", .string(cluster))) }
        if let tls {
            members += [.init("tls", tls.json), .init("permissive", .boolean(isPermissive))]
        }
        if let authorization { members.append(.init("authorization", authorization.json)) }
        if !rateLimits.isEmpty {
            members.append(.init("rate_limits", .array(rateLimits.map(\.json))))
        }
        if let globalRateLimit {
            members.append(.init("global_rate_limit", globalRateLimit.json("cluster")))
        }
        if trustsHeaders { members.append(.init("trusts_headers", .boolean(true))) }
        return .object(members)
    }
}

extension ProxyConfiguration.Authorization {
    fileprivate var json: JSON {
        var members: [JSON.Member] = [.init("deny", .array(deny.map(\.json)))]
        if let allow { members.append(.init("allow", .array(allow.map(\.json)))) }
        return .object(members)
    }
}

extension ServerTLS {
    fileprivate var json: JSON {
        var members: [JSON.Member] = [
            .init("certificate", .string(certificate)), .init("key", .string(key)),
            .init("certificates", .array(certificates.map(\.json))),
        ]
        if let authorities { members.append(.init("authorities", .string(authorities))) }
        members += [
            .init("client_certificate", .string(clientCertificate.rawValue)),
            .init("client_names", .array(clientNames.map(JSON.string))),
            .init("min_version", .string(minimumVersion.rawValue)),
        ]
        return .object(members)
    }
}

extension ServerTLS.Identity {
    fileprivate var json: JSON {
        .object([.init("certificate", .string(certificate)), .init("key", .string(key))])
    }
}

extension ClientTLS {
    fileprivate var json: JSON {
        var members: [JSON.Member] = []
        for (name, value) in [
            ("authorities", authorities), ("certificate", certificate), ("key", key),
            ("server_name", serverName),
        ] {
            if let value { members.append(.init(name, .string(value))) }
        }
        members += [
            .init("names", .array(names.map(JSON.string))),
            .init("min_version", .string(minimumVersion.rawValue)),
        ]
        return .object(members)
    }
}

extension ProxyConfiguration.Cluster {
    fileprivate var json: JSON {
        var members: [JSON.Member] = [
            .init("name", .string(name)), .init("endpoints", .array(endpoints.map(\.json))),
            .init("protocol", .string(speech.rawValue)),
        ]
        if let tls { members.append(.init("tls", tls.json)) }
        members.append(.init("connect_timeout", connectTimeout.json))
        if let requestTimeout { members.append(.init("request_timeout", requestTimeout.json)) }
        if let idleTimeout { members.append(.init("idle_timeout", idleTimeout.json)) }
        if let streamIdleTimeout {
            members.append(.init("stream_idle_timeout", streamIdleTimeout.json))
        }
        members += [
            .init("max_stream_duration", maxStreamDuration.json),
            .init("max_connection_duration", maxConnectionDuration.json),
            .init("requests_per_connection", .integer(requestsPerConnection)),
            .init("breaker", breaker.json),
        ]
        if balance != .init() { members.append(.init("balance", balance.json)) }
        return .object(members + attemptMembers)
    }
}

extension ProxyLimits {
    fileprivate var json: JSON {
        .object([
            .init("head", .string("\(headBytes)B")), .init("headers", .integer(headerCount)),
            .init("target", .string("\(targetBytes)B")),
            .init("connections", .integer(connections)), .init("streams", .integer(streams)),
            .init("requests_per_connection", .integer(requestsPerConnection)),
        ])
    }
}

extension ProxyTimeouts {
    fileprivate var json: JSON {
        .object([
            .init("request", request.json), .init("idle", idle.json), .init("head", head.json),
            .init("stream_idle", streamIdle.json), .init("max_stream", maxStream.json),
            .init("max_connection", maxConnection.json), .init("drain", drain.json),
            .init("handshake", handshake.json), .init("ping_interval", pingInterval.json),
            .init("ping_timeout", pingTimeout.json),
        ])
    }
}

extension HeaderPolicy {
    fileprivate var json: JSON {
        var members: [JSON.Member] = []
        if let via { members.append(.init("via", .string(via))) }
        members += [
            .init("forwarded_for", .boolean(forwardedFor)),
            .init("request_id", .boolean(requestID)),
        ]
        members += request.members("request") + answer.members("response")
        for (name, isOn) in [
            ("attempt_count", attemptCount), ("expected_timeout", expectedTimeout),
            ("service_time", serviceTime),
        ] where isOn {
            members.append(.init(name, .boolean(true)))
        }
        return .object(members)
    }
}

extension Duration {
    var json: JSON { .string(exactText) }
}
