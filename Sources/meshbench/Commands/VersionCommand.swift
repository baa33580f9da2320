import Model

extension Command {
    static let version = Command(
        name: "version",
        about: "Print the version",
        run: { _ throws(CommandFailure) in
            print("meshbench \(programVersion)")
            return .success
        })
}
