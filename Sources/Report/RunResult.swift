// The result of one run: what `result.json` holds, and what every other output is made from.
// Versioned; units stand in the key names (`_ns`, `_bytes`, `_per_second`, `_cores`).

public import Model

/// All that is known of one run. Written as `result.json`, keys in snake case.
public struct RunResult: Codable, Equatable, Sendable {
    /// The one schema that this program writes and reads.
    public static let currentSchema = "meshbench/result/1"

    /// `meshbench/result/1`.
    public var schema: String
    public var scenario: ScenarioSummary
    /// ISO 8601, UTC.
    public var startedAt: String
    public var durationSeconds: Double
    /// True where the run was interrupted.
    public var partial: Bool
    /// The words that repeat the run.
    public var command: [String]
    public var environment: [Fact]
    /// Every option in force of the mesh, the load and the workload.
    public var configuration: [Fact]
    /// Per arm and phase, over all rounds.
    public var phases: [PhaseResult]
    /// Per round, arm and phase.
    public var rounds: [RoundResult]
    /// Mesh arm less direct arm, per phase.
    public var overheads: [Overhead]
    /// Where several rates were measured.
    public var fits: [CostFit]
    public var timelines: [Timeline]
    public var expectations: [ExpectationResult]
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

    /// A number with the interval in which it lies with 95 % confidence, where one can be given.
    public struct Estimate: Codable, Equatable, Sendable {
        public var value: Double
        public var low: Double?
        public var high: Double?

        public init(_ value: Double, low: Double? = nil, high: Double? = nil) {
            self.value = value
            self.low = low
            self.high = high
        }
    }

    /// One latency histogram, summed up. Nanoseconds.
    public struct Latency: Codable, Equatable, Sendable {
        public var count: UInt64
        public var minNs: UInt64
        public var maxNs: UInt64
        public var meanNs: Double
        public var percentiles: [Percentile]
        /// The whole curve: quantile (0 to 1) and value, enough points to draw it.
        public var curve: [Point]

        public struct Percentile: Codable, Equatable, Sendable {
            /// 0 to 1.
            public var quantile: Double
            public var valueNs: Double
            /// Order-statistic interval, where the samples allow one.
            public var lowNs: Double?
            public var highNs: Double?
            /// Samples beyond it.
            public var beyond: UInt64
            /// False where too few samples lie beyond it to state it.
            public var supported: Bool

            public init(
                quantile: Double, valueNs: Double, lowNs: Double? = nil, highNs: Double? = nil,
                beyond: UInt64, supported: Bool
            ) {
                self.quantile = quantile
                self.valueNs = valueNs
                self.lowNs = lowNs
                self.highNs = highNs
                self.beyond = beyond
                self.supported = supported
            }
        }

        public struct Point: Codable, Equatable, Sendable {
            public var quantile: Double
            public var valueNs: Double

            public init(quantile: Double, valueNs: Double) {
                self.quantile = quantile
                self.valueNs = valueNs
            }
        }

        public init(
            count: UInt64, minNs: UInt64, maxNs: UInt64, meanNs: Double, percentiles: [Percentile],
            curve: [Point]
        ) {
            self.count = count
            self.minNs = minNs
            self.maxNs = maxNs
            self.meanNs = meanNs
            self.percentiles = percentiles
            self.curve = curve
        }
    }

    /// What one process used in a measured phase, summed over rounds.
    public struct ProcessUsage: Codable, Equatable, Sendable {
        /// For people: `client-proxy`, `server-proxy echo/0`, `echo/0`, `load main`.
        public var name: String
        public var group: ProcessGroup
        public var windowNs: Int64
        public var userNs: Int64
        public var systemNs: Int64
        public var residentBytes: Int64
        public var proportionalBytes: Int64
        public var voluntarySwitches: Int64
        public var involuntarySwitches: Int64
        /// Cores per 1000 completed requests per second, with an interval over rounds.
        public var cpuPer1000rpsCores: Estimate?

