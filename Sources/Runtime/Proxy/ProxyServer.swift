// The proxy's process: workers on threads of their own; this thread has the signals and the admin
// listener.

import Base
import Fault
import Glibc
public import Model
public import Posix
import ProxyCore
import Synchronization

/// Why a proxy cannot begin.
public enum ProxyStartError: Error, CustomStringConvertible {
    case system(SystemError)
    /// A file of certificates or keys cannot be used.
    case file(TLSFileError)

    public var description: String {
        switch self {
        case .system(let error): "\(error)"
        case .file(let error): "\(error)"
        }
    }
}

/// What shares a proxy's main thread with its signals and its admin listener.
protocol ProxyCompanion: AnyObject {
    /// When `turnEnds` is to be called at the latest.
    var deadline: Instant { get }
    /// - Returns: false: it is not one of its own.
    func handle(_ readiness: Readiness) -> Bool
    func turnEnds(_ now: Instant)
    /// The proxy is asked to stop. It goes on until the companion has it drained.
    func leave()
    /// What it tells the admin listener's `/stats`, in Prometheus' text format.
    var prometheus: String { get }
}

/// A running reference proxy.
public final class ProxyServer {
    private(set) var configuration: ProxyConfiguration
    /// What of the files that the configuration names is in memory.
    private var material: TLSMaterial
    private var contexts: ProxyContexts
    private var companion: (any ProxyCompanion)?
    private var faults: FaultDesk
    private var mailboxes: [Mailbox] = []
    private var adminListener: Descriptor?
    private let signals: Signals
    private let reload: () -> ProxyConfiguration?
    /// Where the listeners are bound, by name, once `start` has returned.
    public private(set) var addresses: [(name: String, address: SocketAddress)] = []
    /// Where the admin listener is bound.
    public private(set) var adminAddress: SocketAddress?

    /// - Parameter reload: reads the configuration anew at SIGHUP; nil: it is not usable, keep the
    ///   old one (whoever reads it says why).
    /// - Throws: where the process lacks what it needs, or a file of certificates or keys cannot be
    ///   used.
    public convenience init(
        _ configuration: ProxyConfiguration, reload: @escaping () -> ProxyConfiguration?
    ) throws(ProxyStartError) {
        try self.init(configuration, TLSMaterial(), reload: reload)
    }

    init(
        _ configuration: ProxyConfiguration, _ material: TLSMaterial,
        reload: @escaping () -> ProxyConfiguration?
    ) throws(ProxyStartError) {
        self.material = material
        do throws(TLSFileError) {
            contexts = try ProxyContexts(configuration, material)
        } catch {
            throw .file(error)
        }
        self.configuration = configuration
        self.reload = reload
        faults = FaultDesk(isProxy: true, standing: configuration.faults, now: Clock.now())
        Signals.ignoreBrokenPipes()
        do throws(SystemError) {
            signals = try Signals([SIGTERM, SIGINT, SIGHUP])
            running = try RunningWorkers()
        } catch {
            throw .system(error)
        }
    }

    /// Binds every listener and starts the workers.
    /// - Throws: where an address cannot be bound.
    public func start() throws(SystemError) {
        let descriptors = DescriptorLimit.raise()
        clientsPerWorker = Self.clients(within: descriptors, of: configuration)
        pipesPerWorker = Self.pipesPerWorker(within: descriptors, of: configuration)
        // A log that cannot be written is an error now, and not when the first worker finds out.
        _ = try LogFile(configuration.accessLog)
        _ = try LogFile(configuration.ledger)
        var perWorker = [[Int32]](repeating: [], count: configuration.workers)
        for listener in configuration.listeners {
            guard var address = SocketAddress(listener.address) else {
                throw SystemError("listen on \(listener.address)", code: EADDRNOTAVAIL)
            }
            for worker in 0..<configuration.workers {
                let socket = try Socket.listen(on: address, sharing: configuration.workers > 1)
                // The first worker settles a port that was left open; the others share it.
                address = try Socket.localAddress(of: socket.number)
                perWorker[worker].append(socket.release())
            }
            addresses.append((listener.name, address))
        }
        if let text = configuration.admin {
            guard let address = SocketAddress(text) else {
                throw SystemError("listen on \(text)", code: EADDRNOTAVAIL)
            }
            let listener = try Socket.listen(on: address, sharing: false, backlog: 16)
            adminAddress = try Socket.localAddress(of: listener.number)
            adminListener = consume listener
        }
        for listeners in perWorker { try startWorker(listeners) }
    }

