import Model
import Posix
import Testing

@testable import Runtime

@Suite struct AppServicesTests {
    private func services(_ calls: [String: [String]], dns: String? = "127.0.0.1:53")
        throws(AppError) -> AppServices
    {
        try AppServices(
            AppConfiguration(
                listen: "127.0.0.1:0", behaviour: .init(calls: calls.keys.sorted()), calls: calls,
                dns: dns))
    }

    private func addresses(_ ports: UInt16...) -> [SocketAddress] {
        ports.map { .loopback(port: $0) }
    }

    /// The ports of the next calls to the only service.
    private func ports(_ services: inout AppServices, _ count: Int) -> [UInt16?] {
        (0..<count).map { _ in services.next(0).map { services.endpoints[$0].address.port } }
    }

    @Test func fixedAddressesAreTakenInTurn() throws {
        var services = try services(["a": ["127.0.0.1:1", "127.0.0.1:2"]], dns: nil)
        #expect(services.names.isEmpty)
        #expect(ports(&services, 3) == [1, 2, 1])
    }

    @Test func aNameIsWhatItHasComeToMean() throws {
        var services = try services(["a": ["cart.shop.mesh"]])
        #expect(services.names == [AppResolver.Name("cart.shop.mesh")])
        #expect(services.next(0) == nil)
        #expect(services.renew([addresses(1, 2)], version: 1).isEmpty)
        #expect(services.version == 1 && ports(&services, 3) == [1, 2, 1])
        // One of those has a call under way when it goes.
        let first = try #require(services.endpoints.firstIndex { $0.address.port == 1 })
        services.endpoints[first].calls = 1
        #expect(services.renew([addresses(2, 3)], version: 2) == [first])
        #expect(Set(ports(&services, 4)) == [2, 3])
        // Its place is another's once the call has ended.
        services.endpoints[first].calls = 0
        services.release(first)
        #expect(services.renew([addresses(2, 3, 4)], version: 3).isEmpty)
        #expect(services.endpoints[first].address.port == 4 && services.endpoints.count == 3)
        #expect(Set(ports(&services, 6)) == [2, 3, 4])
        #expect(services.renew([[]], version: 4).isEmpty && services.next(0) == nil)
    }

    @Test func whatIsNoName() {
        #expect(AppResolver.Name("cart.shop.mesh:8080")?.port == 8080)
        for text in ["", ":80", "a..b", "a:0", "a:b", "a:1:2", "[::1"] {
            #expect(AppResolver.Name(text) == nil, "\(text)")
        }
        for (calls, dns) in [
            (["cart.shop.mesh"], nil), (["a.mesh", "b.mesh"], "127.0.0.1:53"),
            (["127.0.0.1:1", "b.mesh"], "127.0.0.1:53"), (["a..b"], "127.0.0.1:53"),
        ] {
            #expect(throws: AppError.self) { try services(["a": calls], dns: dns) }
        }
    }
}
