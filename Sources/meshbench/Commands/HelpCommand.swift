import Model

extension Command {
    static let help = Command(
        name: "help",
        about: "Explain a command, or list them all",
        positionals: [
            .init(
                name: "COMMAND", about: "the command to explain", isRequired: false, repeats: true)
        ],
        run: runHelp)
}

private func runHelp(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    guard !arguments.positionals.isEmpty else {
        print(overview())
        return .success
    }
    let (command, rest) = try commandBegun(by: arguments.positionals)
    if let word = rest.first { throw arguments.usage("unexpected word '\(word)'") }
    print(command.help())
    return .success
}
