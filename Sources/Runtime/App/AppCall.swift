import Base
import Model
import Posix
import Wire

/// A connection of the workload to a service that it calls. A plain value in a slab.
struct AppCall: BitwiseCopyable {
    enum State: UInt8, BitwiseCopyable {
        case free
        /// Open, with no request: kept for the next call.
        case idle
        case connecting
        /// Waits for the answer's head.
        case head
        /// Reads the answer's body.
        case body
    }

    var state = State.free
    var socket: Int32 = -1
    var generation: UInt32 = 0
    /// The place of the service in `AppServices.order`, and of its endpoint among all endpoints.
    var service = 0
    var endpoint = 0
    /// The exchange that waits for it.
    var owner = 0
    /// It had served a call before: if it fails before the first byte, the service may just have
    /// closed it, and the call is made once more on a new connection.
    var isReused = false
    var hasAnswered = false

    var status = 0
    var framing = BodyFraming.none
    var bodyLeft = 0
    var chunks = ChunkedBody()
    var keepAlive = false
    var input: Int32 = -1
    var inputEnd = 0

    /// In the list of free slots, or of idle connections to the same endpoint; -1: the last.
    var next: Int32 = -1
}

/// The services that each request calls, one after another, and the addresses of each.
struct AppServices {
    struct Service {
        var name: String
        /// Which name of the resolver's tells its addresses; nil: they do not change.
        var resolved: Int?
        /// Places of its endpoints among all.
        var endpoints: [Int] = []
        /// The one of these that was called last.
        var turn = -1
    }

    struct Endpoint {
        var address: SocketAddress
        /// The idle connections to it, the last used first; -1: none.
        var idle: Int32 = -1
        /// Connections to it, idle ones too.
        var calls = 0
        /// A service has it.
        var isCurrent = true
        /// Else the place is free for another.
        var isTaken = true
    }

    /// In the order of the calls; one that is called twice stands here twice.
    private(set) var order: [Service] = []
    /// Bound: those of all services together, and those that still have calls under way.
    var endpoints: [Endpoint] = []
    /// What the resolver is to tell.
    private(set) var names: [AppResolver.Name] = []
    /// That of the resolver when it was last asked.
    private(set) var version: UInt64 = 0

    /// - Throws: where a service that is called has no address, or one that is none.
    init(_ configuration: AppConfiguration) throws(AppError) {
        for name in configuration.behaviour.calls {
            guard let texts = configuration.calls[name], !texts.isEmpty else {
                throw .configuration("calls: no address for the service '\(name)'")
            }
            var service = Service(name: name)
            for text in texts {
                if let address = SocketAddress(text), address.port != 0 {
                    service.endpoints.append(endpoints.count)
                    endpoints.append(Endpoint(address: address))
                    continue
                }
                guard configuration.dns != nil else {
                    throw .configuration("calls: '\(text)' of '\(name)' is no host:port")
                }
                guard texts.count == 1, let resolved = AppResolver.Name(text) else {
                    throw .configuration(
                        "calls: '\(name)' needs addresses, or one name to ask for")
                }
                service.resolved = names.count
                names.append(resolved)
            }
            order.append(service)
        }
    }

    /// The endpoint of a service whose turn it is; nil: it has none.
    mutating func next(_ service: Int) -> Int? {
        let count = order[service].endpoints.count
        guard count > 0 else { return nil }
        order[service].turn = (order[service].turn + 1) % count
        return order[service].endpoints[order[service].turn]
    }

    /// Takes what names have come to mean.
    /// - Returns: endpoints that no service has any more.
    mutating func renew(_ addresses: [[SocketAddress]], version: UInt64) -> [Int] {
        self.version = version
        for place in order.indices {
            guard let name = order[place].resolved else { continue }
            order[place].endpoints = addresses[name].map { index(of: $0) }
        }
        let current = Set(order.flatMap(\.endpoints))
        for place in endpoints.indices {
            endpoints[place].isCurrent = current.contains(place)
            release(place)
        }
        return endpoints.indices.filter { endpoints[$0].isTaken && !endpoints[$0].isCurrent }
    }

    private mutating func index(of address: SocketAddress) -> Int {
        if let known = endpoints.firstIndex(where: { $0.isTaken && $0.address == address }) {
            return known
        }
        guard let free = endpoints.firstIndex(where: { !$0.isTaken }) else {
            endpoints.append(Endpoint(address: address))
            return endpoints.count - 1
        }
        endpoints[free] = Endpoint(address: address)
        return free
    }

    /// Gives the place of an endpoint to others, if nobody needs it.
    mutating func release(_ endpoint: Int) {
        if !endpoints[endpoint].isCurrent, endpoints[endpoint].calls == 0 {
            endpoints[endpoint].isTaken = false
        }
    }
}
