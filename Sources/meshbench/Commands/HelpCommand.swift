import Model

extension Command {
    static let help = Command(
        name: "help",
        about: "Explain a command, or list them all",
        positionals: [
            .init(name: "COMMAND", about: "the command to explain", isRequired: false)
        ],
        run: runHelp)
}

private func runHelp(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    if let name = arguments.positionals.first {
        print(try commandNamed(name).help())
    } else {
        print(overview())
    }
    return .success
}
