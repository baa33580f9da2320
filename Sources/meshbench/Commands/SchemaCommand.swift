import Base
import Model
import Scenario

extension Command {
    static let schema = Command(
        name: "schema",
        about: "Print the JSON Schema of scenarios, proxy files or declarations",
        detail: """
            Draft 2020-12, for editors. With the YAML language server, name it in the first line
            of a file:

              # yaml-language-server: $schema=scenario.schema.json

            Values that contradict each other (names that do not exist, calls in a circle) are
            found by 'meshbench validate' only.
            """,
        positionals: [
            .init(
                name: "FILE", about: "'scenario' (the default), 'proxy' or 'declarations'",
                isRequired: false)
        ],
        run: runSchema)
}

private func runSchema(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    switch arguments.positionals.first ?? "scenario" {
    case "scenario": print(ScenarioFile.schema, terminator: "")
    case "proxy": print(ProxyFile.schema, terminator: "")
    case "declarations": print(MeshFiles.schema, terminator: "")
    case let word:
        let hint = suggestion(for: word, in: ["scenario", "proxy", "declarations"])
        throw arguments.usage("no schema of '\(word)'\(hint)")
    }
    return .success
}
