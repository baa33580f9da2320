import Base
import Model
import Scenario
import Support
import Testing

@testable import ControlCore

/// A store in memory alone.
private final class PlaneStore: ControlStore {
    var state = StoreState()
    /// What the next commit fails with.
    var refusal: ControlRefusal?
    private(set) var transactions: [StoreTransaction] = []

    var revision: UInt64 { state.revision }
    func modRevision(of key: StoreKey) -> UInt64 { state.entry(key)?.modRevision ?? 0 }
    func lease(of key: StoreKey) -> UInt64 { state.entry(key)?.lease ?? 0 }

    func commit(_ transaction: StoreTransaction) throws(ControlRefusal) -> UInt64 {
        if let refusal { throw refusal }
        transactions.append(transaction)
        let plan = state.plan([.transaction(transaction)])
        guard case .committed(let revision)? = plan.answers.first else {
            preconditionFailure("\(plan.answers)")
        }
        state.accept(plan, now: .zero)
        return revision
    }
}

private func plane(_ store: PlaneStore) -> ControlPlane {
    ControlPlane(store.state, codec: .json)
}

private func service(_ name: String, _ speech: MeshService.Speech = .http1) -> MeshDeclaration {
    var service = MeshService(name)
    service.speech = speech
    return .service(service)
}

private func endpoint(_ name: String, of service: String, port: Int) -> MeshDeclaration {
    .endpoint(MeshEndpoint(name, service: service, address: "127.0.0.1:\(port)"))
}

