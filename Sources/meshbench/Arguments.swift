import Base
import Model
import Scenario

/// The words of a command line, sorted by the command's own table.
struct Arguments: Sendable {
    private let command: String
    private var values: [String: [String]] = [:]
    /// The words that are not flags, in order.
    private(set) var positionals: [String] = []
    private(set) var wantsHelp = false

    /// Sorts `words` by the table of `command`.
    /// - Throws: a usage failure for an unknown flag, a missing or needless value, a flag given
    ///   twice,
    ///   and for too few or too many words.
    init(parsing words: [String], for command: Command) throws(CommandFailure) {
        self.command = command.name
        var rest = words[...]
        while let word = rest.popFirst() {
            if word == "--" {
                positionals += rest
                break
            } else if word == "-h" || word == Flag.help.name {
                wantsHelp = true
            } else if word.hasPrefix("-"), word.count > 1 {
                try take(word, from: &rest, flags: command.flags)
            } else {
                positionals.append(word)
            }
        }
        if !wantsHelp { try check(command.positionals) }
    }

    private mutating func take(
        _ word: String, from rest: inout ArraySlice<String>, flags: [Flag]
    ) throws(CommandFailure) {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        guard let flag = flags.first(where: { $0.name == name }) else {
            let known = (flags + [.help]).map(\.name)
            throw usage("unknown flag '\(name)'\(suggestion(for: name, in: known))")
        }
        let value: String
        switch (flag.value, parts.count) {
        case (nil, 1): value = ""
        case (nil, _): throw usage("'\(name)' takes no value")
        case (_, 2): value = String(parts[1])
        case (let meaning?, _):
            guard let next = rest.popFirst() else {
                throw usage("'\(name)' needs a value: \(meaning)")
            }
            value = next
        }
        guard flag.repeats || values[name] == nil else { throw usage("'\(name)' is given twice") }
        values[name, default: []].append(value)
    }

    private func check(_ places: [Positional]) throws(CommandFailure) {
        let needed = places.filter(\.isRequired)
        if positionals.count < needed.count {
            throw usage("\(needed[positionals.count].name) is missing")
        }
        let isOpen = places.last?.repeats ?? false
        if positionals.count > places.count, !isOpen {
            throw usage("unexpected word '\(positionals[places.count])'")
        }
    }

    /// Whether the flag was given.
    func has(_ flag: Flag) -> Bool { values[flag.name] != nil }

    /// The flag's value; nil where it was not given.
    func value(_ flag: Flag) -> String? { values[flag.name]?.last }

    /// Every value of a flag that repeats, in order.
    func values(_ flag: Flag) -> [String] { values[flag.name] ?? [] }

    /// The flag's value as a whole number within `range`; nil where the flag was not given.
    /// - Throws: a usage failure where it is no such number.
    func integer(_ flag: Flag, in range: ClosedRange<Int>) throws(CommandFailure) -> Int? {
        guard let text = value(flag) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw usage(
                "'\(flag.name) \(text)': a whole number from \(range.lowerBound) "
                    + "to \(range.upperBound) is needed")
        }
        return number
    }

    /// The flag's value as a span of time; nil where the flag was not given.
    /// - Throws: a usage failure where it is none.
    func duration(_ flag: Flag) throws(CommandFailure) -> Duration? {
        try quantity(flag, Quantity.duration)
    }

    /// The flag's value as bytes; nil where the flag was not given.
    /// - Throws: a usage failure where it is none.
    func size(_ flag: Flag) throws(CommandFailure) -> Int? {
        try quantity(flag, Quantity.size)
    }

    /// The flag's value per second; nil where the flag was not given.
    /// - Throws: a usage failure where it is none.
    func rate(_ flag: Flag) throws(CommandFailure) -> Double? {
        try quantity(flag, Quantity.rate)
    }

    private func quantity<Value>(
        _ flag: Flag, _ parse: (String) throws(QuantityError) -> Value
    ) throws(CommandFailure) -> Value? {
        guard let text = value(flag) else { return nil }
        do throws(QuantityError) {
            return try parse(text)
        } catch {
            throw usage("'\(flag.name) \(text)': \(error.message)")
        }
    }

    /// A usage failure in the words of this command.
    func usage(_ message: String) -> CommandFailure {
        .usage(
            "meshbench \(command): \(message)\n'meshbench \(command) --help' shows how to use it")
    }
}
