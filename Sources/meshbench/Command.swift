import Model

/// One command of the command line: the single source of its parsing, its help and its errors.
struct Command: Sendable {
    /// As typed: `validate`.
    let name: String
    /// One line for the list of commands, without a full stop.
    let about: String
    /// Further paragraphs for `--help`; may be empty.
    var detail: String = ""
    var positionals: [Positional] = []
    var flags: [Flag] = []
    let run: @Sendable (Arguments) throws(CommandFailure) -> ExitCode
}

/// A word that is recognized by its place.
struct Positional: Sendable {
    /// For people: `SCENARIO`.
    let name: String
    let about: String
    var isRequired = true
    /// Whether more of it may follow. Only the last one of a command may repeat.
    var repeats = false
}

/// A command that could not do its work: what to say, and how to end.
struct CommandFailure: Error, Equatable {
    let code: ExitCode
    let message: String

    /// The command line was wrong.
    static func usage(_ message: String) -> CommandFailure {
        .init(code: .usage, message: message)
    }

    /// The command itself failed.
    static func failed(_ message: String) -> CommandFailure {
        .init(code: .failed, message: message)
    }
}
