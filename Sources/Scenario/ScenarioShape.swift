// The keys of a scenario file: one table for reading, errors, defaults, the JSON Schema and the
// reference in docs/SCENARIOS.md.

import Base
import Model

extension Shape where Whole == ScenarioDraft {
    static var scenario: Shape {
        Shape(
            ScenarioDraft(),
            [
                .init("name", \.name, .name, isRequired: true, about: "names the results folder"),
                .init(
                    "about", \.about, .text(), standard: "''",
                    about: "what the scenario is for, shown at the top of the report"),
                .init(
                    "seed", \.seed, .seed, standard: "1",
                    about: "every schedule, order and sample of the run derives from it"),
                .init(
                    "vars", \.variables, variables, standard: "{}",
                    about: "values by name, put in for `${name}`; `--set name=value` replaces one"),
                .init(
                    "mesh", \.mesh, Shape<MeshDraft>.mesh.form, standard: "{}",
                    about: "the mesh under test"),
                .init(
                    "services", \.services, list(of: Shape<ServiceDraft>.service.form, 1...64),
                    isRequired: true, about: "what answers the load"),
                .init(
                    "load", \.loads, list(of: Shape<LoadDraft>.load.form, 1...16),
                    isRequired: true, about: "who asks, how often and what"),
                .init(
                    "policies", \.policies, list(of: .policyOfScenario, 0...100), standard: "[]",
                    about: "how requests to services are carried, not with `control: false`"),
                .init(
                    "routes", \.routes, list(of: .routeOfScenario, 0...100), standard: "[]",
                    about: "which requests go to which services, not with `control: false`"),
                .init(
                    "authorizations", \.authorizations,
                    list(of: .authorizationOfScenario, 0...100), standard: "[]",
                    about:
                        """
                        who may ask services for what, not with `control: false`; loads are \
                        `…/sa/load-NAME`
                        """
                ),
                .init(
                    "arms", \.arms, list(of: .arm, 1...ArmPlan.most).placed,
                    standard: "[direct, mesh]",
                    about:
                        """
                        the ways for the load to reach the service: `direct`, `mesh`, or one with \
                        a name and what is different on it; a round runs each once
                        """
                ),
                .init(
                    "rounds", \.rounds, Shape<RoundsPlan>.rounds.form.placed, standard: "{}",
                    about: "how often all arms are run: the unit of replication"),
                .init(
                    "phases", \.phases,
                    list(of: Shape<PhaseDraft>.phase.form, 1...64).placed, isRequired: true,
                    about: "the timeline of each arm in each round"),
                .init(
                    "faults", \.faults, .faults, standard: "{}",
                    about: "what goes wrong on purpose, by name: see [faults](#faults)"),
                .init(
                    "expect", \.expectations, list(of: expectation, 0...200), standard: "[]",
                    about: "what must hold, one line each, or `NAME: LINE`"),
                .init(
                    "control", \.controls, .negativeControls,
                    about:
                        """
                        the same run again with a protection off, in which expectations must \
                        fail: one, or a list
                        """
                ),
                .init(
                    "proves", \.proves, list(of: Form<Int>.feature.placed, 0...50),
                    standard: "[]",
                    about:
                        "features that it is a proof of, by name or number in docs/SEMANTICS.md"),
                .init(
                    "on_inconclusive", \.onInconclusive, .choice, standard: "warn",
                    about:
                        "whether an expectation that cannot be decided only warns or ends with 3"),
                .init(
                    "validity", \.limits, Shape<ValidityLimits>.validity.form, standard: "{}",
                    about: "when the measurement is not to be believed"),
            ])
    }

    private static var variables: Form<[(key: Placed<String>, value: String)]> {
        dictionary(of: Form<String>.text(atMost: 10_000), atMost: 100, keyPattern: "[a-z0-9_-]+") {
            _ in nil
        }
    }

    private static var expectation: Form<ExpectationDraft> {
        let line = Form<String>.text(atMost: Limits.expectationCharacters).map { text, node, _ in
            ExpectationDraft(node: node, text: text) as ExpectationDraft?
        }
        let named = dictionary(of: line, atMost: 1, keyPattern: "[a-z0-9-]+") { name in
            isName(name) && name.utf8.count <= 64
                ? nil : "a name of lower-case letters, digits and hyphens is needed"
        }.map { entries, node, decoding -> ExpectationDraft? in
            guard let entry = entries.first else { return nil }
            var draft = entry.value
            draft.name = entry.key
            return draft
        }
        return .either(scalar: line, mapping: named)
    }
}

extension Form where Value == Int {
    /// A feature of docs/SEMANTICS.md, by its name or its number.
    fileprivate static var feature: Form {
        let names = MeshFeature.all.map(\.name)
        return scalar(.choice(names), "the name of a feature") { text throws(FormError) in
            let found = MeshFeature.all.first { $0.name == text || "\($0.number)" == text }
            if let found { return found.number }
            let hint = suggestion(for: text, in: names)
            throw FormError(
                "unknown feature '\(abbreviated(text))'"
                    + (hint.isEmpty ? " (docs/SEMANTICS.md lists them)" : hint))
        }
    }
}

