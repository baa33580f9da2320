// From a file to an experiment: bytes → nodes → overrides → variables → draft → checks → Model.
// Each step reports what it finds wrong and lets the next one go on, so that one call shows all
// there is.

public import Model

/// A scenario that was read and found whole.
public struct ScenarioFile: Equatable, Sendable {
    public let experiment: Experiment
    /// The path as given.
    public let file: String
    /// The file as written.
    public let source: String
    /// The file as it is run: overrides and variables put in, in YAML that gives the same
    /// experiment.
    public let resolved: String
    /// The `--set` flags, as given.
    public let overrides: [String]
    /// Every setting in force, in the order of the reference.
    public let settings: [Setting]
    /// FNV-1a 64 of `resolved`, in hex.
    public let hash: String

    /// Reads a scenario from a file.
    /// - Parameter overrides: each `KEY=VALUE`, applied in order (docs/SCENARIOS.md, "Changing
    ///   values").
    /// - Throws: `ScenarioError` with everything that is wrong.
    public init(path: String, overrides: [String] = []) throws(ScenarioError) {
        try self.init(text: try readText(path), file: path, overrides: overrides)
    }

    /// Reads a scenario from a text; `file` stands for it in errors.
    /// - Throws: `ScenarioError.invalid`.
    public init(text: String, file: String, overrides: [String] = []) throws(ScenarioError) {
        var decoding = Decoding()
        do throws(InvalidDocument) {
            guard text.utf8.count <= Limits.fileBytes, overrides.count <= Limits.overrides else {
                let message =
                    "more than \(Limits.fileBytes) bytes, or \(Limits.overrides) --set flags"
                let start = Place(line: 1, column: 1)
                throw InvalidDocument(diagnostics: [.init(start, message)])
            }
            var root = try parseYAML(text, source: .file)
            try apply(overrides, to: &root, &decoding)
            substituteVariables(in: &root, &decoding)
            guard let experiment = decodeExperiment(root, &decoding) else {
                throw InvalidDocument(diagnostics: decoding.diagnostics)
            }
            self.experiment = experiment
            resolved = root.withoutVariables.documentText
        } catch {
            throw .invalid(
                file: file, overrides: overrides, error.diagnostics.sorted { $0.place < $1.place })
        }
        self.file = file
        self.overrides = overrides
        source = text
        settings = decoding.settings
        hash = fnv1a(resolved)
    }
}

private func apply(
    _ overrides: [String], to root: inout Node, _ decoding: inout Decoding
) throws(InvalidDocument) {
    for (number, text) in overrides.enumerated() {
        try Override(text, number: number).apply(to: &root, &decoding)
    }
}

extension Node {
    /// Without `vars`, whose values have been put in. What is left must not be taken for a variable
    /// again.
    fileprivate var withoutVariables: Node {
        guard case .mapping(let entries) = content else { return self }
        let kept = entries.filter { $0.key != "vars" }
        return Node(place: place, content: .mapping(kept)).escaped
    }

    private var escaped: Node {
        var copy = self
        switch content {
        case .scalar(var scalar):
            scalar.text = scalar.text.split(separator: "${", omittingEmptySubsequences: false)
                .joined(separator: "$${")
            copy.content = .scalar(scalar)
        case .sequence(let items): copy.content = .sequence(items.map(\.escaped))
        case .mapping(let entries):
            copy.content = .mapping(
                entries.map { .init(key: $0.key, keyPlace: $0.keyPlace, value: $0.value.escaped) })
        }
        return copy
    }
}

