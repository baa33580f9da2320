public import Model

/// What one process of the built-in workload serves: the file of `meshbench app --config`.
public struct AppConfiguration: Codable, Equatable, Sendable {
    /// What clients speak.
    public enum Speech: String, Codable, CaseIterable, Sendable {
        /// HTTP/1.1, and WebSocket where it is asked for.
        case http
        /// Requests and answers of known lengths over TCP (docs/APP.md).
        case tcp
    }

    /// The service's name, for people.
    public var name: String
    /// `host:port`, numeric. Port 0: any free one.
    public var listen: String
    /// How clients' connections are secured; nil: cleartext.
    public var tls: ServerTLS?
    public var speech: Speech
    public var behaviour: AppBehaviour
    /// The addresses (`host:port`, numeric) of every service that `behaviour.calls` names; taken in
    /// turn. With `dns`, a name in their place: `cart.shop.mesh`, whose SRV records tell the ports,
    /// or `cart.shop.mesh:8080`.
    public var calls: [String: [String]]
    /// The DNS server (`host:port`, numeric) that is asked for names; nil: there are none.
    public var dns: String?
    /// Threads, each with a listening socket of its own. 1 to 64.
    public var workers: Int
    /// The seed from which delays and statuses are drawn.
    public var seed: UInt64
    /// Where faults are held: `host:port`, numeric and of loopback; nil: nowhere.
    public var control: String?
    /// Files with a line for each thing that a fault does, and for each request; nil: none.
    public var ledger: String?
    public var requestLog: String?

    public init(
        name: String = "app", listen: String, speech: Speech = .http, tls: ServerTLS? = nil,
        behaviour: AppBehaviour = .init(),
        calls: [String: [String]] = [:], dns: String? = nil, workers: Int = 1, seed: UInt64 = 1,
        control: String? = nil, ledger: String? = nil, requestLog: String? = nil
    ) {
        self.name = name
        self.listen = listen
        self.tls = tls
        self.speech = speech
        self.behaviour = behaviour
        self.calls = calls
        self.dns = dns
        self.workers = workers
        self.seed = seed
        self.control = control
        self.ledger = ledger
        self.requestLog = requestLog
    }

    private enum CodingKeys: String, CodingKey {
        case name, listen, tls, behaviour, calls, dns, workers, seed, control, ledger
        case requestLog
        case speech = "protocol"
    }

    /// Everything but `listen` may be absent.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        listen = try fields.decode(String.self, forKey: .listen)
        tls = try fields.decodeIfPresent(ServerTLS.self, forKey: .tls)
        speech = try fields.decodeIfPresent(Speech.self, forKey: .speech) ?? .http
        name = try fields.decodeIfPresent(String.self, forKey: .name) ?? "app"
        behaviour = try fields.decodeIfPresent(AppBehaviour.self, forKey: .behaviour) ?? .init()
        calls = try fields.decodeIfPresent([String: [String]].self, forKey: .calls) ?? [:]
        dns = try fields.decodeIfPresent(String.self, forKey: .dns)
        workers = try fields.decodeIfPresent(Int.self, forKey: .workers) ?? 1
        seed = try fields.decodeIfPresent(UInt64.self, forKey: .seed) ?? 1
        control = try fields.decodeIfPresent(String.self, forKey: .control)
        ledger = try fields.decodeIfPresent(String.self, forKey: .ledger)
        requestLog = try fields.decodeIfPresent(String.self, forKey: .requestLog)
    }
}

/// Why the workload could not start.
public enum AppError: Error, Equatable, CustomStringConvertible {
    /// What is wrong with the configuration, for people.
    case configuration(String)
    /// A system call failed; for people.
    case system(String)

    public var description: String {
        switch self {
        case .configuration(let text), .system(let text): text
        }
    }
}
