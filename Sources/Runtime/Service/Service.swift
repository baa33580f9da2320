// A small server of the product's own APIs, on one thread: bounded requests in, answers and watches
// out, over HTTP/1.1 and HTTP/2, in cleartext or TLS. Not for traffic that is measured.

import Base
public import Model
public import Posix
import Secure
import Synchronization

/// Where a service listens, and its bounds.
public struct ServiceConfiguration: Sendable {
    /// Port 0 takes any free one.
    public var listen: SocketAddress
    /// nil: cleartext.
    public var tls: ServerTLS?
    public var limits: ServiceLimits

    public init(
        listen: SocketAddress, tls: ServerTLS? = nil, limits: ServiceLimits = ServiceLimits()
    ) {
        self.listen = listen
        self.tls = tls
        self.limits = limits
    }
}

/// Why a service cannot begin.
public enum ServiceError: Error, Equatable, CustomStringConvertible {
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

/// One of a service's listeners, ready to be bound.
struct ServiceListener {
    /// Port 0 takes any free one.
    var address: SocketAddress
    var limits: ServiceLimits
    var handler: any ServiceHandler
    /// Whoever keeps it may change it on the service's thread.
    var security: ServiceSecurity
}

/// A running service. Its application is called on its thread alone.
public final class Service: Sendable {
    /// Where it listens, with the port that was chosen; the first listener's.
    public var address: SocketAddress { addresses[0] }
    /// Where each of its listeners is bound.
    let addresses: [SocketAddress]
    private let inbox: ServiceInbox
    private let thread: Mutex<JoinableThread?>

    /// Binds, and starts the thread. When it returns, connections are accepted.
    /// - Parameter name: the thread's, at most 15 bytes.
    /// - Throws: where the address cannot be bound, or a file of certificates or keys cannot be
    ///   used.
    public convenience init(
        _ configuration: ServiceConfiguration, name: String = "service",
        handler: sending any ServiceHandler
    ) throws(ServiceError) {
        let security = ServiceSecurity(try Self.context(configuration.tls))
        try self.init(
            [
                ServiceListener(
                    address: configuration.listen, limits: configuration.limits, handler: handler,
                    security: security)
            ], name: name)
    }

    /// Binds one or two listeners, which share the thread, in their order: what the first one's
    /// requests lead to is there for the second's.
    /// - Throws: where an address cannot be bound.
    convenience init(_ listeners: sending [ServiceListener], name: String) throws(ServiceError) {
        try self.init(ServiceSetup(listeners: listeners), name: name)
    }

    /// The same, with parts that have sockets of their own.
    init(_ setup: sending ServiceSetup, name: String) throws(ServiceError) {
        do throws(SystemError) {
            let inbox = try ServiceInbox()
            let worker = try ServiceWorker(setup, inbox: inbox)
            addresses = worker.addresses
            self.inbox = inbox
            thread = Mutex(JoinableThread(try Thread(name: name) { worker.run() }))
        } catch {
            throw .system(error)
        }
    }

    deinit { stop() }

    /// Does `work` on the service's thread in its next turn. From any thread: so watches hear news
    /// from elsewhere.
    /// - Returns: false: the service has stopped, or too much work waits (`ServiceInbox.limit`).
    @discardableResult
    public func perform(_ work: @escaping @Sendable () -> Void) -> Bool { inbox.send(.work(work)) }

    /// Reads certificates and keys of the first listener anew: new connections get the new ones,
    /// old ones live on.
    /// - Throws: where a file cannot be used; then all stays as it was.
    public func renew(_ tls: ServerTLS) throws(ServiceError) {
        if let context = try Self.context(tls) { inbox.send(.renew(context)) }
    }

    /// Accepts no more, ends watches and lets requests under way end, for `ServiceLimits.drain` at
    /// most; returns when the thread has ended. From any thread but the service's.
    public func stop() {
        let thread = thread.withLock { $0.take() }
        inbox.send(.stop)
        thread?.join()
    }

