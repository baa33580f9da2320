// What holds for a request: its route's and cluster's policies, and what a trusted client says.

import Base
import Model
import Wire

extension Proxy {
    /// Finds out what holds for the request in hand.
    /// - Returns: false: it has been turned away.
    func prepare(_ slot: Int, _ bytes: Bytes, _ cluster: Int, now: Instant) -> Bool {
        let plan = plans.clusters[cluster]
        var retry = plan.retry
        let route = Int(connections[slot].exchange.route)
        if plans.routes.indices.contains(route) {
            connections[slot].exchange.priority = plans.routes[route].priority
            if plans.routes[route].retry >= 0 { retry = plans.routes[route].retry }
        }
        // One that is routed anew has been let in: it does not meet the chance a second time.
        if plan.admission >= 0, !connections[slot].exchange.isAdmitted, !isUnlimited(slot),
            !admitsToCluster(slot, Int(plan.admission), now: now)
        {
            return false
        }
        let isTrusted = door(of: slot).trustsHeaders
        guard retry >= 0 || isTrusted else {
            noteCaller(slot, bytes)
            return true
        }
        var rules = retry >= 0 ? plans.retries[Int(retry)].rules : TrafficPlans.fromHeaders
        if isTrusted { obeyHeaders(slot, bytes, &rules, now: now) }
        noteCaller(slot, bytes)
        // It would say nothing that the request's own time does not.
        let timeout = connections[slot].exchange.timeout
        if timeout > .zero, rules.perTry >= timeout { rules.perTry = .zero }
        guard !rules.on.isEmpty || rules.perTry > .zero else { return true }
        connections[slot].exchange.hasPolicy = true
        if rules.avoidsPreviousHosts {
            connections[slot].exchange.wish.redraws = rules.reselections
        }
        // One that is routed anew has had some already, and is no other request.
        let retried = min(connections[slot].exchange.retried, rules.most)
        tries[slot] = Tries(rules: rules, left: rules.most - retried, rivals: 0)
        if retry >= 0, !connections[slot].exchange.isInBudget {
            connections[slot].exchange.isInBudget = true
            plans.budgets[Int(retry)]?.noteRequest(now: now)
        }
        return true
    }

    /// Goes over to the plans of a new configuration.
    func adoptPlans(_ configuration: ProxyConfiguration) {
        let old = plans
        plans = TrafficPlans(configuration)
        let moved = plans.keepCounts(of: old)
        renewCounts()
        renewBreakers(configuration)
        lookAtAll()
        // Requests in flight know their policy by its place.
        for slot in 0..<touchedSlots where connections[slot].exchange.hasPolicy {
            let place = Int(tries[slot].rules.place)
            tries[slot].rules.place = moved.indices.contains(place) ? moved[place] : -1
        }
    }

    private func admitsToCluster(_ slot: Int, _ place: Int, now: Instant) -> Bool {
        guard !plans.admissions[place].rejects(now: now, &random) else {
            count(
                .admissionRejected, .admissionRejected, Int(connections[slot].exchange.cluster))
            connections[slot].exchange.decision = .admission
            reply(slot, status: 503, flag: nil, detail: .admissionDenied, now: now)
            return false
        }
        connections[slot].exchange.isAdmitted = true
        return true
    }

    /// An exchange has ended: what its attempts have held or noted is settled.
    func concludeAttempts(_ slot: Int, now: Instant) {
        giveRetry(slot)
        endHold(slot)
        if connections[slot].exchange.isAdmitted {
            connections[slot].exchange.isAdmitted = false
            noteAdmission(slot, now: now)
        }
        let noted = connections[slot].exchange.noted
        guard !noted.isEmpty else { return }
        for flag in ResponseFlag.allCases where noted.contains(flag) { counters.add(flag) }
    }

    private func noteAdmission(_ slot: Int, now: Instant) {
        let cluster = Int(connections[slot].exchange.cluster)
        guard plans.clusters.indices.contains(cluster) else { return }
        let place = Int(plans.clusters[cluster].admission)
        guard place >= 0 else { return }
        // Of a client that has gone before its answer nobody knows.
        let status = connections[slot].exchange.status
        guard status > 0 else { return }
        let isSuccess = status < 500 && !GRPCVerdict.isFailure(connections[slot].exchange.call)
        plans.admissions[place].note(success: isSuccess, now: now)
    }

