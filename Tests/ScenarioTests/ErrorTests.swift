import Scenario
import Testing

/// One wrong line each: what it says and where.
@Suite struct ErrorTests {
    /// Replaces a line of `minimal` (or appends, where `line` is empty) and shows what is wrong
    /// then.
    private func errors(replacing line: String, with other: String) -> [String] {
        let text = line.isEmpty ? minimal + other : minimal.replacing(line, with: other)
        precondition(text != minimal, "nothing was replaced")
        return ScenarioTests.errors(text)
    }

    @Test func theMinimalScenarioIsValid() { #expect(ScenarioTests.errors(minimal) == []) }

    @Test(
        arguments: [
            ("abuot: x", "11:1: unknown key 'abuot'; did you mean 'about'?"),
            ("zzz: x", "11:1: unknown key 'zzz'"),
            ("seed: -1", "11:7: a whole number from 0 is needed, not '-1'"),
            ("seed:", "11:6: a whole number is needed, not nothing"),
            (
                "mesh: reference",
                "11:7: a mapping is needed (keys: dataplane, mode, workers…), not 'reference'"
            ),
            (
                "mesh: {dataplane: refrence}",
                "11:19: unknown word 'refrence'; did you mean 'reference'?"
            ),
            ("mesh: {dataplane: envoy}", "11:19: unknown word 'envoy' (known: none, reference)"),
            ("mesh: {mode: [sidecar]}", "11:14: one of sidecar, gateway is needed, not a list"),
            ("mesh: {workers: 0}", "11:17: '0' is less than 1, the least allowed here"),
            ("mesh: {workers: 1.5}", "11:17: a whole number is needed, not '1.5'"),
            (
                "mesh: {dataplane: none}",
                "1:1: the arm 'mesh' needs a mesh: with dataplane: none write arms: [direct]"
            ),
            ("on_inconclusive: fial", "11:18: unknown word 'fial'; did you mean 'fail'?"),
            ("arms: []", "11:7: at least 1 item is needed here, not 0"),
            ("arms: [direct, direct]", "11:16: there is already an arm 'direct', on line 11"),
            ("arms: [direct, mess]", "11:16: unknown word 'mess'; did you mean 'mesh'?"),
            ("arms: direct", "11:7: a list is needed, not 'direct'"),
            ("rounds: {min: 5, max: 2}", "11:9: rounds.min (5) is more than rounds.max (2)"),
            ("rounds: {min: 20}", "11:9: rounds.min (20) is more than rounds.max (12)"),
            ("rounds: {min: 0}", "11:15: '0' is less than 1, the least allowed here"),
            (
                "validity: {min_achieved: 0.99}",
                "11:26: a share such as 0.5% is needed: '0.99' has no unit"
            ),
            (
                "validity: {max_steal: 101%}",
                "11:23: '101%' is more than 100%, the most allowed here"
            ),
            ("validity: {max_lag: 1ms}", "11:12: unknown key 'max_lag'"),
            (
                "vars: {seed: 3}",
                "11:8: a variable cannot be named 'seed': `--set seed=…` is the key"
            ),
            (
                "vars: {Rate: 3}",
                "11:8: a variable's name has lower-case letters, digits, - and _ only"
            ),
            ("about: ${who}", "11:8: unknown variable 'who'"),
            (
                "vars: {rate: 3}\nabout: see ${rat}",
                "12:12: unknown variable 'rat'; did you mean 'rate'?"
            ),
            ("about: ${who", "11:8: '${' is not closed; '$${' is a plain '${'"),
            (
                "expect: [p99(response) < 5ms during bass]",
                "11:37: unknown phase 'bass'; did you mean 'base'?"
            ),
            ("expect: ['p99(response) < 3%']", "11:27: a time cannot be compared with a share"),
        ] as [(String, String)])
    func appended(line: String, error: String) {
        #expect(errors(replacing: "", with: line) == [error])
    }

    @Test(
        arguments: [
            (
                "name: small", "name: Small",
                "1:7: a name of lower-case letters, digits and hyphens is needed, not 'Small'"
            ),
            ("name: small", "about: small", "1:1: the key 'name' is missing"),
            ("for: 2s", "for: 2", "10:10: a duration such as 250ms is needed: '2' has no unit"),
            ("for: 2s", "for: 2s\n    measure: yes", "11:14: true or false is needed, not 'yes'"),
            (
                "for: 2s", "for: 2s\n    measure: false",
                "9:3: no phase is measured: one needs measure: true"
            ),
            ("for: 2s", "for: 1ms", "10:10: '1ms' is less than 10ms, the least allowed here"),
            ("for: 2s", "for: 24h", "9:3: a round takes 48h, more than 24h"),
            ("for: 2s", "for: 12h", "9:3: 12 rounds of 24h take more than 168h"),
            (
                "for: 2s", "for: 2s\n  - {name: base, for: 1s}",
                "11:12: there is already a phase 'base', on line 9"
            ),
            ("to: echo", "to: ecoh", "6:9: unknown service 'ecoh'; did you mean 'echo'?"),
            (
                "rate: 100/s", "rate: 100",
                "7:11: a rate such as 1000/s is needed: '100' has no unit"
            ),
            ("rate: 100/s", "rate: -1/s", "7:11: a rate such as 1000/s is needed, not '-1/s'"),
            (
                "rate: 100/s", "rate: 2000000/s",
                "7:11: '2000000/s' is more than 1000000/s, the most allowed here"
            ),
            (
                "rate: 100/s", "rate: {from: 1/s}",
                "7:11: a rate that varies has `from` and `to`, or `steps`"
            ),
            (
                "rate: 100/s", "rate: {from: 1/s, steps: [1/s]}",
                "7:12: 'from' has no meaning beside 'steps'"
            ),
            (
                "rate: 100/s", "timeout: 1s",
                "5:11: the key 'rate' is missing: the phase 'base' has no rate of its own"
            ),
            (
                "rate: 100/s", "arrivals: closed\n    rate: 1/s",
                "8:11: the load 'main' has closed arrivals, which have no rate"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    connections: 2\n    threads: 3",
                "8:18: 3 threads need as many connections, not 2"
            ),
            (
                "- name: echo\nload:", "- {name: echo, replicas: 20}\nload:",
                "5:11: 20 replicas of 'echo' need as many connections in the arm 'direct', not 16"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    body_size: 65MiB",
                "8:16: '65MiB' is more than 67108864B, the most allowed here"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    connections: 0",
                "8:18: '0' is less than 1, the least allowed here"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    path: users",
                "8:11: a path such as /users?page=2 is needed, not 'users'"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    method: get",
                "8:13: a method in upper case, such as GET, is needed, not 'get'"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    headers: {Host: a}",
                "8:15: 'Host' is set by the load generator itself"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    headers: {'a b': c}",
                "8:15: 'a b' is no name of a field"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    headers: {a: \"b\\nc\"}",
                "8:18: a field's value cannot hold control characters"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    protocol: http3",
                "8:15: unknown word 'http3'; did you mean 'http1'?"
            ),
            (
                "rate: 100/s", "rate: 1/s\n    streams: 2",
                "8:14: http1 has one request at a time on a connection"
            ),
            (
                "- name: echo", "- name: echo\n    respond: {size: 1}",
                "4:21: a size such as 16KiB is needed: '1' has no unit"
            ),
            (
                "- name: echo", "- name: echo\n    respond: {delay: {p50: 5ms, p99: 1ms}}",
                "4:38: percentiles must not fall: p50 is longer"
            ),
            (
                "- name: echo", "- name: echo\n    respond: {delay: {p50: 5ms, p50.0: 5ms}}",
                "4:33: 'p50.0' is 'p50' again"
            ),
            (
                "- name: echo", "- name: echo\n    respond: {delay: {p101: 5ms}}",
                "4:23: 'p101' is no percentile such as p99.9"
            ),
            (
                "- name: echo", "- name: echo\n    respond: {delay: {}}",
                "4:22: at least one percentile is needed, such as p50"
            ),
            (
                "- name: echo", "- name: echo\n    respond: {status: {503: 60%, 504: 60%}}",
                "4:23: the shares add up to 120%, more than 100%"
            ),
            (
                "- name: echo", "- name: echo\n    respond: {status: {200: 6%}}",
                "4:24: '200' is no status from 201 to 599"
            ),
            (
                "- name: echo", "- name: echo\n    files: {a: b}",
                "4:5: 'files' has no meaning without 'command'"
            ),
            (
                "- name: echo", "- name: echo\n    command: [x]\n    respond: {}",
                "5:5: 'respond' has no meaning beside 'command'"
            ),
            (
                "- name: echo", "- name: echo\n    command: []",
                "4:14: at least 1 item is needed here, not 0"
            ),
            (
                "- name: echo", "- name: echo\n    command: [x]\n    files: {../a: b}",
                "5:13: '../a' is no plain file name (letters, digits, . _ -)"
            ),
            (
                "- name: echo", "- name: echo\n    command: [x]\n    environment: {1A: b}",
                "5:19: '1A' is no name of an environment variable"
            ),
            (
                "- name: echo", "- name: echo\n    command: [x]\n    ready: udp",
                "5:12: unknown word 'udp' (known: tcp)"
            ),
            (
                "- name: echo", "- name: echo\n    command: [x]\n    ready: {}",
                "5:12: the key 'http' is missing"
            ),
            (
                "- name: echo", "- name: echo\n    calls: [eco]",
                "4:13: unknown service 'eco'; did you mean 'echo'?"
            ),
            (
                "- name: echo", "- name: echo\n    calls: [echo]",
                "4:13: the calls go round in a circle: echo → echo"
            ),
            (
                "- name: echo",
                "- {name: echo, calls: [b]}\n  - {name: b, calls: [c]}\n  - {name: c, calls: [b]}",
                "5:23: the calls go round in a circle: b → c → b"
            ),
            (
                "- name: echo", "- name: echo\n    replicas: 65",
                "4:15: '65' is more than 64, the most allowed here"
            ),
            (
                "- name: echo", "- name: echo\n  - name: echo",
                "4:11: there is already a service 'echo', on line 3"
            ),
        ] as [(String, String, String)])
    func replaced(line: String, other: String, error: String) {
        #expect(errors(replacing: line, with: other) == [error])
    }

    @Test func everyErrorIsShownAtOnceInTheOrderOfThePlaces() {
        let text = """
            name: Quick
            abuot: x
            services: [{name: echo, replicas: 0}, {nmae: b}]
            load: [{name: main, to: ech, rate: 1000, arrivals: poison}]
            phases: [{name: base, for: 10}]
            expect: [p99(response) < 5ms during base, p99(reponse) < 5ms]
            """
        #expect(
            ScenarioTests.errors(text) == [
                "1:7: a name of lower-case letters, digits and hyphens is needed, not 'Quick'",
                "2:1: unknown key 'abuot'; did you mean 'about'?",
                "3:35: '0' is less than 1, the least allowed here",
                "3:39: the key 'name' is missing",
                "3:40: unknown key 'nmae'; did you mean 'name'?",
                "4:36: a rate such as 1000/s is needed: '1000' has no unit",
                "4:52: unknown word 'poison'; did you mean 'poisson'?",
                "5:28: a duration such as 250ms is needed: '10' has no unit",
                "6:47: unknown word 'reponse'; did you mean 'response'?",
            ])
    }

    @Test func errorsAreBounded() {
        let wrong = (0..<500).map { "zz\($0): 1\n" }.joined()
        #expect(ScenarioTests.errors(minimal + wrong).count == Limits.diagnostics)
    }
}
