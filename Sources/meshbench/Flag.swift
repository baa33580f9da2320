/// A word that is recognized by its name: `--seed 7` or `--seed=7`; a switch has no value:
/// `--quiet`.
///
/// Flags that several commands share stand in `Flag+Shared.swift`; the others beside their command,
/// as `extension Flag { static let listen = Flag(...) }`, so that `arguments.value(.listen)` reads
/// them.
struct Flag: Sendable {
    /// With both dashes.
    let name: String
    /// What stands for the value in help: `HOST:PORT`; nil: a switch.
    let value: String?
    /// What it does, without a full stop.
    let about: String
    /// What holds without it, for help; nil: nothing to say.
    let standard: String?
    let repeats: Bool

    /// - Precondition: `name` begins with two dashes; a flag that repeats has a value.
    init(
        _ name: String, _ value: String? = nil, standard: String? = nil, repeats: Bool = false,
        about: String
    ) {
        precondition(name.hasPrefix("--"), "the flag '\(name)' lacks its dashes")
        precondition(value != nil || !repeats, "the switch '\(name)' cannot repeat")
        self.name = name
        self.value = value
        self.about = about
        self.standard = standard
        self.repeats = repeats
    }

    /// `--seed N`.
    var synopsis: String { value.map { "\(name) \($0)" } ?? name }
}

extension Flag {
    static let help = Flag("--help", about: "show this help")
}