    // MARK: Headers

    /// What a header may set a time to at most.
    private static let longestTime = 3_600_000

    /// Takes over what the client's `x-envoy-…` fields say. Values that are no numbers, or too
    /// large, say nothing.
    private func obeyHeaders(
        _ slot: Int, _ bytes: Bytes, _ rules: inout RetryRules, now: Instant
    ) {
        var most: Int?
        for i in 0..<head.fieldCount where head.fields[i].name == .envoy {
            let value = bytes[head.fields[i].valueRange]
            switch EnvoyField(bytes[head.fields[i].nameRange]) {
            case .retryOn, .retryGRPCOn: rules.on.formUnion(Self.conditions(value))
            case .maxRetries: most = WaitAdvice.decimal(value, digits: 9) ?? most
            case .statuses: Self.addStatuses(value, to: &rules.statuses)
            case .fieldNames: rules.named = HeadSlice(head.fields[i].valueRange)
            case .timeout:
                guard let time = Self.time(value) else { continue }
                connections[slot].exchange.timeout = time
            case .perTry: rules.perTry = Self.time(value) ?? rules.perTry
            case .hedge: rules.hedges = value.equalsIgnoringCase("true")
            case .timeoutAnswer: connections[slot].exchange.timeoutStatus = 204
            case .attemptCount, .expectedTimeout, .originalPath, .timeoutRetry, .unknown: break
            }
        }
        if let most, !rules.on.isEmpty { rules.most = UInt8(min(most, RetryRules.most)) }
    }

    /// Takes over what whoever asks has left, and as which attempt it asks.
    ///
    /// The one makes a time shorter, never longer, so it is believed of anybody: else a deadline
    /// would end at the first proxy. The other is told on where a listener has a cluster of its
    /// own: who comes by it is another proxy, and this one stands beside who is asked.
    private func noteCaller(_ slot: Int, _ bytes: Bytes) {
        for i in 0..<head.fieldCount where head.fields[i].name == .envoy {
            let value = bytes[head.fields[i].valueRange]
            switch EnvoyField(bytes[head.fields[i].nameRange]) {
            case .expectedTimeout:
                guard let time = Self.time(value), time > .zero else { continue }
                let own = connections[slot].exchange.timeout
                guard own == .zero || time < own else { continue }
                connections[slot].exchange.timeout = time
                connections[slot].exchange.isHurried = true
            case .attemptCount where door(of: slot).hasCluster:
                let count = WaitAdvice.decimal(value, digits: 3) ?? 1
                connections[slot].exchange.attemptsBefore = UInt8(clamping: max(count, 1) - 1)
            default: continue
            }
        }
    }

    private static func time(_ value: Bytes) -> Duration? {
        guard let number = WaitAdvice.decimal(value, digits: 9), number <= longestTime else {
            return nil
        }
        return .milliseconds(Int64(number))
    }

    private static func conditions(_ value: Bytes) -> RetryConditions {
        var conditions: RetryConditions = []
        eachWord(value) { word in
            conditions.formUnion(condition(word))
        }
        return conditions
    }

    private static func condition(_ word: Bytes) -> RetryConditions {
        if word == "5xx" { return .serverError }
        if word == "gateway-error" { return .gatewayError }
        if word == "reset" { return .reset }
        if word == "connect-failure" { return .connectFailure }
        if word == "refused-stream" { return .refusedStream }
        if word == "retriable-4xx" { return .retriable4xx }
        if word == "retriable-status-codes" { return .statuses }
        if word == "retriable-headers" { return .headers }
        if word == "envoy-ratelimited" { return .rateLimited }
        if word == "cancelled" { return .grpc(1) }
        if word == "deadline-exceeded" { return .grpc(4) }
        if word == "resource-exhausted" { return .grpc(8) }
        if word == "internal" { return .grpc(13) }
        if word == "unavailable" { return .grpc(14) }
        return []
    }

    private static func addStatuses(_ value: Bytes, to statuses: inout StatusSet) {
        eachWord(value) { word in
            if let status = WaitAdvice.decimal(word, digits: 3) { statuses.insert(status) }
        }
    }

