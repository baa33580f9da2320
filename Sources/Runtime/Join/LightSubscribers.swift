// Many subscribers in one process, which carry no requests: what a control plane does for a mesh of
// a thousand proxies can be measured on a small machine.

public import Base
import ControlCore
import FoundationEssentials
import Glibc
import Model
public import Posix
import Secure

/// What light subscribers are started with.
public struct LightConfiguration: Sendable {
    public var server: SocketAddress
    /// Tokens that may be used over and over, each with its service; subscribers take them in turn.
    public var tokens: [(service: String, token: String)]
    public var count: Int
    /// Whether each registers an endpoint, at an address where nobody is.
    public var registers: Bool

    public init(
        server: SocketAddress, tokens: [(service: String, token: String)], count: Int,
        registers: Bool = false
    ) {
        self.server = server
        self.tokens = tokens
        self.count = count
        self.registers = registers
    }
}

/// The subscribers of a process. They join one after the other, watch, acknowledge everything, and
/// come back when they are sent away.
public final class LightSubscribers {
    /// What happens to all of them together; each is said as a line of JSON.
    public enum Event: Sendable {
        /// All watch and have acknowledged their first push, which had so many bytes in all;
        /// `snapshots` of them were everything.
        case connected(at: Instant, bytes: Int, snapshots: Int)
        /// So many have acknowledged a version; said whenever nothing more of it is awaited.
        case acknowledged(version: UInt64, count: Int, first: Instant, last: Instant, bytes: Int)
        /// One of them cannot go on.
        case failed(String)

        public var json: String {
            switch self {
            case .connected(let at, let bytes, let snapshots):
                "{\"event\":\"connected\",\"at_ns\":\(at.nanoseconds),\"bytes\":\(bytes),"
                    + "\"snapshots\":\(snapshots)}"
            case .acknowledged(let version, let count, let first, let last, let bytes):
                "{\"event\":\"acknowledged\",\"version\":\(version),\"count\":\(count),"
                    + "\"first_ns\":\(first.nanoseconds),\"last_ns\":\(last.nanoseconds),"
                    + "\"bytes\":\(bytes)}"
            case .failed(let reason):
                "{\"event\":\"failed\",\"reason\":\(ControlText.quoted(reason))}"
            }
        }
    }

    private struct Tally {
        var awaited = 0
        var count = 0
        var first = Instant.distantFuture
        var last = Instant.zero
        var bytes = 0
    }

    let configuration: LightConfiguration
    let reactor: Reactor
    let loop: CallLoop
    private let say: (Event) -> Void
    private var members: [LightSubscriber] = []
    /// Those that have not acknowledged their first push.
    private var waiting = 0
    private var joining = 0
    private var firstBytes = 0
    private var snapshots = 0
    /// By version, until all have acknowledged it. Not bounded: a measurement ends.
    private var tallies: [UInt64: Tally] = [:]
    private(set) var now: Instant

    /// How many join at once: a join costs both sides more than anything else here.
    private static let joinsAtOnce = 16

    public init(
        _ configuration: LightConfiguration, say: @escaping (Event) -> Void
    ) throws(SystemError) {
        precondition(!configuration.tokens.isEmpty, "subscribers of no service")
        self.configuration = configuration
        self.say = say
        reactor = try Reactor()
        loop = CallLoop(on: reactor, capacity: configuration.count + Self.joinsAtOnce)
        now = Clock.now()
        waiting = configuration.count
        members = (0..<configuration.count).map { LightSubscriber($0, self) }
    }

    /// Goes on until the descriptor is readable.
    public func run(until stop: Int32) throws(SystemError) {
        try reactor.add(reading: stop, token: 0)
        var joined = 0
        while true {
            while joined < members.count, joining < Self.joinsAtOnce {
                joining += 1
                members[joined].begin()
                joined += 1
            }
            let due = members.map(\.due).min() ?? .distantFuture
            let count = reactor.wait(until: loop.hasMore ? now : due, now: Clock.now())
            now = Clock.now()
            for index in 0..<count {
                let readiness = reactor.ready(index)
                if readiness.token == 0 { return }
                _ = loop.handle(readiness)
            }
            loop.end()
            for member in members where member.due <= now { member.tick() }
            loop.end()
        }
    }

