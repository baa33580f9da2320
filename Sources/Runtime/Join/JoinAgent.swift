// The proxy's side of its mesh, on the proxy's main thread: carries out what the subscriber wants,
// and makes configurations of what it holds. Requests pass by without knowing of it.

import Base
import ControlCore
import Glibc
import Model
import Posix
import ProxyCore
import Secure

/// Who takes configurations over. A protocol because a proxy's start has nobody yet.
protocol JoinServer: AnyObject {
    /// - Returns: why it cannot be taken over; nil: it is in force.
    func adopt(_ configuration: ProxyConfiguration, _ material: TLSMaterial) -> String?
    /// What it knows of the endpoints of these clusters; nil: nothing ever.
    func hostBoards(of clusters: Set<String>) -> [HostBoard]?
    /// Lets requests in flight end, and no more in.
    func drain()
}

/// One proxy that has joined, or is about to.
final class JoinAgent: CallOwner {
    /// What the files of a configuration are called: they are in memory.
    enum FileName {
        static let identity = "mesh:identity"
        static let authorities = "mesh:authorities"
    }

    /// How long clients have, from the end of the registration to that of the service, to hear that
    /// they are to go elsewhere. What a push to all proxies of a mesh takes at most.
    private static let farewell = Duration.seconds(1)
    /// How long a change of the view may wait for its file: several come together.
    private static let writing = Duration.milliseconds(200)

    private let configuration: JoinConfiguration
    private let codec: MeshCodec
    let folder: JoinFolder?
    private let loop: CallLoop
    private let checks: ReturnChecks
    private(set) var subscriber: Subscriber
    private var changes = ModeChanges()

    private var credentials: JoinCredentials
    private let service: MeshName
    /// What was pushed last, which what came with a certificate may be newer than.
    private var pushedAuthorities = ""

    private var connection: CallConnection?
    /// Calls under way by number.
    private var calls: [Int: SubscriberCall] = [:]
    private var lastNumber = 0
    private var now: Instant

    private weak var server: (any JoinServer)?
    /// Where the inbound listener is bound, as it is registered.
    private var address: SocketAddress?
    /// The configuration in force, or the first one that could be.
    private(set) var current: (configuration: ProxyConfiguration, material: TLSMaterial)?
    /// The mesh does not let the proxy in.
    private(set) var refusal: String?
    /// When the view is written down; nil: it is.
    private var writingDue: Instant?
    private var drainDue: Instant?
    private var modeDue: Instant?
    /// See `JoinCredentials.Terms`.
    private var lastQuarter = Int64.max
    private var lastTrouble: String?
    private var lastRemark: String?
    private(set) var statistics = JoinStatistics()

    init(
        _ configuration: JoinConfiguration, codec: MeshCodec, on reactor: Reactor, now: Instant
    ) throws(JoinError) {
        self.configuration = configuration
        self.codec = codec
        self.now = now
        var token: JoinToken?
        if let text = configuration.token {
            token = JoinToken.claims(of: text)
            if token == nil { throw .malformedToken }
        }
        folder = try configuration.state.map { path throws(JoinError) in try JoinFolder(path) }
        let kept = try folder?.read(codec)
        let random = SeededRandom(seed: UInt64.random(in: 0...UInt64.max))
        let identity = try Self.identity(configuration, token, kept, random)
        guard let service = identity.serviceName else { preconditionFailure("not of a service") }
        self.service = service
        var view = ProxyView(trustDomain: identity.trustDomain)
        var membership: (Instant, Instant)?
        if let kept {
            let validity = try Self.validity(kept, folder?.path ?? "")
            let terms = JoinCredentials.Terms(validity, wall: Clock.wallNanoseconds(), now)
            membership = (terms.renewal, terms.expiry)
            lastQuarter = terms.lastQuarter
            statistics.notAfter = validity.notAfter
            if let push = kept.view { try? view.apply(push) }
        }
        credentials = JoinCredentials(
            identity, token: token, own: kept?.credentials,
            authorities: kept?.authorities ?? [])
        // The roots may have changed while nobody was here to hear of it.
        let isOutdated =
            membership.map { $0.1 <= now } ?? false
            && credentials.isTokenNewer(wall: Clock.wallNanoseconds() / 1_000_000_000)
        subscriber = Subscriber(
            servers: configuration.servers.count, view: view,
            trusts: kept != nil && !isOutdated, hasOthers: isOutdated, membership: membership,
            canJoin: token != nil, registers: false, now: now,
            random: random)
        pushedAuthorities = view.authorities
        // One is closed while another is opened.
        loop = CallLoop(on: reactor, capacity: 4)
        checks = ReturnChecks(on: reactor, random: random.split("checks"))
        if !view.isEmpty { serveView() }
    }

