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
            Either from a configuration file (docs/PROXY.md), or as one hop with nothing else: every \
            request that comes to --listen goes to --upstream, without a request timeout.

            SIGTERM and SIGINT let requests in flight end, then the process exits with 0. SIGHUP reads \
            the configuration file again.
            """,
        flags: [.config, .listen, .upstream, .workers],
        run: runProxy)
}

extension Flag {
    static let config = Flag("--config", "FILE", about: "a configuration in YAML or JSON")
    static let listen = Flag("--listen", "HOST:PORT", about: "where clients connect")
    static let upstream = Flag("--upstream", "HOST:PORT", about: "where requests go")
    static let workers = Flag("--workers", "N", standard: "1", about: "worker threads")
}

private func runProxy(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let source = try ProxySource(arguments)
    let configuration = try source.read()
    do throws(SystemError) {
        let server = try ProxyServer(configuration) {
            do throws(CommandFailure) {
                return try source.read()
            } catch {
                complain("\(error.message)\nmeshbench proxy: the configuration in force stays")
                return nil
            }
        }
        try server.start()
        announceReady(server)
        try server.run()
        return .success
    } catch {
        throw .failed("meshbench proxy: \(error)")
    }
}

/// Where a proxy's configuration comes from: once at the start, and again at each SIGHUP.
private enum ProxySource {
    /// A file, and the worker threads that the command line asks for in place of the file's.
    case file(String, workers: Int?)
    case oneHop(ProxyConfiguration)

    init(_ arguments: Arguments) throws(CommandFailure) {
        let workers = try arguments.integer(.workers, in: 1...256)
        if let path = arguments.value(.config) {
            guard !arguments.has(.listen), !arguments.has(.upstream) else {
                throw arguments.usage("'--config' stands in place of --listen and --upstream")
            }
            self = .file(path, workers: workers)
            return
        }
        guard let listen = arguments.value(.listen), let upstream = arguments.value(.upstream)
        else {
            throw arguments.usage("give --config, or --listen and --upstream")
        }
        for (flag, address) in [(Flag.listen, listen), (.upstream, upstream)]
        where SocketAddress(address) == nil {
            throw arguments.usage(
                "'\(flag.name) \(address)': a numeric address with a port is needed, as "
                    + "127.0.0.1:8080 or [::1]:8080")
        }
        self = .oneHop(
            ProxyConfiguration(
                listeners: [.init(name: "main", address: listen)],
                routes: [.init(cluster: "upstream")],
                clusters: [.init(name: "upstream", endpoints: [upstream])],
                workers: workers ?? 1, timeouts: .init(request: .zero)))
    }

    /// - Throws: a failure that shows every error in the file with its place.
    func read() throws(CommandFailure) -> ProxyConfiguration {
        switch self {
        case .oneHop(let configuration): return configuration
        case .file(let path, let workers):
            do throws(ScenarioError) {
                var configuration = try ProxyFile.read(path: path)
                if let workers { configuration.workers = workers }
                return configuration
            } catch {
                throw CommandFailure(error)
            }
        }
    }
}

private func announceReady(_ server: ProxyServer) {
    var line = "{\"event\":\"ready\",\"role\":\"proxy\",\"listeners\":{"
    line += server.addresses.map { "\"\($0.name)\":\"\($0.address)\"" }.joined(separator: ",")
    line += "}"
    if let admin = server.adminAddress { line += ",\"admin\":\"\(admin)\"" }
    announce(line + "}")
}
