public import Base
import Model

/// The bounds of the load generator: every table it keeps is as long as one of these says.
public enum LoadLimits {
    /// Connections in all.
    public static let connections = 65_536
    /// Requests at once on one connection, and on all connections together.
    public static let streams = 1_024
    public static let slots = 262_144
    public static let threads = 256
    public static let targets = 1_024
    /// The sum of all weights after dividing by their common divisor: the length of the rotation.
    public static let rotation = 65_536
    /// Bytes of request body.
    public static let bodySize = 64 << 20
    /// Bytes of the bodies of all targets: a request is kept whole in memory, once for each target.
    public static let bodies = 1 << 30
    /// Requests per second, of any phase: more than one machine can send.
    public static let rate = 2_000_000.0
    /// The longest timeout: as far as histograms tell latencies apart. What ends later still is
    /// counted, and `LoadResult.cautions` says so.
    public static let timeout = Duration.seconds(3600)
    /// Requests that are taken up before the owner of the sockets has its turn.
    public static let catchUp = 4_096
    /// Bytes of an answer's head that may arrive in pieces; a longer one is malformed.
    public static let head = 64 << 10
    /// Phases, each with six histograms of 264 KiB (1.6 MB) for each thread.
    public static let phases = 64
    /// Requests that wait for a connection on one thread, all targets together, 24 bytes each:
    /// 6 MiB. What arrives beyond is dropped.
    public static let waiting = 262_144
    /// And of one target at least so many, 1.5 KiB: 1.5 MiB for all targets that there may be.
    public static let waitingPerTarget = 64

    /// The length of one target's queue on one thread: what the peak rate brings it in one timeout
    /// and a tenth, within the bounds.
    /// - Parameters:
    ///   - due: requests that the peak rate brings the thread in one timeout.
    ///   - part: the target's share of them, 0 to 1.
    static func waiting(due: Double, part: Double) -> Int {
        let wanted = max(1024, due * 1.1) * part
        return max(waitingPerTarget, Int(min(wanted, Double(waiting) * part).rounded(.up)))
    }
    /// Hours of CLOCK_MONOTONIC that a job may last.
    public static let duration = Duration.seconds(48 * 3600)
    /// How long an interrupted run waits for the answers under way.
    public static let drainWhenStopped = Duration.seconds(1)
}

/// Why a job cannot be run.
public struct LoadJobError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A sentence for people.
    public var description: String

    init(_ description: String) { self.description = description }
}

extension LoadJob {
    /// The threads that will run: no more than there are connections for, each thread having one
    /// for each target or more.
    public var threadCount: Int {
        max(1, min(plan.threads, plan.connections / max(1, targets.count)))
    }

    /// Checks everything that the generator relies on.
    /// - Throws: `LoadJobError` naming the first value out of range.
    public func validate() throws(LoadJobError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(LoadJobError) {
            if !holds { throw LoadJobError(message()) }
        }
        try require(
            (1...LoadLimits.targets).contains(targets.count),
            "\(targets.count) targets; 1 to \(LoadLimits.targets) are possible")
        try require(
            targets.allSatisfy { (1...LoadLimits.rotation).contains($0.weight) },
            "a target's weight must be from 1 to \(LoadLimits.rotation)")
        try require(
            targets.map(\.weight).reduce(0, +) <= LoadLimits.rotation,
            "the weights of all targets add up to more than \(LoadLimits.rotation)")
        try require(
            (targets.count...LoadLimits.connections).contains(plan.connections),
            "\(plan.connections) connections; at least one for each target (\(targets.count)) "
                + "and at most \(LoadLimits.connections) are possible")
        try require(
            (1...LoadLimits.streams).contains(plan.streams)
                && plan.streams * plan.connections <= LoadLimits.slots,
            "\(plan.streams) requests at once on each connection; 1 to \(LoadLimits.streams) are "
                + "possible, and \(LoadLimits.slots) on all connections")
        try require(
            plan.speech != .http1 || plan.streams == 1,
            "HTTP/1.1 carries one request at once on a connection, not \(plan.streams)")
        try require(
            (1...LoadLimits.threads).contains(plan.threads),
            "\(plan.threads) threads; 1 to \(LoadLimits.threads) are possible")
        try require(
            plan.timeout > .zero && plan.timeout <= LoadLimits.timeout,
            "the timeout must be above zero and at most \(Int(LoadLimits.timeout.seconds)) s")
        try require(plan.requestsPerConnection >= 0, "requests per connection below zero")
        try require(spin >= .zero, "a spin below zero")
        try validatePhases(require)
        try validateRequest(require)
    }

    private func validatePhases(
        _ require: (Bool, @autoclosure () -> String) throws(LoadJobError) -> Void
    ) throws(LoadJobError) {
        try require(
            (1...LoadLimits.phases).contains(phases.count),
            "\(phases.count) phases; 1 to \(LoadLimits.phases) are possible")
        try require(
            phases.allSatisfy { $0.duration > .zero && $0.duration <= LoadLimits.duration },
            "a phase must last longer than nothing and at most 48 hours")
        let rates: [Double] =
            switch plan.rate {
            case .constant(let rate): [rate]
            case .ramp(let start, let end): [start, end]
            case .steps(let rates): rates
            }
        try require(!rates.isEmpty, "a plan without a rate")
        for rate in rates + phases.compactMap(\.rate) {
            try require(
                (0...LoadLimits.rate).contains(rate),
                "a rate of \(rate) requests/s; 0 to \(Int(LoadLimits.rate)) are possible")
        }
    }

    private func validateRequest(
        _ require: (Bool, @autoclosure () -> String) throws(LoadJobError) -> Void
    ) throws(LoadJobError) {
        let request = plan.request
        try require(
            !request.method.isEmpty && request.method.utf8.allSatisfy(isTokenByte),
            "'\(request.method)' is not a method")
        try require(request.method != "CONNECT", "CONNECT opens a tunnel; it cannot be measured")
        try require(
            request.path.utf8.first == UInt8(ascii: "/") || request.path == "*",
            "the path '\(request.path)' does not begin with /")
        try require(
            request.path.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F },
            "the path '\(request.path)' has blanks or control characters")
        for header in request.headers {
            try require(
                !header.name.isEmpty && header.name.utf8.allSatisfy(isTokenByte),
                "'\(header.name)' is not the name of a header")
            try require(
                header.value.utf8.allSatisfy { ($0 >= 0x20 || $0 == 0x09) && $0 != 0x7F },
                "the value of header '\(header.name)' has control characters")
            let framing = ["content-length", "transfer-encoding", "connection", "upgrade"]
            try require(
                !framing.contains(header.name.lowercased()),
                "header '\(header.name)' belongs to the generator: it frames the request")
        }
        for target in targets {
            try require(
                !target.host.isEmpty && target.host.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F },
                "'\(target.host)' is not a host")
        }
        try require(
            (0...LoadLimits.bodySize).contains(request.bodySize),
            "a body of \(request.bodySize) bytes; 0 to \(LoadLimits.bodySize) are possible")
        try require(
            request.bodySize * targets.count <= LoadLimits.bodies,
            "\(targets.count) bodies of \(request.bodySize) bytes are more than "
                + "\(LoadLimits.bodies) bytes together")
    }
}

/// A byte that may stand in a method or the name of a header: `tchar` of RFC 9110, section 5.6.2.
private func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
}