    private static func identity(
        _ configuration: JoinConfiguration, _ token: JoinToken?, _ kept: JoinFolder.Contents?,
        _ random: SeededRandom
    ) throws(JoinError) -> JoinIdentity {
        if let kept {
            let identity = kept.identity
            let isSame =
                (token.map { $0.service.text == identity.service } ?? true)
                && (configuration.name.map { $0 == identity.proxy } ?? true)
            guard isSame else {
                throw .otherProxy(
                    folder: configuration.state ?? "",
                    "the proxy \(identity.proxy) of \(identity.service)")
            }
            return identity
        }
        guard let token else { throw .noToken }
        var random = random.split("name")
        let suffix = (0..<6).map { _ in String(random.below(16), radix: 16) }.joined()
        // Bound: a name is a label, of 63 bytes at most.
        let made = "\(token.service.name.prefix(56))-\(suffix)"
        return JoinIdentity(
            proxy: configuration.name ?? made, service: token.service.text,
            trustDomain: token.trustDomain)
    }

    /// That of the certificate that was kept, which has to go with its key.
    private static func validity(
        _ kept: JoinFolder.Contents, _ folder: String
    ) throws(JoinError) -> Validity {
        do throws(TLSError) {
            _ = try TLSContext(server: TLSServerOptions(identity: kept.credentials))
            return try CertificateFacts(kept.credentials.certificate).validity
        } catch {
            throw .file("\(folder)/identity.pem", reason: "\(error)")
        }
    }

    var identity: JoinIdentity { credentials.identity }

    // MARK: Turns

    /// When the next turn is due at the latest.
    var deadline: Instant {
        if loop.hasMore { return now }
        let checking = server == nil ? nil : checks.deadline
        return [subscriber.deadline, writingDue, drainDue, modeDue, checking]
            .compactMap { $0 }.min() ?? .distantFuture
    }

    func handle(_ readiness: Readiness) -> Bool {
        loop.handle(readiness) || checks.handle(readiness)
    }

    /// Does what is due.
    func turnEnds(_ now: Instant) {
        self.now = now
        loop.end()
        if lastQuarter <= Clock.wallNanoseconds() {
            lastQuarter = .max
            subscriber.renewSoon(now)
        }
        subscriber.tick(now)
        carryOut()
        if let due = modeDue, due <= now { serveView() }
        if let due = writingDue, due <= now { writeView() }
        if let due = drainDue, due <= now {
            drainDue = nil
            server?.drain()
        }
        noteTrouble()
        if let server {
            checks.turnEnds(now, server) { [self] in credentials.contextOfChecks() }
            (statistics.checksPassed, statistics.checksFailed) = checks.counts
        }
        loop.end()
    }

    /// The proxy serves the configuration.
    /// - Parameter inbound: where requests to the service come in; nil: none do.
    func serve(by server: any JoinServer, inbound: SocketAddress?) {
        self.server = server
        address = inbound
        if inbound != nil { subscriber.serves(now) }
        // What has come since the start.
        serveView()
        carryOut()
    }

    /// Ends the registration, then the service.
    func leave() {
        subscriber.leave(now)
        carryOut()
    }

