// What a subscriber is told, asks for, and waits for.

public import Base

/// What a proxy asks a control plane for.
public enum SubscriberCall: Hashable, Sendable {
    /// Whom to trust.
    case authorities
    /// A first certificate, by a token.
    case join
    /// A certificate in place of the one that it has.
    case certificate
    /// Pushes.
    /// - held: the version that is held; nil: none.
    /// - registers: whether the proxy takes requests, and says where.
    case watch(held: UInt64?, registers: Bool)
    /// Says what became of a version; `error`: why it was refused.
    case ack(version: UInt64, error: String?)
    case heartbeat
    /// Ends the registration.
    case leave
}

/// What a refusal says of another attempt.
public enum SubscriberRefusal: Equatable, Sendable {
    /// It is of the moment.
    case passing
    /// The same would be refused again, as far as whoever was asked knows.
    case lasting
    /// Likewise, for who asks: his certificate or his token.
    case forbidden
}

/// How a connection is secured.
public enum SubscriberTrust: Equatable, Sendable {
    /// Anybody is believed: only for `authorities`, whose answer proves itself.
    case anybody
    /// The server is who the mesh's authorities vouch for.
    case authorities
    /// That, and the own certificate is shown.
    case mutual
}

/// What a subscriber wants done.
public enum SubscriberCommand: Equatable, Sendable {
    case connect(server: Int, SubscriberTrust)
    case disconnect
    case call(SubscriberCall)
    /// A sign of life is wanted of the server.
    case probe
    /// The view has changed: `adopted` is to be told what came of it.
    case adopt
    /// The registration has ended, or nobody is left to end it.
    case left
    /// The mesh does not let it in, and nothing is held that could be served.
    case giveUp(String)
}

/// How long a subscriber waits for what.
public struct SubscriberLimits: Equatable, Sendable {
    /// For a connection with its TLS, at the first attempt; doubles with each that fails, as a
    /// server that many come back to at once needs longer.
    public var connect = Duration.seconds(2)
    public var connectMost = Duration.seconds(16)
    /// For an answer, and for the beginning of a watch.
    public var answer = Duration.seconds(5)
    /// From one heartbeat to the next; a registration lives for three of them.
    public var heartbeat = Duration.seconds(3)
    /// With more than one server: how long one may be silent before it is asked for a sign of
    /// life, and how long that may take. So a server that is gone without a word is left within
    /// twice this time.
    public var probe = Duration.milliseconds(750)
    /// Before another attempt. The cap leaves room in the 5 s within which a mesh is whole again
    /// after its control plane has come back.
    public var backoff = FullJitter(base: .milliseconds(250), cap: .seconds(3))
    /// From one certificate to the next at least: less than half of the shortest life that there
    /// is (`Authority.lives`).
    public var renewalLeast = Duration.seconds(1)
    /// Before a renewal is asked for again.
    public var renewal = FullJitter(base: .milliseconds(500), cap: .seconds(30))
    /// How often a proxy that has nothing to serve is told that the mesh does not let it in, before
    /// it believes that: as often as there are servers, which are asked in turn, as one of those
    /// that share a store may not have heard yet of what the token is for. With one server, 0.4 s
    /// on average.
    public var refusals = 3
    /// A watch that has lived so long was a success: attempts count from 0 again.
    public var stable = Duration.seconds(3)
    /// For the end of the registration.
    public var leave = Duration.seconds(1)

    public init() {}
}
