import Base
import Model
import Testing

@testable import meshbench

@Suite struct ArgumentsTests {
    private static let seed = Flag("--seed", "N", about: "a number")
    private static let set = Flag("--set", "KEY=VALUE", repeats: true, about: "a value")
    private static let quiet = Flag("--quiet", about: "say nothing")
    private static let wait = Flag("--wait", "DURATION", standard: "1s", about: "how long")

    private static let command = Command(
        name: "try", about: "Try it",
        positionals: [
            .init(name: "FILE", about: "a file"),
            .init(name: "MORE", about: "more files", isRequired: false, repeats: true),
        ],
        flags: [seed, set, quiet, wait],
        run: { _ throws(CommandFailure) in .success })

    private func parse(_ words: String...) throws(CommandFailure) -> Arguments {
        try Arguments(parsing: words, for: Self.command)
    }

    @Test func flagsAndWordsInAnyOrder() throws {
        let arguments = try parse(
            "a", "--seed", "7", "--set=x=1", "b", "--quiet", "--set", "y=2", "--", "--seed", "-")
        #expect(arguments.positionals == ["a", "b", "--seed", "-"])
        #expect(arguments.value(Self.seed) == "7")
        #expect(arguments.values(Self.set) == ["x=1", "y=2"])
        #expect(arguments.has(Self.quiet))
        #expect(!arguments.has(Self.wait) && arguments.value(Self.wait) == nil)
    }

    @Test func valuesMayLookLikeFlags() throws {
        #expect(try parse("a", "--seed", "--quiet").value(Self.seed) == "--quiet")
        #expect(try parse("a", "--seed=").value(Self.seed) == "")
        #expect(try parse("-").positionals == ["-"])
    }

    @Test func typedValues() throws {
        let arguments = try parse("a", "--seed", "7", "--wait", "1.5s")
        #expect(try arguments.integer(Self.seed, in: 0...9) == 7)
        #expect(try arguments.duration(Self.wait) == .milliseconds(1500))
        #expect(try parse("a").duration(Self.wait) == nil)
    }

    @Test func helpNeedsNothingElse() throws {
        #expect(try parse("--help").wantsHelp)
        #expect(try parse("a", "-h").wantsHelp)
    }

    @Test(
        arguments: [
            (["a", "--sed", "1"], "unknown flag '--sed'; did you mean '--seed'?"),
            (["a", "--zzzzzz"], "unknown flag '--zzzzzz'"),
            (["a", "-q"], "unknown flag '-q'"),
            (["a", "--seed"], "'--seed' needs a value: N"),
            (["a", "--quiet=1"], "'--quiet' takes no value"),
            (["a", "--seed", "1", "--seed=2"], "'--seed' is given twice"),
            ([], "FILE is missing"),
        ] as [([String], String)])
    func wrongWords(words: [String], message: String) {
        let error = #expect(throws: CommandFailure.self) {
            try Arguments(parsing: words, for: Self.command)
        }
        #expect(error?.code == .usage)
        #expect(
            error?.message
                == "meshbench try: \(message)\n'meshbench try --help' shows how to use it")
    }

    @Test func wrongTypedValues() throws {
        let arguments = try parse("a", "--seed", "12", "--wait", "5")
        let number = #expect(throws: CommandFailure.self) {
            try arguments.integer(Self.seed, in: 0...9)
        }
        #expect(
            number?.message.contains("'--seed 12': a whole number from 0 to 9 is needed") == true)
        let span = #expect(throws: CommandFailure.self) { try arguments.duration(Self.wait) }
        #expect(span?.message.contains("'--wait 5': a duration such as 250ms is needed") == true)
    }

    @Test func wordsBeyondTheLast() {
        let error = #expect(throws: CommandFailure.self) {
            try Arguments(parsing: ["a", "b"], for: .schema)
        }
        #expect(error?.message.contains("unexpected word 'b'") == true)
    }

    @Test func helpIsMadeFromTheTable() {
        #expect(
            Self.command.help() == """
                meshbench try: Try it.

                usage: meshbench try [flags] FILE [MORE...]

                arguments:
                  FILE  a file
                  MORE  more files

                flags:
                  --seed N         a number
                  --set KEY=VALUE  a value; may be repeated
                  --quiet          say nothing
                  --wait DURATION  how long (default: 1s)
                  --help           show this help
                """)
    }
}

@Suite struct CommandTableTests {
    @Test func namesDiffer() {
        #expect(Set(commands.map(\.name)).count == commands.count)
        for command in commands {
            #expect(Set(command.flags.map(\.name)).count == command.flags.count, "\(command.name)")
        }
    }

    @Test func textsAreOfOneForm() {
        for command in commands {
            for text in [command.about] + command.flags.map(\.about)
                + command.positionals.map(\.about)
            {
                #expect(!text.isEmpty && !text.hasSuffix("."), "\(command.name): \(text)")
            }
            #expect(command.about.first?.isUppercase == true, "\(command.name)")
        }
    }

    @Test func helpFitsAnEightyColumnTerminal() {
        for text in [overview()] + commands.map({ $0.help() }) {
            for line in text.split(separator: "\n") where line.count > 80 {
                Issue.record("\(line.count) columns: \(line)")
            }
        }
    }

    /// Only the last word of a command may repeat or be left out.
    @Test func positionalsAreUnambiguous() {
        for command in commands {
            #expect(command.positionals.dropLast().allSatisfy { !$0.repeats }, "\(command.name)")
            let required = command.positionals.map(\.isRequired)
            #expect(required == required.sorted { $0 && !$1 }, "\(command.name)")
        }
    }

    @Test(
        arguments: [
            (["control", "get", "service"], "control get", ["service"]),
            (["validate", "control", "get"], "validate", ["control", "get"]),
            (["help", "control", "watch"], "help", ["control", "watch"]),
        ])
    func namesOfTwoWords(words: [String], name: String, rest: [String]) throws {
        let (command, left) = try commandBegun(by: words)
        #expect(command.name == name)
        #expect(left == rest)
    }

    @Test func anUnknownSecondWordNamesTheNearestPair() {
        let error = #expect(throws: CommandFailure.self) {
            try commandBegun(by: ["control", "aply", "x.yaml"])
        }
        #expect(
            error?.message.hasPrefix(
                "meshbench: unknown command 'control aply'; did you mean 'control apply'?") == true)
    }

    @Test func unknownCommandsNameTheNearest() {
        let error = #expect(throws: CommandFailure.self) { try commandNamed("valdate") }
        #expect(error?.code == .usage)
        #expect(
            error?.message.hasPrefix(
                "meshbench: unknown command 'valdate'; did you mean 'validate'?") == true)
    }
}
