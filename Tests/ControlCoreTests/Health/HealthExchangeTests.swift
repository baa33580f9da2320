import Base
import Model
import Testing

@testable import ControlCore

private func probe(
    _ check: MeshHealthCheck.Probe, _ speech: MeshService.Speech = .http1, isStrict: Bool = false
) -> HealthBook.Probe {
    HealthBook.Probe(
        endpoint: MeshName("cart-1", in: "shop"), ticket: 1, address: "127.0.0.1:1",
        host: "cart.shop.mesh", check: MeshHealthCheck(check), speech: speech,
        identity: isStrict ? SPIFFEID(rawValue: "spiffe://mesh/ns/shop/sa/cart") : nil,
        takesCleartext: !isStrict)
}

@Suite struct HealthExchangeTests {
    @Test func aConnectionSuffices() {
        #expect(HealthExchange(probe(.tcp)).outcome == .passed)
        // What takes mutual TLS only is not asked in cleartext.
        let strict = probe(.http(path: "/healthz"), isStrict: true)
        let unasked = HealthExchange(strict)
        #expect(unasked.outcome == .passed && unasked.takeOutput().isEmpty)
        // Within TLS a proxy takes HTTP/2, whatever is behind it.
        let asked = HealthExchange(strict, isSecured: true)
        #expect(asked.outcome == nil)
        #expect(asked.takeOutput().starts(with: "PRI * HTTP/2.0\r\n".utf8))
        let bytes = probe(.http(path: "/healthz"), .tcp, isStrict: true)
        let passed = HealthExchange(bytes, isSecured: true)
        #expect(passed.takeOutput().starts(with: "GET /healthz HTTP/1.1\r\n".utf8))
    }

    @Test func whatIsAskedOverHTTP1() {
        let exchange = HealthExchange(probe(.http(path: "/healthz?a=b")))
        #expect(exchange.outcome == nil)
        #expect(
            String(decoding: exchange.takeOutput(), as: UTF8.self)
                == "GET /healthz?a=b HTTP/1.1\r\nhost: cart.shop.mesh\r\nuser-agent: meshbench\r\n"
                + "accept: */*\r\nconnection: close\r\n\r\n")
        #expect(exchange.takeOutput().isEmpty)
    }

    private static let answers: [(String, HealthOutcome)] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", .passed),
        ("HTTP/1.0 302 Found\r\nlocation: /\r\n\r\n", .passed),
        ("HTTP/1.1 399 \r\ncontent-length: 0\r\n\r\n", .passed),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", .passed),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", .failed("status 404")),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", .failed("status 503")),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", .failed("the answer broke the protocol")),
        ("HTTP/1.1 200 OK\r\n", .failed("the connection ended before the answer did")),
        ("", .failed("the connection ended before the answer did")),
    ]

    @Test(arguments: answers)
    func outcomes(text: String, outcome: HealthOutcome) {
        let whole = HealthExchange(probe(.http(path: "/")))
        whole.receive(Array(text.utf8))
        whole.ended()
        #expect(whole.outcome == outcome)
        let pieces = HealthExchange(probe(.http(path: "/")))
        for byte in text.utf8 { pieces.receive([byte]) }
        pieces.ended()
        #expect(pieces.outcome == whole.outcome)
    }

    @Test func aHeadHasABound() {
        let text = "HTTP/1.1 200 OK\r\nx: " + String(repeating: "x", count: 17_000)
        let exchange = HealthExchange(probe(.http(path: "/")))
        exchange.receive(Array(text.utf8))
        guard case .failed = exchange.outcome else {
            Issue.record("a head without an end was taken")
            return
        }
    }

    @Test func whatIsNoHTTP2() {
        for check in [MeshHealthCheck.Probe.http(path: "/"), .grpc(service: "x")] {
            let exchange = HealthExchange(probe(check, .http2))
            let output = exchange.takeOutput()
            #expect(output.starts(with: "PRI * HTTP/2.0".utf8))
            exchange.receive(Array("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".utf8))
            #expect(exchange.outcome == .failed("the answer broke the protocol"))
        }
    }
}