private func key(_ path: String) throws -> MeshKey { try #require(MeshKey(path: path)) }

/// What the store says is what the model says, and nothing is wrong with it.
private func checkAgreement(_ plane: ControlPlane, _ store: PlaneStore) {
    #expect(plane.mesh == ControlPlane(store.state, codec: .json).mesh)
    #expect(plane.mesh.check() == [])
    store.state.checkInvariants()
}

@Suite struct ControlPlaneTests {
    private let store = PlaneStore()

    private func apply(
        _ plane: inout ControlPlane, _ declarations: [MeshDeclaration], revision: UInt64? = nil,
        prune: Bool = false, dryRun: Bool = false
    ) throws(ControlRefusal) -> ControlOutcome {
        try plane.perform(
            .apply(MeshBody(declarations, revision: revision), prune: prune), dryRun: dryRun,
            in: store)
    }

    /// What a change is refused for; nil: it is not, or for something else.
    private static func problems(
        _ change: () throws(ControlRefusal) -> ControlOutcome
    ) -> [MeshBodyProblem]? {
        do throws(ControlRefusal) {
            _ = try change()
        } catch {
            if case .problems(let problems) = error { return problems }
        }
        return nil
    }

    @Test func anApplySaysWhatItDid() throws {
        var plane = plane(store)
        let first = try apply(
            &plane, [service("b"), service("a"), endpoint("a-1", of: "a", port: 1)])
        #expect(first.revision == 1)
        #expect(
            first.created.map(\.path) == [
                "endpoints/default/a-1", "services/default/a", "services/default/b",
            ])
        let again = try apply(&plane, [service("a"), service("b")])
        #expect(again.revision == 1 && again.unchanged == 2 && again.isEmpty)
        let second = try apply(&plane, [service("a"), service("b", .http2)], prune: true)
        #expect(second.revision == 2 && second.unchanged == 1 && second.created == [])
        #expect(second.changed.map(\.path) == ["services/default/b"])
        #expect(second.deleted.map(\.path) == ["endpoints/default/a-1"])
        #expect(store.transactions.count == 2)
        // Every key that is touched is a condition, and that nobody else has changed the mesh:
        // another writer would be noticed.
        #expect(
            store.transactions[1].conditions == [
                .init(ControlPlane.head, modRevision: 1),
                .init(StoreKey("endpoints/default/a-1"), modRevision: 1),
                .init(StoreKey("services/default/b"), modRevision: 1),
            ])
        checkAgreement(plane, store)
    }

    /// A copy of a shared store that was out of touch tells at once, as one commit, what others
    /// and this one have done meanwhile.
    @Test func othersChangesInTheCommitOfAnOwnOne() throws {
        var plane = plane(store)
        _ = try apply(
            &plane,
            [service("a"), endpoint("a-1", of: "a", port: 1), endpoint("a-2", of: "a", port: 2)])
        plane.follow(store.state)
        var copy = store.state
        // A process's lease ends, and somebody else changes one key; then comes this one's change.
        let other = StoreKey("endpoints/default/a-2")
        let drained =
            "{\"kind\":\"endpoint\",\"name\":\"a-2\",\"service\":\"a\","
            + "\"address\":\"127.0.0.1:2\",\"health\":\"draining\"}"
        for change in [
            StoreTransaction.Change.delete(StoreKey("endpoints/default/a-1")),
            .put(other, value: Array(drained.utf8)),
        ] {
            let plan = store.state.plan([.transaction(StoreTransaction(changes: [change]))])
            store.state.accept(plan, now: .zero)
        }
        _ = plane.takeNews()
        let outcome = try apply(&plane, [service("b")])
        copy.catchUp(store.state.entries(prefix: StoreKey("")), revision: outcome.revision)
        plane.follow(copy)
        #expect(plane.mesh == ControlPlane(store.state, codec: .json).mesh)
        guard case .changes(let changes) = plane.takeNews() else {
            Issue.record("replaced")
            return
        }
        // Each once: the own one is not told again.
        #expect(
            changes.map(\.key.path).sorted() == [
                "endpoints/default/a-1", "endpoints/default/a-2", "services/default/b",
            ])
    }

    @Test func whatDoesNotHoldTogetherChangesNothing() throws {
        var plane = plane(store)
        _ = try apply(&plane, [service("a"), endpoint("a-1", of: "a", port: 1)])
        let before = plane.mesh
        let wrong = [
            service("good"), endpoint("x", of: "nobody", port: 1),
            endpoint("y", of: "a", port: 1), endpoint("a-1", of: "good", port: 7),
            .policy(
                MeshPolicy("p", targets: [MeshName("nothing")], timeouts: .init(request: .zero))),
        ]
        let problems = try #require(
            Self.problems { () throws(ControlRefusal) in try apply(&plane, wrong) })
        #expect(
            problems.compactMap(\.key?.path) == ["endpoints/default/x", "policies/default/p"])
        #expect(problems.map(\.path) == [["service"], ["to", "0"]])
        #expect(plane.mesh == before && store.revision == 1)
        // What others refer to stays.
        for change in [
            ControlChange.delete(try key("services/default/a"), .init()),
            .apply(MeshBody([endpoint("a-1", of: "a", port: 1)]), prune: true),
        ] {
            let problems = Self.problems { () throws(ControlRefusal) in
                try plane.perform(change, in: store)
            }
            #expect(problems?.map(\.key?.path) == ["endpoints/default/a-1"])
        }
        #expect(plane.mesh == before && store.revision == 1)
    }

    @Test func aDryRunSaysTheSameAndDoesNothing() throws {
        var plane = plane(store)
        _ = try apply(&plane, [service("a"), service("old")])
        let before = plane.mesh
        let declarations = [service("a", .tcp), service("new")]
        var dry = try apply(&plane, declarations, prune: true, dryRun: true)
        #expect(plane.mesh == before && store.revision == 1 && plane.lastChange == 1)
        let real = try apply(&plane, declarations, prune: true)
        #expect(dry.revision == 1 && real.revision == 2)
        dry.revision = 2
        #expect(dry == real)
    }

    @Test func whoeverKnowsLessThanThereIsIsRefused() throws {
        var plane = plane(store)
        _ = try apply(&plane, [service("a")])
        _ = try apply(&plane, [service("b")])
        #expect(throws: ControlRefusal.outdated(revision: 2)) {
            try apply(&plane, [service("c")], revision: 1)
        }
        // Also where it would change nothing, and in a dry run.
        #expect(throws: ControlRefusal.outdated(revision: 2)) {
            try apply(&plane, [service("b")], revision: 1, dryRun: true)
        }
        #expect(try apply(&plane, [service("c")], revision: 2).revision == 3)
        // A commit of other things makes nobody's knowledge old.
        let plan = store.state.plan([.grant(life: .seconds(1))])
        store.state.accept(plan, now: .zero)
        #expect(try apply(&plane, [service("d")], revision: 3).revision == 5)
    }

    @Test(arguments: [
        (ControlCondition(), true, true),
        (ControlCondition(match: .any), false, true),
        (ControlCondition(noneMatch: .any), true, false),
        (ControlCondition(match: .revisions([1])), false, false),
        (ControlCondition(match: .revisions([2])), false, true),
        (ControlCondition(match: .revisions([1, 2])), false, true),
        (ControlCondition(match: .revisions([0])), false, false),
        (ControlCondition(noneMatch: .revisions([2])), true, false),
        (ControlCondition(noneMatch: .revisions([1])), true, true),
        (ControlCondition(match: .any, noneMatch: .any), false, false),
    ])
    func conditions(condition: ControlCondition, ofAbsent: Bool, of2: Bool) throws {
        #expect(condition.holds(0) == ofAbsent)
        #expect(condition.holds(2) == of2)
        var plane = plane(store)
        _ = try apply(&plane, [service("first")])
        _ = try apply(&plane, [service("a")])
        for (name, isTaken, revision) in [("absent", ofAbsent, 0 as UInt64), ("a", of2, 2)] {
            var copy = plane
            if isTaken {
                _ = try copy.perform(
                    .put(service(name, .http2), condition), dryRun: true, in: store)
            } else {
                #expect(throws: ControlRefusal.condition(revision: revision)) {
                    try copy.perform(.put(service(name, .http2), condition), in: store)
                }
            }
        }
    }

    @Test func oneAtATime() throws {
        var plane = plane(store)
        #expect(throws: ControlRefusal.absent) {
            try plane.perform(.delete(try key("services/default/a"), .init()), in: store)
        }
        let put = try plane.perform(.put(service("a"), .init()), in: store)
        #expect(put.revision == 1 && put.created.count == 1)
        #expect(try plane.perform(.put(service("a"), .init()), in: store).unchanged == 1)
        let delete = try plane.perform(
            .delete(try key("services/default/a"), .init(match: .revisions([1]))), in: store)
        #expect(delete.revision == 2 && delete.deleted.count == 1 && plane.mesh.count == 0)
        checkAgreement(plane, store)
    }

    @Test func whatIsNotStoredIsNotBelieved() throws {
        var plane = plane(store)
        _ = try apply(&plane, [service("a"), endpoint("a-1", of: "a", port: 1)])
        let before = plane.mesh
        store.refusal = .unavailable("no disk")
        #expect(throws: ControlRefusal.unavailable("no disk")) {
            try apply(&plane, [service("a", .tcp), service("b")], prune: false)
        }
        #expect(plane.mesh == before && plane.lastChange == 1)
        // Where nothing changes, nothing is stored.
        #expect(try apply(&plane, [service("a")]).unchanged == 1)
        store.refusal = nil
        #expect(try apply(&plane, [service("b")]).revision == 2)
        checkAgreement(plane, store)
    }

    @Test(arguments: [
        ("services/default/a", "{}", "the key 'kind' is missing"),
        ("services/default/a", "{\"kind\":\"service\",\"name\":\"b\"}", "it is service default/b"),
        ("services/a", "{\"kind\":\"service\",\"name\":\"a\"}", "it is service default/a"),
    ])
    func aStoreOfSomethingElseIsDamaged(path: String, value: String, reason: String) throws {
        try putBehind([("other/things", ""), (path, value), ("services/default/b", named("b"))])
        let plane = plane(store)
        let damage = try #require(plane.damaged[StoreKey(path)])
        #expect(damage.key == StoreKey(path) && plane.damaged.count == 1)
        #expect(damage.reason.hasPrefix(reason) && damage.reason.count <= 200, "\(damage)")
        // With the rest it goes on.
        #expect(plane.mesh.declarations.map(\.key.path) == ["services/default/b"])
    }

    /// What somebody else has put there is mended through the API, whatever way, and the mesh has
    /// what stood there before until then.
    @Test(arguments: ["as it was", "anew", "in another way", "deleted", "pruned", "by others"])
    func whatIsDamagedIsMended(how: String) throws {
        let path = "services/default/a"
        let key = try key(path)
        var plane = plane(store)
        if how != "anew" { _ = try apply(&plane, [service("a")]) }
        let before = plane.mesh
        try putBehind([(path, "{not: [a declaration")])
        plane.follow(store.state)
        #expect(plane.damaged.keys.map(\.description) == [path])
        #expect(plane.mesh == before && plane.takeNews().isEmpty == (how == "anew"))
        switch how {
        case "as it was", "anew":
            let outcome = try plane.perform(.put(service("a"), .init()), in: store)
            #expect(outcome.changed == [key] && outcome.created == [] && outcome.unchanged == 0)
        case "in another way":
            let outcome = try apply(&plane, [service("a", .http2)])
            #expect(outcome.changed == [key])
        case "deleted":
            #expect(try plane.perform(.delete(key, .init()), in: store).deleted == [key])
        case "pruned":
            #expect(try apply(&plane, [service("b")], prune: true).deleted == [key])
        default:
            try putBehind([(path, named("a"))])
            plane.follow(store.state)
        }
        plane.follow(store.state)
        #expect(plane.damaged.isEmpty)
        checkAgreement(plane, store)
    }

    @Test func whatIsDamagedIsNotMendedByAChangeThatFails() throws {
        try putBehind([("services/default/a", "x")])
        var plane = plane(store)
        store.refusal = .unavailable("no disk")
        #expect(throws: ControlRefusal.unavailable("no disk")) { try apply(&plane, [service("a")]) }
        #expect(plane.damaged.count == 1 && plane.mesh.count == 0)
        store.refusal = nil
        let dry = try apply(&plane, [service("a")], dryRun: true)
        #expect(dry.changed.count == 1 && plane.damaged.count == 1)
    }

    /// What somebody writes past the control plane.
    private func putBehind(_ values: [(path: String, value: String)]) throws {
        _ = try store.commit(
            StoreTransaction(
                changes: values.map { .put(StoreKey($0.path), value: Array($0.value.utf8)) }))
    }

    private func named(_ name: String) -> String { "{\"kind\":\"service\",\"name\":\"\(name)\"}" }

    @Test func texts() throws {
        #expect(ControlText.quoted("a\"\\\n\u{7F}é") == #""a\"\\\u000a\u007fé""#)
        let problem = MeshBodyProblem(key: try key("routes/a/b"), path: ["to", "0"], "no")
        #expect(
            String(
                decoding: ControlText.error("e", [problem, .init(key: nil, "x")]), as: UTF8.self)
                == #"{"error":"e","problems":[{"key":"routes/a/b","path":["to","0"],"#
                + #""message":"no"},{"key":"","path":[],"message":"x"}]}"#)
        var plane = plane(store)
        _ = try apply(&plane, [service("a")])
        _ = try apply(&plane, [], prune: true)
        _ = store.state.plan([.grant(life: .seconds(1))])
        guard case .commits(let commits) = store.state.events(after: 0) else {
            Issue.record("no history")
            return
        }
        #expect(
            commits.compactMap { ControlText.line($0, codec: .json) }.map {
                String(decoding: $0, as: UTF8.self)
            } == [
                #"{"revision":1,"changes":[{"op":"put","key":"services/default/a","declaration":"#
                    + #"{"kind":"service","mtls":"strict","name":"a","namespace":"default","#
                    + #""protocol":"http1"}}]}"#,
                #"{"revision":2,"changes":[{"op":"delete","key":"services/default/a"}]}"#,
            ])
        let none = StoreCommit(revision: 3, changes: [.delete(StoreKey("keys/x"))])
        #expect(ControlText.line(none, codec: .json) == nil && !none.touchesDeclarations)
    }

    /// Others may write to the store as well, and whatever they write, a line is one line of JSON.
    @Test(arguments: [
        ("{kind: service,\n name: a}", true), ("{\"kind\":\"service\",\n\"name\":\"b\"}", false),
        ("\u{0}}", false), ("\n", false),
    ])
    func aWatchSaysWhatCannotBeRead(value: String, isDeclaration: Bool) throws {
        try putBehind([("services/default/a", value)])
        guard case .commits(let commits) = store.state.events(after: 0) else {
            throw WireFailure.unexpected("no history")
        }
        let line = try #require(ControlText.line(commits[0], codec: .json))
        #expect(
            String(decoding: line, as: UTF8.self) == #"{"revision":1,"changes":[{"op":"#
                + (isDeclaration
                    ? #""put","key":"services/default/a","declaration":{"kind":"service","#
                        + #""mtls":"strict","name":"a","namespace":"default","protocol":"http1"}"#
                    : #""unreadable","key":"services/default/a""#)
                + "}]}")
    }
}

