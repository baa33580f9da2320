import Base
import ControlCore
import Posix
import Testing

@testable import Runtime

/// What a proxy asks its control plane, as it stands on the wire.
@Suite struct JoinRequestTests {
    private static func request(_ call: SubscriberCall) throws -> CallRequest {
        let address = try #require(SocketAddress("127.0.0.1:1"))
        var configuration = JoinConfiguration(
            servers: [address], token: "t", inbound: address, outbound: address, weight: 3)
        configuration.level = 1
        configuration.labels = ["b": "2", "a": "1"]
        return try CallRequest(
            call,
            of: JoinIdentity(proxy: "cart-1", service: "shop/cart", trustDomain: "mesh.test"),
            configuration, address: address
        ) { () throws(JoinFailure) in "CSR" }
    }

    private static let place = #""weight":3,"level":1,"labels":["a=1","b=2"]}"#

    @Test(
        arguments: [
            (.authorities, "GET", "authorities", ""),
            (.join, "POST", "join", #"{"token":"t","csr":"CSR","proxy":"cart-1"}"#),
            (.certificate, "POST", "proxy/certificate", #"{"csr":"CSR"}"#),
            (
                .watch(held: nil, registers: false), "POST", "proxy/watch",
                #"{"proxy":"cart-1","service":"shop/cart","# + place
            ),
            (
                .watch(held: 7, registers: true), "POST", "proxy/watch",
                #"{"proxy":"cart-1","service":"shop/cart","held":7,"address":"127.0.0.1:1","#
                    + place
            ),
            (
                .ack(version: 8, error: "no"), "POST", "proxy/ack",
                #"{"proxy":"cart-1","version":8,"error":"no"}"#
            ),
            (.heartbeat, "POST", "proxy/heartbeat", #"{"proxy":"cart-1"}"#),
            (.leave, "POST", "proxy/leave", #"{"proxy":"cart-1"}"#),
        ] as [(SubscriberCall, String, String, String)])
    func eachCallIsARequest(
        _ call: SubscriberCall, _ method: String, _ path: String, _ body: String
    ) throws {
        let request = try Self.request(call)
        #expect(request.method == method && request.path == "/v1/\(path)")
        #expect(String(decoding: request.body, as: UTF8.self) == body)
        #expect(request.isStream == (path == "proxy/watch"))
    }
}
