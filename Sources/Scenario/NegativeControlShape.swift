// The keys of a control, and the experiment that it comes to: the scenario's own tree with values
// taken away or replaced, as `--set` does it, read again from there. So whatever a scenario may say
// a control may change, and what it makes wrong is found as it always is.

import Base
import Model

struct NegativeControlDraft: Sendable {
    var place = Place.nowhere
    var name: Placed<String>?
    var arm: Placed<String>?
    var without: [Placed<String>] = []
    var set: [Noted<Placed<String>>] = []
    var fails: [Placed<String>]?
}

extension Form where Value == [NegativeControlDraft] {
    /// One of them, or a list.
    static var negativeControls: Form {
        let one = Shape<NegativeControlDraft>.negativeControl.form.map { draft, node, _ in
            var draft = draft
            draft.place = node.place
            return draft as NegativeControlDraft?
        }
        let several = list(of: one, 1...ArmPlan.most)
        return .init(outline: .either([one.outline, several.outline])) { node, decoding in
            if case .sequence = node.content { return several.decode(node, &decoding) }
            return one.decode(node, &decoding).map { [$0] }
        }
    }
}

extension Shape where Whole == NegativeControlDraft {
    static var negativeControl: Shape {
        let path = Form<String>.text(atMost: 200).placed
        return Shape(
            NegativeControlDraft(),
            [
                .init(
                    "name", \.name, Form<String>.armName.placed.optional,
                    about: "what the report calls it; absent: `control`, or `control-2` and so on"),
                .init(
                    "on", \.arm, Form<String>.text(atMost: 20).placed.optional,
                    about: "the arm that is run again; absent: the one of expectations without `on`"
                ),
                .init(
                    "without", \.without, list(of: path, 0...20), standard: "[]",
                    about: "paths of what is taken away, as of `--set`: `policies.echo.retry`"),
                .init(
                    "set", \.set, changedValues, standard: "{}",
                    about: "values in place of others, by path: `{policies.echo.retry.max: 0}`"),
                .init(
                    "fails", \.fails, list(of: Form<String>.name.placed, 1...200).optional,
                    about: "names of expectations that must fail then; absent: all with a name"),
            ])
    }

    private static var changedValues: Form<[Noted<Placed<String>>]> {
        dictionary(of: .anything, atMost: 20, keyPattern: ".+") { _ in nil }.map { entries, _, _ in
            entries.map { Noted(value: $0.key, node: $0.value) }
        }
    }
}

extension Form where Value == Node {
    /// Whatever is written: what it means is found where it is put.
    static var anything: Form { .init(outline: .anything) { node, _ in node } }
}

/// Reads the controls of a scenario whose own experiment is whole.
struct NegativeControlReading {
    let draft: ScenarioDraft
    /// With variables put in.
    let root: Node
    let experiment: Experiment

    func read(_ decoding: inout Decoding) -> [NegativeControl] {
        let names = draft.controls.enumerated().map { index, control in
            control.name
                ?? Placed(index == 0 ? "control" : "control-\(index + 1)", control.place)
        }
        refuseDuplicates(names.map(Optional.some), "a control", &decoding)
        let arms = experiment.armNames
        for name in names where arms.contains(ArmName(rawValue: name.value)) {
            decoding.report(name.place, "there is already an arm '\(name.value)'")
        }
        if arms.count + names.count > ArmPlan.most, let last = draft.controls.last {
            decoding.report(
                last.place, "arms and controls together are more than \(ArmPlan.most)")
        }
        return zip(draft.controls, names).compactMap { control, name in
            self.control(control, name.value, &decoding)
        }
    }