    /// The words of a list, without white space around them.
    static func eachWord(_ value: Bytes, _ body: (Bytes) -> Void) {
        var start = 0
        for i in 0...value.count where i == value.count || value[i] == UInt8(ascii: ",") {
            var end = i
            while start < end, value[start] == UInt8(ascii: " ") { start += 1 }
            while end > start, value[end - 1] == UInt8(ascii: " ") { end -= 1 }
            if end > start { body(value[start..<end]) }
            start = i + 1
        }
    }
}

/// Fields of Envoy's that say how a request is sent. They are for this proxy, and go no further; or
/// are what it says itself, as Envoy does in place of whatever came.
///
/// Source: Envoy, "Router", HTTP headers (consumed).
enum EnvoyField: BitwiseCopyable {
    case retryOn
    case retryGRPCOn
    case maxRetries
    case statuses
    case fieldNames
    case timeout
    case expectedTimeout
    case perTry
    case hedge
    case timeoutAnswer
    case attemptCount
    case originalPath
    case timeoutRetry
    case unknown

    init(_ name: Bytes) {
        self =
            switch name.count {
            case 16 where name.equalsIgnoringCase("x-envoy-retry-on"): .retryOn
            case 19 where name.equalsIgnoringCase("x-envoy-max-retries"): .maxRetries
            case 21 where name.equalsIgnoringCase("x-envoy-retry-grpc-on"): .retryGRPCOn
            case 21 where name.equalsIgnoringCase("x-envoy-attempt-count"): .attemptCount
            case 21 where name.equalsIgnoringCase("x-envoy-original-path"): .originalPath
            case 24 where name.equalsIgnoringCase("x-envoy-is-timeout-retry"): .timeoutRetry
            case 30 where name.equalsIgnoringCase("x-envoy-retriable-status-codes"): .statuses
            case 30 where name.equalsIgnoringCase("x-envoy-retriable-header-names"): .fieldNames
            case 30 where name.equalsIgnoringCase("x-envoy-upstream-rq-timeout-ms"): .timeout
            case 30 where name.equalsIgnoringCase("x-envoy-expected-rq-timeout-ms"):
                .expectedTimeout
            case 32 where name.equalsIgnoringCase("x-envoy-hedge-on-per-try-timeout"): .hedge
            case 38 where name.equalsIgnoringCase("x-envoy-upstream-rq-per-try-timeout-ms"):
                .perTry
            case 40 where name.equalsIgnoringCase("x-envoy-upstream-rq-timeout-alt-response"):
                .timeoutAnswer
            default: .unknown
            }
    }
}

/// What is said of attempts in heads that go on.
struct AttemptFields: BitwiseCopyable {
    /// How often the request has been sent, this time included; 0: nothing is said.
    var attempt: UInt8 = 0
    /// It is sent since an attempt before took longer than it may.
    var followsTimeout = false
    /// What came of that goes on: another proxy says it.
    var passesTimeoutRetry = false
    /// How long the upstream has, milliseconds; -1: nothing is said.
    var expected: Int32 = -1
    /// How long the upstream took, milliseconds; -1: nothing is said.
    var service: Int32 = -1
    /// Of an answer that is passed on although it counts as a failure.
    var noted = FlagSet()
}

extension HeadWriter {
    /// Whether a request's field goes no further: it is for this proxy, or one that it says itself.
    /// - Parameter rewrites: whether the path goes on as another.
    func isConsumed(
        _ field: Field, _ bytes: Bytes, rewrites: Bool, _ attempt: AttemptFields
    ) -> Bool {
        switch EnvoyField(bytes[field.nameRange]) {
        case .unknown: false
        case .originalPath: rewrites
        case .timeoutRetry: attempt.followsTimeout || !attempt.passesTimeoutRetry
        default: true
        }
    }

    /// Whether an answer's field is one that this proxy says itself.
    func isReplaced(_ field: Field, _ bytes: Bytes, _ attempt: AttemptFields) -> Bool {
        let name = bytes[field.nameRange]
        return attempt.attempt > 0 && EnvoyField(name) == .attemptCount
            || attempt.service >= 0 && name.equalsIgnoringCase("x-envoy-upstream-service-time")
    }

