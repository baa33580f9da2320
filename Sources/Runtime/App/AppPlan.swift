// What the workload does with one request is decided here, from the request's head and a random
// number, before a byte of the answer is written. No sockets, no clock.

public import Base
import Fault
public import Model
public import Wire

/// What becomes of one request to the workload. A plain value.
public struct AppPlan: Equatable, Sendable, BitwiseCopyable {
    public enum Page: UInt8, Sendable, BitwiseCopyable {
        /// The workload: a body of a set size.
        case body
        /// `/echo`: the request comes back.
        case echo
        /// `/app/stats`: the counters.
        case stats
        /// `/app/stats/next`: the same, and what was highest begins anew.
        case nextStats
        /// `/app/stall?for=1s`: the whole worker stands still for `delay`.
        case stall
        /// `/healthz`.
        case health
        /// No page: a message, over TCP or a WebSocket.
        case message
    }

    public var page: Page
    /// 200 to 599.
    public var status: Int
    /// Bytes of body.
    public var size: Int
    public var delay: Duration
    public var burn: Duration
    public var chunked: Bool
    /// The connection ends after this answer.
    public var close: Bool
    /// The value of `x-envoy-attempt-count`; 0: there was none.
    public var attempt: Int
    /// The value of `x-envoy-expected-rq-timeout-ms`: how long its client waits; `zero`: nobody
    /// says.
    public var left: Duration
    /// Attempts of the request that fail before one succeeds.
    public var succeedAfter = 0

    /// Whether the request is work, which delays, burns, calls and is counted; the rest observes.
    public var isWork: Bool { page == .body || page == .echo }
}

/// What a request asked for that cannot be.
public enum AppRefusal: UInt8, Error, Equatable, Sendable {
    case size
    case delay
    case burn
    case status
    case flag
    case stall
    case attempts
    case connect

    /// The status of the answer.
    public var status: Int { self == .connect ? 501 : 400 }

    /// The body of the answer.
    public var text: StaticString {
        switch self {
        case .size: "size: bytes up to 1TiB are needed, as 100, 16KiB, 1MiB\n"
        case .delay: "delay: a time up to 1h is needed, as 250us, 10ms, 1.5s\n"
        case .burn: "burn: a time up to 60s is needed, as 250us, 10ms, 1.5s\n"
        case .status: "status: a number from 200 to 599 is needed\n"
        case .flag: "chunked, close: 0 or 1 is needed\n"
        case .stall: "for: a time up to 60s is needed, as 100ms, 1s\n"
        case .attempts: "succeed_after: a number up to 1000 is needed\n"
        case .connect: "CONNECT is for proxies\n"
        }
    }
}

/// Decides what becomes of requests, by the behaviour of the service and what each request
/// overrides:
/// `?size=16KiB&delay=10ms&status=503&chunked=1&burn=1ms&close=1&succeed_after=2`, or the same
/// as fields `x-app-size` and so on. A field wins over the query. Other keys are not the
/// workload's, and ignored.
public struct AppDecider: ~Copyable {
    private let behaviour: AppBehaviour
    private let delays: DelaySampler
    /// Running sums of the shares.
    private let shares: Slab<Share>

    private struct Share: BitwiseCopyable {
        var status: Int
        var upTo: Double
    }

    /// - Precondition: the behaviour's values are within range.
    public init(_ behaviour: AppBehaviour) {
        self.behaviour = behaviour
        delays = DelaySampler(behaviour.delay)
        shares = Slab(count: behaviour.statuses.count, repeating: Share(status: 200, upTo: 0))
        var sum = 0.0
        for (index, share) in behaviour.statuses.enumerated() {
            sum += share.share
            shares[index] = Share(status: share.status, upTo: sum)
        }
        precondition(sum <= 1 + 1e-9, "status shares sum to \(sum)")
    }

    deinit { shares.deallocate() }

    /// Decides on the request whose head was parsed from `bytes`.
    ///
    /// Draws the same numbers whatever the request overrides, so that one request more or less with
    /// an override does not move the draws of the others.
    public func decide(_ head: borrowing Head, _ bytes: Bytes, _ random: inout SeededRandom)
        throws(AppRefusal) -> AppPlan
    {
        if bytes[head.method] == "CONNECT" { throw .connect }
        let target = bytes[head.path]
        let question = target.firstIndex(of: UInt8(ascii: "?")) ?? target.count
        var plan = AppPlan(
            page: Self.page(target[0..<question]), status: 200, size: behaviour.size, delay: .zero,
            burn: .zero, chunked: behaviour.chunked, close: false, attempt: 0, left: .zero)
        guard plan.isWork else {
            if plan.page == .stall { plan.delay = try Self.stall(target, after: question) }
            return plan
        }
        if shares.count > 0 { plan.status = status(at: random.unit()) }
        plan.delay = delays.next(&random)
        plan.burn = behaviour.burn
        try Self.eachPair(target, from: question + 1) { name, value throws(AppRefusal) in
            try Self.override(&plan, name, value)
        }
        for index in 0..<head.fieldCount {
            let field = head.fields[index]
            guard field.name == .other || field.name == .envoy else { continue }
            try Self.field(&plan, bytes[field.nameRange], bytes[field.valueRange])
        }
        return plan
    }

