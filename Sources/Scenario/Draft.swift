// The values of a scenario file as written, with the places that the checks across keys need. Parts
// that need no such check are read straight into the types of Model.

import Base
import Model

struct ScenarioDraft: Sendable {
    var name = ""
    var about = ""
    var seed: UInt64 = 1
    var mesh = MeshDraft()
    /// Only so that the key is known: variables are replaced before anything is read.
    var variables: [(key: Placed<String>, value: String)] = []
    var services: [ServiceDraft] = []
    var loads: [LoadDraft] = []
    var policies: [Noted<MeshPolicy>] = []
    var routes: [Noted<MeshRoute>] = []
    var authorizations: [Noted<MeshAuthorization>] = []
    var arms = Placed<[ArmDraft]>([], .nowhere)
    var rounds = Placed(RoundsPlan(min: 1, max: 1), .nowhere)
    var phases = Placed<[PhaseDraft]>([], .nowhere)
    var faults: [FaultDraft] = []
    var expectations: [ExpectationDraft] = []
    var controls: [NegativeControlDraft] = []
    var proves: [Placed<Int>] = []
    var onInconclusive = Experiment.OnInconclusive.warn
    var limits = ValidityLimits(
        minAchieved: 0, maxLagP99: .zero, maxGeneratorCPU: 0, maxMachineCPU: 0, maxSteal: 0,
        minTailSamples: 0)
}

struct MeshDraft: Sendable {
    var dataplane = MeshPlan.DataPlane.reference
    var mode = MeshPlan.Mode.sidecar
    var workers = 1
    var hop = HopDraft()
    var hopSecurity = Placed(HopPlan.Security.strict, .nowhere)
    var control = Placed<ControlPlan?>(nil, .nowhere)
    var timeScale = Placed(1.0, .nowhere)
}

struct ServiceDraft: Sendable {
    /// Nil where it is missing or wrong.
    var name: Placed<String>?
    var replicas = 1
    var behaviour = AppBehaviour()
    var calls: [Placed<String>] = []
    /// Nil for the built-in workload.
    var command: [String]?
    var environment: [String: String] = [:]
    var files: [String: String] = [:]
    var ready = CommandPlan.Readiness.tcp
    var readyWithin = Duration.zero
    var dataplane = Placed(ServicePlan.DataPlane.reference, .nowhere)
    var zones: [String] = []
    var weights: [Int] = []
    var levels: [Int] = []
    var labels: [[String: String]] = []
    var health: Placed<MeshHealthCheck>?
}

struct LoadDraft: Sendable {
    var name: Placed<String>?
    var to: Placed<String>?
    var rate: Placed<RateShape>?
    var arrivals = LoadPlan.Arrivals.constant
    var connections = Placed(1, .nowhere)
    var threads = 1
    var timeout = Duration.zero
    var request = RequestPlan()
    var requestsPerConnection = 0
    var speech = LoadPlan.Speech.http1
    var security = LoadPlan.Security.off
    var streams = Placed(1, .nowhere)
    var zone: String?
}

struct PhaseDraft: Sendable {
    var name: Placed<String>?
    var duration = Duration.zero
    var measure = true
    var rate: Placed<Double>?
    var changes: [ChangeDraft] = []
    var faults: [Placed<String>] = []
}

/// A line of `expect`, not yet parsed: what it may name is known only when the rest has been read.
struct ExpectationDraft: Sendable {
    /// Nil where it has none.
    var name: Placed<String>?
    var node: Node
    var text: String
}

/// A value and what it was read from, where a check of several together may find parts of it wrong.
struct Noted<Value: Sendable>: Sendable {
    var value: Value
    var node: Node
}

extension Place {
    /// Of a value that no file wrote.
    static let nowhere = Place(source: .standard, line: 1, column: 1)
}
