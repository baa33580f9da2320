// A server that does what a test tells it, one thread a connection, and records what it is sent.

import Base
import Glibc
public import Posix
import Synchronization

/// Things that happened on other threads, in order, and a way to wait for them.
public final class Recorder<Element: Sendable>: Sendable {
    private let state = Mutex<[Element]>([])
    private let wakeup: Wakeup

    public init() throws(SystemError) { wakeup = try Wakeup() }

    public func note(_ element: Element) {
        state.withLock { $0.append(element) }
        wakeup.wake()
    }

    /// All so far.
    public var all: [Element] { state.withLock { $0 } }

    /// All so far, once there are `count`. For one thread at a time.
    public func wait(for count: Int) throws(WireFailure) -> [Element] {
        let deadline = Clock.now() + RawConnection.patience
        while true {
            wakeup.clear()
            let all = self.all
            if all.count >= count { return all }
            let left = deadline - Clock.now()
            guard left > .zero else { throw .timedOut }
            _ = waitReadable([wakeup.descriptor], for: left)
        }
    }
}

/// A listening server. Each connection is served by `script` on a thread of its own, and closed
/// when the script returns or fails.
public final class TestServer: Sendable {
    public let address: SocketAddress
    /// Every request that `readRequest` of a `Call` has read.
    public let requests: Recorder<RawMessage>
    /// The number of every connection accepted, from 0.
    public let connections: Recorder<Int>
    private let listener: Int32
    private let wasStopped = Mutex(false)

    /// One connection, as its script sees it.
    public struct Call {
        public let connection: RawConnection
        /// From 0, in the order of acceptance.
        public let number: Int
        public let requests: Recorder<RawMessage>

        /// Reads the next request and records it.
        public func readRequest() throws(WireFailure) -> RawMessage {
            let request = try connection.readRequest()
            requests.note(request)
            return request
        }
    }

    /// Listens on a port of the system's choice.
    public init(
        _ script: @escaping @Sendable (Call) throws(WireFailure) -> Void
    ) throws(SystemError) {
        let listening = try Socket.listen(on: .loopback(port: 0), sharing: false)
        address = try Socket.localAddress(of: listening.number)
        requests = try Recorder()
        connections = try Recorder()
        let number = listening.release()
        listener = number
        _ = fcntl(number, F_SETFL, fcntl(number, F_GETFL) & ~O_NONBLOCK)
        let (requests, connections) = (requests, connections)
        try Thread(name: "test-server") {
            // The thread owns the listener; `shutdown` from elsewhere makes `accept` fail and ends
            // it.
            let owner = Descriptor(owning: number)
            var count = 0
            while case .connection(let socket, _) = Socket.accept(owner.number) {
                _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) & ~O_NONBLOCK)
                let call = count
                count += 1
                connections.note(call)
                // A thread that cannot be had leaves the client without an answer: its test says
                // so.
                try? Thread(name: "test-call") {
                    let connection = RawConnection(owning: socket)
                    let call = Call(connection: connection, number: call, requests: requests)
                    // How the peer ends is for the test's own checks.
                    try? script(call)
                    connection.close()
                }.detach()
            }
        }.detach()
    }

    deinit { stopListening() }

    /// Refuses connections from here on; those that are open go on.
    public func stopListening() {
        wasStopped.withLock {
            if !$0 { shutdown(listener, Int32(SHUT_RDWR)) }; $0 = true
        }
    }

    /// A server that answers every request with what `answer` says, whole and on the wire, for
    /// ever.
    public static func answering(
        _ answer: @escaping @Sendable (RawMessage) -> String
    ) throws(SystemError) -> TestServer {
        try TestServer { call throws(WireFailure) in
            while true { try call.connection.send(answer(try call.readRequest())) }
        }
    }

    /// A server that says its name to every request.
    public static func named(_ name: String) throws(SystemError) -> TestServer {
        try answering { _ in "HTTP/1.1 200 OK\r\ncontent-length: \(name.utf8.count)\r\n\r\n\(name)"
        }
    }
}
