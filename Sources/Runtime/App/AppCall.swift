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
        /// The first of its endpoints among all, and how many it has.
        var first: Int
        var count: Int
    }

    /// In the order of the calls; one that is called twice stands here twice.
    var order: [Service] = []
    var endpoints: [SocketAddress] = []

    /// - Throws: where a service that is called has no address, or one that is none.
    init(_ configuration: AppConfiguration) throws(AppError) {
        for name in configuration.behaviour.calls {
            guard let texts = configuration.calls[name], !texts.isEmpty else {
                throw .configuration("calls: no address for the service '\(name)'")
            }
            order.append(Service(name: name, first: endpoints.count, count: texts.count))
            for text in texts {
                guard let address = SocketAddress(text), address.port != 0 else {
                    throw .configuration("calls: '\(text)' of '\(name)' is no host:port")
                }
                endpoints.append(address)
            }
        }
    }
}
