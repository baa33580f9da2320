// Where services are that are called by name: asked of a DNS server once a second, which is how
// long the mesh's answers hold, on a thread of its own. Workers look whether something has changed,
// and never wait.

import Base
import Posix
import Synchronization
import Wire

/// The addresses of names.
final class AppResolver: Sendable {
    /// What is asked for.
    struct Name: Hashable, Sendable {
        var host: DNSName
        /// nil: the name's SRV records tell.
        var port: UInt16?

        /// `cart.shop.mesh`, or `cart.shop.mesh:8080`; nil: it is neither.
        init?(_ text: String) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard (1...2).contains(parts.count), let host = DNSName(parts[0]) else { return nil }
            self.host = host
            guard parts.count == 2 else { return }
            guard let port = UInt16(parts[1]), port != 0 else { return nil }
            self.port = port
        }
    }

    /// From one question to the next.
    static let interval = Duration.seconds(1)
    private static let patience = Duration.seconds(1)

    /// Rises whenever a name has other addresses than before.
    let version = Atomic<UInt64>(0)
    private let server: SocketAddress
    private let names: [Name]
    private let found: Mutex<[[SocketAddress]]>
    private let wakeup: Wakeup

    /// Asks for all names once, for a second each at most. Whoever makes it has a thread `run`.
    init(_ names: [Name], from server: SocketAddress) throws(SystemError) {
        self.names = names
        self.server = server
        found = Mutex(Array(repeating: [], count: names.count))
        wakeup = try Wakeup()
        resolve(with: try DNSClient(server, wakeup: wakeup.descriptor))
    }

    /// Has `run` return. From any thread.
    func stop() { wakeup.wake() }

    /// The addresses of each name as they were last known, in the order of names.
    var addresses: [[SocketAddress]] { found.withLock { $0 } }

    /// Asks again and again until `stop`.
    func run() {
        do throws(SystemError) {
            let client = try DNSClient(server, wakeup: wakeup.descriptor)
            while client.sleep(until: Clock.now() + Self.interval) { resolve(with: client) }
        } catch {
            // Out of descriptors at the start: what is known stays.
            return
        }
    }

    private func resolve(with client: DNSClient) {
        for (place, name) in names.enumerated() {
            guard let addresses = Self.addresses(of: name, client) else { continue }
            let isNew = found.withLock { found in
                // Answers come in an order that changes.
                guard Set(found[place]) != Set(addresses) else { return false }
                found[place] = addresses
                return true
            }
            if isNew { version.add(1, ordering: .releasing) }
        }
    }

    /// - Returns: nil: nobody knows, so that what was known stays.
    private static func addresses(of name: Name, _ client: DNSClient) -> [SocketAddress]? {
        let question = DNSQuestion(name.host, name.port == nil ? .srv : .a)
        guard let answer = client.ask(question, within: patience),
            answer.code == .noError || answer.code == .nameError
        else { return nil }
        guard let port = name.port else { return services(answer) }
        // Those of an alias too, which stand behind it.
        return answer.answers.compactMap { address($0, port: port) }
    }

    /// Those of the lowest priority (RFC 2782) whose addresses came along.
    private static func services(_ answer: DNSMessage) -> [SocketAddress] {
        var best: UInt16 = .max
        var found: [SocketAddress] = []
        for record in answer.answers {
            guard case .service(let priority, _, let port, let target) = record.data,
                priority <= best
            else { continue }
            if priority < best { found = [] }
            best = priority
            for other in answer.additionals where other.name == target {
                if let address = address(other, port: port) { found.append(address) }
            }
        }
        return found
    }

    private static func address(_ record: DNSRecord, port: UInt16) -> SocketAddress? {
        guard case .address(let bytes) = record.data else { return nil }
        return SocketAddress(bytes: bytes, port: port)
    }
}
