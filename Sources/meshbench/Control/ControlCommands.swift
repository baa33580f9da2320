// The commands that ask a control plane and print what it answers. What they do is apart from how
// they are started, so that tests call it.

import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Runtime
import Scenario

let controlExits = """
    Ends with 0 if it was done, 65 if declarations are wrong, 1 if the control plane refuses or \
    cannot be reached, and 64 if the command line is wrong.
    """

extension Command {
    static let controlApply = Command(
        name: "control apply",
        about: "Declare to a control plane what files say",
        detail: """
            All of it happens or nothing. What the files have wrong by themselves is shown before \
            anything is sent; what does not go with the rest of the mesh, as the control plane \
            finds. Both with file:line:column.

            \(controlExits)
            """,
        positionals: [
            .init(
                name: "PATH", about: "files, and folders of .yaml, .yml and .json (docs/MESH.md)",
                repeats: true)
        ],
        flags: [.prune, .dryRun] + Flag.ofControlClients,
        run: printing("control apply", applyDeclarations))

    static let controlGet = Command(
        name: "control get",
        about: "Print what a control plane holds",
        detail: """
            A table of all declarations, or of a kind; of one, the declaration itself as JSON, \
            which 'meshbench control apply' takes.

            \(controlExits)
            """,
        positionals: [
            .init(
                name: "KIND", about: "service, endpoint, route, policy or authorization",
                isRequired: false),
            .init(name: "NAME", about: "cart, or shop/cart", isRequired: false),
        ],
        flags: [.controlNamespace] + Flag.ofControlClients,
        run: printing("control get", getDeclarations))

    static let controlDelete = Command(
        name: "control delete",
        about: "Take a declaration out of a control plane",
        detail: """
            Refused where others refer to it.

            \(controlExits)
            """,
        positionals: [
            .init(name: "KIND", about: "service, endpoint, route, policy or authorization"),
            .init(name: "NAME", about: "cart, or shop/cart"),
        ],
        flags: [.controlNamespace] + Flag.ofControlClients,
        run: printing("control delete", deleteDeclaration))

    static let controlStatus = Command(
        name: "control status",
        about: "Print how a control plane is",
        detail: controlExits,
        flags: Flag.ofControlClients,
        run: printing("control status", controlPlaneStatus))

    static let controlServices = Command(
        name: "control services",
        about: "Print the services of a mesh, and what answers for them",
        detail: """
            HEALTHY counts the endpoints that are declared healthy and that no check finds \
            unhealthy, of all there are; ZONES are where endpoints run.

            \(controlExits)
            """,
        flags: [.controlNamespace] + Flag.ofControlClients,
        run: printing("control services", listServices))

    static let controlWatch = Command(
        name: "control watch",
        about: "Print changes of a mesh as they happen",
        detail: """
            A line for each change: its revision, what was done, and to which declaration. With \
            --json a line for each revision, with the declarations. Goes on until SIGINT or \
            SIGTERM, which end it with 0; 1 if the control plane ends it, or cannot be reached.
            """,
        flags: [.after] + Flag.ofControlClients,
        run: watchControlPlane)
}

extension Flag {
    static let prune = Flag(
        "--prune", about: "delete what the files do not declare, in all namespaces")
    static let dryRun = Flag("--dry-run", about: "check everything, and change nothing")
    static let after = Flag(
        "--after", "REVISION", standard: "the present one",
        about: "begin with the change that followed this one")
}

/// A command that asks once and prints what came of it.
func printing(
    _ name: String,
    _ work: @escaping @Sendable (Arguments, ControlClient) throws(CommandFailure) -> String
) -> @Sendable (Arguments) throws(CommandFailure) -> ExitCode {
    { arguments throws(CommandFailure) in
        let text = try work(arguments, try ControlClient(arguments, for: name))
        guard writeAll(text, to: STDOUT_FILENO) else {
            throw .failed("meshbench \(name): \(SystemError("write"))")
        }
        return .success
    }
}

// MARK: What they do

func applyDeclarations(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    let excerpt: MeshExcerpt
    do throws(MeshFilesError) {
        excerpt = try MeshExcerpt(paths: arguments.positionals)
    } catch {
        throw CommandFailure(
            code: error.isUnreadable ? .failed : .badScenario, message: error.description)
    }
    // With --prune it would take everything away, for a path that was mistaken.
    guard !excerpt.declarations.isEmpty else {
        throw CommandFailure(
            code: .badScenario,
            message: "meshbench control apply: no declaration in "
                + arguments.positionals.joined(separator: ", "))
    }
    let isDry = arguments.has(.dryRun)
    let query = [
        arguments.has(.prune) ? "prune=true" : nil, isDry ? "dry_run=true" : nil,
    ].compactMap(\.self).joined(separator: "&")
    let texts = excerpt.declarations.map(\.json).joined(separator: ",")
    let reply = try client.send(
        "POST", query.isEmpty ? "/v1/apply" : "/v1/apply?\(query)",
        body: "{\"declarations\":[\(texts)]}")
    if let failure = problems(reply, of: excerpt) { throw failure }
    let body = try client.succeeded(reply)
    if arguments.has(.controlJSON) { return line(body) }
    return try client.read(body, as: ControlApplied.self).text(dryRun: isDry)
}

/// What the control plane has found wrong, at its places in the files; nil: that is not why it
/// refuses, if it does.
private func problems(_ reply: ServiceReply, of excerpt: MeshExcerpt) -> CommandFailure? {
    guard reply.status == 422 else { return nil }
    let problems = ControlRefusalText(reply).problems
    guard !problems.isEmpty else { return nil }
    var lines = problems.filter { $0.asMeshProblem == nil }.map(\.description)
    let findings = excerpt.findings(of: problems.compactMap(\.asMeshProblem))
    if !findings.isEmpty { lines.insert(findings.text, at: 0) }
    return CommandFailure(code: .badScenario, message: lines.joined(separator: "\n"))
}