    private func carryOut() {
        // What a command leads to may be further commands.
        while true {
            let commands = subscriber.take()
            if commands.isEmpty { return }
            for command in commands { carryOut(command) }
        }
    }

    private func carryOut(_ command: SubscriberCommand) {
        switch command {
        case .connect(let server, let trust): connect(configuration.servers[server], trust)
        case .disconnect: disconnect()
        case .call(let call): ask(call)
        case .probe: connection?.probe()
        case .adopt:
            if subscriber.view.authorities != pushedAuthorities {
                pushedAuthorities = subscriber.view.authorities
                take(authorities: Array(pushedAuthorities.utf8))
            }
            let error = serveView()
            statistics.version = subscriber.view.version ?? 0
            if let error {
                statistics.refusals += 1
                standardError("version \(statistics.version) of the mesh is refused: \(error)")
            } else if folder != nil, writingDue == nil {
                writingDue = now + Self.writing
            }
            subscriber.adopted(error: error, now)
            if isRenamed { subscriber.renewSoon(now) }
        case .left: drainDue = now + Self.farewell
        case .giveUp(let reason): refusal = reason
        }
    }

    /// Whether the service has another identity than the certificate says: others ask for that.
    private var isRenamed: Bool {
        let mesh = subscriber.view.mesh
        guard let identity = mesh.services[service].flatMap(mesh.identity),
            let name = credentials.name
        else { return false }
        return identity.rawValue != name
    }

    private func noteTrouble() {
        statistics.isConnected = subscriber.isWatching
        guard subscriber.trouble != lastTrouble else { return }
        lastTrouble = subscriber.trouble
        standardError(
            lastTrouble.map { "control plane: \($0)" }
                ?? "control plane: connected to \(configuration.servers[subscriber.server])")
    }

    // MARK: Configurations

    /// - Returns: why what is held cannot be served; nil: it is in force, or will be at the start.
    @discardableResult
    private func serveView() -> String? {
        let mesh = subscriber.view.mesh
        guard let own = credentials.own, mesh.count > 0 else { return nil }
        changes.follow(mesh, now)
        modeDue = changes.deadline(after: now)
        let facts = SidecarFacts(
            service: service, configuration.place, tcp: configuration.tcp,
            identity: FileName.identity, authorities: FileName.authorities,
            admin: configuration.admin?.description, accessLog: configuration.accessLog,
            workers: configuration.workers, ledger: configuration.ledger,
            zone: configuration.zone)
        let made: ProxyConfiguration
        do throws(SidecarError) {
            made = try ProxyConfiguration(
                sidecar: facts, in: mesh, changes: changes.underWay(now))
        } catch {
            return "\(error)"
        }
        let material = TLSMaterial([
            FileName.identity: own.key + own.certificate,
            FileName.authorities: credentials.authorities,
        ])
        if let server, let reason = server.adopt(made, material) { return reason }
        current = (made, material)
        checks.follow(mesh)
        note(remark: facts.remark(in: mesh))
        return nil
    }

    /// Says once what of the mesh is served without.
    private func note(remark: String?) {
        guard remark != lastRemark else { return }
        lastRemark = remark
        if let remark { standardError(remark) }
    }

    private func writeView() {
        writingDue = nil
        guard let folder, let snapshot = subscriber.view.snapshot else { return }
        write { () throws(SystemError) in try folder.write(snapshot, codec) }
    }

    /// What cannot be written down is told: the proxy serves all the same.
    private func write(_ body: () throws(SystemError) -> Void) {
        do throws(SystemError) {
            try body()
        } catch {
            standardError("not kept: \(error)")
        }
    }

    private func take(authorities new: [UInt8]) {
        guard credentials.take(authorities: new), let folder else { return }
        write { () throws(SystemError) in try folder.write(authorities: new) }
    }

    // MARK: Connections

