import Model
import Scenario

extension Flag {
    static let set = Flag(
        "--set", "KEY=VALUE", repeats: true,
        about: "replace a variable, or the value at a path such as load.main.rate")
}

extension Flag {
    static let authorities = Flag(
        "--cacert", "FILE", about: "PEM: who may vouch for the peer; the system's without it")
    static let certificate = Flag(
        "--cert", "FILE", about: "PEM: the certificate that is shown, leaf first")
    static let key = Flag("--key", "FILE", about: "PEM: its private key")
}

extension Arguments {
    /// How a client is secured by these flags.
    /// - Parameter isSecured: whether the URL is of https.
    func clientTLS(isSecured: Bool) throws(CommandFailure) -> ClientTLS? {
        guard isSecured else {
            if let flag = [Flag.authorities, .certificate, .key].first(where: has) {
                throw usage("'\(flag.name)' is for an https URL")
            }
            return nil
        }
        guard has(.certificate) == has(.key) else {
            throw usage("'--cert' and '--key' go together")
        }
        return ClientTLS(
            authorities: value(.authorities), certificate: value(.certificate), key: value(.key))
    }
}

extension Positional {
    static let scenario = Positional(
        name: "SCENARIO", about: "a scenario file, in YAML (docs/SCENARIOS.md)")
}

extension Arguments {
    /// The scenario named first among the words, with the `--set` flags applied.
    /// - Throws: a failure that shows every error in the file with its place.
    func scenario() throws(CommandFailure) -> ScenarioFile {
        try scenario(at: positionals[0])
    }

    /// The scenario in this file, with the `--set` flags applied.
    func scenario(at path: String) throws(CommandFailure) -> ScenarioFile {
        do throws(ScenarioError) {
            return try ScenarioFile(path: path, overrides: values(.set))
        } catch {
            throw CommandFailure(error)
        }
    }
}

extension CommandFailure {
    /// A file that cannot be read is the command's failure; one that is wrong is the file's.
    init(_ error: ScenarioError) {
        switch error {
        case .unreadable: self.init(code: .failed, message: error.description)
        case .invalid: self.init(code: .badScenario, message: error.description)
        }
    }
}
