// The result of one run: what `result.json` holds, and what every other output is made from.
// Versioned; units stand in the key names (`_ns`, `_bytes`, `_per_second`, `_cores`).

public import Model

/// All that is known of one run. Written as `result.json`, keys in snake case.
public struct RunResult: Codable, Equatable, Sendable {
    /// The one schema that this program writes and reads.
    public static let currentSchema = "meshbench/result/2"

    /// `meshbench/result/2`.
    public var schema: String
    public var scenario: ScenarioSummary
    /// ISO 8601, UTC.
    public var startedAt: String
    public var durationSeconds: Double
    /// True where the run ended before all its rounds: the user stopped it, or it failed.
    public var partial: Bool
    /// What made the run fail, where that was not the user; nil where it did not.
    public var failure: String?
    /// The words that repeat the run.
    public var command: [String]
    public var environment: [Fact]
    /// Every option in force of the mesh, the load and the workload.
    public var configuration: [Fact]
    /// In the order of the scenario.
    public var arms: [ArmSummary]
    /// Per arm and phase, over all rounds.
    public var phases: [PhaseResult]
    /// Per round, arm and phase.
    public var rounds: [RoundResult]
    /// Every arm less the baseline, per phase: `direct` where there is one, else the first arm.
    public var overheads: [Overhead]
    /// Every arm less the one before it, per phase, where there are more than two.
    public var steps: [Overhead]
    /// Where several rates were measured.
    public var fits: [CostFit]
    public var timelines: [Timeline]
    /// How long the mesh's own times were of what its policies say; nil: as long.
    public var timeScale: Double?
    /// Of meshes with a control plane; nil where nothing was changed.
    public var changes: [Change]?
    /// What was done on purpose; nil where nothing was.
    public var faults: [Fault]?
    public var expectations: [ExpectationResult]
    /// Of scenarios with a control; nil of others.
    public var controls: [Control]?
    public var validity: Validity
    public var verdict: Verdict
    public var exit: Exit

    public struct ScenarioSummary: Codable, Equatable, Sendable {
        public var name: String
        public var about: String
        /// The file as given on the command line.
        public var file: String
        public var seed: UInt64
        /// FNV-1a 64, in hex, of the scenario as run.
        public var hash: String
        /// Of the offered schedule: the same for every arm and round with the same number.
        public var scheduleHash: String

        public init(
            name: String, about: String, file: String, seed: UInt64, hash: String,
            scheduleHash: String
        ) {
            self.name = name
            self.about = about
            self.file = file
            self.seed = seed
            self.hash = hash
            self.scheduleHash = scheduleHash
        }
    }

    /// One way for the load to reach the service.
    public struct ArmSummary: Codable, Equatable, Sendable {
        public var name: ArmName
        public var via: ArmPlan.Way
        /// For people: `HTTP/1.1; between proxies HTTP/2, mutual TLS`.
        public var speech: String

        public init(name: ArmName, via: ArmPlan.Way, speech: String) {
            self.name = name
            self.via = via
            self.speech = speech
        }
    }

    /// A name and a value, grouped for display.
    public struct Fact: Codable, Equatable, Sendable {
        public var group: String
        public var name: String
        public var value: String

        public init(group: String, name: String, value: String) {
            self.group = group
            self.name = name
            self.value = value
        }
    }

    /// A number with the interval in which it lies, where one can be given.
    public struct Estimate: Codable, Equatable, Sendable {
        public var value: Double
        public var low: Double?
        public var high: Double?
        /// Of the interval, 0 to 1: 0.95 from six rounds on, less with fewer.
        public var confidence: Double?

        public init(
            _ value: Double, low: Double? = nil, high: Double? = nil, confidence: Double? = nil
        ) {
            self.value = value
            self.low = low
            self.high = high
            self.confidence = confidence
        }
    }

    public struct PhaseResult: Codable, Equatable, Sendable {
        public var arm: ArmName
        public var phase: String
        /// Of the measured window, summed over rounds; nil where it is not known.
        public var measuredSeconds: Double?
        /// Connections of all loads together; nil where it is not known.
        public var connections: Int?
        /// Of all loads together.
        public var offeredPerSecond: Double
        public var achievedPerSecond: Double
        public var planned: UInt64
        public var sent: UInt64
        public var completed: UInt64
        /// By outcome; sums to `planned`.
        public var outcomes: [String: UInt64]
        public var statuses: [String: UInt64]
        public var flags: [String: UInt64]
        /// Complete answers to calls of gRPC by the name of their status; nil: none were made.
        public var grpc: [String: UInt64]?
        public var response: Latency
        public var service: Latency
        public var lag: Latency
        public var connect: Latency
        public var firstByte: Latency
        /// From the instant at which a change of the mesh was due to that at which the last proxy
        /// had it in force; nil: nothing was changed.
        public var configPush: Latency?
        public var processes: [ProcessUsage]
        /// Share of the usable cores that was busy, 0 to 1, and that the hypervisor took; nil where
        /// it could not be read.
        public var machineBusy: Double?
        public var machineSteal: Double?
        /// Share of the usable cores that softirqs took, the kernel's part of the network mostly;
        /// part of `machineBusy`, and charged to no process in particular. Nil where it is not
        /// known.
        public var machineSoftirq: Double?

