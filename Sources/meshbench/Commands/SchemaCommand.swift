import Model
import Scenario

extension Command {
    static let schema = Command(
        name: "schema",
        about: "Print the JSON Schema of scenario files",
        detail: """
            Draft 2020-12, for editors. With the YAML language server, name it in the first line of a
            scenario:

              # yaml-language-server: $schema=scenario.schema.json

            Values that contradict each other (names that do not exist, calls in a circle) are found by
            'meshbench validate' only.
            """,
        run: { _ throws(CommandFailure) in
            print(ScenarioFile.schema, terminator: "")
            return .success
        })
}
