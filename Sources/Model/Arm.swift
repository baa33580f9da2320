// An arm: one way for the same load to reach the same service. Two of them compared tell what lies
// between; several, each with one thing changed, are a ladder.

/// What a scenario calls an arm, and what every result of it is labelled with.
public struct ArmName: RawRepresentable, Codable, Hashable, Sendable {
    public var rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }

    /// Straight to the service's own addresses.
    public static let direct = ArmName(rawValue: "direct")
    /// Through the mesh under test, as `mesh` describes it.
    public static let mesh = ArmName(rawValue: "mesh")
}

/// A way for the load to reach the service, and what is spoken on it.
public struct ArmPlan: Codable, Equatable, Sendable {
    public enum Way: String, Codable, CaseIterable, Sendable {
        /// Straight to the service's own addresses.
        case direct
        /// Through the mesh under test.
        case mesh
    }

    /// Arms of one experiment: as many as there are colours that can be told apart.
    public static let most = 8

    public var name: ArmName
    public var via: Way
    /// In place of what each load says; nil: what it says.
    public var speech: LoadPlan.Speech?
    public var security: LoadPlan.Security?
    public var connections: Int?
    public var streams: Int?
    /// In place of what the mesh says of its hop; nil: what it says.
    public var hopSpeech: HopPlan.Speech?
    public var hopSecurity: HopPlan.Security?
    public var hopConnections: Int?

    public init(
        name: ArmName, via: Way, speech: LoadPlan.Speech? = nil,
        security: LoadPlan.Security? = nil, connections: Int? = nil, streams: Int? = nil,
        hopSpeech: HopPlan.Speech? = nil, hopSecurity: HopPlan.Security? = nil,
        hopConnections: Int? = nil
    ) {
        self.name = name
        self.via = via
        self.speech = speech
        self.security = security
        self.connections = connections
        self.streams = streams
        self.hopSpeech = hopSpeech
        self.hopSecurity = hopSecurity
        self.hopConnections = hopConnections
    }

    /// The arm `direct`: every load as it is.
    public static let direct = ArmPlan(name: .direct, via: .direct)
    /// The arm `mesh`: every load and the mesh as they are.
    public static let mesh = ArmPlan(name: .mesh, via: .mesh)
}

/// What two proxies speak with each other, in mode `sidecar`.
public struct HopPlan: Codable, Equatable, Sendable {
    public enum Speech: String, Codable, CaseIterable, Sendable {
        /// One request at a time on each connection.
        case http1
        /// Many requests on each connection.
        case http2
    }

    public enum Security: String, Codable, CaseIterable, Sendable {
        /// Cleartext.
        case off
        /// As `strict` between proxies, which let in cleartext from others too.
        case permissive
        /// TLS in which both sides show the certificate of their service; nothing else is let in.
        case strict
    }

    /// Of requests. Where the load speaks TCP, its bytes pass as they are.
    public var speech: Speech
    public var security: Security
    /// Connections to each endpoint's proxy at once, in each worker; nil: the proxy's own limit.
    public var connections: Int?

    public init(speech: Speech = .http1, security: Security = .off, connections: Int? = nil) {
        self.speech = speech
        self.security = security
        self.connections = connections
    }
}

extension [ArmName] {
    /// What the others are compared with: `direct` where it is one of them, else the first.
    public var baseline: ArmName? { contains(.direct) ? .direct : first }

    /// What an expectation is about that names no arm: the only one, or of two the one that is not
    /// the baseline. Nil of more, where nobody could tell.
    public var subject: ArmName? {
        count == 1 ? first : count == 2 ? first { $0 != baseline } : nil
    }

    /// The arm that is listed before this one; nil for the first.
    public func predecessor(of arm: ArmName) -> ArmName? {
        firstIndex(of: arm).flatMap { $0 > 0 ? self[$0 - 1] : nil }
    }
}

extension Experiment {
    public var armNames: [ArmName] { arms.map(\.name) }

    /// The loads as they are in this arm.
    public func loads(in arm: ArmPlan) -> [LoadPlan] {
        loads.map { load in
            var load = load
            load.speech = arm.speech ?? load.speech
            load.security = arm.security ?? load.security
            load.connections = arm.connections ?? load.connections
            load.streams = arm.streams ?? load.streams
            return load
        }
    }

    /// What is between two proxies in this arm; nil where no two follow each other.
    public func hop(in arm: ArmPlan) -> HopPlan? {
        guard arm.via == .mesh, mesh.dataplane != .none, mesh.mode == .sidecar else { return nil }
        return HopPlan(
            speech: arm.hopSpeech ?? mesh.hop.speech,
            security: arm.hopSecurity ?? mesh.hop.security,
            connections: arm.hopConnections ?? mesh.hop.connections)
    }

    /// What is spoken in this arm, for people: `HTTP/1.1; between proxies HTTP/2, mutual TLS`.
    public func speech(in arm: ArmPlan) -> String {
        var words: [String] = []
        let loads = loads(in: arm)
        for text in loads.map(\.speechText) where !words.contains(text) { words.append(text) }
        var text = words.joined(separator: " and ")
        if let hop = hop(in: arm) {
            // Proxies that have joined speak what the service does, where nothing is secured.
            let isSame =
                loads.allSatisfy { $0.speech == .tcp } || isJoined(arm) && hop.security == .off
            let speech = isSame ? "the same" : hop.speech == .http1 ? "HTTP/1.1" : "HTTP/2"
            text += "; between proxies \(speech)"
            text += hop.security == .off ? ", cleartext" : ", mutual TLS"
            if hop.security == .permissive { text += " (permissive)" }
        }
        return text
    }
}

extension LoadPlan {
    /// `HTTP/2 over TLS`.
    fileprivate var speechText: String {
        let name =
            switch speech {
            case .http1: "HTTP/1.1"
            case .http2: "HTTP/2"
            case .grpc: "gRPC"
            case .websocket: "WebSocket"
            case .websocketHTTP2: "WebSocket over HTTP/2"
            case .tcp: "TCP"
            }
        switch security {
        case .off: return name
        case .server: return name + " over TLS"
        case .mutual: return name + " over mutual TLS"
        }
    }
}