        public init(
            arm: ArmName, phase: String, offeredPerSecond: Double, achievedPerSecond: Double,
            planned: UInt64, sent: UInt64, completed: UInt64, outcomes: [String: UInt64],
            statuses: [String: UInt64], flags: [String: UInt64], response: Latency,
            service: Latency, lag: Latency, connect: Latency, firstByte: Latency,
            processes: [ProcessUsage], machineBusy: Double?, machineSteal: Double?,
            measuredSeconds: Double? = nil, connections: Int? = nil, machineSoftirq: Double? = nil,
            grpc: [String: UInt64]? = nil, configPush: Latency? = nil
        ) {
            self.configPush = configPush
            self.arm = arm
            self.phase = phase
            self.measuredSeconds = measuredSeconds
            self.connections = connections
            self.offeredPerSecond = offeredPerSecond
            self.achievedPerSecond = achievedPerSecond
            self.planned = planned
            self.sent = sent
            self.completed = completed
            self.outcomes = outcomes
            self.statuses = statuses
            self.flags = flags
            self.grpc = grpc
            self.response = response
            self.service = service
            self.lag = lag
            self.connect = connect
            self.firstByte = firstByte
            self.processes = processes
            self.machineBusy = machineBusy
            self.machineSteal = machineSteal
            self.machineSoftirq = machineSoftirq
        }
    }

    /// One arm in one phase of one round.
    public struct RoundResult: Codable, Equatable, Sendable {
        /// From 1.
        public var round: Int
        /// Place in the round's order of arms, from 0.
        public var position: Int
        public var arm: ArmName
        public var phase: String
        public var achievedPerSecond: Double
        public var errors: UInt64
        /// Nil, as the other percentiles, where nothing was recorded.
        public var responseP50Ns: Double?
        public var responseP90Ns: Double?
        public var responseP99Ns: Double?
        public var responseP999Ns: Double?
        public var lagP99Ns: Double?
        /// Cores per 1000 completed requests per second, by process group.
        public var cpuPer1000rpsCores: [String: Double]
        /// Empty where this round counts.
        public var invalid: [String]

        public init(
            round: Int, position: Int, arm: ArmName, phase: String, achievedPerSecond: Double,
            errors: UInt64, responseP50Ns: Double?, responseP90Ns: Double?,
            responseP99Ns: Double?, responseP999Ns: Double?, lagP99Ns: Double?,
            cpuPer1000rpsCores: [String: Double], invalid: [String]
        ) {
            self.round = round
            self.position = position
            self.arm = arm
            self.phase = phase
            self.achievedPerSecond = achievedPerSecond
            self.errors = errors
            self.responseP50Ns = responseP50Ns
            self.responseP90Ns = responseP90Ns
            self.responseP99Ns = responseP99Ns
            self.responseP999Ns = responseP999Ns
            self.lagP99Ns = lagP99Ns
            self.cpuPer1000rpsCores = cpuPer1000rpsCores
            self.invalid = invalid
        }
    }

    /// A difference of a quantile, or of CPU or memory, between the arms: not the quantile of
    /// differences.
    public struct Overhead: Codable, Equatable, Sendable {
        public var phase: String
        /// `response p99`, `cpu per 1000 rps`, `memory`.
        public var metric: String
        /// `ns`, `cores`, `bytes`.
        public var unit: String
        /// The arm, and the one that it is compared with.
        public var arm: ArmName
        public var baseline: ArmName
        /// Of the arm, and of the one that it is compared with.
        public var value: Estimate
        public var baselineValue: Estimate
        /// The one less the other.
        public var difference: Estimate
        public var rounds: Int

        public init(
            phase: String, metric: String, unit: String, arm: ArmName, baseline: ArmName,
            value: Estimate, baselineValue: Estimate, difference: Estimate, rounds: Int
        ) {
            self.phase = phase
            self.metric = metric
            self.unit = unit
            self.arm = arm
            self.baseline = baseline
            self.value = value
            self.baselineValue = baselineValue
            self.difference = difference
            self.rounds = rounds
        }
    }

    /// A straight line through CPU against rate: idle cost and marginal cost.
    public struct CostFit: Codable, Equatable, Sendable {
        public var arm: ArmName
        public var process: String
        /// Cores at no load.
        public var idleCores: Estimate
        /// Cores per 1000 requests per second more.
        public var marginalPer1000rpsCores: Estimate
        public var points: [Point]

        public struct Point: Codable, Equatable, Sendable {
            public var ratePerSecond: Double
            public var cores: Double
            public var round: Int

            public init(ratePerSecond: Double, cores: Double, round: Int) {
                self.ratePerSecond = ratePerSecond
                self.cores = cores
                self.round = round
            }
        }