/// FNV-1a, 64 bits, in 16 hex digits.
private func fnv1a(_ text: String) -> String {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

/// The experiment that a tree describes; nil where anything is wrong, which has then been reported.
func decodeExperiment(_ root: Node, _ decoding: inout Decoding) -> Experiment? {
    guard let draft = Shape.scenario.form.decode(root, &decoding) else { return nil }
    let isWhole = decoding.diagnostics.isEmpty
    Consistency(draft: draft, root: root.place, isWhole: isWhole).check(&decoding)
    let expectations = parseExpectations(draft, &decoding)
    guard decoding.diagnostics.isEmpty else { return nil }
    var experiment = Experiment(
        name: draft.name, about: draft.about, seed: draft.seed, mesh: draft.mesh.plan,
        services: draft.services.compactMap(\.plan), loads: draft.loads.compactMap(\.plan),
        policies: draft.policies.map(\.value), authorizations: draft.authorizations.map(\.value),
        arms: draft.arms.value.compactMap(\.plan), rounds: draft.rounds.value,
        phases: draft.phases.value.compactMap(\.plan), changes: draft.changes,
        faults: draft.faults.compactMap(\.plan), expectations: expectations,
        proves: draft.proves.map(\.value), onInconclusive: draft.onInconclusive,
        limits: draft.limits)
    experiment.routes = draft.routes.map(\.value)
    MeshConsistency(draft: draft, experiment: experiment, root: root.place).check(&decoding)
    FaultConsistency(draft: draft, experiment: experiment).check(&decoding)
    TheoryConsistency(draft: draft, experiment: experiment).check(&decoding)
    guard decoding.diagnostics.isEmpty else { return nil }
    experiment.controls = NegativeControlReading(
        draft: draft, root: root, experiment: experiment
    ).read(&decoding)
    return decoding.diagnostics.isEmpty ? experiment : nil
}

private func parseExpectations(
    _ draft: ScenarioDraft, _ decoding: inout Decoding
) -> [Expectation] {
    let phases = draft.phases.value
    let names = phases.compactMap(\.name?.value)
    let arms = draft.arms.value.compactMap(\.plan?.name)
    // Without knowing every phase and arm, nothing can be said about names that are not among them.
    guard names.count == phases.count, !names.isEmpty, !arms.isEmpty,
        arms.count == draft.arms.value.count
    else { return [] }
    let measured = phases.filter(\.measure).compactMap(\.name?.value)
    var scope = ExpectationScope(phases: names, measuredPhases: Set(measured), arms: arms)
    for service in draft.services {
        if let name = service.name?.value { scope.services[name] = service.replicas }
    }
    scope.loads = draft.loads.compactMap(\.name?.value)
    var expectations: [Expectation] = []
    for line in draft.expectations {
        do throws(ExpectationError) {
            var expectation = try parseExpectation(line.text, in: scope)
            expectation.name = line.name?.value
            expectations.append(expectation)
        } catch {
            decoding.report(line.node.place(ofCharacter: error.offset), error.message)
        }
    }
    return expectations
}

extension ServiceDraft {
    fileprivate var plan: ServicePlan? {
        var plan = process
        plan?.zones = zones
        plan?.weights = weights
        plan?.levels = levels
        plan?.labels = labels
        plan?.health = health?.value
        return plan
    }

    private var process: ServicePlan? {
        guard let name = name?.value else { return nil }
        if let command {
            let plan = CommandPlan(
                arguments: command, environment: environment, files: files, ready: ready,
                readyWithin: readyWithin)
            return ServicePlan(
                name: name, replicas: replicas, kind: .command(plan), dataplane: dataplane.value)
        }
        var behaviour = behaviour
        behaviour.calls = calls.map(\.value)
        return ServicePlan(
            name: name, replicas: replicas, kind: .builtin(behaviour), dataplane: dataplane.value)
    }
}

extension LoadDraft {
    fileprivate var plan: LoadPlan? {
        guard let name = name?.value, let to = to?.value else { return nil }
        var plan = LoadPlan(
            name: name, to: to, rate: rate?.value ?? .constant(0), arrivals: arrivals,
            connections: connections.value, timeout: timeout, request: request,
            requestsPerConnection: requestsPerConnection, threads: threads,
            speech: speech, security: security, streams: streams.value)
        plan.zone = zone
        return plan
    }
}

extension PhaseDraft {
    fileprivate var plan: PhasePlan? {
        name.map {
            PhasePlan(
                name: $0.value, duration: duration, measure: measure, rate: rate?.value,
                faults: faults.map(\.value))
        }
    }
}
