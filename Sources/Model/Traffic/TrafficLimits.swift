public import Base

/// Bounds on what traffic policies say: none may cost a proxy more than a moment or some memory
/// that is known beforehand.
public enum TrafficLimits {
    /// A span of time that there must be.
    public static let span = MeshLimits.positiveTimeout
    /// A span that may also be none.
    public static let pause = MeshLimits.timeout
    /// Retries of one request.
    public static let retries = 0...100
    /// Statuses of final answers that are no success by themselves.
    public static let statuses = 200...599
    /// Statuses that one retry policy names.
    public static let statusCount = 64
    /// Fields that say how long to wait.
    public static let waitHeaders = 16
    /// Draws of an endpoint in place of one that has been tried.
    public static let reselections = 1...100
    /// Bytes of a body that is kept for a retry: one buffer.
    public static let retriedBody = 0...64 * 1024
    /// The time that a budget of rates looks back; a proxy keeps it in slices.
    public static let budgetWindow = Duration.seconds(1)...Duration.seconds(60)
    /// Connections open at once.
    public static let connections = 1...1_000_000
    /// Requests, or retries, in flight or waiting.
    public static let requests = 0...1_000_000
    /// Requests per second.
    public static let rates = 0.0...1_000_000_000
    /// Failures in a row.
    public static let failures = 1...1_000_000
    /// Standard deviations below the mean.
    public static let deviations = 0.0...100
    /// Endpoints that a statistical rule needs.
    public static let hosts = 0...1_000_000
    /// Requests that it needs of each.
    public static let volume = 0...1_000_000_000
    /// The time that admission control looks back; a proxy keeps it in slices.
    public static let admissionWindow = Duration.seconds(1)...Duration.seconds(3600)
    public static let aggression = 1.0...100
    /// Points of a ring: Envoy's most.
    public static let ringSize = 1...8_388_608
    /// Slots of Maglev's table: Envoy's most. A prime.
    public static let tableSize = 2...5_000_011
    /// Endpoints that are drawn to choose from.
    public static let choices = 2...100
    /// Keys of a hash.
    public static let hashKeys = 8
    /// Labels that requests choose endpoints by.
    public static let subsets = 4
    /// Labels of an endpoint.
    public static let labels = 16
    /// Bytes of a label's name or value, as of Kubernetes'.
    public static let labelBytes = 63
    /// Levels of endpoints: Envoy's priorities.
    public static let levels = 0...127
    /// Others that one route's requests are sent to besides.
    public static let mirrors = 4
    /// Limits that one request may be held against on one route or listener.
    public static let rateLimits = 16
    /// Tokens of a bucket, or that come at once.
    public static let tokens = 1...1_000_000_000
    /// From tokens to tokens.
    public static let fillInterval = Duration.milliseconds(1)...Duration.seconds(86_400)
    public static let percent = 0.0...100
    /// What a limit of all proxies says of a request, and of how many parts each.
    public static let limitDescriptors = 16
    public static let limitEntries = 8
    /// Bytes of a domain of limits, or of a key or value of a descriptor.
    public static let limitTextBytes = 256
    /// Bytes of the domain, keys and values that such a limit says itself. What a question has
    /// room for besides is for the values of requests.
    public static let limitBytes = 32 * 1024
    /// How long a request waits for its limits to be found out.
    public static let limitTimeout = Duration.milliseconds(1)...Duration.seconds(10)
}

/// Whether endpoints can have a label of that name.
public func isLabelName(_ text: String) -> Bool {
    (1...TrafficLimits.labelBytes).contains(text.utf8.count)
        && text.utf8.allSatisfy { isAlphanumeric($0) || "._/-".utf8.contains($0) }
}

/// Whether a label can have that value, which requests say in a field.
public func isLabelValue(_ text: String) -> Bool {
    text.utf8.count <= TrafficLimits.labelBytes
        && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
}
