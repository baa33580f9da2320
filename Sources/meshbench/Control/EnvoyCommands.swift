// The commands that let an Envoy into a mesh.

import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Runtime
import Scenario

extension Command {
    static let controlEnvoyBootstrap = Command(
        name: "control envoy-bootstrap",
        about: "Let an Envoy into a mesh, and write what it is started with",
        detail: """
            Joins with a key that is made here, and writes into the folder of --out the key, the \
            certificate and 'envoy.json', for 'envoy -c' (docs/ENVOY.md). The certificate is not \
            renewed, and no endpoint is registered: that is what 'control envoy-agent' does.

            Exits with 1 where the mesh does not let it in.
            """,
        flags: Flag.ofEnvoys, run: bootstrapEnvoy)

    static let controlEnvoyAgent = Command(
        name: "control envoy-agent",
        about: "Keep an Envoy in a mesh",
        detail: """
            Does what 'control envoy-bootstrap' does, and stays: it renews the certificate, keeps \
            up with the authorities, and has the endpoint registered while Envoy answers at \
            --inbound. For the folder of one that has joined before it needs no token.

            SIGTERM and SIGINT take the endpoint back, and end it with 0. It ends with 1 when \
            Envoy has gone.
            """,
        flags: Flag.ofEnvoys + [.zone, .weight, .level, .label], run: keepEnvoy)
}

extension Flag {
    fileprivate static let envoyService = Flag(
        "--service", "NAME", about: "what the token must be for: shop/cart")
    fileprivate static let envoyOut = Flag(
        "--out", "DIR", about: "where the files are put; made, with mode 0700")
    fileprivate static let envoyInbound = Flag(
        "--inbound", "HOST:PORT", standard: "127.0.0.1:15006",
        about: "where Envoy takes requests to the service")
    fileprivate static let envoyOutbound = Flag(
        "--outbound", "HOST:PORT", standard: "127.0.0.1:15001",
        about: "where Envoy takes the process's requests to others")
    fileprivate static let envoyAdmin = Flag(
        "--admin", "HOST:PORT", about: "Envoy's own listener for operators")
    fileprivate static let envoyWorkers = Flag(
        "--workers", "N", standard: "1", about: "what Envoy is given as --concurrency")

    fileprivate static let ofEnvoys: [Flag] = [
        .join, .tokenFile, .envoyService, .envoyOut, .proxyName, .appAddress, .envoyInbound,
        .envoyOutbound, .envoyAdmin, .envoyWorkers,
    ]
}

private func bootstrapEnvoy(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let agent = try member(arguments, "envoy-bootstrap")
    do throws(JoinError) { _ = try agent.join() } catch {
        throw .failed("meshbench control envoy-bootstrap: \(error)")
    }
    announce(ready(agent, "envoy-bootstrap"))
    return .success
}

private func keepEnvoy(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let signals: Signals
    do throws(SystemError) {
        signals = try Signals([SIGTERM, SIGINT])
    } catch {
        throw .failed("meshbench control envoy-agent: \(error)")
    }
    let agent = try member(arguments, "envoy-agent")
    let isInOrder: Bool
    do throws(JoinError) {
        try agent.listen(to: signals)
        guard try agent.join() else { return .success }
        announce(ready(agent, "envoy-agent"))
        isInOrder = try agent.run(until: signals)
    } catch {
        throw .failed("meshbench control envoy-agent: \(error)")
    }
    guard isInOrder else { throw .failed("meshbench control envoy-agent: Envoy has gone") }
    return .success
}

/// Whoever is to join.
private func member(
    _ arguments: Arguments, _ name: String
) throws(CommandFailure) -> EnvoyAgent {
    let configuration = try envoyConfiguration(arguments)
    let agent: EnvoyAgent
    do throws(JoinError) {
        agent = try EnvoyAgent(configuration, codec: .json)
    } catch {
        throw .failed("meshbench control \(name): \(error)")
    }
    // Before anything is asked: a token for one use stays one.
    if let service = arguments.value(.envoyService), service != agent.service {
        throw .failed("meshbench control \(name): the token is of the service \(agent.service)")
    }
    return agent
}

private func ready(_ agent: EnvoyAgent, _ role: String) -> String {
    "{\"event\":\"ready\",\"role\":\"\(role)\",\"proxy\":\"\(agent.name)\","
        + "\"service\":\"\(agent.service)\",\"bootstrap\":\(jsonText(agent.bootstrap))}"
}

private func envoyConfiguration(_ arguments: Arguments) throws(CommandFailure) -> JoinConfiguration
{
    guard let out = arguments.value(.envoyOut) else {
        throw arguments.usage("give --out, the folder for the files")
    }
    guard arguments.has(.join) else {
        throw arguments.usage("give --join, the control plane's listener for proxies")
    }
    // Envoy may have another working directory.
    let folder = out.hasPrefix("/") ? out : "\(FileManager.default.currentDirectoryPath)/\(out)"
    var configuration = try joinConfiguration(arguments, folder: folder)
    if !arguments.has(.envoyInbound) { configuration.inbound = .loopback(port: 15006) }
    if !arguments.has(.envoyOutbound) { configuration.outbound = .loopback(port: 15001) }
    // What Envoy is told to listen on it cannot tell others.
    let listeners = [
        (Flag.envoyInbound, configuration.inbound), (.envoyOutbound, configuration.outbound),
    ]
    for (flag, address) in listeners where address.port == 0 {
        throw arguments.usage("'\(flag.name) \(address)': a port is needed")
    }
    return configuration
}

/// A text as JSON has it.
private func jsonText(_ text: String) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    guard let data = try? encoder.encode(text) else { return "\"\"" }
    return String(decoding: data, as: UTF8.self)
}