    private func connect(_ server: SocketAddress, _ trust: SubscriberTrust) {
        do throws(JoinFailure) {
            let context = try credentials.context(for: trust)
            do throws(SystemError) {
                connection = try loop.open(to: server, context, owner: self)
            } catch {
                throw JoinFailure("\(error)")
            }
        } catch {
            subscriber.disconnected(error.reason, now)
        }
    }

    private func disconnect() {
        connection?.close()
        connection = nil
        calls = [:]
    }

    func happened(_ event: CallEvent, on connection: CallConnection) {
        guard connection === self.connection else { return }
        switch event {
        case .opened: subscriber.connected(now)
        case .alive: subscriber.heard(now)
        case .closed(let reason):
            let ended = "; its certificate has ended, and there is no token to join anew with"
            lost(subscriber.hasEnded(now) ? reason + ended : reason)
        case .began(let number):
            if calls[number] != nil { subscriber.watchBegan(now) }
        case .line(_, let line): heard(line)
        case .answered(let number, let status, let body):
            guard let call = calls.removeValue(forKey: number) else { return }
            answered(call, status, body)
        case .ended(let number, let reason):
            guard let call = calls.removeValue(forKey: number) else { return }
            if subscriber.isWatching, case .watch = call {
                lost("the watch has ended: \(reason)")
            } else {
                subscriber.refused(call, reason, .passing, now)
            }
        }
        carryOut()
    }

    private func lost(_ reason: String) {
        disconnect()
        subscriber.disconnected(reason, now)
    }

    private func heard(_ line: [UInt8]) {
        guard !line.isEmpty else { return subscriber.heard(now) }
        statistics.pushes += 1
        do throws(MeshBodyError) {
            subscriber.pushed(try codec.push(line), now)
        } catch {
            lost("a push that cannot be read: \(error.problems.first?.message ?? "")")
        }
    }
}

// MARK: - Calls

extension JoinAgent {
    private func ask(_ call: SubscriberCall) {
        do throws(JoinFailure) {
            let request = try CallRequest(call, of: identity, configuration, address: address) {
                () throws(JoinFailure) in try credentials.signingRequest()
            }
            lastNumber += 1
            guard let connection, connection.ask(request, number: lastNumber) else {
                throw JoinFailure("the connection takes no more")
            }
            calls[lastNumber] = call
        } catch {
            subscriber.refused(call, error.reason, error.refusal, now)
        }
    }

    private func answered(_ call: SubscriberCall, _ status: Int, _ body: [UInt8]) {
        guard (200..<300).contains(status) else {
            return subscriber.refused(
                call, JoinText.refusal(status: status, body), SubscriberRefusal(status: status), now
            )
        }
        do throws(JoinFailure) {
            switch call {
            case .authorities:
                try credentials.trust(body)
                subscriber.trusted(now)
            case .join, .certificate:
                let terms = try install(body)
                subscriber.certified(renewal: terms.renewal, expiry: terms.expiry, now)
            case .ack, .heartbeat, .leave, .watch: subscriber.answered(call, now)
            }
        } catch {
            subscriber.refused(call, error.reason, error.refusal, now)
        }
    }

    /// Takes a certificate over.
    private func install(_ body: [UInt8]) throws(JoinFailure) -> JoinCredentials.Terms {
        guard let answer = JoinText.decode(JoinText.Certificate.self, body) else {
            throw JoinFailure("the answer is no certificate")
        }
        let wall = Clock.wallNanoseconds()
        try credentials.install(answer, wall: wall / 1_000_000_000)
        statistics.certificates += 1
        statistics.notAfter = answer.notAfter
        if let folder, let own = credentials.own {
            write { () throws(SystemError) in
                try folder.write(authorities: credentials.authorities)
                try folder.write(own)
                try folder.write(identity)
            }
        }
        // From now on it is what the proxy shows.
        if let reason = serveView() { standardError("the new certificate is not shown: \(reason)") }
        let terms = JoinCredentials.Terms(answer.validity, wall: wall, now)
        lastQuarter = terms.lastQuarter
        return terms
    }
}