    private let running: RunningWorkers
    private let commons = ProxyCommons()

    private func startWorker(_ listeners: [Int32]) throws(SystemError) {
        let mailbox = try Mailbox()
        let configuration = bound(self.configuration)
        let (contexts, commons) = (self.contexts, self.commons)
        let faults = self.faults.leases.held
        let seed = UInt64(bitPattern: Clock.wallNanoseconds()) ^ UInt64(mailboxes.count)
        let running = self.running
        let (clients, pipes) = (clientsPerWorker, pipesPerWorker)
        running.began()
        let thread = try Thread(name: "proxy-\(mailboxes.count)") {
            do throws(SystemError) {
                let worker = try ProxyWorker(
                    configuration, contexts: contexts, listeners: listeners, clients: clients,
                    pipes: pipes, mailbox: mailbox, commons: commons, faults: faults, seed: seed)
                worker.run()
                running.ended(error: nil)
            } catch {
                running.ended(error: error)
            }
        }
        thread.detach()
        mailboxes.append(mailbox)
    }

    /// Serves until SIGTERM or SIGINT, then lets requests in flight end.
    /// - Throws: where the reactor cannot be made, or a worker could not begin.
    public func run() throws(SystemError) { try run(on: try Reactor(), with: nil) }

    /// The same, with somebody else who waits on the reactor.
    func run(
        on reactor: Reactor, with companion: (any ProxyCompanion)?
    ) throws(SystemError) {
        self.companion = companion
        try reactor.add(reading: signals.descriptor, token: 0)
        try reactor.add(reading: running.descriptor, token: 1)
        var admin: ServiceLoop?
        if let listener = adminListener.take() {
            admin = try ServiceLoop(
                ProxyAdmin.limits, handler: ProxyAdmin(self), on: reactor, listener: listener,
                security: ServiceSecurity(), now: Clock.now())
        }
        ProgramMemory.release()
        while true {
            let deadline = [admin?.deadline, companion?.deadline, faults.leases.nextEnd]
                .compactMap { $0 }.min()
            let count = reactor.wait(until: deadline, now: Clock.now())
            admin?.begin(Clock.now(), wall: Clock.wallNanoseconds())
            for i in 0..<count {
                let readiness = reactor.ready(i)
                switch readiness.token {
                case 0: handleSignals()
                case 1:
                    // A worker ends when it is drained, or when it could not begin.
                    running.noted()
                    drain()
                    guard running.count == 0 else { continue }
                    if let error = running.error { throw error }
                    return
                default:
                    if admin?.handle(readiness) != true { _ = companion?.handle(readiness) }
                }
            }
            admin?.end()
            companion?.turnEnds(Clock.now())
            if faults.expire(Clock.now()) { sendFaults() }
        }
    }

    /// The workers' counters.
    var counters: [Counters] { mailboxes.compactMap(\.counters) }

    /// What the workers count by name.
    var counts: [TrafficCounts] { mailboxes.compactMap(\.counts) }

    /// What the workers know of endpoints.
    var hostBoards: [HostBoard] { commons.hostBoards }

    func hostBoards(of clusters: Set<String>) -> [HostBoard]? { commons.hostBoards(of: clusters) }

    private(set) var draining = false

    /// Lets no more requests in; those in flight end, and then the workers.
    func drain() {
        guard !draining else { return }
        draining = true
        for mailbox in mailboxes { mailbox.send(.drain) }
    }

    private func handleSignals() {
        while let signal = signals.next() {
            if signal == SIGHUP { reloadNow() } else { stop() }
        }
    }

    private var isStopping = false

    /// A companion has something to do before; whoever asks a second time does not wait for it.
    private func stop() {
        if let companion, !isStopping { companion.leave() } else { drain() }
        isStopping = true
    }

    private func reloadNow() {
        guard let new = reload() else { return }
        if let reason = adopt(new, material) {
            standardError("configuration not reloaded: \(reason)")
        }
    }

    /// Goes over to a new configuration, all of it or nothing. Listeners that stay keep their
    /// connections, and requests in hand end as they began.
    /// - Returns: why it cannot be; nil: it is done, or on its way to the workers.
    func adopt(_ new: ProxyConfiguration, _ material: TLSMaterial) -> String? {
        if let reason = Self.cannotAdopt(new, over: configuration) { return reason }
        do throws(TLSFileError) {
            contexts = try ProxyContexts(new, material, keeping: contexts)
        } catch {
            return "\(error)"
        }
        configuration = new
        self.material = material
        for mailbox in mailboxes { mailbox.send(.reload(bound(new), contexts)) }
        faults.replace(standing: new.faults, now: Clock.now())
        sendFaults()
        return nil
    }

