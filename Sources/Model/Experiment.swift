// The validated form of a scenario file (docs/SCENARIOS.md). Values here are within range: whoever
// builds them has checked, with the place of every error.

public import Base

/// One scenario, ready to run.
public struct Experiment: Codable, Equatable, Sendable {
    public var name: String
    public var about: String
    /// The seed from which every schedule, order and sample of the run derives.
    public var seed: UInt64
    public var mesh: MeshPlan
    public var services: [ServicePlan]
    public var loads: [LoadPlan]
    /// How requests to services are carried, and who may send them; of a mesh with a control plane.
    public var policies: [MeshPolicy]
    public var routes: [MeshRoute] = []
    public var authorizations: [MeshAuthorization]
    /// 1 to `ArmPlan.most`, each with a name of its own.
    public var arms: [ArmPlan]
    public var rounds: RoundsPlan
    public var phases: [PhasePlan]
    /// What is changed in every arm with a control plane, in the order of their offsets.
    public var changes: [ChangePlan]
    /// Each with a name of its own, which phases say.
    public var faults: [FaultPlan]
    public var expectations: [Expectation]
    /// Numbers of the features (`MeshFeature`) that it proves, each once.
    public var proves: [Int]
    /// What must not hold without what it is about.
    public var controls: [NegativeControl]
    /// What an expectation that could not be decided does to the exit code.
    public var onInconclusive: OnInconclusive
    public var limits: ValidityLimits

    /// Whether an undecided expectation fails the run.
    public enum OnInconclusive: String, Codable, CaseIterable, Sendable {
        /// It is told; the exit code does not change.
        case warn
        /// The run ends with `ExitCode.inconclusive`, if with nothing graver.
        case fail
    }

    public init(
        name: String, about: String, seed: UInt64, mesh: MeshPlan, services: [ServicePlan],
        loads: [LoadPlan], policies: [MeshPolicy] = [], authorizations: [MeshAuthorization] = [],
        arms: [ArmPlan], rounds: RoundsPlan, phases: [PhasePlan], changes: [ChangePlan] = [],
        faults: [FaultPlan] = [], expectations: [Expectation], proves: [Int] = [],
        controls: [NegativeControl] = [], onInconclusive: OnInconclusive = .warn,
        limits: ValidityLimits
    ) {
        self.name = name
        self.about = about
        self.seed = seed
        self.mesh = mesh
        self.services = services
        self.loads = loads
        self.policies = policies
        self.authorizations = authorizations
        self.arms = arms
        self.rounds = rounds
        self.phases = phases
        self.changes = changes
        self.faults = faults
        self.expectations = expectations
        self.controls = controls
        self.proves = proves
        self.onInconclusive = onInconclusive
        self.limits = limits
    }
}

extension Experiment {
    /// Whether an expectation is of what processes count themselves.
    public var needsEvidence: Bool {
        expectations.contains {
            ($0.left.metrics + $0.right.metrics).contains(where: \.needsEvidence)
        }
    }
}

/// The mesh under test.
public struct MeshPlan: Codable, Equatable, Sendable {
    public enum DataPlane: String, Codable, CaseIterable, Sendable {
        case none
        case reference
    }

    public enum Mode: String, Codable, CaseIterable, Sendable {
        /// A proxy beside the client and one beside each replica: two hops.
        case sidecar
        /// One proxy before all replicas: one hop.
        case gateway
    }

    public var dataplane: DataPlane
    public var mode: Mode
    /// Worker threads of each proxy, 1 or more.
    public var workers: Int
    /// Between two proxies.
    public var hop: HopPlan
    /// The control plane that proxies join; nil: each has a file, which does not change.
    public var control: ControlPlan?
    /// How long the mesh's own times are of what is said: 0.1 is a tenth. Above 0, at most 1.
    public var timeScale: Double

    public init(
        dataplane: DataPlane, mode: Mode, workers: Int, hop: HopPlan = .init(),
        control: ControlPlan? = nil, timeScale: Double = 1
    ) {
        self.timeScale = timeScale
        self.hop = hop
        self.control = control
        self.dataplane = dataplane
        self.mode = mode
        self.workers = workers
    }
}

/// A service of the scenario.
public struct ServicePlan: Codable, Equatable, Sendable {
    public enum Kind: Codable, Equatable, Sendable {
        /// The built-in workload, `meshbench app`.
        case builtin(AppBehaviour)
        /// A program of the user's.
        case command(CommandPlan)
    }

    /// Whose proxy stands beside each replica, in a mesh of sidecars.
    public enum DataPlane: String, Codable, CaseIterable, Sendable {
        /// Meshbench's own.
        case reference
        /// An Envoy that joins the control plane.
        case envoy
    }