    static func context(_ tls: ServerTLS?) throws(ServiceError) -> TLSContext? {
        guard let tls else { return nil }
        do throws(TLSFileError) {
            return try TLSFiles.context(
                tls, try TLSFiles.serverOptions(tls, protocols: ["h2", "http/1.1"]))
        } catch {
            throw .file(error)
        }
    }
}

/// How other threads speak to a service's.
final class ServiceInbox: Sendable {
    enum Message: Sendable {
        case work(@Sendable () -> Void)
        case renew(TLSContext)
        case stop
    }

    private struct State {
        var messages: [Message] = []
        var isStopped = false
    }

    /// Bound: of what waits. A turn takes all of it.
    static let limit = 4096
    private let state = Mutex(State())
    private let wakeup: Wakeup

    init() throws(SystemError) { wakeup = try Wakeup() }

    var descriptor: Int32 { wakeup.descriptor }

    @discardableResult
    func send(_ message: Message) -> Bool {
        let isTaken = state.withLock { state in
            guard !state.isStopped, state.messages.count < Self.limit else {
                // The end has to be heard in any case.
                if case .stop = message { state.messages = [.stop] }
                return false
            }
            state.messages.append(message)
            return true
        }
        wakeup.wake()
        return isTaken
    }

    func take() -> [Message] {
        wakeup.clear()
        return state.withLock { state in
            defer { state.messages = [] }
            return state.messages
        }
    }

    func close() { state.withLock { $0.isStopped = true } }
}

/// The thread of a service.
final class ServiceWorker: @unchecked Sendable {
    // Safety: after `init` only its own thread touches it, but for `addresses`, which stay.
    private let reactor: Reactor
    private var loops: [ServiceLoop] = []
    private let parts: [any ServicePart]
    private let inbox: ServiceInbox
    let addresses: [SocketAddress]

    private static let inboxToken: UInt64 = 0

    init(_ setup: ServiceSetup, inbox: ServiceInbox) throws(SystemError) {
        self.inbox = inbox
        parts = setup.parts
        reactor = try Reactor()
        try reactor.add(reading: inbox.descriptor, token: Self.inboxToken)
        var addresses: [SocketAddress] = []
        for (place, listener) in setup.listeners.enumerated() {
            let socket = try Socket.listen(on: listener.address, sharing: false)
            addresses.append(try Socket.localAddress(of: socket.number))
            loops.append(
                try ServiceLoop(
                    listener.limits, handler: listener.handler, on: reactor, place: place,
                    listener: socket, security: listener.security, now: Clock.now()))
        }
        self.addresses = addresses
        for part in parts { try part.attach(to: reactor, now: Clock.now()) }
    }

    private var deadline: Instant? {
        (loops.compactMap(\.deadline) + parts.compactMap(\.deadline)).min()
    }

    /// Serves until told to stop, and nobody is left.
    func run() {
        while !loops.allSatisfy(\.isDrained) {
            let count = reactor.wait(until: deadline, now: Clock.now())
            let now = Clock.now()
            let wall = Clock.wallNanoseconds()
            for loop in loops { loop.begin(now, wall: wall) }
            for part in parts { part.begin(now) }
            for index in 0..<count {
                let readiness = reactor.ready(index)
                let isTaken =
                    loops.contains { $0.handle(readiness) }
                    || parts.contains { $0.handle(readiness) }
                if !isTaken { hear() }
            }
            for part in parts { part.end() }
            for loop in loops { loop.end() }
        }
        inbox.close()
        // Whoever watched until now is told of the end.
        for loop in loops { loop.end() }
    }

    private func hear() {
        for message in inbox.take() {
            switch message {
            case .work(let work): work()
            case .renew(let context): loops.first?.security.context = context
            case .stop: for loop in loops { loop.drain() }
            }
        }
    }
}
