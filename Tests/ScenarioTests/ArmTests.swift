import Model
import Scenario
import Testing

/// Arms with names, and what may be said of them.
@Suite struct ArmTests {
    private let ladder =
        minimal + """
            arms:
              - {name: one, via: direct, connections: 2}
              - {name: two, connections: 4}
              - {name: three, hop: {connections: 8}}

            """

    @Test func anArmIsAWordOrWhatIsDifferentOnIt() throws {
        let experiment = try scenario(ladder).experiment
        let names = ["one", "two", "three"].map { ArmName(rawValue: $0) }
        #expect(experiment.armNames == names)
        #expect(experiment.arms.map(\.via) == [.direct, .mesh, .mesh])
        let connections = experiment.arms.map { experiment.loads(in: $0)[0].connections }
        #expect(connections == [2, 4, 16])
        #expect(experiment.arms.map { experiment.hop(in: $0)?.connections } == [nil, nil, 8])
        #expect(try scenario(minimal).experiment.arms == [.direct, .mesh])
    }

    @Test func whatIsComparedFollowsFromTheOrder() throws {
        let names = try scenario(ladder).experiment.armNames
        #expect(names.baseline == names[0])
        #expect(names.predecessor(of: names[2]) == names[1])
        #expect(names.predecessor(of: names[0]) == nil)
        #expect(names.subject == nil)
        #expect([ArmName.mesh, .direct].baseline == .direct)
        #expect([ArmName.mesh, .direct].subject == .mesh)
        #expect([ArmName.mesh].subject == .mesh)
    }

    @Test func someArmsCanBeRunAlone() throws {
        let file = try scenario(ladder, ["arms=[two, one]"])
        #expect(file.experiment.armNames.map(\.rawValue) == ["two", "one"])
        #expect(file.experiment.arms[1].connections == 2)
        #expect(
            errors(ladder, ["arms=[tow]"])
                == ["--set arms=[tow]: unknown word 'tow' (known: direct, mesh)"])
    }

    @Test func expectationsNameArms() throws {
        let text =
            ladder + """
                expect:
                  - step(p50(response)) < 1ms on three
                  - overhead(p50(response)) < 1ms on three
                  - p50(response) < 1ms on one

                """
        let expectations = try scenario(text).experiment.expectations
        #expect(expectations.map(\.arm?.rawValue) == ["three", "three", "one"])
        #expect(expectations[0].left == .metric(.step(.percentile(0.5, .response))))
    }

    @Test(arguments: [
        ("p50(response) < 1ms", "15:10: of 3 arms one must be named: on one, two, three"),
        ("p50(response) < 1ms on tow", "15:33: unknown arm 'tow'; did you mean 'two'?"),
        (
            "step(p50(response)) < 1ms on one",
            "15:39: step(…) is of an arm less the one before it: 'one' is the first"
        ),
        (
            "overhead(p50(response)) < 1ms on one",
            "15:43: overhead(…) is of an arm less 'one': 'on one' has no meaning"
        ),
        (
            "step(step(p50(response))) < 1ms on two",
            "15:15: step(…) is of a value of one arm, not of another difference"
        ),
    ])
    func expectationsThatCannotBeMeant(line: String, error: String) {
        #expect(errors(ladder + "expect: [\(line)]\n") == [error])
    }

    @Test(arguments: [
        ("[{via: mesh}]", "11:8: the key 'name' is missing"),
        ("[{name: a}, {name: a}]", "11:26: there is already an arm 'a', on line 11"),
        (
            "[{name: direct}]",
            "11:15: an arm called 'direct' that goes the other way would mislead: name it "
                + "otherwise, or write via: direct"
        ),
        (
            "[{name: a, via: direct, mtls: off}]",
            "11:37: the arm 'a' goes direct: there are no two proxies on it"
        ),
        ("[{name: a, protcol: http1}]", "11:18: unknown key 'protcol'; did you mean 'protocol'?"),
        ("[{name: a, connections: 0}]", "11:31: '0' is less than 1, the least allowed here"),
        ("[{name: a, streams: 2}]", "11:27: http1 has one request at a time on a connection"),
        (
            "[a, b, c, d, e, f, g, h, i]", "11:7: at most 8 items are needed here, not 9"
        ),
        (
            "[{name: abcdefghijklmnopqrstu}]",
            "11:15: a name of lower-case letters, digits and hyphens, at most 20, is needed, not "
                + "'abcdefghijklmnopqrstu'"
        ),
    ])
    func armsThatCannotBeMeant(arms: String, error: String) {
        #expect(errors(minimal + "arms: \(arms)\n") == [error])
    }

    @Test func aGatewayHasNoHopBetweenProxies() {
        #expect(
            errors(minimal + "mesh: {mode: gateway, hop: {connections: 2}}\n") == [
                "11:42: with mode: gateway no two proxies follow each other: leave this out"
            ])
        #expect(errors(minimal + "mesh: {mode: gateway}\n").isEmpty)
    }
}
