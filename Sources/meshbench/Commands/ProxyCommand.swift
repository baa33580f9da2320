import Base
import Model
import Posix
import Runtime

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
        flags: [.listen, .upstream, .workers],
        run: runProxy)
}

extension Flag {
    static let listen = Flag("--listen", "HOST:PORT", about: "where clients connect")
    static let upstream = Flag("--upstream", "HOST:PORT", about: "where requests go")
    static let workers = Flag("--workers", "N", standard: "1", about: "worker threads")
}

private func runProxy(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let configuration = try oneHop(arguments)
    do throws(SystemError) {
        let server = try ProxyServer(configuration, reload: { nil })
        try server.start()
        announceReady(server)
        try server.run()
        return .success
    } catch {
        throw .failed("meshbench proxy: \(error)")
    }
}

private func oneHop(_ arguments: Arguments) throws(CommandFailure) -> ProxyConfiguration {
    guard let listen = arguments.value(.listen), let upstream = arguments.value(.upstream) else {
        throw .usage("meshbench proxy: give --listen and --upstream")
    }
    return ProxyConfiguration(
        listeners: [.init(name: "main", address: listen)], routes: [.init(cluster: "upstream")],
        clusters: [.init(name: "upstream", endpoints: [upstream])],
        workers: Int(arguments.value(.workers) ?? "1") ?? 1,
        timeouts: .init(request: .zero))
}

private func announceReady(_ server: ProxyServer) {
    var line = "{\"event\":\"ready\",\"role\":\"proxy\",\"listeners\":{"
    line += server.addresses.map { "\"\($0.name)\":\"\($0.address)\"" }.joined(separator: ",")
    line += "}"
    if let admin = server.adminAddress { line += ",\"admin\":\"\(admin)\"" }
    announce(line + "}")
}