/// Changes at random, most of them wrong: whatever is refused leaves no trace, and what is accepted
/// is what a model that knows nothing of undoing makes of it.
@Suite struct ControlPlaneFuzz {
    @Test func changes() throws {
        let budget = FuzzBudget.current(steps: 300)
        let store = PlaneStore()
        var plane = plane(store)
        var random = SeededRandom(seed: budget.seed)
        var taken = 0
        for step in 0..<budget.steps {
            let before = plane.mesh
            let revision = store.revision
            store.refusal = random.below(8) == 0 ? .unavailable("fault") : nil
            let body = (0..<1 + random.below(4)).map { _ in Self.declaration(&random) }
            let unique = Dictionary(body.map { ($0.key, $0) }) { $1 }.values
            let prune = random.below(6) == 0
            let change: ControlChange =
                switch random.below(4) {
                case 0: .put(body[0], .init())
                case 1: .delete(body[0].key, .init())
                default: .apply(MeshBody(Array(unique)), prune: prune)
                }
            let dryRun = random.below(8) == 0
            do throws(ControlRefusal) {
                let outcome = try plane.perform(change, dryRun: dryRun, in: store)
                let isChange = !dryRun && !outcome.isEmpty
                #expect(store.revision == revision + (isChange ? 1 : 0))
                var expected = before
                if !dryRun { Self.make(change, &expected) }
                #expect(plane.mesh == expected)
                taken += isChange ? 1 : 0
            } catch {
                #expect(plane.mesh == before && store.revision == revision)
            }
            try #require(
                plane.mesh.check() == [], "step \(step); \(budget.rerun("ControlPlaneFuzz"))")
        }
        checkAgreement(plane, store)
        #expect(taken > budget.steps / 20)
    }

    private static func make(_ change: ControlChange, _ mesh: inout MeshState) {
        switch change {
        case .put(let declaration, _): mesh.declare(declaration)
        case .delete(let key, _): mesh.remove(key)
        case .register(let endpoint, _): mesh.declare(.endpoint(endpoint))
        case .apply(let body, let prune):
            if prune { mesh = MeshState() }
            for declaration in body.declarations { mesh.declare(declaration) }
        }
    }

    private static func declaration(_ random: inout SeededRandom) -> MeshDeclaration {
        let name = "s\(random.below(4))"
        switch random.below(5) {
        case 0, 1:
            return service(name, MeshService.Speech.allCases[random.below(3)])
        case 2, 3:
            return endpoint("e\(random.below(6))", of: name, port: 1 + random.below(8))
        default:
            return .policy(
                MeshPolicy(
                    "p\(random.below(3))", targets: [MeshName(name)],
                    timeouts: .init(request: .seconds(Int64(1 + random.below(3))))))
        }
    }
}
