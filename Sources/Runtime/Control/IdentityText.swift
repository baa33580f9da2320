// What operators ask of identities, and are answered, as JSON.

import ControlCore
import FoundationEssentials
import Model

/// What a new token is to be.
struct TokenWish {
    var service: MeshName
    /// Seconds.
    var life: Int64
    var isSingleUse: Bool

    /// Of a token of which nothing is said.
    static let standardLife: Int64 = 3600

    private struct Body: Decodable {
        var service: String
        var life: Int64?
        var isSingleUse: Bool?

        private enum CodingKeys: String, CodingKey {
            case service
            case life = "life_seconds"
            case isSingleUse = "single_use"
        }
    }

    init(_ body: [UInt8]) throws(ControlFailure) {
        let body = try ControlBody.read(body, as: Body.self)
        guard let key = MeshKey(path: "\(MeshKind.service.plural)/\(body.service)") else {
            throw .init(400, "service: a name such as shop/cart is needed")
        }
        service = key.name
        life = body.life ?? Self.standardLife
        guard JoinToken.lives.contains(life) else {
            throw .init(
                400,
                "life_seconds: \(JoinToken.lives.lowerBound) to \(JoinToken.lives.upperBound)")
        }
        isSingleUse = body.isSingleUse ?? true
    }
}

/// The answers.
enum IdentityText {
    static func token(_ text: String, _ token: JoinToken) -> [UInt8] {
        bytes([
            ("token", quoted(text)), ("id", quoted(token.id)),
            ("service", quoted(token.service.text)), ("not_after", "\(token.notAfter)"),
            ("single_use", "\(token.isSingleUse)"),
        ])
    }

    static func certificate(_ record: CertificateRecord) -> [UInt8] {
        Array(text(record).utf8)
    }

    static func authority(_ authority: Authority) -> [UInt8] { Array(text(authority).utf8) }

    static func certificates(
        _ records: [CertificateRecord], next: String?, _ authority: Authority
    ) -> [UInt8] {
        bytes(
            [
                ("authority", text(authority)),
                ("certificates", "[\(records.map(text).joined(separator: ","))]"),
            ] + (next.map { [("next", quoted($0))] } ?? []))
    }

    private static func text(_ record: CertificateRecord) -> String {
        object([
            ("serial", quoted(record.serial.text)), ("service", quoted(record.service.text)),
            ("proxy", quoted(record.proxy)), ("identity", quoted(record.identity.rawValue)),
            ("joined", "\(record.joined)"), ("issued", "\(record.issued)"),
            ("not_after", "\(record.notAfter)"),
            ("revoked", record.revoked.map { "\($0)" } ?? "null"),
        ])
    }

    private static func text(_ authority: Authority) -> String {
        object([
            ("phase", quoted(authority.phase.rawValue)), ("since", "\(authority.since)"),
            ("next_step", authority.nextStep.map { "\($0)" } ?? "null"),
            ("life_seconds", "\(authority.life)"),
            ("issuer_not_after", "\(authority.issuer.notAfter)"),
            ("issuing_root", quoted(authority.issuer.rootDigest)),
            ("roots", "[\(authority.roots.map(quoted).joined(separator: ","))]"),
        ])
    }

    private static func quoted(_ text: String) -> String { ControlText.quoted(text) }

    private static func object(_ members: [(String, String)]) -> String {
        "{\(members.map { "\"\($0)\":\($1)" }.joined(separator: ","))}"
    }

    private static func bytes(_ members: [(String, String)]) -> [UInt8] {
        Array(object(members).utf8)
    }
}
