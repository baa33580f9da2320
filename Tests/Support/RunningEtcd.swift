import Base
import Glibc
import Posix

/// An etcd of one member or several, as child processes of a test. Ended when let go.
public final class RunningEtcd {
    private struct Member {
        let client: ReservedAddress
        let peer: ReservedAddress
        var process: Process?
    }

    private let folder: String
    private let certificates: CertificateFolder?
    private var members: [Member]
    private var scheme: String { certificates == nil ? "http" : "https" }

    /// Starts all members and waits until each answers.
    /// - Parameters:
    ///   - folder: of theirs.
    ///   - certificates: clients need TLS and one of these, and the members show `server`.
    public init(
        folder: String, members count: Int = 1, certificates: CertificateFolder? = nil
    ) throws {
        self.folder = folder
        self.certificates = certificates
        members = try (0..<count).map { _ in
            Member(client: try ReservedAddress(), peer: try ReservedAddress())
        }
        for index in members.indices { try start(index) }
        // Whoever needs TLS of clients is waited for by them.
        if certificates == nil { for index in members.indices { try waitUntilHealthy(index) } }
    }

    deinit { for index in members.indices { kill(index) } }

    /// As `--etcd` takes it.
    public var urls: String {
        members.map { "\(scheme)://\($0.client.address)" }.joined(separator: ",")
    }

    /// `host:port` of each member.
    public var servers: [String] { members.map { "\($0.client.address)" } }

    /// Starts a member, with what it had if it was there before.
    public func start(_ index: Int) throws {
        let member = members[index]
        let client = "\(scheme)://\(member.client.address)"
        let peer = "http://\(member.peer.address)"
        let cluster = members.enumerated().map { "m\($0.offset)=http://\($0.element.peer.address)" }
        members[index].process = try Process(
            ProcessCommand(
                name: "etcd", program: Program.path(of: "etcd"),
                arguments: [
                    "--name", "m\(index)", "--data-dir", "\(folder)/m\(index)",
                    "--listen-client-urls", client, "--advertise-client-urls", client,
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", cluster.joined(separator: ","), "--log-level", "error",
                    "--max-txn-ops", "1024",
                ] + security))
    }

    private var security: [String] {
        guard let certificates else { return [] }
        return [
            "--cert-file", certificates.path("server.pem"),
            "--key-file", certificates.path("server.key"),
            "--trusted-ca-file", certificates.authority, "--client-cert-auth",
        ]
    }

    /// Ends a member at once.
    public func kill(_ index: Int) {
        guard let process = members[index].process else { return }
        process.send(SIGKILL)
        _ = process.wait(until: Clock.now() + RawConnection.patience)
        members[index].process = nil
    }

    /// Stops a member, or lets it go on: its connections stay, and nobody answers.
    public func pause(_ index: Int, _ isPaused: Bool) {
        members[index].process?.send(isPaused ? SIGSTOP : SIGCONT)
    }

    /// Waits until a member takes part.
    public func waitUntilHealthy(_ index: Int) throws {
        let deadline = Clock.now() + .seconds(20)
        while Clock.now() < deadline {
            if let status = try? ask(index, "/v3/kv/range", "{\"key\":\"YQ==\"}").status,
                status == 200
            {
                return
            }
            usleep(50_000)
        }
        throw WireFailure.timedOut
    }

    /// Asks a member.
    public func ask(
        _ index: Int, _ path: String, _ body: String
    ) throws(WireFailure) -> RawMessage {
        let connection = try RawConnection(to: members[index].client.address)
        try connection.send(
            "POST \(path) HTTP/1.1\r\nhost: etcd\r\ncontent-length: \(body.utf8.count)\r\n\r\n"
                + body)
        return try connection.readAnswer()
    }
}