func getDeclarations(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    let words = arguments.positionals
    if words.count == 2 {
        let body = try client.ask("GET", "/v1/\(try keyNamed(arguments).path)")
        if arguments.has(.controlJSON) { return line(body) }
        let text = String(decoding: body, as: UTF8.self)
        guard let declaration = try? MeshDeclaration(text: text, file: client.url) else {
            throw client.failed("what \(client.url) answers is no declaration; --json shows it")
        }
        return declaration.text
    }
    let kind = try words.first.map { word throws(CommandFailure) in try kindNamed(word, arguments) }
    let body = try client.ask("GET", try listing(arguments, kind: kind))
    if arguments.has(.controlJSON) { return line(body) }
    return try client.read(body, as: ControlListing.self).table
}

func listServices(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    let body = try client.ask("GET", try listing(arguments, kind: nil))
    if arguments.has(.controlJSON) { return line(body) }
    let checked = try client.read(try client.ask("GET", "/v1/health"), as: ControlHealth.self)
    return try client.read(body, as: ControlListing.self).services(checked)
}

func deleteDeclaration(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    let key = try keyNamed(arguments)
    let body = try client.ask("DELETE", "/v1/\(key.path)")
    if arguments.has(.controlJSON) { return line(body) }
    let revision = try client.read(body, as: ControlRevision.self).revision
    return "deleted  \(key.path); revision \(revision)\n"
}

func controlPlaneStatus(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    let body = try client.ask("GET", "/v1/status")
    if arguments.has(.controlJSON) { return line(body) }
    return try client.read(body, as: ControlStatus.self).text(of: client.url)
}

private func watchControlPlane(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let client = try ControlClient(arguments, for: "control watch")
    Signals.ignoreBrokenPipes()
    let signals: Signals
    do throws(SystemError) { signals = try Signals([SIGINT, SIGTERM]) } catch {
        throw client.failed("\(error)")
    }
    try watchDeclarations(arguments, client, stop: signals.descriptor) {
        writeAll($0, to: STDOUT_FILENO)
    }
    return .success
}

/// Says every change until `stop` is readable, or nobody listens.
/// - Parameter say: is given whole lines, and says whether somebody listens.
func watchDeclarations(
    _ arguments: Arguments, _ client: ControlClient, stop: Int32, say: (String) -> Bool
) throws(CommandFailure) {
    let after = try arguments.integer(.after, in: 0...Int.max)
    let isJSON = arguments.has(.controlJSON)
    var failure: CommandFailure?
    let end = try client.follow(
        after.map { "/v1/watch?after=\($0)" } ?? "/v1/watch", stop: stop
    ) { bytes in
        if isJSON { return say(line(bytes)) }
        do throws(CommandFailure) {
            return say(try client.read(bytes, as: ControlNews.self).text)
        } catch {
            failure = error
            return false
        }
    }
    if let failure { throw failure }
    switch end {
    case .stopped: return
    case .refused(let reply): throw client.refused(reply)
    case .ended: throw client.failed("\(client.url) has ended the watch")
    }
}

// MARK: Words

private func kindNamed(_ word: String, _ arguments: Arguments) throws(CommandFailure) -> MeshKind {
    let found = MeshKind.allCases.first { $0.rawValue == word || $0.plural == word }
    guard let found else {
        let hint = suggestion(for: word, in: MeshKind.allCases.map(\.rawValue))
        throw arguments.usage("unknown kind '\(word)'\(hint)")
    }
    return found
}

/// The declaration that KIND and NAME mean.
private func keyNamed(_ arguments: Arguments) throws(CommandFailure) -> MeshKey {
    let kind = try kindNamed(arguments.positionals[0], arguments)
    return try keyNamed(kind, arguments.positionals[1], arguments)
}

/// The declaration that a name means, with --namespace.
func keyNamed(
    _ kind: MeshKind, _ word: String, _ arguments: Arguments
) throws(CommandFailure) -> MeshKey {
    let given = try namespaceNamed(arguments)
    let path = word.contains("/") ? word : "\(given ?? MeshName.standardNamespace)/\(word)"
    guard let key = MeshKey(path: "\(kind.plural)/\(path)") else {
        throw arguments.usage("'\(word)' is no name such as cart or shop/cart")
    }
    guard given == nil || given == key.name.namespace else {
        throw arguments.usage("'\(word)' is not of the namespace '\(given ?? "")'")
    }
    return key
}

func namespaceNamed(_ arguments: Arguments) throws(CommandFailure) -> String? {
    guard let word = arguments.value(.controlNamespace) else { return nil }
    guard MeshName.isLabel(word) else {
        throw arguments.usage("'--namespace \(word)' is no name such as shop")
    }
    return word
}

private func listing(
    _ arguments: Arguments, kind: MeshKind?
) throws(CommandFailure) -> String {
    let query = [
        kind.map { "kind=\($0.rawValue)" }, try namespaceNamed(arguments).map { "namespace=\($0)" },
    ].compactMap(\.self).joined(separator: "&")
    return query.isEmpty ? "/v1/declarations" : "/v1/declarations?\(query)"
}

/// A body as one line, with an end.
func line(_ body: [UInt8]) -> String {
    let text = String(decoding: body, as: UTF8.self)
    return text.hasSuffix("\n") ? text : text + "\n"
}