    // MARK: What they tell

    func pushed(_ version: UInt64, bytes: Int) {
        tallies[version, default: Tally()].awaited += 1
        tallies[version, default: Tally()].bytes += bytes
    }

    func acknowledged(_ version: UInt64) {
        guard var tally = tallies[version] else { return }
        tally.awaited -= 1
        tally.count += 1
        tally.first = min(tally.first, now)
        tally.last = now
        tallies[version] = tally
        guard tally.awaited == 0 else { return }
        say(
            .acknowledged(
                version: version, count: tally.count, first: tally.first, last: tally.last,
                bytes: tally.bytes))
        if tally.count == members.count { tallies[version] = nil }
    }

    func began(bytes: Int, isSnapshot: Bool) {
        firstBytes += bytes
        snapshots += isSnapshot ? 1 : 0
        waiting -= 1
        guard waiting == 0 else { return }
        say(.connected(at: now, bytes: firstBytes, snapshots: snapshots))
        (firstBytes, snapshots) = (0, 0)
    }

    func joined() { joining -= 1 }

    /// One was cut off, with versions that it will not acknowledge any more.
    func lost(_ versions: some Sequence<UInt64>) {
        waiting += 1
        for version in versions { tallies[version]?.awaited -= 1 }
    }

    func failed(_ reason: String) { say(.failed(reason)) }
}

/// One of them.
final class LightSubscriber: CallOwner {
    private enum Phase {
        case idle, joining, watching, pausing
    }

    private enum Number {
        static let join = 1
        static let watch = 2
        static let heartbeat = 3
        /// Acknowledgements come after it.
        static let ack = 16
    }

    private unowned let all: LightSubscribers
    private let name: String
    private let service: String
    private let token: String
    private let address: String?
    private var random: SeededRandom
    private var phase = Phase.idle
    private var connection: CallConnection?
    private var credentials: TLSIdentity?
    private var context: TLSContext?
    private var key: [UInt8] = []
    /// The version that it has.
    private var held: UInt64?
    /// The first push of this watch, until it is acknowledged.
    private var first: (version: UInt64, bytes: Int, isSnapshot: Bool)?
    /// That has not come yet, or is not acknowledged.
    private var isBeginning = true
    private var nextNumber = Number.ack
    private var versions: [Int: UInt64] = [:]
    /// What waits for a call to end. Bound: pushes come one for each change that a person makes.
    private var unsaid: [UInt64] = []
    private(set) var due = Instant.distantFuture

    private static let heartbeat = Duration.seconds(3)

    init(_ number: Int, _ all: LightSubscribers) {
        self.all = all
        name = "light-\(getpid())-\(number)"
        let tokens = all.configuration.tokens
        let own = tokens[number % tokens.count]
        service = own.service
        token = own.token
        // Of loopback, so that no address is another machine's.
        address =
            all.configuration.registers
            ? "127.\(1 + number / 60_000).\(getpid() % 250).1:\(1024 + number % 60_000)" : nil
        random = SeededRandom(seed: UInt64(number))
    }

    func begin() {
        do throws(TLSError) {
            let made = try CertificateRequest.make(commonName: name)
            key = made.key
            var options = TLSClientOptions(protocols: ["h2"])
            // A measurement on one machine: the server's identity is not what it is about.
            options.believesAnybody = true
            options.identity = credentials
            context = try TLSContext(client: options)
            request = made.request
        } catch {
            return all.failed("\(name): \(error)")
        }
        phase = .joining
        connect()
    }

    private var request: [UInt8] = []

    private func connect() {
        guard let context else { return }
        do throws(SystemError) {
            connection = try all.loop.open(to: all.configuration.server, context, owner: self)
        } catch {
            all.failed("\(name): \(error)")
        }
    }

    func tick() {
        due = .distantFuture
        switch phase {
        case .pausing:
            phase = .watching
            connect()
        case .watching:
            due = all.now + Self.heartbeat
            post("proxy/heartbeat", ["proxy": JoinText.text(name)], Number.heartbeat)
        case .idle, .joining: break
        }
    }