    /// Decides on a message, which asks for nothing and has no status.
    public func decideMessage(_ random: inout SeededRandom) -> AppPlan {
        AppPlan(
            page: .message, status: 200, size: behaviour.size, delay: delays.next(&random),
            burn: behaviour.burn, chunked: false, close: false, attempt: 0, left: .zero)
    }

    private func status(at number: Double) -> Int {
        for index in 0..<shares.count where number < shares[index].upTo {
            return shares[index].status
        }
        return 200
    }

    private static func page(_ path: Bytes) -> AppPlan.Page {
        // By length first: almost every request is for something else.
        switch path.count {
        case 5 where path == "/echo": .echo
        case 8 where path == "/healthz": .health
        case 10 where path == "/app/stats": .stats
        case 10 where path == "/app/stall": .stall
        case 15 where path == "/app/stats/next": .nextStats
        default: .body
        }
    }

    private static func stall(_ target: Bytes, after question: Int) throws(AppRefusal) -> Duration {
        var time: Duration?
        try eachPair(target, from: question + 1) { name, value throws(AppRefusal) in
            if name == "for" { time = AppQuantity.duration(value) }
        }
        guard let time, time <= .seconds(60) else { throw .stall }
        return time
    }

    /// Calls `body` with every `name=value` of a query.
    private static func eachPair(
        _ target: Bytes, from start: Int,
        _ body: (Bytes, Bytes) throws(AppRefusal) -> Void
    ) throws(AppRefusal) {
        var start = start
        while start < target.count {
            let end = target.firstIndex(of: UInt8(ascii: "&"), from: start) ?? target.count
            let pair = target[start..<end]
            let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.count
            try body(pair[0..<equals], pair[min(equals + 1, pair.count)..<pair.count])
            start = end + 1
        }
    }

    /// `x-app-NAME` overrides as `NAME=` does in the query.
    private static func field(_ plan: inout AppPlan, _ name: Bytes, _ value: Bytes)
        throws(AppRefusal)
    {
        if name.count == 21, name.equalsIgnoringCase("x-envoy-attempt-count") {
            plan.attempt = AppQuantity.integer(value) ?? 0
        }
        if name.count == 30, name.equalsIgnoringCase("x-envoy-expected-rq-timeout-ms"),
            let left = AppQuantity.integer(value), left > 0, left <= 3_600_000
        {
            plan.left = .milliseconds(Int64(left))
        }
        guard name.count > 6, name.count <= 19, name[0..<6].equalsIgnoringCase("x-app-") else {
            return
        }
        try override(&plan, name[6..<name.count], value)
    }

    private static func override(_ plan: inout AppPlan, _ name: Bytes, _ value: Bytes)
        throws(AppRefusal)
    {
        if name.equalsIgnoringCase("size") {
            guard let size = AppQuantity.size(value), size <= 1 << 40 else { throw .size }
            plan.size = size
        } else if name.equalsIgnoringCase("delay") {
            guard let delay = AppQuantity.duration(value), delay <= .seconds(3600) else {
                throw .delay
            }
            plan.delay = delay
        } else if name.equalsIgnoringCase("burn") {
            guard let burn = AppQuantity.duration(value), burn <= .seconds(60) else { throw .burn }
            plan.burn = burn
        } else if name.equalsIgnoringCase("status") {
            guard let status = AppQuantity.integer(value), (200...599).contains(status) else {
                throw .status
            }
            plan.status = status
        } else if name.equalsIgnoringCase("chunked") {
            plan.chunked = try flag(value)
        } else if name.equalsIgnoringCase("close") {
            plan.close = try flag(value)
        } else if name == "succeed_after" || name.equalsIgnoringCase("succeed-after") {
            guard let count = AppQuantity.integer(value), count <= 1000 else { throw .attempts }
            plan.succeedAfter = count
        }
    }

    private static func flag(_ value: Bytes) throws(AppRefusal) -> Bool {
        if value == "1" { return true }
        if value == "0" { return false }
        throw .flag
    }
}
