import Base
import Model
import Posix
import Runtime
import Scenario

extension Command {
    static let proxy = Command(
        name: "proxy",
        about: "Run the reference proxy",
        detail: """
            Either from a configuration file (docs/PROXY.md), or as one hop with nothing else: \
            every request that comes to --listen goes to --upstream, without a request timeout. \
            Or, with --join, as a member of a mesh, which tells it what to serve (docs/JOIN.md).

            SIGTERM and SIGINT let requests in flight end, then the process exits with 0. SIGHUP \
            reads the configuration file again, and the certificates and keys that it names.
            """,
        flags: [.config, .listen, .upstream, .workers, .ledger, .join] + Flag.ofJoining,
        run: runProxy)
}

extension Flag {
    static let config = Flag("--config", "FILE", about: "the configuration (docs/PROXY.md)")
    static let listen = Flag("--listen", "HOST:PORT", about: "where clients connect")
    static let upstream = Flag("--upstream", "HOST:PORT", about: "where requests go")
    static let ledger = Flag(
        "--ledger", "FILE", about: "a line of JSON for each thing that a fault does")
    static let workers = Flag("--workers", "N", standard: "1", about: "worker threads")
}

private func runProxy(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    if arguments.has(.join) { return try runJoined(arguments) }
    if let flag = Flag.ofJoining.first(where: arguments.has) {
        throw arguments.usage("'\(flag.name)' goes with --join")
    }
    let file = arguments.value(.config)
    let configuration: ProxyConfiguration
    if let file {
        guard arguments.value(.listen) == nil, arguments.value(.upstream) == nil else {
            throw .usage("meshbench proxy: --config goes without --listen and --upstream")
        }
        if arguments.has(.ledger) {
            throw arguments.usage("'--ledger' goes into the file of --config")
        }
        configuration = try read(file, workers: arguments)
    } else {
        configuration = try oneHop(arguments)
    }
    let server: ProxyServer
    do throws(ProxyStartError) {
        server = try ProxyServer(configuration) { reread(file, workers: arguments) }
    } catch {
        let code: ExitCode
        if case .file = error { code = .badScenario } else { code = .failed }
        throw CommandFailure(code: code, message: "meshbench proxy: \(error)")
    }
    do throws(SystemError) {
        try server.start()
        announceReady(server)
        try server.run()
        return .success
    } catch {
        throw .failed("meshbench proxy: \(error)")
    }
}

/// More than a machine has cores is a mistake.
let workerRange = 1...256

/// The configuration in `file`, with the number of workers that the command line asks for.
private func read(_ file: String, workers arguments: Arguments) throws(CommandFailure)
    -> ProxyConfiguration
{
    var configuration: ProxyConfiguration
    do throws(ScenarioError) {
        configuration = try ProxyFile.read(path: file)
    } catch {
        throw CommandFailure(error)
    }
    if let workers = try arguments.integer(.workers, in: workerRange) {
        configuration.workers = workers
    }
    return configuration
}

/// The same at SIGHUP: an error is told, and the old configuration stays.
private func reread(_ file: String?, workers arguments: Arguments) -> ProxyConfiguration? {
    guard let file else { return nil }
    do throws(CommandFailure) {
        return try read(file, workers: arguments)
    } catch {
        complain(error.message)
        complain("meshbench proxy: the old configuration stays in force")
        return nil
    }
}

private func oneHop(_ arguments: Arguments) throws(CommandFailure) -> ProxyConfiguration {
    guard let listen = arguments.value(.listen), let upstream = arguments.value(.upstream) else {
        throw .usage("meshbench proxy: give --config, or --listen and --upstream")
    }
    for (flag, address) in [(Flag.listen, listen), (Flag.upstream, upstream)]
    where SocketAddress(address) == nil {
        throw .usage(
            "meshbench proxy: '\(address)' for \(flag.name) is no numeric address with a port, "
                + "such as 127.0.0.1:8080")
    }
    var configuration = ProxyConfiguration(
        listeners: [.init(name: "main", address: listen)], routes: [.init(cluster: "upstream")],
        clusters: [.init(name: "upstream", endpoints: [.init(upstream)])],
        workers: try arguments.integer(.workers, in: workerRange) ?? 1,
        timeouts: .init(request: .zero))
    configuration.ledger = arguments.value(.ledger)
    return configuration
}

/// - Parameter more: further members of the line.
func announceReady(_ server: ProxyServer, more: String? = nil) {
    var line = "{\"event\":\"ready\",\"role\":\"proxy\",\"listeners\":{"
    line += server.addresses.map { "\"\($0.name)\":\"\($0.address)\"" }.joined(separator: ",")
    line += "}"
    if let admin = server.adminAddress { line += ",\"admin\":\"\(admin)\"" }
    if let more { line += ",\(more)" }
    announce(line + "}")
}
