// What a scenario says to a control plane: how it is run, policies and authorizations in the form
// of declarations, and what is changed while the load runs.

import Base
import Model

/// A change as written.
struct ChangeDraft: Sendable {
    /// Where it stands; `nowhere` until it is read.
    var place = Place.nowhere
    var at = Placed(Duration.zero, .nowhere)
    var every: Placed<Duration>?
    var apply: [Noted<MeshDeclaration>]?
    var drain: Placed<ReplicaName>?
    var undrain: Placed<ReplicaName>?
    var kill: Placed<ControlName>?
    var start: Placed<ControlName>?
    var rotate: Placed<Secret>?

    enum Secret: String, CaseIterable, Sendable { case authority }

    /// `control`, which is all of it, or `control/1`.
    struct ControlName: Equatable, Sendable {
        var replica: Int?
    }

    /// `echo/1`.
    struct ReplicaName: Equatable, Sendable {
        var service: String
        var replica: Int
    }

    /// What it does; of several, which are an error, the first.
    var action: ChangePlan.Action? { actions.first }

    private var actions: [ChangePlan.Action] {
        [
            apply.map { .apply($0.map(\.value)) },
            drain.map { .drain(service: $0.value.service, replica: $0.value.replica) },
            undrain.map { .undrain(service: $0.value.service, replica: $0.value.replica) },
            kill.map { .killControl(replica: $0.value.replica) },
            start.map { .startControl(replica: $0.value.replica) },
            rotate.map { _ in .rotateAuthority },
        ].compactMap(\.self)
    }

    /// The keys that say what to do, of which one must stand there.
    fileprivate static let verbs = ["apply", "drain", "undrain", "kill", "start", "rotate"]
}

extension Shape where Whole == ControlPlan {
    static var control: Shape {
        Shape(
            ControlPlan(),
            [
                .init(
                    "certificate_life", \.certificateLife,
                    Form<Duration>.duration(.seconds(5)...(.seconds(2160 * 3600))).optional,
                    about: "how long the proxies' certificates last; absent: a day"),
                .init(
                    "replicas", \.replicas, .integer(1...9), standard: "1",
                    about: "its processes; proxies are told of all of them"),
                .init(
                    "store", \.store, .choice, standard: "folder",
                    about:
                        """
                        where it keeps what it is told: in a `folder` of its own, or in an `etcd` \
                        that the run starts, which several replicas need
                        """
                ),
                .init(
                    "state", \.keepsState, .boolean, standard: "true",
                    about:
                        """
                        whether each proxy keeps what it learns in a folder of its own, and starts \
                        from it without a control plane; else it joins anew. An Envoy keeps nothing
                        """
                ),
            ])
    }
}

extension Form where Value == ControlPlan? {
    static var control: Form {
        .either(
            scalar: Form<Bool>.boolean.map { isThere, _, _ in .some(isThere ? .init() : nil) },
            mapping: Shape<ControlPlan>.control.form.map { plan, node, decoding in
                if plan.replicas > 1, plan.store == .folder {
                    decoding.report(
                        node.value("replicas")?.place ?? node.place,
                        "a folder is of one process; several replicas share an etcd: store: etcd")
                }
                return .some(plan)
            })
    }
}

extension Shape where Whole == ChangeDraft {
    static var change: Shape {
        Shape(
            ChangeDraft(),
            [
                .init(
                    "at", \.at, Form<Duration>.duration(.zero...(.seconds(86_400))).placed,
                    standard: "0s", about: "when, from the start of the phase"),
                .init(
                    "every", \.every,
                    Form<Duration>.duration(.milliseconds(10)...(.seconds(86_400))).placed.optional,
                    about: "and again after so long, to the end of the phase; absent: once"),
                .init(
                    "apply", \.apply, list(of: .declarationOfScenario, 1...100).optional,
                    about: "declarations, in place of those of the same kinds and names"),
                .init(
                    "drain", \.drain, Form<ChangeDraft.ReplicaName>.replica.placed.optional,
                    about: "a replica, such as `echo/1`, that gets no more requests"),
                .init(
                    "undrain", \.undrain, Form<ChangeDraft.ReplicaName>.replica.placed.optional,
                    about: "a drained replica that gets requests again"),
                .init(
                    "kill", \.kill, Form<ChangeDraft.ControlName>.control.placed.optional,
                    about:
                        """
                        ends the control plane at once, as a power cut would: all of it \
                        (`control`) or a replica (`control/0`)
                        """
                ),
                .init(
                    "start", \.start, Form<ChangeDraft.ControlName>.control.placed.optional,
                    about: "starts it again, with all that it had"),
                .init(
                    "rotate", \.rotate, Form<ChangeDraft.Secret>.choice.placed.optional,
                    about: "begins to change the mesh's authority for a new one"),
            ])
    }
}

