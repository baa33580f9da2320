import Model
import Scenario

extension Command {
    static let explain = Command(
        name: "explain",
        about: "Show every setting in force in a scenario and where it comes from",
        detail: """
            One line for each setting: its path (as --set takes it), its value, and whether that
            is a default, stands in the file, or comes from --set.
            """,
        positionals: [.scenario],
        flags: [.set],
        run: { arguments throws(CommandFailure) in
            print(try arguments.scenario().explanation, terminator: "")
            return .success
        })
}
