import Base
import ControlCore
import Model
import Secure
import Testing

@testable import Runtime

/// What the tests read of an issued certificate.
struct IssuedAnswer: Decodable {
    var certificate: String
    var authorities: String
    var trustDomain: String
    var service: String
    var namespace: String
    var identity: String
    var notBefore: Int64
    var notAfter: Int64

    var facts: CertificateFacts {
        get throws { try CertificateFacts(Array(certificate.utf8)) }
    }
}

struct TokenAnswer: Decodable {
    var token: String
    var id: String
    var notAfter: Int64
    var singleUse: Bool
}

struct RecordAnswer: Decodable, Equatable {
    var serial: String
    var service: String
    var proxy: String
    var notAfter: Int64
    var revoked: Int64?
}

struct AuthorityAnswer: Decodable {
    var phase: String
    var nextStep: Int64?
    var lifeSeconds: Int64
    var issuingRoot: String
    var roots: [String]
}

struct CertificatesAnswer: Decodable {
    var authority: AuthorityAnswer
    var certificates: [RecordAnswer]
}

/// A key's request for a certificate, as a string of JSON.
func makeRequest() throws -> String {
    let made = try CertificateRequest.make(commonName: "test")
    return ControlText.quoted(String(decoding: made.request, as: UTF8.self))
}

extension ControlAPI {
    func makeToken(_ more: String = "", service: String = "default/echo") throws -> String {
        let answer = try ask("POST", "/v1/tokens", "{\"service\":\"\(service)\"\(more)}")
        return try answer.expect(201).read(TokenAnswer.self).token
    }

    func join(
        _ token: String, proxy: String = "echo-1", csr: String? = nil, _ more: String = ""
    ) throws -> Answer {
        try askProxies(
            "POST", "/v1/join",
            "{\"token\":\(ControlText.quoted(token)),\"csr\":\(csr ?? makeRequest()),"
                + "\"proxy\":\"\(proxy)\"\(more)}")
    }

    /// Joins, and asks from then on with what it got.
    @discardableResult
    func joined() throws -> IssuedAnswer {
        let answer = try join(try makeToken()).expect(200)
        return try show(try answer.read(IssuedAnswer.self))
    }

    @discardableResult
    func show(_ issued: IssuedAnswer) throws -> IssuedAnswer {
        certificate = try issued.facts.names
        return issued
    }

    func renew() throws -> Answer {
        try askProxies("POST", "/v1/proxy/certificate", "{\"csr\":\(makeRequest())}")
    }
}

/// Every status of every operation about identities, and a way to it.
let identityWays: [String: [Int: @Sendable (ControlAPI) throws -> ControlAPI.Answer]] = [
    "createToken": [
        201: { try $0.ask("POST", "/v1/tokens", "{\"service\":\"default/echo\"}") },
        400: { try $0.ask("POST", "/v1/tokens", "{\"service\":\"echo\"}") },
        404: { try $0.ask("POST", "/v1/tokens", "{\"service\":\"default/nobody\"}") },
        503: { api in
            api.folder.failing = ["write"]
            return try api.ask("POST", "/v1/tokens", "{\"service\":\"default/echo\"}")
        },
        507: { try $0.ask("POST", "/v1/tokens", "{\"service\":\"default/echo\"}") },
    ],
    "listCertificates": [
        200: { try $0.ask("GET", "/v1/certificates") },
        400: { try $0.ask("GET", "/v1/certificates?limit=0") },
        503: { api in
            api.folder.failing = ["write"]
            return try api.ask("GET", "/v1/certificates")
        },
        507: { try $0.ask("GET", "/v1/certificates") },
    ],
    "revokeCertificate": [
        200: { api in
            let serial = try api.joined().facts.serial
            return try api.ask("POST", "/v1/certificates/\(serial)/revoke")
        },
        400: { try $0.ask("POST", "/v1/certificates/40/revoke?x") },
        404: { try $0.ask("POST", "/v1/certificates/40/revoke") },
        503: { api in
            let serial = try api.joined().facts.serial
            api.folder.failing = ["write"]
            return try api.ask("POST", "/v1/certificates/\(serial)/revoke")
        },
    ],
    "rotateAuthority": [
        200: { try $0.ask("POST", "/v1/authority/rotate") },
        400: { try $0.ask("POST", "/v1/authority/rotate?x") },
        409: { api in
            _ = try api.ask("POST", "/v1/authority/rotate")
            return try api.ask("POST", "/v1/authority/rotate")
        },
        503: { api in
            api.folder.failing = ["write"]
            return try api.ask("POST", "/v1/authority/rotate")
        },
        507: { try $0.ask("POST", "/v1/authority/rotate") },
    ],
    "authorities": [
        200: { try $0.askProxies("GET", "/v1/authorities") },
        400: { try $0.askProxies("GET", "/v1/authorities?x") },
        503: { api in
            _ = try api.proxyListener()
            try api.center.commit(
                StoreTransaction(changes: [.put(Authority.key, value: [1])]))
            return try api.askProxies("GET", "/v1/authorities")
        },
    ],
    "join": [
        200: { try $0.join(try $0.makeToken()) },
        400: { try $0.join(try $0.makeToken(), csr: "\"\"") },
        401: { try $0.join("x") },
        403: { api in
            let token = try api.makeToken()
            _ = try api.join(token)
            return try api.join(token)
        },
        503: { api in
            let token = try api.makeToken()
            _ = try api.proxyListener()
            api.folder.failing = ["write"]
            return try api.join(token)
        },
        507: { try $0.join(try $0.makeToken()) },
    ],
    "renewCertificate": [
        200: { api in
            try api.joined()
            return try api.renew()
        },
        400: { api in
            try api.joined()
            return try api.askProxies("POST", "/v1/proxy/certificate", "{}")
        },
        401: { try $0.renew() },
        403: { api in
            try api.joined()
            api.clock.pass(86_401)
            return try api.renew()
        },
        503: { api in
            try api.joined()
            api.certificate?.notAfter = .max
            api.clock.pass(11 * 365 * 86_400)
            return try api.renew()
        },
    ],
]