extension Form where Value == ChangeDraft {
    static var change: Form {
        Shape<ChangeDraft>.change.form.map { draft, node, decoding in
            var draft = draft
            draft.place = node.place
            let verbs = ChangeDraft.verbs
            if verbs.count(where: { node.value($0) != nil }) != 1 {
                decoding.report(
                    node.place, "one of \(verbs.joined(separator: ", ")) is needed here")
            }
            return draft
        }
    }
}

extension Form where Value == ChangeDraft.ReplicaName {
    fileprivate static var replica: Form {
        let kind = "a replica such as echo/0"
        return scalar(.text(pattern: "[a-z0-9-]+/[0-9]{1,2}"), kind) { text throws(FormError) in
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2, isName(String(parts[0])), let replica = ordinal(parts[1])
            else { throw FormError("\(kind) is needed, not '\(abbreviated(text))'") }
            return Value(service: String(parts[0]), replica: replica)
        }
    }
}

extension Form where Value == ChangeDraft.ControlName {
    fileprivate static var control: Form {
        let kind = "control, or a replica of it such as control/0,"
        return scalar(.text(pattern: "control(/[0-9]{1,2})?"), kind) { text throws(FormError) in
            if text == "control" { return Value() }
            guard text.hasPrefix("control/"), let replica = ordinal(text.dropFirst(8)) else {
                let isNumbered = text.hasPrefix("control/")
                let hint = isNumbered ? "" : suggestion(for: text, in: ["control"])
                throw FormError("\(kind) is needed, not '\(abbreviated(text))'\(hint)")
            }
            return Value(replica: replica)
        }
    }
}

/// The number of a replica, of one or two digits.
private func ordinal(_ text: Substring) -> Int? {
    text.utf8.count <= 2 ? UInt(text).map { Int($0) } : nil
}

// MARK: - Declarations

extension Form where Value == Noted<MeshDeclaration> {
    /// A declaration as in docs/MESH.md, with its kind.
    fileprivate static var declarationOfScenario: Form {
        let outline = Outline.either(MeshForms.outlines.map(\.outline))
        return .init(outline: .elsewhere(outline, "[declaration](MESH.md#keys)")) {
            node, decoding in
            MeshForms.declaration(node, &decoding).map { Noted(value: $0, node: node) }
        }
    }
}

extension Form where Value == Noted<MeshPolicy> {
    static var policyOfScenario: Form {
        Shape<DeclarationDraft<MeshPolicy>>.policy.inScenario.form.map { draft, node, _ in
            Noted(value: draft.resolved, node: node)
        }
    }
}

extension Form where Value == Noted<MeshRoute> {
    static var routeOfScenario: Form {
        Shape<DeclarationDraft<MeshRoute>>.route.inScenario.form.map { draft, node, _ in
            Noted(value: draft.resolved, node: node)
        }
    }
}

extension Form where Value == Noted<MeshAuthorization> {
    static var authorizationOfScenario: Form {
        Shape<DeclarationDraft<MeshAuthorization>>.authorization.inScenario.form.map {
            draft, node, _ in Noted(value: draft.resolved, node: node)
        }
    }
}

extension Shape {
    /// A declaration's keys where the list in which it stands says its kind, and all are of one
    /// namespace.
    fileprivate var inScenario: Shape {
        Shape(blank, fields.filter { !["kind", "namespace"].contains($0.outline.name) })
    }
}

// MARK: - When

extension ScenarioDraft {
    /// Every change of an arm, in the order in which they are due.
    var changes: [ChangePlan] {
        dueChanges.compactMap { due in
            due.change.action.map { ChangePlan(offset: due.offset, action: $0) }
        }
    }

    /// Every change of an arm as it was written, in the order in which they are due, each as often
    /// as it is.
    var dueChanges: [(offset: Duration, change: ChangeDraft)] {
        var start = Duration.zero
        var all: [(offset: Duration, change: ChangeDraft)] = []
        for phase in phases.value {
            for change in phase.changes {
                all += change.offsets(within: phase.duration).map { (start + $0, change) }
            }
            start = start + phase.duration
        }
        // Those of one instant in the order in which they were written.
        return all.enumerated().sorted { a, b in
            (a.element.offset, a.offset) < (b.element.offset, b.offset)
        }.map(\.element)
    }
}

extension ChangeDraft {
    /// When it is due, from the start of its phase.
    func offsets(within duration: Duration) -> [Duration] {
        guard let every = every?.value, every > .zero, at.value < duration else {
            return [at.value]
        }
        let count = (duration - at.value - .nanoseconds(1)).nanoseconds / every.nanoseconds + 1
        return (0..<count).map { at.value + every * $0 }
    }
}