extension Shape where Whole == MeshDraft {
    static var mesh: Shape {
        Shape(
            MeshDraft(),
            [
                .init(
                    "dataplane", \.dataplane, .choice, standard: "reference",
                    about: "whose proxies: meshbench's own, or none at all"),
                .init(
                    "mode", \.mode, .choice, standard: "sidecar",
                    about:
                        "two proxies on the way (`sidecar`) or one before all replicas (`gateway`)"
                ),
                .init(
                    "workers", \.workers, .integer(1...256), standard: "1",
                    about: "threads of each proxy"),
                .init(
                    "hop", \.hop, Shape<HopDraft>.hop(isMesh: true).form, standard: "{}",
                    about: "what two proxies speak with each other, in mode `sidecar`"),
                .init(
                    "mtls", \.hopSecurity, Form<HopPlan.Security>.choice.placed,
                    standard: "strict",
                    about:
                        """
                        between two proxies cleartext (`off`), or TLS in which both show the \
                        certificate of their service and nothing else is let in (`strict`); \
                        `permissive`, not with `control: false`, lets in cleartext of others too
                        """
                ),
                .init(
                    "control", \.control, Form<ControlPlan?>.control.placed, standard: "true",
                    about:
                        """
                        whether proxies join a control plane, which can change what they do; \
                        without it (`false`) each has a file
                        """
                ),
                .init(
                    "time_scale", \.timeScale, Form<Double>.factor(0.01...1).placed,
                    standard: "1",
                    about:
                        """
                        how long the mesh's own times are of what is said (ejections, sweeps, \
                        checks, windows, slow starts; not those of requests), not with \
                        `control: false`: 0.1 makes an ejection of 30s one of 3s
                        """
                ),
            ])
    }
}

extension Shape where Whole == RoundsPlan {
    static var rounds: Shape {
        Shape(
            RoundsPlan(min: 1, max: 1),
            [
                .init(
                    "min", \.min, .integer(1...1000), standard: "6",
                    about: "rounds that are always run"),
                .init(
                    "max", \.max, .integer(1...1000), standard: "12",
                    about:
                        """
                        rounds are added up to this many while an expectation cannot be decided; \
                        looked at after `min` rounds and half way
                        """
                ),
            ])
    }
}

extension Shape where Whole == PhaseDraft {
    static var phase: Shape {
        Shape(
            PhaseDraft(),
            [
                .init(
                    "name", \.name, Form<String>.name.placed.optional, isRequired: true,
                    about: "what `during` and the report call it"),
                .init(
                    "for", \.duration, .duration(.milliseconds(10)...(.seconds(86_400))),
                    isRequired: true, about: "how long it lasts"),
                .init(
                    "measure", \.measure, .boolean, standard: "true",
                    about: "whether its requests and CPU count; `false` for warming up"),
                .init(
                    "rate", \.rate, Form<Double>.rate(0...1_000_000).placed.optional,
                    about: "each load's rate in this phase, in place of the load's own; `0/s`: idle"
                ),
                .init(
                    "changes", \.changes, list(of: .change, 0...100),
                    standard: "[]",
                    about: "what is changed in the mesh meanwhile, not with `control: false`"),
                .init(
                    "faults", \.faults, list(of: Form<String>.name.placed, 0...32),
                    standard: "[]", about: "faults that are there meanwhile, by name"),
            ])
    }
}

extension Shape where Whole == ValidityLimits {
    static var validity: Shape {
        Shape(
            ScenarioDraft().limits,
            [
                .init(
                    "min_achieved", \.minAchieved, .percent, standard: "99.5%",
                    about: "the least share of the planned requests that must have been sent"),
                .init(
                    "max_lag_p99", \.maxLagP99, .duration(.zero...(.seconds(3600))),
                    standard: "1ms",
                    about: "the most that p99(lag) may be: how late requests were taken up"),
                .init(
                    "max_generator_cpu", \.maxGeneratorCPU, .percent, standard: "80%",
                    about: "the most of one core that the generator's busiest thread may use"),
                .init(
                    "max_machine_cpu", \.maxMachineCPU, .percent, standard: "95%",
                    about:
                        """
                        the most of the usable cores that may be busy; with 100% an arm does not \
                        wait, for two seconds at most, until the machine is quiet
                        """
                ),
                .init(
                    "max_steal", \.maxSteal, .percent, standard: "2%",
                    about:
                        """
                        the most of the usable cores that the hypervisor may take away, or a CPU \
                        quota hold back
                        """
                ),
                .init(
                    "min_tail_samples", \.minTailSamples, .integer(1...1_000_000),
                    standard: "100",
                    about: "samples that must lie beyond a percentile for it to be stated"),
            ])
    }
}
