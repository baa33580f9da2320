import Model
import Scenario

extension Command {
    static let plan = Command(
        name: "plan",
        about: "Show what a scenario would run, when, and how long it takes",
        detail: """
            Services, loads, the timeline of the phases, the order of the arms in each round (it
            follows from the seed), the requests to be offered, the time needed, and warnings of
            known traps. Nothing is run.
            """,
        positionals: [.scenario],
        flags: [.set],
        run: { arguments throws(CommandFailure) in
            print(try arguments.scenario().plan, terminator: "")
            return .success
        })
}
