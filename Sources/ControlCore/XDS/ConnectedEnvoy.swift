public import Base
public import Model

/// An Envoy that asks, as operators see it.
public struct ConnectedEnvoy: Equatable, Sendable {
    /// What it calls itself.
    public var name: String
    public var service: MeshName
    public var identity: SPIFFEID
    /// Where it asks from.
    public var peer: String
    /// When it asked first.
    public var since: Instant
    /// The revision that it is being told.
    public var sent: UInt64
    /// The last revision of which it was seen to have everything in force; 0: of none.
    public var acknowledged: UInt64
    public var acknowledgedAt: Instant?
    /// What is not in force, and why.
    public var refusals: [EnvoySession.Refusal]
    /// Refusals so far.
    public var refusalCount: Int

    public init(
        name: String, service: MeshName, identity: SPIFFEID, peer: String, since: Instant,
        sent: UInt64, acknowledged: UInt64 = 0, acknowledgedAt: Instant? = nil,
        refusals: [EnvoySession.Refusal] = [], refusalCount: Int = 0
    ) {
        self.name = name
        self.service = service
        self.identity = identity
        self.peer = peer
        self.since = since
        self.sent = sent
        self.acknowledged = acknowledged
        self.acknowledgedAt = acknowledgedAt
        self.refusals = refusals
        self.refusalCount = refusalCount
    }

    /// Why not all is in force, in a line; nil: nothing was refused.
    var reason: String? {
        guard !refusals.isEmpty else { return nil }
        return refusals.map { "\($0.question): \($0.reason)" }.joined(separator: "; ")
    }

    /// Of one that nobody stands beside.
    var json: String {
        var text = "{\"proxy\":\(ControlText.quoted(name)),\"dataplane\":\"envoy\""
        text += ",\"service\":\(ControlText.quoted(service.text))"
        text += ",\"identity\":\(ControlText.quoted(identity.rawValue))"
        text += ",\"peer\":\(ControlText.quoted(peer)),\"since_ns\":\(since.nanoseconds)"
        text += ",\"sent\":\(sent),\"acknowledged\":\(min(acknowledged, sent))"
        if let at = acknowledgedAt { text += ",\"acknowledged_ns\":\(at.nanoseconds)" }
        if let reason {
            text += ",\"refused\":{\"version\":\(sent),\"error\":\(ControlText.quoted(reason))}"
        }
        return text + ",\"refusals\":\(refusalCount)}"
    }
}