    private func post(
        _ path: String, _ members: KeyValuePairs<String, String?>, _ number: Int,
        isStream: Bool = false
    ) {
        let request = CallRequest(
            method: "POST", path: "/v1/\(path)", body: JoinText.object(members),
            isStream: isStream)
        guard connection?.ask(request, number: number) == true else {
            // Too many at once: once one has been answered.
            if let version = versions.removeValue(forKey: number) { unsaid.append(version) }
            return
        }
    }

    func happened(_ event: CallEvent, on connection: CallConnection) {
        guard connection === self.connection else { return }
        switch event {
        case .opened: opened()
        case .answered(Number.join, let status, let body): joined(status, body)
        case .answered(Number.heartbeat, _, _): break
        case .answered(let number, let status, let body):
            guard let version = versions.removeValue(forKey: number) else {
                all.failed("\(name): \(JoinText.refusal(status: status, body))")
                return lost()
            }
            answered(version)
        case .began, .alive: break
        case .line(_, let line): if !line.isEmpty { heard(line) }
        case .ended, .closed: lost()
        }
    }

    private func opened() {
        if phase == .joining {
            return post(
                "join",
                [
                    "token": JoinText.text(token),
                    "csr": JoinText.text(String(decoding: request, as: UTF8.self)),
                    "proxy": JoinText.text(name),
                ], Number.join)
        }
        post(
            "proxy/watch",
            [
                "proxy": JoinText.text(name), "service": JoinText.text(service),
                "held": held.map { "\($0)" }, "address": address.map(JoinText.text),
            ], Number.watch, isStream: true)
        due = all.now + Self.heartbeat
    }

    private func joined(_ status: Int, _ body: [UInt8]) {
        guard status == 200, let answer = JoinText.decode(JoinText.Certificate.self, body) else {
            return all.failed("\(name): \(JoinText.refusal(status: status, body))")
        }
        credentials = TLSIdentity(certificate: Array(answer.certificate.utf8), key: key)
        connection?.close()
        var options = TLSClientOptions(protocols: ["h2"])
        options.believesAnybody = true
        options.identity = credentials
        do throws(TLSError) {
            context = try TLSContext(client: options)
        } catch {
            return all.failed("\(name): \(error)")
        }
        phase = .watching
        all.joined()
        connect()
    }

    /// The line is not read but for what it begins with: whoever measures a control plane does not
    /// want to measure its clients.
    private func heard(_ line: [UInt8]) {
        let head = "{\"version\":".utf8
        guard line.starts(with: head) else { return all.failed("\(name): no push") }
        let digits = line.dropFirst(head.count).prefix { (0x30...0x39).contains($0) }
        guard let version = UInt64(String(decoding: digits, as: UTF8.self)) else {
            return all.failed("\(name): a push without a version")
        }
        let isSnapshot = line.dropFirst(head.count + digits.count)
            .starts(with: ",\"snapshot\":true".utf8)
        if isBeginning, first == nil {
            first = (version, line.count, isSnapshot)
        } else {
            all.pushed(version, bytes: line.count)
        }
        held = version
        acknowledge(version)
    }

    private func acknowledge(_ version: UInt64) {
        nextNumber += 1
        versions[nextNumber] = version
        post(
            "proxy/ack", ["proxy": JoinText.text(name), "version": "\(version)"], nextNumber)
    }

    private func answered(_ version: UInt64) {
        if let first, first.version == version {
            self.first = nil
            isBeginning = false
            all.began(bytes: first.bytes, isSnapshot: first.isSnapshot)
        } else {
            all.acknowledged(version)
        }
        if !unsaid.isEmpty { acknowledge(unsaid.removeFirst()) }
    }

    private func lost() {
        connection?.close()
        connection = nil
        guard phase != .pausing else { return }
        if phase == .joining { return all.failed("\(name): cut while it joined") }
        if !isBeginning { all.lost(Array(versions.values) + unsaid) }
        (versions, unsaid, first, isBeginning) = ([:], [], nil, true)
        phase = .pausing
        // Full jitter, within a second.
        due = all.now + .milliseconds(Int64(random.below(1000)))
    }
}
