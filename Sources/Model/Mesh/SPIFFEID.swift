// Who a workload is, as its certificate says (the SPIFFE-ID standard, sections 2.1 to 2.4), and
// patterns of that.

/// A SPIFFE id: `spiffe://TRUST-DOMAIN/PATH`.
public struct SPIFFEID: RawRepresentable, Codable, Hashable, Comparable, Sendable {
    /// The trust domain of a mesh that names none.
    public static let standardTrustDomain = "meshbench.test"
    /// Bytes of one id (section 2.4).
    public static let bytesMost = 2048
    /// What every id begins with (SPIFFE-ID, 2).
    public static let scheme = "spiffe://"

    public let rawValue: String

    /// Nil where the text is no SPIFFE id with a path.
    public init?(rawValue: String) {
        guard rawValue.utf8.count <= Self.bytesMost, rawValue.hasPrefix(Self.scheme) else {
            return nil
        }
        let parts = rawValue.dropFirst(Self.scheme.count)
            .split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= 2, Self.isTrustDomain(parts[0]),
            parts.dropFirst().allSatisfy(Self.isSegment)
        else { return nil }
        self.rawValue = rawValue
    }

    /// The id of a service that declares none: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`, as
    /// Istio and Consul's Kubernetes have it. Nil where a part cannot stand in an id.
    public init?(_ name: MeshName, trustDomain: String) {
        self.init(
            rawValue: "\(Self.scheme)\(trustDomain)/ns/\(name.namespace)/sa/\(name.name)")
    }

    /// Whom the certificates of a mesh's control planes name. No service may be called so: its
    /// proxies would pass for them.
    public static func control(of trustDomain: some StringProtocol) -> String {
        "\(scheme)\(trustDomain)/control"
    }

    /// The mesh whose authority vouches for it.
    public var trustDomain: Substring {
        rawValue.dropFirst(Self.scheme.count).prefix { $0 != "/" }
    }

    /// `NAMESPACE` of a path that begins with `/ns/NAMESPACE/`; nil of others.
    public var namespace: Substring? {
        let parts = rawValue.dropFirst(Self.scheme.count).split(separator: "/")
        return parts.count >= 4 && parts[1] == "ns" ? parts[2] : nil
    }

    public static func < (a: SPIFFEID, b: SPIFFEID) -> Bool { a.rawValue < b.rawValue }

    /// The name of a trust domain (section 2.1): lower-case letters, digits, `.`, `-`, `_`.
    public static func isTrustDomain(_ text: some StringProtocol) -> Bool {
        (1...255).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                isPathByte($0) && !(UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
            }
    }

    private static func isSegment(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text != "." && text != ".." && text.utf8.allSatisfy(isPathByte)
    }

    /// Section 2.2.
    fileprivate static func isPathByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "._-".utf8.contains(byte)
        }
    }

    fileprivate static func begins(_ prefix: some StringProtocol) -> Bool {
        prefix.hasPrefix(scheme) || scheme.hasPrefix(String(prefix))
    }
}

/// Which identities: one, those that begin or end with something, or all (`*`).
public struct IdentityPattern: RawRepresentable, Codable, Hashable, Sendable {
    public let rawValue: String

    /// Nil where the text is neither a SPIFFE id nor one with a `*` at its beginning or end.
    public init?(rawValue: String) {
        self.rawValue = rawValue
        if rawValue == "*" { return }
        let isPrefix = rawValue.hasSuffix("*")
        guard isPrefix || rawValue.hasPrefix("*") else {
            guard SPIFFEID(rawValue: rawValue) != nil else { return nil }
            return
        }
        let rest = isPrefix ? rawValue.dropLast() : rawValue.dropFirst()
        let isClean = rest.utf8.allSatisfy { SPIFFEID.isPathByte($0) || "/:".utf8.contains($0) }
        guard rest.utf8.count < SPIFFEID.bytesMost, isClean, !isPrefix || SPIFFEID.begins(rest)
        else { return nil }
    }

    /// The id itself where it names one; nil of patterns.
    public var exact: SPIFFEID? { SPIFFEID(rawValue: rawValue) }

    /// What every id that it means begins with.
    public var prefix: Substring {
        rawValue.hasPrefix("*") ? "" : rawValue.hasSuffix("*") ? rawValue.dropLast() : rawValue[...]
    }

    /// Whether it means this identity.
    public func matches(_ identity: SPIFFEID) -> Bool {
        if rawValue.hasPrefix("*") { return identity.rawValue.hasSuffix(rawValue.dropFirst()) }
        return rawValue.hasSuffix("*")
            ? identity.rawValue.hasPrefix(prefix) : identity.rawValue == rawValue
    }
}