    private func control(
        _ control: NegativeControlDraft, _ name: String, _ decoding: inout Decoding
    ) -> NegativeControl? {
        guard let arm = arm(of: control, &decoding) else { return nil }
        let fails = expectations(of: control, arm.name, &decoding)
        guard let changed = changed(by: control, &decoding) else { return nil }
        guard let variant = variant(changed, of: control, &decoding) else { return nil }
        guard isSameLoad(variant), var rerun = variant.arms.first(where: { $0.name == arm.name })
        else {
            decoding.report(
                control.place,
                "a control is offered the same requests: it cannot change load, arms, rounds, "
                    + "seed, or the times and rates of phases")
            return nil
        }
        rerun.name = ArmName(rawValue: name)
        let changes =
            control.without.map { "without \($0.value)" }
            + control.set.map { "with \($0.value.value) = \($0.node.flowText)" }
        return NegativeControl(
            arm: rerun, of: arm.name, changes: changes, mustFail: fails, experiment: variant)
    }

    private func arm(
        of control: NegativeControlDraft, _ decoding: inout Decoding
    ) -> ArmPlan? {
        let names = experiment.armNames
        let list = names.map(\.rawValue).joined(separator: ", ")
        guard let written = control.arm else {
            if let subject = names.subject {
                return experiment.arms.first { $0.name == subject }
            }
            decoding.report(
                control.place, "of \(names.count) arms one must be named: on: \(list)")
            return nil
        }
        if let arm = experiment.arms.first(where: { $0.name.rawValue == written.value }) {
            return arm
        }
        let hint = suggestion(for: written.value, in: names.map(\.rawValue))
        decoding.report(
            written.place,
            "unknown arm '\(written.value)'" + (hint.isEmpty ? " (arms: \(list))" : hint))
        return nil
    }

    // MARK: What must fail

    /// Places of the expectations that must fail.
    private func expectations(
        of control: NegativeControlDraft, _ arm: ArmName, _ decoding: inout Decoding
    ) -> [Int] {
        let all = experiment.expectations
        let named = all.indices.filter { all[$0].name != nil }
        guard let fails = control.fails else {
            if named.isEmpty {
                decoding.report(
                    control.place,
                    "what must fail? An expectation gets a name by '- NAME: …' in 'expect'")
            }
            let own = named.filter { (all[$0].arm ?? experiment.armNames.subject) == arm }
            for place in own { check(all[place], arm, control.place, &decoding) }
            return own
        }
        refuseDuplicates(fails.map(Optional.some), "an expectation", &decoding)
        return fails.compactMap { name in
            guard let place = named.first(where: { all[$0].name == name.value }) else {
                let known = named.compactMap { all[$0].name }
                let hint = suggestion(for: name.value, in: known)
                decoding.report(
                    name.place, "there is no expectation named '\(name.value)'\(hint)")
                return nil
            }
            check(all[place], arm, name.place, &decoding)
            return place
        }
    }

    private func check(
        _ expectation: Expectation, _ arm: ArmName, _ place: Place, _ decoding: inout Decoding
    ) {
        let name = expectation.name ?? ""
        if (expectation.arm ?? experiment.armNames.subject) != arm {
            decoding.report(place, "'\(name)' is of another arm than '\(arm.rawValue)'")
        }
        let metrics = expectation.left.metrics + expectation.right.metrics
        if metrics.contains(where: \.isStep) {
            decoding.report(place, "'\(name)' is a step from arm to arm: a control is none")
        }
    }

    // MARK: What is different

    /// The tree with what is different; nil where it cannot be made, which is then reported.
    private func changed(
        by control: NegativeControlDraft, _ decoding: inout Decoding
    ) -> Node? {
        guard !control.without.isEmpty || !control.set.isEmpty else {
            decoding.report(control.place, "nothing is different: 'without' or 'set' is missing")
            return nil
        }
        var changed = root
        let before = decoding.diagnostics.count
        for entry in control.set {
            let path = steps(entry.value.value)
            changed.set(path[...], to: entry.node, place: entry.value.place, &decoding)
        }
        // All are found before any is gone, and the last goes first: a number means the same
        // whatever else is taken away.
        let places = control.without.compactMap { path in
            changed.place(of: steps(path.value)[...], path, &decoding).map { ($0, path) }
        }.sorted { $1.0.lexicographicallyPrecedes($0.0) }
        for (index, (place, path)) in places.enumerated() {
            if index > 0, places[index - 1].0 == place {
                decoding.report(path.place, "'\(path.value)' is taken away twice")
            } else {
                changed.remove(at: place[...])
            }
        }
        changed.drop(["control", "proves"])
        return decoding.diagnostics.count == before ? changed : nil
    }

