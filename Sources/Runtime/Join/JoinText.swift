// What a proxy and a control plane say to one another, as JSON.

import ControlCore
import FoundationEssentials
import Model
import Secure

/// The bodies of requests, and what answers say.
enum JoinText {
    /// What comes of a request for a certificate.
    struct Certificate: Codable, Equatable {
        /// PEM: the leaf, then the intermediates.
        var certificate: String
        /// PEM: whom to trust.
        var authorities: String
        var service: String
        var trustDomain: String
        /// From when until when the leaf is valid, seconds since 1970.
        var notBefore: Int64
        var notAfter: Int64

        var validity: Validity { Validity(notBefore: notBefore, notAfter: notAfter) }

        enum CodingKeys: String, CodingKey {
            case certificate, authorities, service
            case trustDomain = "trust_domain"
            case notBefore = "not_before"
            case notAfter = "not_after"
        }
    }

    private struct Refusal: Codable {
        var error: String
    }

    static func decode<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) -> Value? {
        try? JSONDecoder().decode(type, from: Data(bytes))
    }

    /// What an answer says is wrong, on one line for people.
    static func refusal(status: Int, _ body: [UInt8]) -> String {
        let text =
            decode(Refusal.self, body)?.error ?? String(decoding: body.prefix(200), as: UTF8.self)
        let line = text.split(whereSeparator: \.isNewline).first.map { ": \($0)" } ?? ""
        return "\(status)\(line)"
    }

    /// An object whose members that are nil are left away.
    static func object(_ members: KeyValuePairs<String, String?>) -> [UInt8] {
        let all = members.compactMap { name, value in
            value.map { "\(ControlText.quoted(name)):\($0)" }
        }
        return Array("{\(all.joined(separator: ","))}".utf8)
    }

    static func text(_ text: String) -> String { ControlText.quoted(text) }

    /// nil: there are none.
    static func list(_ texts: [String]) -> String? {
        texts.isEmpty ? nil : "[\(texts.map(text).joined(separator: ","))]"
    }

    /// A push as it stands on the wire, for the file that it is kept in.
    static func push(_ push: MeshPush, _ codec: MeshCodec) -> [UInt8] {
        var bytes = Array("{\"version\":\(push.version),\"snapshot\":\(push.isSnapshot)".utf8)
        if let authorities = push.authorities {
            bytes += ",\"authorities\":\(text(authorities))".utf8
        }
        bytes += ",\"declarations\":[".utf8
        for (index, declaration) in push.puts.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes += codec.encode(declaration)
        }
        return bytes + "]}".utf8
    }
}
