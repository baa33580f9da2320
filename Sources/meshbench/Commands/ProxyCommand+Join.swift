// `meshbench proxy --join`: a proxy that learns from a control plane what it serves.

import Base
import Glibc
import Model
import Posix
import Runtime
import Scenario

extension Flag {
    static let join = Flag(
        "--join", "HOST:PORT", repeats: true,
        about: "a control plane of the mesh to join; more than one: each knows the same")
    static let tokenFile = Flag(
        "--token-file", "FILE", about: "what lets it in ('meshbench control token')")
    static let proxyName = Flag(
        "--name", "NAME", about: "its name in the mesh; without it one is made of the service's")
    static let appAddress = Flag(
        "--app", "HOST:PORT", about: "where the service's own process answers")
    static let gateway = Flag(
        "--gateway",
        about: "stand before the mesh: requests from outside come in, and go by declared routes")
    static let gatewayCertificate = Flag(
        "--tls-cert", "FILE", about: "PEM: what a gateway shows those outside, leaf first")
    static let gatewayKey = Flag("--tls-key", "FILE", about: "PEM: its private key")
    static let gatewayAuthorities = Flag(
        "--client-ca", "FILE",
        about: "PEM: who must vouch for a gateway's clients; without it nobody is asked")
    static let inbound = Flag(
        "--inbound", "HOST:PORT", standard: "127.0.0.1:0",
        about:
            "where requests to the service come in, of which others are told, or a gateway's do")
    static let tcp = Flag(
        "--tcp", "SERVICE=HOST:PORT", repeats: true,
        about: "where bytes come in that go to a service of tcp, such as shop/db=127.0.0.1:5432")
    static let outbound = Flag(
        "--outbound", "HOST:PORT", standard: "127.0.0.1:0",
        about: "where the service's own process sends its requests to others")
    static let state = Flag(
        "--state", "DIR",
        about: "what was learnt is kept here, and the proxy starts from it without a control plane")
    static let zone = Flag("--zone", "ZONE", about: "where it runs, as endpoints say it")
    static let weight = Flag(
        "--weight", "N", standard: "1", about: "its share of requests, against its service's others"
    )
    static let level = Flag(
        "--level", "N", standard: "0", about: "it serves when those of lower levels do not suffice")
    static let label = Flag(
        "--label", "NAME=VALUE", repeats: true,
        about: "what subsets of a policy's balance choose by, such as version=2")
    static let adminAddress = Flag(
        "--admin", "HOST:PORT", about: "where /stats, /ready, /config and /faults are served")
    static let accessLog = Flag(
        "--access-log", "FILE", about: "one line of JSON a request; - for standard output")

    /// Those that only go with `--join`.
    static let ofJoining: [Flag] = [
        .tokenFile, .proxyName, .appAddress, .gateway, .gatewayCertificate, .gatewayKey,
        .gatewayAuthorities, .inbound, .outbound, .tcp, .state, .zone, .weight, .level,
        .label, .adminAddress, .accessLog,
    ]
}

/// Runs a proxy that joins a mesh.
func runJoined(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let configuration = try joinConfiguration(arguments)
    do throws(JoinError) {
        let proxy = try JoinedProxy(configuration, codec: .json)
        try proxy.run { server in
            announceReady(
                server, more: "\"proxy\":\"\(proxy.name)\",\"service\":\"\(proxy.service)\"")
        }
        return .success
    } catch {
        let code: ExitCode
        switch error {
        case .malformedToken, .noToken, .otherProxy, .file, .folder: code = .badScenario
        default: code = .failed
        }
        throw CommandFailure(code: code, message: "meshbench proxy: \(error)")
    }
}

/// - Parameter folder: what is kept is kept there; nil: as --state says.
func joinConfiguration(
    _ arguments: Arguments, folder: String? = nil
) throws(CommandFailure) -> JoinConfiguration {
    let folder = folder ?? arguments.value(.state)
    for flag in [Flag.config, .listen, .upstream] where arguments.has(flag) {
        throw arguments.usage("'\(flag.name)' goes without --join")
    }
    let servers = try arguments.values(.join).map { text throws(CommandFailure) in
        try address(text, .join, arguments)
    }
    guard Set(servers.map(\.description)).count == servers.count, servers.count <= 16 else {
        throw arguments.usage("'--join': 16 control planes at most, each once")
    }
    let token = try arguments.value(.tokenFile).map { path throws(CommandFailure) in
        try readToken(path)
    }
    guard token != nil || folder != nil else {
        throw arguments.usage(
            "give --token-file, or with --state the folder of a proxy that has joined before")
    }
    let name = arguments.value(.proxyName)
    if let name, !MeshName.isLabel(name) {
        throw arguments.usage(
            "'--name \(name)': lower-case letters, digits and hyphens are needed, at most 63")
    }
    let app = try optional(.appAddress, arguments)
    let gateway = try gateway(arguments)
    if app == nil {
        if arguments.has(.weight) { throw arguments.usage("'--weight' goes with --app") }
        if gateway == nil, arguments.has(.inbound) {
            throw arguments.usage("'--inbound' goes with --app or --gateway")
        }
    }
    let inbound = try optional(.inbound, arguments) ?? .loopback(port: 0)
    guard gateway != nil || !["0.0.0.0", "::"].contains(inbound.host) else {
        throw arguments.usage(
            "'--inbound \(inbound)': others are told this address, so it must be one of them all")
    }
    if let zone = arguments.value(.zone), !MeshName.isLabel(zone) {
        throw arguments.usage(
            "'--zone \(zone)': lower-case letters, digits and hyphens are needed, at most 63")
    }
    var configuration = JoinConfiguration(
        servers: servers, token: token, inbound: inbound,
        outbound: try optional(.outbound, arguments) ?? .loopback(port: 0), app: app,
        gateway: gateway, tcp: try tcpListeners(arguments), state: folder, name: name,
        zone: arguments.value(.zone),
        weight: try arguments.integer(.weight, in: 1...MeshLimits.weight) ?? 1,
        admin: try optional(.adminAddress, arguments), accessLog: arguments.value(.accessLog),
        workers: try arguments.integer(.workers, in: workerRange) ?? 1,
        ledger: arguments.value(.ledger))
    configuration.level = try arguments.integer(.level, in: TrafficLimits.levels) ?? 0
    configuration.labels = try labels(arguments)
    return configuration
}

