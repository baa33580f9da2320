// What declarations are called. Names are labels of DNS, as a service answers to
// `NAME.NAMESPACE.mesh`.

/// The name of something declared, or a reference to it; unique among its kind.
public struct MeshName: Codable, Hashable, Comparable, Sendable {
    /// The namespace of whatever names none.
    public static let standardNamespace = "default"

    public var namespace: String
    public var name: String

    public init(_ name: String, in namespace: String = standardNamespace) {
        self.namespace = namespace
        self.name = name
    }

    /// `NAMESPACE/NAME`.
    public var text: String { "\(namespace)/\(name)" }

    public static func < (a: MeshName, b: MeshName) -> Bool {
        a.namespace == b.namespace ? a.name < b.name : a.namespace < b.namespace
    }

    /// How wide a net it casts: 0 one name, 1 all of a namespace (`shop/*`), 2 all (`*/*`).
    public var breadth: Int { namespace == "*" ? 2 : name == "*" ? 1 : 0 }

    /// Whether a reference means `other`: by name, or as one of all.
    public func covers(_ other: MeshName) -> Bool {
        (namespace == "*" || namespace == other.namespace) && (name == "*" || name == other.name)
    }

    /// Whether a text is a label of DNS (RFC 1123, 2.1; RFC 1035, 2.3.4) in lower case: letters,
    /// digits and hyphens, no hyphen at either end, at most 63.
    public static func isLabel(_ text: some StringProtocol) -> Bool {
        let hyphen = UInt8(ascii: "-")
        return (1...MeshLimits.nameBytes).contains(text.utf8.count)
            && !text.hasPrefix("-") && !text.hasSuffix("-")
            && text.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                    hyphen:
                    true
                default: false
                }
            }
    }
}

/// What can be declared.
public enum MeshKind: String, Codable, CaseIterable, Comparable, Sendable {
    case service, endpoint, route, policy, authorization

    /// The first part of keys in the store: `services`.
    public var plural: String {
        switch self {
        case .service: "services"
        case .endpoint: "endpoints"
        case .route: "routes"
        case .policy: "policies"
        case .authorization: "authorizations"
        }
    }

    public static func < (a: MeshKind, b: MeshKind) -> Bool { a.plural < b.plural }
}

/// What names one declaration in the whole mesh.
public struct MeshKey: Codable, Hashable, Comparable, Sendable {
    public var kind: MeshKind
    public var name: MeshName

    public init(_ kind: MeshKind, _ name: MeshName) {
        self.kind = kind
        self.name = name
    }

    /// The key in the store: `services/shop/cart`. Its order is that of keys.
    public var path: String { "\(kind.plural)/\(name.text)" }

    /// The key that a path says; nil where it says none.
    public init?(path: some StringProtocol) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, MeshName.isLabel(parts[1]), MeshName.isLabel(parts[2]),
            let kind = MeshKind.allCases.first(where: { $0.plural == parts[0] })
        else { return nil }
        self.init(kind, MeshName(String(parts[2]), in: String(parts[1])))
    }

    /// For people: `service shop/cart`.
    public var title: String { "\(kind.rawValue) \(name.text)" }

    public static func < (a: MeshKey, b: MeshKey) -> Bool {
        a.kind == b.kind ? a.name < b.name : a.kind < b.kind
    }
}