    /// `policies[0].retry` is `policies.0.retry`.
    private func steps(_ path: String) -> [String] {
        path.replacing("[", with: ".").replacing("]", with: "").split(separator: ".")
            .map(String.init)
    }

    private func variant(
        _ changed: Node, of control: NegativeControlDraft, _ decoding: inout Decoding
    ) -> Experiment? {
        var inner = Decoding()
        inner.keepsSettings = false
        if let variant = decodeExperiment(changed, &inner) { return variant }
        for problem in inner.diagnostics.prefix(3) {
            decoding.report(control.place, "with this control: \(problem.message)")
        }
        return nil
    }

    private func isSameLoad(_ variant: Experiment) -> Bool {
        func timeline(_ experiment: Experiment) -> [PhasePlan] {
            experiment.phases.map {
                PhasePlan(
                    name: $0.name, duration: $0.duration, measure: $0.measure, rate: $0.rate)
            }
        }
        return variant.loads == experiment.loads && timeline(variant) == timeline(experiment)
            && variant.seed == experiment.seed && variant.arms == experiment.arms
            && variant.rounds == experiment.rounds
    }
}

extension Metric {
    fileprivate var isStep: Bool {
        if case .step = self { true } else { false }
    }
}

extension Node {
    /// Where a path leads, as the index at each level; nil where it leads nowhere, which is then
    /// reported.
    fileprivate func place(
        of path: ArraySlice<String>, _ whole: Placed<String>, _ decoding: inout Decoding
    ) -> [Int]? {
        guard let step = path.first else { return [] }
        var known: [String] = []
        var found: (index: Int, node: Node)?
        switch content {
        case .mapping(let entries):
            known = entries.map(\.key)
            found = known.firstIndex(of: step).map { ($0, entries[$0].value) }
        case .sequence(let items):
            let names = items.map { $0.value("name")?.text ?? $0.text }
            known = names.compactMap(\.self)
            let index = names.firstIndex(of: step) ?? Int(step)
            found = index.flatMap { items.indices.contains($0) ? ($0, items[$0]) : nil }
        case .scalar: break
        }
        guard let found else {
            missing(step, known, whole, &decoding)
            return nil
        }
        return found.node.place(of: path.dropFirst(), whole, &decoding).map { [found.index] + $0 }
    }

    /// Takes away what stands there.
    fileprivate mutating func remove(at place: ArraySlice<Int>) {
        guard let index = place.first else { return }
        let rest = place.dropFirst()
        switch content {
        case .mapping(var entries):
            if rest.isEmpty {
                entries.remove(at: index)
            } else {
                entries[index].value.remove(at: rest)
            }
            content = .mapping(entries)
        case .sequence(var items):
            if rest.isEmpty {
                items.remove(at: index)
            } else {
                items[index].remove(at: rest)
            }
            content = .sequence(items)
        case .scalar: preconditionFailure("a place within a scalar")
        }
    }

    private func missing(
        _ step: String, _ known: [String], _ whole: Placed<String>, _ decoding: inout Decoding
    ) {
        let hint = suggestion(for: step, in: known)
        decoding.report(
            whole.place, "'\(whole.value)': there is no '\(step)' to take away\(hint)")
    }

    /// Without these keys.
    fileprivate mutating func drop(_ keys: [String]) {
        guard case .mapping(let entries) = content else { return }
        content = .mapping(entries.filter { !keys.contains($0.key) })
    }
}