private func labels(_ arguments: Arguments) throws(CommandFailure) -> [String: String] {
    var labels: [String: String] = [:]
    for text in arguments.values(.label) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, isLabelName(String(parts[0])), isLabelValue(String(parts[1])) else {
            throw arguments.usage(
                "'--label \(text)': a name and a value are needed, such as version=2")
        }
        guard labels.updateValue(String(parts[1]), forKey: String(parts[0])) == nil else {
            throw arguments.usage("'--label \(text)': the label has a value already")
        }
    }
    guard labels.count <= TrafficLimits.labels else {
        throw arguments.usage("'--label': more than \(TrafficLimits.labels) labels")
    }
    return labels
}

private func gateway(_ arguments: Arguments) throws(CommandFailure) -> SidecarFacts.Gateway? {
    let secured = [Flag.gatewayCertificate, .gatewayKey, .gatewayAuthorities]
    guard arguments.has(.gateway) else {
        if let flag = secured.first(where: arguments.has) {
            throw arguments.usage("'\(flag.name)' goes with --gateway")
        }
        return nil
    }
    for flag in [Flag.appAddress, .outbound] where arguments.has(flag) {
        throw arguments.usage("'\(flag.name)' goes without --gateway: it is beside no process")
    }
    guard let certificate = arguments.value(.gatewayCertificate),
        let key = arguments.value(.gatewayKey)
    else {
        if let flag = secured.first(where: arguments.has) {
            throw arguments.usage("'\(flag.name)' goes with --tls-cert and --tls-key")
        }
        return .init()
    }
    let authorities = arguments.value(.gatewayAuthorities)
    return .init(
        tls: ServerTLS(
            certificate: certificate, key: key, authorities: authorities,
            clientCertificate: authorities == nil ? .none : .required))
}

private func tcpListeners(
    _ arguments: Arguments
) throws(CommandFailure) -> [SidecarFacts.TCPListener] {
    // Bound: each is a socket of every worker.
    let most = 64
    var found: [SidecarFacts.TCPListener] = []
    for text in arguments.values(.tcp) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let service = MeshKey(path: "services/\(parts[0])")?.name
        else {
            throw arguments.usage(
                "'--tcp \(text)': a service and an address are needed, such as "
                    + "shop/db=127.0.0.1:5432")
        }
        let address = try address(String(parts[1]), .tcp, arguments)
        found.append(.init(service, address: "\(address)"))
    }
    guard Set(found.map(\.service)).count == found.count, found.count <= most else {
        throw arguments.usage("'--tcp': \(most) services at most, each once")
    }
    return found
}

private func optional(
    _ flag: Flag, _ arguments: Arguments
) throws(CommandFailure) -> SocketAddress? {
    try arguments.value(flag).map { text throws(CommandFailure) in
        try address(text, flag, arguments)
    }
}

private func address(
    _ text: String, _ flag: Flag, _ arguments: Arguments
) throws(CommandFailure) -> SocketAddress {
    guard let address = SocketAddress(text) else {
        throw arguments.usage(
            "'\(flag.name) \(text)': a numeric address with a port is needed, such as "
                + "127.0.0.1:7071")
    }
    return address
}

/// The first line of a file.
private func readToken(_ path: String) throws(CommandFailure) -> String {
    let text: String
    do throws(SystemError) {
        text = try firstLine(of: path)
    } catch {
        throw CommandFailure(code: .badScenario, message: "meshbench proxy: \(error)")
    }
    guard !text.isEmpty else {
        throw CommandFailure(
            code: .badScenario, message: "meshbench proxy: \(path): there is no token in it")
    }
    return text
}

private func firstLine(of path: String) throws(SystemError) -> String {
    let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { throw SystemError("open \(path)") }
    let file = Descriptor(owning: number)
    // Bound: a token has 4096 bytes at most.
    var bytes = [UInt8](repeating: 0, count: 8192)
    let count = unsafe read(file.number, &bytes, bytes.count)
    guard count >= 0 else { throw SystemError("read \(path)") }
    return String(decoding: bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        .trimmingPrefix { $0 == " " }.description
}