    /// What the admin listener answers of faults; nil: it was asked for something else.
    func answerOfFaults(_ request: ServiceRequest) -> ServiceAnswer? {
        var ledger: FaultReport.Ledger?
        if configuration.ledger != nil {
            ledger = FaultReport.Ledger()
            for counters in counters {
                ledger?.written += counters[.ledgerLines]
                ledger?.lost += counters[.ledgerDropped]
            }
        }
        var isChanged = false
        let answer = faults.answer(request, ledger: ledger, isChanged: &isChanged)
        if isChanged { sendFaults() }
        return answer
    }

    private func sendFaults() {
        for mailbox in mailboxes { mailbox.send(.faults(faults.leases.held)) }
    }

    /// The configuration with the ports that listeners have got, which rules may ask for.
    private func bound(_ configuration: ProxyConfiguration) -> ProxyConfiguration {
        var configuration = configuration
        for (place, bound) in addresses.enumerated() {
            configuration.listeners[place].address = "\(bound.address)"
        }
        return configuration
    }

    /// What the companion counts.
    var companionStatistics: String { companion?.prometheus ?? "" }

    /// What a running process cannot change; nil: all of it can be taken over.
    private static func cannotAdopt(_ new: ProxyConfiguration, over old: ProxyConfiguration)
        -> String?
    {
        if !new.listeners.elementsEqual(old.listeners, by: Self.isSame) {
            return "names, addresses and protocols of listeners change only with a restart"
        }
        if new.workers != old.workers { return "workers change only with a restart" }
        if new.admin != old.admin { return "the admin listener changes only with a restart" }
        if new.limits != old.limits { return "limits change only with a restart" }
        if (new.accessLog == nil) != (old.accessLog == nil) {
            return "the access log is turned on or off only with a restart"
        }
        if (new.ledger == nil) != (old.ledger == nil) {
            return "the ledger is turned on or off only with a restart"
        }
        return nil
    }

    private static func isSame(
        _ one: ProxyConfiguration.Listener, _ other: ProxyConfiguration.Listener
    ) -> Bool {
        one.name == other.name && one.address == other.address && one.speech == other.speech
    }

    // MARK: Descriptors

    private var clientsPerWorker = Int.max
    private var pipesPerWorker = 0

    /// How many pipes a worker may have for large bodies: a quarter of its descriptors at most.
    private static func pipesPerWorker(
        within descriptors: Int, of configuration: ProxyConfiguration
    ) -> Int {
        min(PipePool.most, descriptors / 8 / configuration.workers)
    }

    /// How many clients a worker lets in: each may need a second descriptor, and a second of the
    /// worker's connections, for its request's way to the upstream, so that whoever was let in can
    /// be served. HAProxy derives its `maxconn` in the same way.
    private static func clients(within descriptors: Int, of configuration: ProxyConfiguration)
        -> Int
    {
        // The process's own: three standard streams, an epoll, signals, a wake-up, log and admin
        // with its clients, checks of endpoints; an epoll, a wake-up, a log, the listeners and the
        // pipes of each worker.
        let pipes = 2 * pipesPerWorker(within: descriptors, of: configuration)
        let admin = configuration.admin == nil ? 0 : 1 + ProxyAdmin.limits.connections
        let worker = 3 + configuration.listeners.count + pipes
        let own = 8 + ReturnChecks.places + admin + configuration.workers * worker
        return max(
            1,
            min(
                (descriptors - own) / 2 / configuration.workers,
                configuration.limits.connections / 2))
    }
}

/// Counts the worker threads, and tells the main thread when one has ended.
private final class RunningWorkers: Sendable {
    private struct State {
        var count = 0
        var error: SystemError?
    }

    private let wakeup: Wakeup
    private let state = Mutex(State())

    init() throws(SystemError) { wakeup = try Wakeup() }

    var descriptor: Int32 { wakeup.descriptor }
    var count: Int { state.withLock { $0.count } }
    /// Why a worker could not begin; nil: all could.
    var error: SystemError? { state.withLock { $0.error } }
    func began() { state.withLock { $0.count += 1 } }
    func noted() { wakeup.clear() }

    func ended(error: SystemError?) {
        state.withLock {
            $0.count -= 1
            $0.error = $0.error ?? error
        }
        wakeup.wake()
    }
}
