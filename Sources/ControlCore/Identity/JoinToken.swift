// What a process shows to become a proxy of a service. It says all that the process needs to know
// of the mesh that it joins, and is proved by a key that only control planes have.

import Base
public import Model
import Secure

/// Why a token, or who shows it, is not taken.
public enum JoinRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// It is no token at all.
    case malformed
    /// It was not made by this mesh, or was changed since.
    case forged
    /// It has ended, at this time in seconds since 1970.
    case expired(Int64)
    /// It was for one use, and has been used, with another key.
    case used
    /// It is for this service, and another was asked for.
    case otherService(MeshName)
    /// The service that it is for is not declared.
    case noService(MeshName)

    public var description: String {
        switch self {
        case .malformed: "the token is malformed"
        case .forged: "the token was not made by this mesh"
        case .expired: "the token has expired"
        case .used: "the token was for one use, and has been used"
        case .otherService(let name): "the token is for the service \(name.text)"
        case .noService(let name): "there is no service \(name.text)"
        }
    }
}

/// A join token: `PAYLOAD.MAC`, both in base64url. The payload is lines of text; the MAC is HMAC
/// with SHA-256 of the payload as it stands in the token.
public struct JoinToken: Equatable, Sendable {
    /// Of no two the same: 32 hexadecimal digits.
    public var id: String
    /// Whose proxy it lets in.
    public var service: MeshName
    /// The mesh. Its control planes are `spiffe://DOMAIN/control`.
    public var trustDomain: String
    /// When it ends, seconds since 1970.
    public var notAfter: Int64
    public var isSingleUse: Bool
    /// The roots that were trusted when it was made, as SHA-256 of their DER in hexadecimal:
    /// whoever has the token needs no other proof of whom to trust.
    public var roots: [String]

    /// Bytes of a token; one with the longest names has 800.
    public static let bytesMost = 4096
    /// Roots of a token: a mesh that changes them has two.
    public static let rootsMost = 8
    /// How long tokens may last, seconds.
    public static let lives: ClosedRange<Int64> = 1...30 * 86_400
    private static let version = "1"
    private static let idBytes = 16

    /// - Precondition: `id` is of 32 digits, there are 1 to 8 roots, and names are names.
    public init(
        id: String, service: MeshName, trustDomain: String, notAfter: Int64, isSingleUse: Bool,
        roots: [String]
    ) {
        self.id = id
        self.service = service
        self.trustDomain = trustDomain
        self.notAfter = notAfter
        self.isSingleUse = isSingleUse
        self.roots = roots
        precondition(Self.init(payload: payload) == self, "a token that nobody could read")
    }

    /// An id for a new token.
    public static func makeID(_ random: inout some RandomNumberGenerator) -> String {
        Hexadecimal.encode((0..<idBytes).map { _ in UInt8.random(in: 0...255, using: &random) })
    }

    /// The whole token.
    /// - Parameter key: that of the mesh (`TokenUse.secretKey`), by which it is proved.
    public func text(key: [UInt8]) -> String {
        let text = Base64.encodeURL(Array(payload.utf8))
        return "\(text).\(Base64.encodeURL(Digest.hmac(Array(text.utf8), key: key)))"
    }

    /// What a token says, without a proof of it: for whoever is to show it.
    /// - Returns: nil where it is none.
    public static func claims(of text: String) -> JoinToken? { parts(of: text)?.token }

    /// What a token of this mesh says.
    /// - Parameters:
    ///   - key: that of the mesh, by which it is proved.
    ///   - wall: seconds since 1970.
    /// - Throws: `malformed`, `forged` or `expired`.
    public init(verifying text: String, key: [UInt8], wall: Int64) throws(JoinRefusal) {
        guard let (token, payload, mac) = Self.parts(of: text) else { throw .malformed }
        guard Digest.areEqual(Digest.hmac(payload, key: key), mac) else { throw .forged }
        guard wall < token.notAfter else { throw .expired(token.notAfter) }
        self = token
    }

    private static func parts(
        of text: String
    ) -> (token: JoinToken, payload: [UInt8], mac: [UInt8])? {
        guard text.utf8.count <= bytesMost else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let bytes = Base64.decodeURL(parts[0]),
            let mac = Base64.decodeURL(parts[1]), mac.count == Digest.byteCount,
            let payload = String(validating: bytes, as: UTF8.self),
            let token = JoinToken(payload: payload)
        else { return nil }
        return (token, Array(parts[0].utf8), mac)
    }

    // MARK: The payload

    private var payload: String {
        ([
            Self.version, id, service.text, trustDomain, "\(notAfter)",
            isSingleUse ? "once" : "many",
        ] + roots).joined(separator: "\n")
    }

    private init?(payload: String) {
        let lines = payload.split(separator: "\n", omittingEmptySubsequences: false)
            .map(String.init)
        guard (7...6 + Self.rootsMost).contains(lines.count), lines[0] == Self.version,
            Hexadecimal.decode(lines[1])?.count == Self.idBytes,
            let key = MeshKey(path: "\(MeshKind.service.plural)/\(lines[2])"),
            SPIFFEID.isTrustDomain(lines[3]), let notAfter = Int64(lines[4]),
            "\(notAfter)" == lines[4], ["once", "many"].contains(lines[5])
        else { return nil }
        let roots = Array(lines[6...])
        guard roots.allSatisfy({ Hexadecimal.decode($0)?.count == Digest.byteCount }) else {
            return nil
        }
        id = lines[1]
        service = key.name
        trustDomain = lines[3]
        self.notAfter = notAfter
        isSingleUse = lines[5] == "once"
        self.roots = roots
    }
}
