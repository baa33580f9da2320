// What a proxy holds of the mesh: a copy of those declarations that it needs, kept by pushes.

public import Model

/// A push that does not follow on what is held. Whoever gets it asks for all of it anew.
public enum ProxyViewError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A delta, and nothing is held that it could change.
    case noBase
    /// A delta that is older than what is held.
    case older(UInt64, held: UInt64)
    /// A snapshot without authorities: nobody could be trusted.
    case noAuthorities

    public var description: String {
        switch self {
        case .noBase: "a change came before there was anything to change"
        case .older(let version, let held):
            "a change to version \(version) came after version \(held)"
        case .noAuthorities: "a snapshot came without authorities"
        }
    }
}

/// The declarations that a proxy needs, and whom it is to trust.
public struct ProxyView: Equatable, Sendable {
    public private(set) var mesh: MeshState
    /// PEM: the roots that are trusted; empty: none have been pushed.
    public private(set) var authorities = ""
    /// The store's revision that it is of; nil: nothing has been pushed.
    public private(set) var version: UInt64?

    /// One that holds nothing.
    public init(trustDomain: String) { mesh = MeshState(trustDomain: trustDomain) }

    /// Takes a push in whole, or nothing of it.
    public mutating func apply(_ push: MeshPush) throws(ProxyViewError) {
        if push.isSnapshot {
            guard let authorities = push.authorities else { throw .noAuthorities }
            // Also where it is older than what is held: the control plane then lost what it had,
            // and what it has now holds.
            self.authorities = authorities
        } else {
            guard let held = version else { throw .noBase }
            // The same version again changes the authorities alone.
            guard push.version >= held else { throw .older(push.version, held: held) }
            if let authorities = push.authorities { self.authorities = authorities }
        }
        mesh.adopt(push)
        version = push.version
    }

    /// Nothing is held that could be served.
    public var isEmpty: Bool { mesh.count == 0 }

    /// Makes the next push that counts a snapshot: what is held stays, but not as of a version.
    mutating func forgetVersion() { version = nil }

    /// All of it as one push; nil: nothing is held.
    public var snapshot: MeshPush? {
        version.map {
            MeshPush(
                version: $0, isSnapshot: true, authorities: authorities, puts: mesh.declarations)
        }
    }
}
