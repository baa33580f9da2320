import Base
import Glibc
import Model
import Posix
import Runtime
import Scenario

extension Command {
    static let control = Command(
        name: "control",
        about: "Run the reference control plane",
        detail: """
            Holds what a mesh is declared to be (docs/MESH.md), durably, and answers for it over \
            HTTP (docs/CONTROL.md). The folder of --data is made if its parent is there; it has \
            the store, and in the file 'token' what clients show.

            Without TLS it listens on loopback addresses only. With --client-ca, clients need a \
            certificate of it, and no token.

            SIGTERM and SIGINT let requests under way end, then the process exits with 0. SIGHUP \
            reads certificates and keys again.
            """,
        flags: [.data, .controlListen, .serverCertificate, .serverKey, .controlAuthorities],
        run: serveControl)
}

extension Flag {
    fileprivate static let data = Flag("--data", "DIR", about: "where everything is kept")
    fileprivate static let controlListen = Flag(
        "--listen", "HOST:PORT", standard: "127.0.0.1:7070", about: "where clients connect")
    fileprivate static let serverCertificate = Flag(
        "--tls-cert", "FILE", about: "PEM: the certificate that is shown, leaf first")
    fileprivate static let serverKey = Flag("--tls-key", "FILE", about: "PEM: its private key")
    fileprivate static let controlAuthorities = Flag(
        "--client-ca", "FILE", about: "PEM: who must vouch for clients; without it nobody is asked")
}

private func serveControl(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let configuration = try controlConfiguration(arguments)
    Signals.ignoreBrokenPipes()
    do {
        // Before the first thread, so that they are blocked in all.
        let signals = try Signals([SIGTERM, SIGINT, SIGHUP])
        DescriptorLimit.raise()
        let server = try ControlServer(configuration, codec: .json)
        announce(
            "{\"event\":\"ready\",\"role\":\"control\","
                + "\"listeners\":{\"main\":\"\(server.address)\"}}")
        try wait(for: signals) {
            do throws(ServiceError) {
                if let tls = configuration.tls { try server.renew(tls) }
            } catch {
                complain("meshbench control: the old certificates stay in force: \(error)")
            }
        }
        server.stop()
        return .success
    } catch let error as ControlStartError {
        throw startFailure(error, configuration.data)
    } catch {
        throw .failed("meshbench control: \(error)")
    }
}

private func startFailure(_ error: ControlStartError, _ data: String) -> CommandFailure {
    switch error {
    case .store, .damaged: .failed("meshbench control: \(data): \(error)")
    case .service(.file): .init(code: .badScenario, message: "meshbench control: \(error)")
    case .service(.system), .token: .failed("meshbench control: \(error)")
    }
}

/// Returns at SIGTERM or SIGINT; SIGHUP calls `renew`.
private func wait(for signals: borrowing Signals, renew: () -> Void) throws(SystemError) {
    let reactor = try Reactor()
    try reactor.add(reading: signals.descriptor, token: 0)
    while true {
        _ = reactor.wait(until: nil, now: .zero)
        while let signal = signals.next() {
            guard signal == SIGHUP else { return }
            renew()
        }
    }
}

private func controlConfiguration(
    _ arguments: Arguments
) throws(CommandFailure) -> ControlConfiguration {
    guard let data = arguments.value(.data) else {
        throw arguments.usage("give --data, the folder where everything is kept")
    }
    let text = arguments.value(.controlListen) ?? "127.0.0.1:7070"
    guard let listen = SocketAddress(text) else {
        throw arguments.usage(
            "'--listen \(text)': a numeric address with a port is needed, such as 127.0.0.1:7070")
    }
    let tls = try controlTLS(arguments)
    guard tls != nil || listen.isLoopback else {
        throw arguments.usage(
            "'--listen \(text)': others than this machine's need TLS: --tls-cert and --tls-key")
    }
    return ControlConfiguration(data: data, listen: listen, tls: tls, version: programVersion)
}

private func controlTLS(_ arguments: Arguments) throws(CommandFailure) -> ServerTLS? {
    guard let certificate = arguments.value(.serverCertificate),
        let key = arguments.value(.serverKey)
    else {
        let flags = [Flag.serverCertificate, .serverKey, .controlAuthorities]
        if let flag = flags.first(where: arguments.has) {
            throw arguments.usage("'\(flag.name)' goes with --tls-cert and --tls-key")
        }
        return nil
    }
    let authorities = arguments.value(.controlAuthorities)
    return ServerTLS(
        certificate: certificate, key: key, authorities: authorities,
        clientCertificate: authorities == nil ? .none : .required)
}
