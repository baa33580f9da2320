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

/// A running service. Its application is called on its thread alone.
public final class Service: Sendable {
    /// Where it listens, with the port that was chosen.
    public let address: SocketAddress
    private let inbox: ServiceInbox
    private let thread: Mutex<JoinableThread?>

    /// Binds, and starts the thread. When it returns, connections are accepted.
    /// - Parameter name: the thread's, at most 15 bytes.
    /// - Throws: where the address cannot be bound, or a file of certificates or keys cannot be
    ///   used.
    public init(
        _ configuration: ServiceConfiguration, name: String = "service",
        handler: sending any ServiceHandler
    ) throws(ServiceError) {
        let context = try Self.context(configuration.tls)
        do throws(SystemError) {
            let listener = try Socket.listen(on: configuration.listen, sharing: false)
            address = try Socket.localAddress(of: listener.number)
            let inbox = try ServiceInbox()
            let worker = try ServiceWorker(
                configuration.limits, handler: handler, listener: listener, context: context,
                inbox: inbox)
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

    /// Reads certificates and keys anew: new connections get the new ones, old ones live on.
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

    private static func context(_ tls: ServerTLS?) throws(ServiceError) -> TLSContext? {
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
    // Safety: after `init` only its own thread touches it.
    private let reactor: Reactor
    private let loop: ServiceLoop
    private let inbox: ServiceInbox

    private static let inboxToken: UInt64 = 0

    init(
        _ limits: ServiceLimits, handler: any ServiceHandler, listener: consuming Descriptor,
        context: TLSContext?, inbox: ServiceInbox
    ) throws(SystemError) {
        self.inbox = inbox
        reactor = try Reactor()
        try reactor.add(reading: inbox.descriptor, token: Self.inboxToken)
        loop = try ServiceLoop(
            limits, handler: handler, on: reactor, listener: listener, context: context,
            now: Clock.now())
    }

    /// Serves until told to stop, and nobody is left.
    func run() {
        while !loop.isDrained {
            let count = reactor.wait(until: loop.deadline, now: Clock.now())
            loop.begin(Clock.now(), wall: Clock.wallNanoseconds())
            for index in 0..<count {
                let readiness = reactor.ready(index)
                if !loop.handle(readiness) { hear() }
            }
            loop.end()
        }
        inbox.close()
        // Whoever watched until now is told of the end.
        loop.end()
    }

    private func hear() {
        for message in inbox.take() {
            switch message {
            case .work(let work): work()
            case .renew(let context): loop.context = context
            case .stop: loop.drain()
            }
        }
    }
}
