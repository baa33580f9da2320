import Base
import Glibc
import Model

/// Every command, in the order of `meshbench help`. A command is one file in `Commands` and one
/// line here.
let commands: [Command] = [
    .run,
    .conform,
    .selftest,
    .load,
    .validate,
    .plan,
    .explain,
    .schema,
    .help,
    .version,
    .proxy,
    .control,
    .controlApply,
    .controlGet,
    .controlDelete,
    .controlStatus,
    .controlServices,
    .controlWatch,
    .controlProxies,
    .controlDrain,
    .controlToken,
    .controlCertificates,
    .controlRotate,
    .controlEnvoyBootstrap,
    .controlEnvoyAgent,
    .app,
    .rateLimit,
]

/// The version that `meshbench version` prints and that results carry.
let programVersion = "0.1.0"

/// Runs what the words of a command line ask for. Results go to standard output, all else to
/// standard error.
func run(_ words: [String]) -> ExitCode {
    do throws(CommandFailure) {
        return try dispatch(words)
    } catch {
        complain(error.message)
        return error.code
    }
}

private func dispatch(_ words: [String]) throws(CommandFailure) -> ExitCode {
    guard let name = words.first else {
        complain(overview())
        return .usage
    }
    switch name {
    case "--help", "-h":
        print(overview())
        return .success
    case "keeper":
        // This and the next are of no use to people, so in no table.
        try runKeeper(Array(words.dropFirst()))
    case "subscribers":
        return try runSubscribers(Array(words.dropFirst()))
    case "--version":
        print("meshbench \(programVersion)")
        return .success
    default:
        let (command, rest) = try commandBegun(by: words)
        let arguments = try Arguments(parsing: rest, for: command)
        guard !arguments.wantsHelp else {
            print(command.help())
            return .success
        }
        return try command.run(arguments)
    }
}

/// The command that the first words name, and the words after its name. A name may have two.
/// - Throws: a usage failure that names the nearest command.
func commandBegun(by words: [String]) throws(CommandFailure) -> (Command, rest: [String]) {
    let pair = words.prefix(2).joined(separator: " ")
    if let command = commands.first(where: { $0.name == pair }) {
        return (command, Array(words.dropFirst(2)))
    }
    let first = words.first ?? ""
    let isOfPair = words.count > 1 && !words[1].hasPrefix("-")
    let hasPairs = commands.contains { $0.name.hasPrefix("\(first) ") }
    return (try commandNamed(isOfPair && hasPairs ? pair : first), Array(words.dropFirst()))
}

/// The command of this name.
/// - Throws: a usage failure that names the nearest command.
func commandNamed(_ name: String) throws(CommandFailure) -> Command {
    if let command = commands.first(where: { $0.name == name }) { return command }
    let kind = name.hasPrefix("-") ? "flag" : "command"
    let hint = suggestion(for: name, in: commands.map(\.name))
    throw .usage(
        "meshbench: unknown \(kind) '\(name)'\(hint)\n"
            + "'meshbench help' lists the commands")
}

/// Writes a line to standard error, unbuffered. What cannot be written there is not worth an error.
func complain(_ message: String) { write(line: message, to: STDERR_FILENO) }

/// Writes a line to standard output, unbuffered: for whoever waits at the other end of a pipe.
func announce(_ message: String) { write(line: message, to: STDOUT_FILENO) }

private func write(line: String, to descriptor: Int32) { _ = writeAll("\(line)\n", to: descriptor) }

/// Writes all of a text, in as many calls as it takes.
/// - Returns: false where it cannot be written; `errno` says why.
func writeAll(_ text: String, to descriptor: Int32) -> Bool {
    let bytes = Array(text.utf8)
    return unsafe bytes.withUnsafeBytes { buffer in
        var rest = unsafe buffer[...]
        while unsafe !rest.isEmpty {
            let part = unsafe UnsafeRawBufferPointer(rebasing: rest)
            let count = unsafe write(descriptor, part.baseAddress, part.count)
            if count > 0 {
                unsafe rest = rest.dropFirst(count)
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}