        public init(
            arm: ArmName, process: String, idleCores: Estimate, marginalPer1000rpsCores: Estimate,
            points: [Point]
        ) {
            self.arm = arm
            self.process = process
            self.idleCores = idleCores
            self.marginalPer1000rpsCores = marginalPer1000rpsCores
            self.points = points
        }
    }

    /// One arm in one round, second by second.
    public struct Timeline: Codable, Equatable, Sendable {
        public var arm: ArmName
        public var round: Int
        public var points: [Point]

        public struct Point: Codable, Equatable, Sendable {
            /// From the start of the arm's first phase.
            public var seconds: Double
            public var phase: String
            public var offeredPerSecond: Double
            public var achievedPerSecond: Double
            public var errorsPerSecond: Double
            /// Response latency; nil in a second without answers.
            public var p50Ns: Double?
            public var p99Ns: Double?

            public init(
                seconds: Double, phase: String, offeredPerSecond: Double, achievedPerSecond: Double,
                errorsPerSecond: Double, p50Ns: Double?, p99Ns: Double?
            ) {
                self.seconds = seconds
                self.phase = phase
                self.offeredPerSecond = offeredPerSecond
                self.achievedPerSecond = achievedPerSecond
                self.errorsPerSecond = errorsPerSecond
                self.p50Ns = p50Ns
                self.p99Ns = p99Ns
            }
        }

        public init(arm: ArmName, round: Int, points: [Point]) {
            self.arm = arm
            self.round = round
            self.points = points
        }
    }

    public struct ExpectationResult: Codable, Equatable, Sendable {
        /// What the scenario calls it; nil: nothing.
        public var name: String?
        /// As written.
        public var source: String
        public var verdict: Verdict
        /// For people: `2.31 ms`.
        public var observed: String
        public var expected: String
        /// For people: `2.1 ms to 2.6 ms`; nil where there is none.
        public var interval: String?
        /// Of the interval, 0 to 1; nil where there is none.
        public var confidence: Double?
        public var samples: UInt64
        /// Why it is not a plain pass; empty where it is.
        public var reason: String

        public init(
            source: String, verdict: Verdict, observed: String, expected: String,
            interval: String? = nil, confidence: Double? = nil, samples: UInt64, reason: String,
            name: String? = nil
        ) {
            self.name = name
            self.source = source
            self.verdict = verdict
            self.observed = observed
            self.expected = expected
            self.interval = interval
            self.confidence = confidence
            self.samples = samples
            self.reason = reason
        }
    }

    public struct Validity: Codable, Equatable, Sendable {
        public var valid: Bool
        /// Each a sentence with the figure and the limit.
        public var reasons: [String]
        /// What a reader should know, short of invalid.
        public var warnings: [String]
        /// Every check that was made, the held ones too: what stands behind `valid`.
        public var checks: [Check]

        /// One condition of a measurement that can be trusted.
        public struct Check: Codable, Equatable, Sendable {
            /// For people: `lag p99, mesh, base`.
            public var name: String
            /// For people: `41 µs`.
            public var observed: String
            /// For people: `at most 200 µs`.
            public var limit: String
            public var held: Bool

            public init(name: String, observed: String, limit: String, held: Bool) {
                self.name = name
                self.observed = observed
                self.limit = limit
                self.held = held
            }
        }

        public init(
            valid: Bool, reasons: [String], warnings: [String], checks: [Check] = []
        ) {
            self.valid = valid
            self.reasons = reasons
            self.warnings = warnings
            self.checks = checks
        }
    }

    public enum Verdict: String, Codable, Sendable {
        case pass
        case fail
        case inconclusive
        case invalid
    }

    public struct Exit: Codable, Equatable, Sendable {
        public var code: Int32
        public var reasons: [String]

        public init(code: Int32, reasons: [String]) {
            self.code = code
            self.reasons = reasons
        }
    }

    public init(
        schema: String = RunResult.currentSchema, scenario: ScenarioSummary, startedAt: String,
        durationSeconds: Double, partial: Bool, failure: String? = nil, command: [String],
        environment: [Fact], configuration: [Fact], arms: [ArmSummary],
        phases: [PhaseResult], rounds: [RoundResult], overheads: [Overhead], steps: [Overhead],
        fits: [CostFit],
        timelines: [Timeline], changes: [Change]? = nil, faults: [Fault]? = nil,
        expectations: [ExpectationResult], controls: [Control]? = nil, timeScale: Double? = nil,
        validity: Validity, verdict: Verdict, exit: Exit
    ) {
        self.schema = schema
        self.scenario = scenario
        self.startedAt = startedAt
        self.durationSeconds = durationSeconds
        self.partial = partial
        self.failure = failure
        self.command = command
        self.environment = environment
        self.configuration = configuration
        self.arms = arms
        self.phases = phases
        self.rounds = rounds
        self.overheads = overheads
        self.steps = steps
        self.fits = fits
        self.timelines = timelines
        self.changes = changes
        self.faults = faults
        self.expectations = expectations
        self.controls = controls
        self.timeScale = timeScale
        self.validity = validity
        self.verdict = verdict
        self.exit = exit
    }
}
