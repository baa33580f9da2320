// What one fault does is a stage of its own, a small file in Stages: a function of what was drawn
// for the request and nothing else. Stages add to one effect, so that faults go together: delays
// add up, the first abort is the one that is done, the least rate holds.

public import Base

/// What is to be done to a request.
public struct FaultEffect: Equatable, Sendable, BitwiseCopyable {
    /// How an answer is made.
    public enum Abort: Equatable, Sendable, BitwiseCopyable {
        case none
        /// A status of HTTP, 200 to 599.
        case http(Int16)
        /// A status of gRPC, 0 to 16.
        case grpc(Int16)
    }

    /// Before anything else.
    public var delay = Duration.zero
    public var abort = Abort.none
    /// Bytes per second of the answer's body; 0: as they come.
    public var rate = 0
    /// It is not answered.
    public var hangs = false

    public init() {}

    /// Whether there is nothing to do.
    public var isNone: Bool { self == FaultEffect() }

    /// Adds what another fault does.
    public mutating func add(_ other: FaultEffect) {
        delay = delay + other.delay
        if abort == .none { abort = other.abort }
        if other.rate > 0 { rate = rate > 0 ? min(rate, other.rate) : other.rate }
        hangs = hangs || other.hangs
    }
}

/// Something that is done to requests.
protocol FaultStage: ~Copyable {
    /// Adds what it does to the request that `draw` was drawn for.
    func act(_ draw: FaultDraw, on effect: inout FaultEffect)
}
