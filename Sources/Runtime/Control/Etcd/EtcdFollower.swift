// The thread that watches etcd: it makes the copy, keeps it, and asks now and then whether whoever
// is watched is still in touch with the others.

import Base
import ControlCore
import Posix

/// Watches one member after the other, as each fails.
struct EtcdFollower {
    private let connections: [EtcdConnection]
    private let inbox: EtcdInbox
    private var replica = EtcdReplica()
    private var current = 0
    /// Since one has answered.
    private var failures = 0
    /// The head's revision that a question has found and the watch has not told.
    private var missed: UInt64 = 0

    /// Why it has to begin again.
    private enum Break: Error {
        case trouble(String)
        case stopped
    }

    /// How long a member may take for an answer.
    private static let patience = Duration.seconds(1)
    /// For a page, which is more.
    private static let pagePatience = Duration.seconds(10)
    /// Between two questions whether all is well.
    private static let interval = Duration.milliseconds(500)
    /// Before the next attempt.
    private static let pause = Duration.milliseconds(100)

    init(_ servers: [EtcdServer], _ inbox: EtcdInbox) {
        connections = servers.map(EtcdConnection.init)
        self.inbox = inbox
    }

    consuming func run() {
        while true {
            do throws(Break) {
                try follow()
            } catch {
                guard case .trouble(let reason) = error else { return }
                connections[current].close()
                replica.disconnected()
                current = (current + 1) % connections.count
                // With the others at hand there is no trouble before they have failed as well.
                failures += 1
                let isOver = failures >= connections.count && !inbox.put(.trouble(reason))
                if isOver || waitReadable([inbox.stop], for: Self.pause)[0] { return }
            }
        }
    }

    /// Follows the present member until it fails.
    private mutating func follow() throws(Break) {
        missed = 0
        // Here, as nobody waits for this thread, and after a failure the name may mean another.
        if failures > 0 { connections[current].server.lookUp() }
        try probe()
        while true {
            switch replica.step {
            case .probe: try probe()
            case .page: try page()
            case .watch: try watch()
            }
        }
    }

    private static func trouble(_ failure: EtcdConnection.Failure) -> Break {
        switch failure {
        case .unsent(let reason), .unanswered(let reason): .trouble(reason)
        case .tooLarge: .trouble("etcd answers too much at once")
        }
    }

    /// Asks whether etcd is what it was.
    private mutating func probe() throws(Break) {
        let connection = connections[current]
        do throws(EtcdConnection.Failure) {
            let (status, body) = try connection.ask(
                EtcdReplica.probe, until: Clock.now() + Self.patience)
            guard status == 200 else {
                let fault = EtcdFault(status: status, body)
                throw .unanswered("\(connection.server.name): \(fault)")
            }
            do throws(EtcdFault) {
                let head = try replica.read(probe: body)
                // Twice the same, and the watch has had all the time in between.
                if head > replica.revision, head == missed, replica.step == .watch {
                    throw EtcdFault.cancelled("it does not tell what happens")
                }
                missed = head
            } catch {
                throw .unanswered("\(connection.server.name): \(error)")
            }
        } catch {
            throw Self.trouble(error)
        }
        failures = 0
        // A copy that is not there yet is not well.
        if replica.revision > 0, !inbox.put(.well(Clock.now())) { throw .stopped }
    }

    private mutating func page() throws(Break) {
        let connection = connections[current]
        do throws(EtcdConnection.Failure) {
            let (status, body) = try connection.ask(
                replica.request, until: Clock.now() + Self.pagePatience)
            guard status == 200 else {
                // Most likely the pages' revision was compacted away meanwhile.
                replica.pageFailed(tooLarge: false)
                throw .unanswered("\(connection.server.name): status \(status)")
            }
            do throws(EtcdFault) {
                guard let update = try replica.read(page: body) else { return }
                guard inbox.put(.update(update)), inbox.put(.well(Clock.now())) else {
                    throw .cancelled("stopped")
                }
            } catch {
                throw .unanswered("\(connection.server.name): \(error)")
            }
        } catch {
            guard case .tooLarge = error else { throw Self.trouble(error) }
            replica.pageFailed(tooLarge: true)
        }
    }

    private mutating func watch() throws(Break) {
        let stream: EtcdStream
        do throws(EtcdConnection.Failure) {
            // A connection of its own: questions go on beside it.
            stream = try EtcdConnection(connections[current].server).follow(
                replica.request, until: Clock.now() + Self.patience)
        } catch {
            throw Self.trouble(error)
        }
        var next = Clock.now() + Self.interval
        while replica.step == .watch {
            let arrival: EtcdStream.Arrival
            do throws(EtcdConnection.Failure) {
                arrival = try stream.next(until: next, stop: inbox.stop)
            } catch {
                throw Self.trouble(error)
            }
            switch arrival {
            case .stopped: throw .stopped
            case .silence: break
            case .lines(let lines): for line in lines { try take(line) }
            }
            if Clock.now() >= next {
                try probe()
                next = Clock.now() + Self.interval
            }
        }
    }

    private mutating func take(_ line: [UInt8]) throws(Break) {
        do throws(EtcdFault) {
            guard replica.step == .watch, let update = try replica.read(line: line) else { return }
            if !inbox.put(.update(update)) { throw .cancelled("stopped") }
        } catch {
            throw .trouble("\(connections[current].server.name): \(error)")
        }
    }
}
