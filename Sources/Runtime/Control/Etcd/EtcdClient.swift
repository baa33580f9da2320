// The way to an etcd in the world: a connection for what the store's thread asks, a thread that
// watches, and one that keeps leases alive.

import Base
import ControlCore
import Posix
import Secure
import Synchronization

/// A client of all members of an etcd.
final class EtcdClient: EtcdLink {
    let inbox: EtcdInbox
    private let connections: [EtcdConnection]
    /// Who is asked.
    private var current = 0
    private let keeper: EtcdKeeper
    private let threads: [JoinableThread]

    /// How long a member may take for an answer before another is asked.
    private static let patience = Duration.milliseconds(700)

    /// Starts to watch.
    init(_ configuration: EtcdConfiguration) throws(EtcdClientError) {
        let servers = try Self.servers(configuration)
        connections = servers.map(EtcdConnection.init)
        do throws(SystemError) {
            let inbox = try EtcdInbox()
            let keeper = EtcdKeeper(servers, inbox)
            self.inbox = inbox
            self.keeper = keeper
            threads = [
                JoinableThread(
                    try Thread(name: "etcd-watch") { EtcdFollower(servers, inbox).run() }),
                JoinableThread(try Thread(name: "etcd-leases") { keeper.run() }),
            ]
        } catch {
            throw .system(error)
        }
    }

    private static func servers(
        _ configuration: EtcdConfiguration
    ) throws(EtcdClientError) -> [EtcdServer] {
        do throws(TLSFileError) {
            return try configuration.servers.map { name throws(TLSFileError) in
                try EtcdServer(name, tls: configuration.tls)
            }
        } catch {
            throw .file(error)
        }
    }

    deinit {
        inbox.close()
        for thread in threads { thread.join() }
    }

    var now: Instant { Clock.now() }

    func ask(_ request: EtcdRequest, until deadline: Instant) -> EtcdReply {
        var reason = ""
        for _ in connections {
            let connection = connections[current]
            let until = connections.count > 1 ? min(deadline, now + Self.patience) : deadline
            do throws(EtcdConnection.Failure) {
                let (status, body) = try connection.ask(request, until: until)
                return .answer(status: status, body: body)
            } catch {
                current = (current + 1) % connections.count
                switch error {
                case .unsent(let cause): reason = cause
                case .unanswered(let cause): return .unanswered(cause)
                case .tooLarge: return .unanswered("etcd answers too much")
                }
            }
        }
        return .unsent(reason)
    }

    func takeNews() -> [EtcdNews] { inbox.take() }

    func waitForNews(until deadline: Instant) { inbox.wait(until: deadline) }

    func keepAlive(_ lease: UInt64) { keeper.keepAlive(lease) }
}

/// Why a client cannot begin.
enum EtcdClientError: Error {
    case system(SystemError)
    case file(TLSFileError)
}

/// Keeps leases alive, for the store's thread, which does not wait for it.
final class EtcdKeeper: Sendable {
    private let servers: [EtcdServer]
    private let inbox: EtcdInbox
    private let asked = Mutex<Set<UInt64>>([])

    /// Between two questions; a lease that is asked for waits so long at most. Etcd gives no lease
    /// less than some seconds.
    private static let pause = Duration.milliseconds(300)
    private static let patience = Duration.seconds(2)
    /// Leases in one question.
    private static let limit = 1024

    init(_ servers: [EtcdServer], _ inbox: EtcdInbox) {
        self.servers = servers
        self.inbox = inbox
    }

    /// Bound: the leases that there are.
    func keepAlive(_ lease: UInt64) { asked.withLock { _ = $0.insert(lease) } }

    func run() {
        let connections = servers.map(EtcdConnection.init)
        var current = 0
        while !waitReadable([inbox.stop], for: Self.pause)[0] {
            var leases = asked.withLock { asked in
                defer { asked = [] }
                return Array(asked)
            }[...]
            while !leases.isEmpty {
                let part = Array(leases.prefix(Self.limit))
                guard keep(part, connections[current]) else {
                    // They are tried again, unless they have been asked for anew.
                    asked.withLock { $0.formUnion(leases) }
                    current = (current + 1) % connections.count
                    break
                }
                leases = leases.dropFirst(part.count)
            }
        }
    }

    private func keep(_ leases: [UInt64], _ connection: EtcdConnection) -> Bool {
        do throws(EtcdConnection.Failure) {
            let (status, body) = try connection.ask(
                .keepAlive(leases), until: Clock.now() + Self.patience)
            guard status == 200 else { return false }
            var lines = ServiceLines()
            lines.append(body + [UInt8(ascii: "\n")])
            while let line = lines.next() {
                guard !line.isEmpty else { continue }
                do throws(EtcdFault) {
                    let lease = try EtcdLease(line: line)
                    if lease.life == nil { inbox.put(.ended(lease: lease.id)) }
                } catch {
                    return false
                }
            }
            return true
        } catch {
            return false
        }
    }
}
