// What a phase of an arm is described by: latencies and processes.

public import Model

extension RunResult {
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
        /// The mean of the rounds at the end of the phase; nil where it could not be read.
        public var residentBytes: Int64?
        public var proportionalBytes: Int64?
        public var voluntarySwitches: Int64
        public var involuntarySwitches: Int64
        /// Cores per 1000 completed requests per second of the arm, whichever process handled them,
        /// with an interval over rounds; nil where none was completed.
        public var cpuPer1000rpsCores: Estimate?

        public init(
            name: String, group: ProcessGroup, windowNs: Int64, userNs: Int64, systemNs: Int64,
            residentBytes: Int64?, proportionalBytes: Int64?, voluntarySwitches: Int64,
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
}