        public init(
            name: String, group: ProcessGroup, windowNs: Int64, userNs: Int64, systemNs: Int64,
            residentBytes: Int64, proportionalBytes: Int64, voluntarySwitches: Int64,
            involuntarySwitches: Int64, cpuPer1000rpsCores: Estimate? = nil
        ) {
            self.name = name
            self.group = group
            self.windowNs = windowNs
            self.userNs = userNs
            self.systemNs = systemNs
            self.residentBytes = residentBytes
            self.proportionalBytes = proportionalBytes
            self.voluntarySwitches = voluntarySwitches
            self.involuntarySwitches = involuntarySwitches
            self.cpuPer1000rpsCores = cpuPer1000rpsCores
        }
    }

    public struct PhaseResult: Codable, Equatable, Sendable {
        public var arm: Arm
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
        public var response: Latency
        public var service: Latency
        public var lag: Latency
        public var connect: Latency
        public var firstByte: Latency
        public var processes: [ProcessUsage]
        /// Share of all the machine's cores that was busy, 0 to 1, and that the hypervisor took.
        public var machineBusy: Double
        public var machineSteal: Double
        /// Share of all cores that softirqs took, the kernel's part of the network mostly; part of
        /// `machineBusy`, and charged to no process in particular. Nil where it is not known.
        public var machineSoftirq: Double?

        public init(
            arm: Arm, phase: String, offeredPerSecond: Double, achievedPerSecond: Double,
            planned: UInt64, sent: UInt64, completed: UInt64, outcomes: [String: UInt64],
            statuses: [String: UInt64], flags: [String: UInt64], response: Latency,
            service: Latency, lag: Latency, connect: Latency, firstByte: Latency,
            processes: [ProcessUsage], machineBusy: Double, machineSteal: Double,
            measuredSeconds: Double? = nil, connections: Int? = nil, machineSoftirq: Double? = nil
        ) {
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
        public var round: Int
        /// Place in the round's order of arms, from 0.
        public var position: Int
        public var arm: Arm
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
            round: Int, position: Int, arm: Arm, phase: String, achievedPerSecond: Double,
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
        public var direct: Estimate
        public var mesh: Estimate
        public var difference: Estimate
        public var rounds: Int

        public init(
            phase: String, metric: String, unit: String, direct: Estimate, mesh: Estimate,
            difference: Estimate, rounds: Int
        ) {
            self.phase = phase
            self.metric = metric
            self.unit = unit
            self.direct = direct
            self.mesh = mesh
            self.difference = difference
            self.rounds = rounds
        }
    }

    /// A straight line through CPU against rate: idle cost and marginal cost.
    public struct CostFit: Codable, Equatable, Sendable {
        public var arm: Arm
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
            arm: Arm, process: String, idleCores: Estimate, marginalPer1000rpsCores: Estimate,
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
        public var arm: Arm
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

        public init(arm: Arm, round: Int, points: [Point]) {
            self.arm = arm
            self.round = round
            self.points = points
        }
    }

    public struct ExpectationResult: Codable, Equatable, Sendable {
        /// As written.
        public var source: String
        public var verdict: Verdict
        /// For people: `2.31 ms`.
        public var observed: String
        public var expected: String
        /// For people: `2.1 ms to 2.6 ms`; nil where there is none.
        public var interval: String?
        public var samples: UInt64
        /// Why it is not a plain pass; empty where it is.
        public var reason: String

        public init(
            source: String, verdict: Verdict, observed: String, expected: String,
            interval: String? = nil, samples: UInt64, reason: String
        ) {
            self.source = source
            self.verdict = verdict
            self.observed = observed
            self.expected = expected
            self.interval = interval
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
        durationSeconds: Double,
        partial: Bool, command: [String], environment: [Fact], configuration: [Fact],
        phases: [PhaseResult], rounds: [RoundResult], overheads: [Overhead], fits: [CostFit],
        timelines: [Timeline], expectations: [ExpectationResult], validity: Validity,
        verdict: Verdict, exit: Exit
    ) {
        self.schema = schema
        self.scenario = scenario
        self.startedAt = startedAt
        self.durationSeconds = durationSeconds
        self.partial = partial
        self.command = command
        self.environment = environment
        self.configuration = configuration
        self.phases = phases
        self.rounds = rounds
        self.overheads = overheads
        self.fits = fits
        self.timelines = timelines
        self.expectations = expectations
        self.validity = validity
        self.verdict = verdict
        self.exit = exit
    }
}
