import Base
import Model
import Scenario
import Testing

/// `--set` and `${variable}`.
@Suite struct OverrideTests {
    private let text =
        minimal.replacing("rate: 100/s", with: "rate: ${rate}") + "vars: {rate: 200/s, who: you}\n"

    @Test func variablesStandInScalars() throws {
        let file = try scenario(text + "about: for ${who}, at ${rate}, not $${rate}\n")
        #expect(file.experiment.loads[0].rate == .constant(200))
        #expect(file.experiment.about == "for you, at 200/s, not ${rate}")
    }

    @Test func aWordSetsAVariable() throws {
        #expect(try scenario(text, ["rate=5/s"]).experiment.loads[0].rate == .constant(5))
        #expect(try scenario(text, ["vars.rate=6/s"]).experiment.loads[0].rate == .constant(6))
    }

    @Test func pathsReachByNumberAndByName() throws {
        #expect(try scenario(text, ["load.0.rate=5/s"]).experiment.loads[0].rate == .constant(5))
        #expect(try scenario(text, ["load.main.rate=6/s"]).experiment.loads[0].rate == .constant(6))
        let seeded = try scenario(text, ["seed=9", "load.main.rate={from: 1/s, to: 2/s}"])
        #expect(seeded.experiment.seed == 9)
        #expect(seeded.experiment.loads[0].rate == .ramp(start: 1, end: 2))
    }

    @Test func missingKeysAreAdded() throws {
        let file = try scenario(text, ["validity.max_steal=7%", "arms=[direct]", "about="])
        #expect(file.experiment.limits.maxSteal == 0.07)
        #expect(file.experiment.arms == [.direct])
        #expect(file.experiment.about == "")
    }

    @Test func laterFlagsWin() throws {
        #expect(
            try scenario(text, ["rate=5/s", "rate=6/s"]).experiment.loads[0].rate == .constant(6))
    }

    @Test(
        arguments: [
            ("rate", "--set rate: KEY=VALUE is expected"),
            ("=3", "--set =3: KEY=VALUE is expected"),
            ("load..rate=3", "--set load..rate=3: the key has an empty part"),
            ("rat=3/s", "--set rat=3/s: 'rat' is no variable and no key; did you mean 'rate'?"),
            ("load.1.rate=3/s", "--set load.1.rate=3/s: '1' is no item of a list of 1"),
            (
                "load.mian.rate=3/s",
                "--set load.mian.rate=3/s: 'mian' is no item of a list of 1; did you mean 'main'?"
            ),
            (
                "load.main.rat=3/s",
                "--set load.main.rat=3/s: unknown key 'rat'; did you mean 'rate'?"
            ),
            ("rate=3", "--set rate=3: a rate such as 1000/s is needed: '3' has no unit"),
            ("seed=x", "--set seed=x: a whole number from 0 is needed, not 'x'"),
            (
                "arms=[direct",
                """
                --set arms=[direct: did not find expected ',' or ']' while parsing a flow \
                sequence that begins on line 1
                """
            ),
        ] as [(String, String)])
    func wrongFlags(flag: String, error: String) {
        // A variable's value stands where the variable does: its error is at that place in the
        // file.
        let expected =
            flag == "rate=3" ? "7:11: a rate such as 1000/s is needed: '3' has no unit" : error
        #expect(errors(text, [flag]) == [expected])
    }

    @Test func theResolvedScenarioGivesTheSameExperiment() throws {
        for path in shipped {
            let file = try scenario(try packageText(path), ["seed=77"])
            let again = try scenario(file.resolved)
            #expect(again.experiment == file.experiment)
            #expect(again.resolved == file.resolved)
            #expect(again.hash == file.hash)
        }
    }

    @Test func theResolvedScenarioKeepsOddTexts() throws {
        let about = #"'a: "b" # c\n' ${x} $${y} * & - é 🙂 {"#
        let odd = "about: |\n  \(about.replacing("${", with: "$${"))\n  second line\n"
        let file = try scenario(minimal + odd)
        #expect(file.experiment.about == about + "\nsecond line\n")
        #expect(try scenario(file.resolved).experiment == file.experiment)
    }
}