    func write(_ attempt: AttemptFields, to out: inout ByteWriter) {
        if attempt.attempt > 0 {
            out.append("x-envoy-attempt-count: ")
            out.append(decimal: UInt64(attempt.attempt))
            out.append("\r\n")
        }
        if attempt.followsTimeout { out.append("x-envoy-is-timeout-retry: true\r\n") }
        if attempt.expected >= 0 {
            out.append("x-envoy-expected-rq-timeout-ms: ")
            out.append(decimal: UInt64(attempt.expected))
            out.append("\r\n")
        }
        if attempt.service >= 0 {
            out.append("x-envoy-upstream-service-time: ")
            out.append(decimal: UInt64(attempt.service))
            out.append("\r\n")
        }
        if !attempt.noted.isEmpty {
            out.append("x-response-flags: ")
            attempt.noted.write(nil, to: &out)
            out.append("\r\n")
        }
    }

    func list(_ attempt: AttemptFields, to fields: FieldList) {
        if attempt.attempt > 0 {
            fields.add("x-envoy-attempt-count", decimal: Int(attempt.attempt))
        }
        if attempt.followsTimeout {
            fields.add("x-envoy-is-timeout-retry") { $0.append("true") }
        }
        if attempt.expected >= 0 {
            fields.add("x-envoy-expected-rq-timeout-ms", decimal: Int(attempt.expected))
        }
        if attempt.service >= 0 {
            fields.add("x-envoy-upstream-service-time", decimal: Int(attempt.service))
        }
        if !attempt.noted.isEmpty {
            fields.add("x-response-flags") { attempt.noted.write(nil, to: &$0) }
        }
    }
}

extension Proxy {
    /// What is said to the upstream of the attempt that begins.
    func attemptFields(_ slot: Int, now: Instant) -> AttemptFields {
        var fields = AttemptFields()
        fields.passesTimeoutRetry = door(of: slot).hasCluster
        let policy = configuration.headers
        guard policy.attemptCount || policy.expectedTimeout else { return fields }
        if policy.attemptCount {
            let count =
                Int(connections[slot].exchange.attemptsBefore)
                + Int(connections[slot].exchange.attempts) + 1
            fields.attempt = UInt8(clamping: count)
            fields.followsTimeout = connections[slot].exchange.followsTimeout
        }
        guard policy.expectedTimeout else { return fields }
        let left = timeLeft(slot, now: now)
        if left < .infinite {
            // Upwards: whoever waits gives up first, and has no other attempt to make of an answer
            // that says that the time was over.
            let milliseconds = (left.nanoseconds + 999_999) / 1_000_000
            fields.expected = Int32(clamping: max(1, milliseconds))
        }
        return fields
    }

    /// How long the attempt that begins has, by the policy and by whoever asks; `infinite`: nobody
    /// says.
    func timeLeft(_ slot: Int, now: Instant) -> Duration {
        var left = Duration.infinite
        let timeout = connections[slot].exchange.timeout
        // As Envoy: until the request has come whole nothing of it is over. It is what the proxy
        // itself waits (`requestDeadline`).
        let ended = connections[slot].exchange.requestEnded
        let isRunning = connections[slot].body.isComplete && ended > .zero
        if timeout > .zero { left = isRunning ? timeout - (now - ended) : timeout }
        let deadline = connections[slot].exchange.deadline
        if deadline < .distantFuture { left = min(left, deadline - now) }
        if connections[slot].exchange.hasPolicy, tries[slot].rules.perTry > .zero,
            !tries[slot].rules.hedges
        {
            left = min(left, tries[slot].rules.perTry)
        }
        return left
    }

    /// What is said to the client of the answer that is passed on.
    func answerFields(_ client: Int, now: Instant) -> AttemptFields {
        var fields = AttemptFields()
        fields.noted = connections[client].exchange.noted
        let policy = configuration.headers
        if policy.attemptCount { fields.attempt = connections[client].exchange.attempts }
        if policy.serviceTime, let upstream = connections[client].peer {
            let time = now - connections[upstream].attempted
            fields.service = Int32(clamping: max(0, time.nanoseconds / 1_000_000))
        }
        return fields
    }
}
