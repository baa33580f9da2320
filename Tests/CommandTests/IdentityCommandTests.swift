// The commands about identities, against a control plane that says what it is told to.

import FoundationEssentials
import Model
import Runtime
import Testing

@testable import meshbench

private let authority = """
    {"phase":"distributing","since":1,"next_step":1800000000,"life_seconds":60,\
    "issuer_not_after":1900000000,"issuing_root":"aabbccddeeff00112233","roots":\
    ["aabbccddeeff00112233","00112233445566778899"]}
    """

private func certificate(_ proxy: String, _ end: Int64, _ revoked: String) -> String {
    """
    {"serial":"4041","service":"shop/cart","proxy":"\(proxy)","identity":"spiffe://a/b",\
    "joined":1,"issued":1,"not_after":\(end),"revoked":\(revoked)}
    """
}

@Suite struct IdentityCommandTests {
    @Test func tokens() throws {
        let answer = ["POST /v1/tokens": (201, "{\"token\":\"a.b\",\"id\":\"1\"}")]
        let once = try say(.controlToken, ["shop/cart"], answer, makeToken)
        #expect(once.text == "a.b\n")
        #expect(
            once.asked.map(\.body)
                == [#"{"service":"shop/cart","life_seconds":3600,"single_use":true}"#])
        let many = try say(
            .controlToken, ["cart", "--namespace", "shop", "--many", "--life", "2m"], answer,
            makeToken)
        #expect(
            many.asked.map(\.body)
                == [#"{"service":"shop/cart","life_seconds":120,"single_use":false}"#])
        for words in [["shop/cart", "--life", "1500ms"], ["Cart"], ["a/b/c"]] {
            #expect(throws: CommandFailure.self) {
                try say(.controlToken, words, answer, makeToken)
            }
        }
        let refusal = #expect(throws: CommandFailure.self) {
            try say(
                .controlToken, ["cart"],
                ["POST /v1/tokens": (404, #"{"error":"there is no service default/cart"}"#)],
                makeToken)
        }
        #expect(refusal?.code == .failed)
        #expect(refusal?.message.contains("there is no service default/cart") == true)
    }

    @Test func certificates() throws {
        let body = """
            {"authority":\(authority),"certificates":[
            \(certificate("cart-1", 4_000_000_000, "null")),
            \(certificate("cart-2", 5, "null")),\(certificate("c", 4_000_000_000, "7"))]}
            """
        let said = try say(
            .controlCertificates, [], ["GET /v1/certificates": (200, body)], listCertificates)
        #expect(
            said.text == """
                phase      distributing
                next step  2027-01-15T08:00:00Z at the latest
                life       60 s
                issuer     until 2030-03-17T17:46:40Z
                root       aabbccddeeff0011, issues
                root       0011223344556677

                SERVICE    PROXY   STATE    UNTIL                 SERIAL
                shop/cart  cart-1  valid    2096-10-02T07:06:40Z  4041
                shop/cart  cart-2  expired  1970-01-01T00:00:05Z  4041
                shop/cart  c       revoked  2096-10-02T07:06:40Z  4041

                """)
        let pages = [
            "GET /v1/certificates": (
                200, "{\"authority\":\(authority),\"certificates\":[],\"next\":\"40\"}"
            ), "GET /v1/certificates?after=40": (200, body),
        ]
        #expect(try say(.controlCertificates, [], pages, listCertificates).text == said.text)
        let none = try say(
            .controlCertificates, [],
            ["GET /v1/certificates": (200, "{\"authority\":\(authority),\"certificates\":[]}")],
            listCertificates)
        #expect(none.text.hasSuffix("\n\nno proxy has joined\n"))
    }

    @Test func takingBackAndRotating() throws {
        let said = try say(
            .controlCertificates, ["--revoke", "4041AB"],
            ["POST /v1/certificates/4041ab/revoke": (200, certificate("cart-1", 5, "7"))],
            listCertificates)
        #expect(said.text == "revoked  4041 of cart-1, shop/cart\n")
        #expect(throws: CommandFailure.self) {
            try say(.controlCertificates, ["--revoke", "../x"], [:], listCertificates)
        }
        let rotated = try say(
            .controlRotate, [], ["POST /v1/authority/rotate": (200, authority)], rotateAuthority)
        #expect(rotated.text.hasPrefix("phase      distributing\n"))
    }
}
