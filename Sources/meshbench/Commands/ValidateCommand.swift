import Model
import Scenario

extension Command {
    static let validate = Command(
        name: "validate",
        about: "Check scenario files and say what is wrong with them",
        detail: """
            Every error is shown as file:line:column, with the nearest valid word. Nothing is run.
            Ends with 0 if all files are right, 65 if one is wrong, 1 if one cannot be read, and \
            64 if the command line is wrong.
            """,
        positionals: [
            .init(name: "SCENARIO", about: Positional.scenario.about, repeats: true)
        ],
        flags: [.set],
        run: runValidate)
}

private func runValidate(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    var codes: [ExitCode] = []
    for path in arguments.positionals {
        do throws(CommandFailure) {
            let scenario = try arguments.scenario(at: path)
            print("\(path): valid")
            for warning in scenario.experiment.warnings { complain("\(path): warning: \(warning)") }
        } catch {
            complain(error.message)
            codes.append(error.code)
        }
    }
    return .gravest(of: codes)
}
