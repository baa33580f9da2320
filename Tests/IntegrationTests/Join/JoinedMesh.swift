// A mesh of processes: a control plane, apps, and proxies that were told an address and a token.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Synchronization
import Testing

/// A control plane that proxies find again when it is killed and started again.
final class JoinedMesh {
    let scratch: Scratch
    private(set) var control: RunningControl
    /// Where proxies connect.
    let proxies: SocketAddress

    init(_ declarations: String, _ words: [String] = []) throws {
        scratch = try Scratch()
        let data = scratch.path("control")
        control = try RunningControl(data: data, ["--proxies", "127.0.0.1:0"] + words)
        proxies = try #require(control.proxies)
        try apply(declarations)
    }

    func kill() { control.kill() }

    func restart() throws {
        control = try RunningControl(
            data: scratch.path("control"), ["--proxies", "\(proxies)"])
    }

    /// Declares a list of declarations in JSON.
    func apply(_ declarations: String) throws {
        let answer = try control.ask("POST", "/v1/apply", "{\"declarations\": [\(declarations)]}")
        try #require(answer.status == 200, "\(answer.text)")
    }

    func delete(_ key: String) throws {
        let answer = try control.ask("DELETE", "/v1/\(key)")
        try #require(answer.status == 200, "\(answer.text)")
    }

    /// A file with a token for a service.
    func token(_ service: String, isSingleUse: Bool = true) throws -> String {
        let answer = try control.ask(
            "POST", "/v1/tokens", "{\"service\":\"\(service)\",\"single_use\":\(isSingleUse)}")
        let parts = answer.text.split(separator: "\"")
        let place = try #require(parts.firstIndex(of: "token"), "\(answer.text)")
        let path = scratch.path(
            "\(service.replacing("/", with: "-"))-\(UInt32.random(in: 0 ... .max))")
        try Data("\(parts[place + 2])\n".utf8).write(to: URL(filePath: path))
        return path
    }

    /// A proxy that knows where the control plane is, and has a token.
    func join(
        _ service: String, app: RunningApp? = nil, _ more: [String] = []
    ) throws -> RunningProxy {
        var words = ["--join", "\(proxies)", "--token-file", try token(service)]
        if let app { words += ["--app", "\(app.address)"] }
        return try RunningProxy(words + ["--admin", "127.0.0.1:0"] + more)
    }

    /// Waits until the control plane has a text to say of something.
    func wait(for text: String, in target: String) throws {
        try waitUntil { () throws -> (Bool, String) in
            let said = try control.ask("GET", target).text
            return (said.contains(text), said)
        }
    }

    /// Waits until these proxies hold what the mesh is now, and have said so.
    func wait(forAllOf names: [String]) throws {
        try waitUntil { () throws -> (Bool, String) in
            let all = try control.proxyList()
            let isThere = names.allSatisfy { name in
                all.contains { $0.proxy == name && $0.sent > 0 && $0.acknowledged == $0.sent }
            }
            return (isThere, "\(all)")
        }
    }
}

/// Asks again and again until it is so.
/// - Parameter condition: whether it is so, and what was found.
func waitUntil(_ condition: () throws -> (Bool, String)) throws {
    let deadline = Clock.now() + RawConnection.patience
    while true {
        let (isSo, found) = try condition()
        if isSo { return }
        guard Clock.now() < deadline else { throw WireFailure.unexpected(found) }
        Clock.sleep(until: Clock.now() + .milliseconds(10))
    }
}

/// Requests by the outbound listener of a proxy, one after the other, until it is told to stop.
final class SteadyCaller: Sendable {
    struct Seen: Equatable, Sendable {
        var answers: [Int: Int] = [:]
        /// Bytes of bodies, which tell one app from another.
        var sizes: [Int: Int] = [:]
        var failures: [String] = []
    }

    private let state = Mutex((seen: Seen(), isStopped: false))
    private let outbound: SocketAddress
    private let host: String

    /// - Parameter host: whom it asks for.
    init(by outbound: SocketAddress, _ host: String) throws {
        self.outbound = outbound
        self.host = host
        let thread = try Posix.Thread(name: "caller") { [self] in run() }
        thread.detach()
    }

    private func run() {
        var connection: RawConnection?
        var count = 0
        while !state.withLock({ $0.isStopped }) {
            count += 1
            do throws(WireFailure) {
                // Some come on connections of their own.
                if connection == nil || count % 10 == 0 {
                    connection = try RawConnection(to: outbound)
                }
                try connection?.send("GET /\(count) HTTP/1.1\r\nhost: \(host)\r\n\r\n")
                guard let answer = try connection?.readAnswer() else { continue }
                note(answer)
            } catch {
                connection = nil
                state.withLock { $0.seen.failures.append("\(error)") }
            }
            Clock.sleep(until: Clock.now() + .milliseconds(2))
        }
    }

    private func note(_ answer: RawMessage) {
        state.withLock {
            $0.seen.answers[answer.status, default: 0] += 1
            $0.seen.sizes[answer.body.count, default: 0] += 1
            if answer.status != 200 { $0.seen.failures.append(answer.text) }
        }
    }

    var seen: Seen { state.withLock { $0.seen } }

    func stop() { state.withLock { $0.isStopped = true } }

    /// Waits until it has seen more answers of that size.
    func wait(forMoreOf size: Int) throws {
        let before = seen.sizes[size] ?? 0
        let deadline = Clock.now() + RawConnection.patience
        while (seen.sizes[size] ?? 0) < before + 5 {
            guard Clock.now() < deadline else { throw WireFailure.unexpected("\(seen)") }
            Clock.sleep(until: Clock.now() + .milliseconds(5))
        }
    }

    /// Waits until so many answers in a row were of other sizes. Requests go on all the while, so
    /// that it says nothing of a caller that is stuck.
    func wait(forNoneOf size: Int, in count: Int = 60) throws {
        let deadline = Clock.now() + RawConnection.patience
        var (last, total) = (-1, 0)
        while true {
            let seen = seen
            let answers = seen.answers.values.reduce(0, +)
            if seen.sizes[size] ?? 0 != last { (last, total) = (seen.sizes[size] ?? 0, answers) }
            if answers >= total + count { return }
            guard Clock.now() < deadline else { throw WireFailure.unexpected("\(seen)") }
            Clock.sleep(until: Clock.now() + .milliseconds(5))
        }
    }
}
