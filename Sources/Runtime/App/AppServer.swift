import Base
import Model
public import Posix
import Secure
import Wire

/// The built-in workload: an HTTP/1.1 server that answers with set sizes, delays, CPU cost and
/// errors, and calls other services. Runs from `init` until `stop`.
public final class AppServer {
    /// Where it listens, with the port that was chosen.
    public let address: SocketAddress
    let workers: [AppWorker]
    private var threads: [JoinableThread] = []
    private let resolver: AppResolver?
    private var control: Service?
    /// Where faults are held; nil: nowhere.
    public var controlAddress: SocketAddress? { control?.address }

    /// Binds, and starts a thread for each worker. When it returns, connections are accepted.
    public init(_ configuration: AppConfiguration) throws(AppError) {
        try Self.validate(configuration)
        guard var address = SocketAddress(configuration.listen) else {
            throw .configuration("listen: '\(configuration.listen)' is no numeric host:port")
        }
        let commons = AppCommons(configuration.behaviour)
        let services = try AppServices(configuration)
        let context: TLSContext?
        do throws(TLSFileError) {
            context = try configuration.tls.map { tls throws(TLSFileError) in
                try TLSFiles.context(
                    tls, try TLSFiles.serverOptions(tls, protocols: ["h2", "http/1.1"]))
            }
        } catch {
            throw .configuration("tls: \(error)")
        }
        let random = SeededRandom(seed: configuration.seed)
        var workers: [AppWorker] = []
        DescriptorLimit.raise()
        let resolver = try Self.resolver(configuration, services)
        self.resolver = resolver
        do throws(SystemError) {
            for index in 0..<configuration.workers {
                let listener = try Socket.listen(on: address, sharing: configuration.workers > 1)
                // The first takes a free port, the others the same.
                address = try Socket.localAddress(of: listener.number)
                workers.append(
                    try AppWorker(
                        configuration: configuration, services: services, resolver: resolver,
                        context: context, listener: listener,
                        random: random.split(index), index: index, commons: commons))
            }
            self.address = address
            self.workers = workers
            control = try Self.control(configuration, commons)
            if let resolver {
                threads.append(JoinableThread(try Thread(name: "app-dns") { resolver.run() }))
            }
            for (index, worker) in workers.enumerated() {
                threads.append(
                    JoinableThread(try Thread(name: "app-\(index)") { worker.run() }))
            }
        } catch {
            // A worker that runs already serves nobody: the process ends, or the test fails.
            for worker in workers { worker.drain() }
            resolver?.stop()
            throw .system(error.description)
        }
    }

    /// Accepts no more, lets requests end (for at most 10 s), and returns when all workers have
    /// ended.
    public func stop() {
        control?.stop()
        resolver?.stop()
        for worker in workers { worker.drain() }
        for thread in threads { thread.join() }
        threads = []
    }

    /// Who takes leases on faults; nil: nobody does.
    private static func control(
        _ configuration: AppConfiguration, _ commons: AppCommons
    ) throws(SystemError) -> Service? {
        guard let address = configuration.control.flatMap(SocketAddress.init) else { return nil }
        do throws(ServiceError) {
            return try Service(
                ServiceConfiguration(listen: address, limits: AppControl.limits),
                name: "app-control", handler: AppControl(configuration, commons))
        } catch {
            guard case .system(let error) = error else {
                preconditionFailure("a listener without files has one that is of no use")
            }
            throw error
        }
    }

    /// Who knows the addresses of services that are called by name; nil: none is.
    private static func resolver(
        _ configuration: AppConfiguration, _ services: AppServices
    ) throws(AppError) -> AppResolver? {
        guard let text = configuration.dns else { return nil }
        guard let server = SocketAddress(text), server.port != 0 else {
            throw .configuration("dns: '\(text)' is no numeric host:port")
        }
        guard !services.names.isEmpty else { return nil }
        do throws(SystemError) {
            return try AppResolver(services.names, from: server)
        } catch {
            throw .system(error.description)
        }
    }

    private static func validate(_ configuration: AppConfiguration) throws(AppError) {
        func check(_ condition: Bool, _ text: String) throws(AppError) {
            if !condition { throw .configuration(text) }
        }
        let behaviour = configuration.behaviour
        try check((1...64).contains(configuration.workers), "workers: 1 to 64")
        try check((0...1 << 40).contains(behaviour.size), "size: 0 to 1TiB")
        if configuration.speech == .tcp {
            try check(behaviour.size <= Int(UInt32.max), "size: below 4GiB over TCP")
            try check(behaviour.calls.isEmpty, "calls: only over HTTP")
        }
        try check(
            behaviour.burn >= .zero && behaviour.burn <= .seconds(60), "burn: 0 to 60s")
        try check(behaviour.calls.count <= 64, "calls: at most 64")
        try check(
            behaviour.statuses.allSatisfy { (200...599).contains($0.status) },
            "status: 200 to 599")
        try check(
            behaviour.statuses.allSatisfy { (0...1).contains($0.share) }
                && behaviour.statuses.reduce(0) { $0 + $1.share } <= 1 + 1e-9,
            "status: shares from 0 to 1 that sum to at most 1")
        if let text = configuration.control {
            guard let address = SocketAddress(text), address.isLoopback else {
                throw .configuration("control: '\(text)' is no host:port of this machine alone")
            }
        }
        if let text = behaviour.delay.problem { throw .configuration("delay: \(text)") }
        if let text = behaviour.capacity?.problem { throw .configuration("capacity: \(text)") }
    }
}
