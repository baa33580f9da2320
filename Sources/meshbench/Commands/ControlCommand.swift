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

            With --etcd, the store is an etcd that several control planes share, by its JSON \
            gateway; the folder then has the token and the control plane's own name. Several \
            members of it are several URLs with commas between them. http goes to loopback \
            addresses only.

            Without TLS it listens on loopback addresses only. With --client-ca, clients need a \
            certificate of it, and no token. With --dns it answers DNS too (docs/DNS.md).

            With --proxies it is the authority of the mesh too (docs/IDENTITY.md): processes join \
            there with a token of 'meshbench control token', and get certificates.

            SIGTERM and SIGINT let requests under way end, then the process exits with 0. SIGHUP \
            reads certificates and keys again.
            """,
        flags: [
            .data, .controlListen, .serverCertificate, .serverKey, .controlAuthorities,
            .proxiesListen, .certificateLife, .intermediate, .etcd, .etcdAuthorities,
            .etcdCertificate, .etcdKey, .dns, .dnsForward,
        ],
        run: serveControl)
}

extension Flag {
    fileprivate static let data = Flag("--data", "DIR", about: "where everything is kept")
    fileprivate static let controlListen = Flag(
        "--listen", "HOST:PORT", standard: "127.0.0.1:7070", about: "where clients connect")
    fileprivate static let serverCertificate = Flag(
        "--tls-cert", "FILE", about: "PEM: the certificate that is shown, leaf first")
    fileprivate static let serverKey = Flag("--tls-key", "FILE", about: "PEM: its private key")
    fileprivate static let etcd = Flag(
        "--etcd", "URL,…", about: "the etcd that several control planes share")
    fileprivate static let etcdAuthorities = Flag(
        "--etcd-cacert", "FILE", standard: "the system's",
        about: "PEM: who must vouch for the etcd")
    fileprivate static let etcdCertificate = Flag(
        "--etcd-cert", "FILE", about: "PEM: the certificate that is shown to the etcd")
    fileprivate static let etcdKey = Flag("--etcd-key", "FILE", about: "PEM: its private key")
    fileprivate static let controlAuthorities = Flag(
        "--client-ca", "FILE", about: "PEM: who must vouch for clients; without it nobody is asked")
    fileprivate static let proxiesListen = Flag(
        "--proxies", "HOST:PORT", about: "where proxies connect, always over TLS")
    fileprivate static let certificateLife = Flag(
        "--certificate-life", "DURATION", standard: "what it was, at first 24h",
        about: "how long proxies' certificates last")
    fileprivate static let intermediate = Flag(
        "--intermediate", "FILE", standard: "an own root",
        about: "PEM: the authority that issues: its certificate, those up to its root, its key")
    fileprivate static let dns = Flag(
        "--dns", "HOST:PORT", about: "answer DNS here, over UDP and TCP, of the zone mesh")
    fileprivate static let dnsForward = Flag(
        "--dns-forward", "HOST:PORT",
        about: "the DNS server to ask of other zones; without it they are refused")
}

private func serveControl(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let configuration = try controlConfiguration(arguments)
    Signals.ignoreBrokenPipes()
    do {
        // Before the first thread, so that they are blocked in all.
        let signals = try Signals([SIGTERM, SIGINT, SIGHUP])
        DescriptorLimit.raise()
        let server = try ControlServer(configuration, codec: .json)
        let proxies = server.proxiesAddress.map { ",\"proxies\":\"\($0)\"" } ?? ""
        let dns = server.dnsAddress.map { ",\"dns\":\"\($0)\"" } ?? ""
        announce(
            "{\"event\":\"ready\",\"role\":\"control\","
                + "\"listeners\":{\"main\":\"\(server.address)\"\(proxies)\(dns)}}")
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
    case .store, .identity: .failed("meshbench control: \(data): \(error)")
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
    return ControlConfiguration(
        data: data, listen: listen, tls: tls, proxies: try proxiesAddress(arguments),
        identity: try identityConfiguration(arguments), etcd: try etcdConfiguration(arguments),
        dns: try controlDNS(arguments), version: programVersion)
}

private func proxiesAddress(_ arguments: Arguments) throws(CommandFailure) -> SocketAddress? {
    guard let text = arguments.value(.proxiesListen) else {
        for flag in [Flag.certificateLife, .intermediate] where arguments.has(flag) {
            throw arguments.usage("'\(flag.name)' goes with --proxies")
        }
        return nil
    }
    guard let address = SocketAddress(text) else {
        throw arguments.usage(
            "'--proxies \(text)': a numeric address with a port is needed, such as 127.0.0.1:7071")
    }
    return address
}

private func identityConfiguration(
    _ arguments: Arguments
) throws(CommandFailure) -> IdentityConfiguration {
    var configuration = IdentityConfiguration(life: try arguments.duration(.certificateLife))
    if let life = configuration.life, !IdentityConfiguration.lives.contains(life) {
        throw arguments.usage(
            "'--certificate-life \(arguments.value(.certificateLife) ?? "")': 5s to 2160h "
                + "are taken")
    }
    guard let file = arguments.value(.intermediate) else { return configuration }
    do throws(TLSFileError) {
        try configuration.readIssuer(file)
    } catch {
        throw CommandFailure(code: .badScenario, message: "meshbench control: \(error)")
    }
    return configuration
}

private func etcdConfiguration(
    _ arguments: Arguments
) throws(CommandFailure) -> EtcdConfiguration? {
    let files = [Flag.etcdAuthorities, .etcdCertificate, .etcdKey]
    guard let text = arguments.value(.etcd) else {
        if let flag = files.first(where: arguments.has) {
            throw arguments.usage("'\(flag.name)' goes with --etcd")
        }
        return nil
    }
    var places: [LoadURL] = []
    for url in text.split(separator: ",", omittingEmptySubsequences: false) {
        guard let place = try? LoadURL(String(url)), place.speech == .http1, place.path == "/"
        else {
            throw arguments.usage("'--etcd \(url)' is no URL such as http://127.0.0.1:2379")
        }
        places.append(place)
    }
    let isSecured = places[0].isSecured
    guard places.allSatisfy({ $0.isSecured == isSecured }) else {
        throw arguments.usage("'--etcd \(text)': all of http, or all of https")
    }
    guard isSecured else {
        if let flag = files.first(where: arguments.has) {
            throw arguments.usage("'\(flag.name)' goes with URLs of https")
        }
        return EtcdConfiguration(servers: places.map(\.address))
    }
    let (certificate, key) = (arguments.value(.etcdCertificate), arguments.value(.etcdKey))
    guard (certificate == nil) == (key == nil) else {
        throw arguments.usage("'--etcd-cert' and '--etcd-key' go together")
    }
    return EtcdConfiguration(
        servers: places.map(\.address),
        tls: ClientTLS(
            authorities: arguments.value(.etcdAuthorities), certificate: certificate, key: key))
}

private func controlDNS(_ arguments: Arguments) throws(CommandFailure) -> ControlDNS? {
    func address(_ flag: Flag) throws(CommandFailure) -> SocketAddress? {
        guard let text = arguments.value(flag) else { return nil }
        guard let address = SocketAddress(text) else {
            throw arguments.usage(
                "'\(flag.name) \(text)': a numeric address with a port is needed, such as "
                    + "127.0.0.1:7053")
        }
        return address
    }
    let forward = try address(.dnsForward)
    guard let listen = try address(.dns) else {
        if forward != nil { throw arguments.usage("'--dns-forward' goes with --dns") }
        return nil
    }
    if let forward {
        // Else anybody could have others flooded by it.
        guard listen.isLoopback else {
            throw arguments.usage(
                "'--dns \(listen)': with --dns-forward only an address of loopback will do")
        }
        guard forward != listen, forward.port != 0 else {
            throw arguments.usage("'--dns-forward \(forward)': that is no other server")
        }
    }
    return ControlDNS(listen: listen, forward: forward)
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
