// What the commands that ask a control plane share: where it is, who asks, and what its refusals
// come to.

import FoundationEssentials
import Glibc
import Model
import Runtime
import Scenario

extension Flag {
    static let controlServer = Flag(
        "--server", "URL", standard: "MESHBENCH_CONTROL, or \(ControlClient.standardServer)",
        about: "where the control plane listens")
    static let controlToken = Flag(
        "--token-file", "FILE", standard: "the token in MESHBENCH_CONTROL_TOKEN",
        about: "its token: the file 'token' in its folder of data")
    static let controlNamespace = Flag(
        "--namespace", "NAME", about: "only this namespace; of a NAME without one, 'default'")
    static let controlJSON = Flag("--json", about: "print the answer as it came, for programs")

    /// Those of every command that asks.
    static let ofControlClients: [Flag] = [
        .controlServer, .controlToken, .authorities, .certificate, .key, .controlJSON,
    ]
}

/// Asks a control plane, in the words of one command.
struct ControlClient {
    static let standardServer = "http://127.0.0.1:7070"

    /// As it was given.
    let url: String
    private let client: ServiceClient
    private let command: String

    /// - Parameter environment: the value of a variable; nil: it is not set.
    init(
        _ arguments: Arguments, for command: String,
        environment: (String) -> String? = environmentVariable,
        limits: ServiceClientLimits = ServiceClientLimits()
    ) throws(CommandFailure) {
        self.command = command
        url =
            arguments.value(.controlServer) ?? environment("MESHBENCH_CONTROL")
            ?? Self.standardServer
        guard let place = try? LoadURL(url), place.speech == .http1, place.path == "/" else {
            throw arguments.usage("'\(url)' is no URL such as \(Self.standardServer)")
        }
        let tls = try arguments.clientTLS(isSecured: place.isSecured)
        let token = try Self.token(arguments, environment)
        do throws(ServiceClientError) {
            client = try ServiceClient(place.address, tls: tls, token: token, limits: limits)
        } catch {
            throw .failed("meshbench \(command): \(error)")
        }
    }

    private static func token(
        _ arguments: Arguments, _ environment: (String) -> String?
    ) throws(CommandFailure) -> String? {
        guard let path = arguments.value(.controlToken) else {
            guard let token = environment("MESHBENCH_CONTROL_TOKEN") else { return nil }
            guard ServiceClient.isToken(token) else {
                throw arguments.usage(
                    "MESHBENCH_CONTROL_TOKEN is no token, which is one word of visible characters")
            }
            return token
        }
        guard let text = tokenText(path) else {
            throw .failed("\(path): \(unsafe String(cString: strerror(errno)))")
        }
        let token = text.last == "\n" ? String(text.dropLast()) : text
        guard ServiceClient.isToken(token) else {
            throw CommandFailure(
                code: .badScenario,
                message: "\(path): no token, which is one line of visible characters")
        }
        return token
    }

    /// The beginning of a file, which is more than a token; nil: `errno` says why.
    private static func tokenText(_ path: String) -> String? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe Glibc.read(descriptor, &bytes, bytes.count)
        return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }

    // MARK: Asking

    /// Asks, whatever the answer is.
    /// - Parameter target: path and query, with nothing in them that would have to be escaped.
    func send(
        _ method: String, _ target: String, body: String? = nil
    ) throws(CommandFailure) -> ServiceReply {
        do throws(ServiceClientError) {
            return try client.ask(
                ServiceCall(method, target, body: body.map { Array($0.utf8) }))
        } catch {
            throw failed("\(error)")
        }
    }

    /// Asks, and returns the body of an answer that is no refusal.
    func ask(_ method: String, _ target: String) throws(CommandFailure) -> [UInt8] {
        try succeeded(try send(method, target))
    }

    /// The bodies of all pages of a list.
    func pages(_ target: String) throws(CommandFailure) -> [[UInt8]] {
        let replies: [ServiceReply]
        do throws(ServiceClientError) {
            replies = try client.pages(target)
        } catch {
            throw failed("\(error)")
        }
        return try replies.map { reply throws(CommandFailure) in try succeeded(reply) }
    }

    /// The body of an answer.
    /// - Throws: what a refusal says.
    func succeeded(_ reply: ServiceReply) throws(CommandFailure) -> [UInt8] {
        guard (200...299).contains(reply.status) else { throw refused(reply) }
        return reply.body
    }

    /// Follows the changes, until `stop` is readable or `line` says so.
    func follow(
        _ target: String, stop: Int32, _ line: ([UInt8]) -> Bool
    ) throws(CommandFailure) -> ServiceStream {
        do throws(ServiceClientError) {
            return try client.follow(ServiceCall("GET", target), stop: stop, line)
        } catch {
            throw failed("\(error)")
        }
    }

    /// What the body of an answer says.
    func read<Value: Decodable>(
        _ body: [UInt8], as type: Value.Type
    ) throws(CommandFailure) -> Value {
        guard let value = try? JSONDecoder().decode(type, from: Data(body)) else {
            throw failed("what \(url) answers is no answer of a control plane")
        }
        return value
    }

    // MARK: What goes wrong

    /// What a refusal comes to: its problems are those of the declarations (65).
    func refused(_ reply: ServiceReply) -> CommandFailure {
        let refusal = ControlRefusalText(reply)
        var message = "meshbench \(command): \(refusal.message)"
        if reply.status == 401 {
            message += "\ngive --token-file FILE: the file 'token' in the control plane's folder"
        }
        let lines = [message] + refusal.problems.map(\.description)
        return CommandFailure(
            code: reply.status == 422 ? .badScenario : .failed,
            message: lines.joined(separator: "\n"))
    }

    func failed(_ message: String) -> CommandFailure {
        .failed("meshbench \(command): \(message)")
    }
}

/// The value of a variable of the environment; nil: it is not set, or empty.
func environmentVariable(_ name: String) -> String? {
    guard let text = unsafe getenv(name) else { return nil }
    let value = unsafe String(cString: text)
    return value.isEmpty ? nil : value
}