    public var name: String
    /// Processes of this service in each arm, 1 or more.
    public var replicas: Int
    public var kind: Kind
    public var dataplane: DataPlane
    /// Where its replicas run, in turn; empty: nobody knows.
    public var zones: [String] = []
    /// Their shares of requests, in turn; empty: the same.
    public var weights: [Int] = []
    /// Their levels, in turn; empty: all of the first.
    public var levels: [Int] = []
    /// Their labels, in turn; empty: none.
    public var labels: [[String: String]] = []
    /// How a control plane asks its replicas whether they are well; nil: not at all.
    public var health: MeshHealthCheck?

    public func zone(of replica: Int) -> String? {
        zones.isEmpty ? nil : zones[replica % zones.count]
    }

    public func weight(of replica: Int) -> Int {
        weights.isEmpty ? 1 : weights[replica % weights.count]
    }

    public func level(of replica: Int) -> Int {
        levels.isEmpty ? 0 : levels[replica % levels.count]
    }

    public func labels(of replica: Int) -> [String: String] {
        labels.isEmpty ? [:] : labels[replica % labels.count]
    }

    public init(
        name: String, replicas: Int, kind: Kind, dataplane: DataPlane = .reference
    ) {
        self.name = name
        self.replicas = replicas
        self.kind = kind
        self.dataplane = dataplane
    }
}

/// A program that serves on a port chosen by the rig.
public struct CommandPlan: Codable, Equatable, Sendable {
    public enum Readiness: Codable, Equatable, Sendable {
        /// A GET of this path answers below 400.
        case http(path: String)
        /// The port accepts a connection.
        case tcp
    }

    /// The words of the command; `{port}` and `{dir}` stand for the port to listen on and a scratch
    /// folder.
    public var arguments: [String]
    public var environment: [String: String]
    /// Files to write into the scratch folder before the start, by name; `{port}` and `{dir}` are
    /// replaced in them.
    public var files: [String: String]
    public var ready: Readiness
    /// How long it may take to become ready.
    public var readyWithin: Duration

    public init(
        arguments: [String], environment: [String: String], files: [String: String],
        ready: Readiness, readyWithin: Duration
    ) {
        self.arguments = arguments
        self.environment = environment
        self.files = files
        self.ready = ready
        self.readyWithin = readyWithin
    }
}

/// Measured spans and their order within each round.
public struct PhasePlan: Codable, Equatable, Sendable {
    public var name: String
    public var duration: Duration
    /// Whether the phase's requests and CPU count.
    public var measure: Bool
    /// The total rate of each load in this phase, requests per second, in place of the load's own;
    /// nil: the load's own.
    public var rate: Double?
    /// The faults that are there meanwhile, by name.
    public var faults: [String]

    public init(
        name: String, duration: Duration, measure: Bool, rate: Double?, faults: [String] = []
    ) {
        self.name = name
        self.duration = duration
        self.measure = measure
        self.rate = rate
        self.faults = faults
    }
}

/// How often all arms are run.
public struct RoundsPlan: Codable, Equatable, Sendable {
    public var min: Int
    /// Rounds are added up to this many while an expectation's interval straddles its limit.
    public var max: Int

    /// After how many rounds that count a run looks whether it may end: the least, and half way to
    /// the most, which ends it anyhow.
    ///
    /// Each look is one more chance for an interval to be clear of a limit by luck. After every
    /// round, 95 % would hold no more; twice costs little.
    public var looks: [Int] { min < max ? [min, (min + max + 1) / 2].filter { $0 < max } : [] }

    public init(min: Int, max: Int) {
        self.min = min
        self.max = max
    }
}

/// When a measurement is not to be believed.
public struct ValidityLimits: Codable, Equatable, Sendable {
    /// The least share of the offered rate that must be sent, 0 to 1.
    public var minAchieved: Double
    /// The most that the 99th percentile of lag may be.
    public var maxLagP99: Duration
    /// The most of one core that the load generator's busiest thread may use, 0 to 1 (spinning
    /// apart).
    public var maxGeneratorCPU: Double
    /// The most of the usable cores that may be busy during a measured phase, 0 to 1.
    public var maxMachineCPU: Double
    /// The most CPU time that the hypervisor may take away, or a CPU quota hold back, as a share of
    /// the usable cores, 0 to 1.
    public var maxSteal: Double
    /// Samples that must lie beyond a percentile for it to be stated.
    public var minTailSamples: Int

    public init(
        minAchieved: Double, maxLagP99: Duration, maxGeneratorCPU: Double, maxMachineCPU: Double,
        maxSteal: Double, minTailSamples: Int
    ) {
        self.minAchieved = minAchieved
        self.maxLagP99 = maxLagP99
        self.maxGeneratorCPU = maxGeneratorCPU
        self.maxMachineCPU = maxMachineCPU
        self.maxSteal = maxSteal
        self.minTailSamples = minTailSamples
    }
}
