import Base
import Posix
import Support
import Testing

@testable import Runtime

@Suite struct ServicePartsTests {
    @Test(arguments: [
        ("/", [], []), ("*", [], []), ("", [], []), ("?a=b", [], ["a=b"]),
        ("/v1/services/default/web", ["v1", "services", "default", "web"], []),
        ("/a%2Fb/%C3%BC?x=%26&y&=z&x=2&p=1+1", ["a/b", "ü"], ["x=&", "y=", "=z", "x=2", "p=1+1"]),
        ("/a//b/", ["a", "", "b", ""], []), ("/...", ["..."], []),
    ])
    func targetsAreTakenApart(text: String, segments: [String], query: [String]) throws {
        let target = try #require(ServiceTarget(text))
        #expect(target.segments == segments)
        #expect(target.query.map { "\($0.name)=\($0.value)" } == query)
    }

    @Test(arguments: [
        "/%", "/%4", "/%zz", "/%+1", "/%00", "/%FF", "/a?%C3", "/a?b=%", "/..", "/a/../b", "/.",
        "/%2e%2E/b", "/a/%2e",
    ])
    func targetsThatMeanSomethingElseAreRefused(text: String) {
        #expect(ServiceTarget(text) == nil)
    }

    @Test func parametersAreFoundByName() throws {
        let target = try #require(ServiceTarget("/?revision=7&watch"))
        #expect(target["revision"] == "7")
        #expect(target["watch"] == "")
        #expect(target["none"] == nil)
        #expect(target.path == "/")
    }

    @Test(
        arguments: [
            ("Bearer abc", "abc"), ("bearer a b", "a b"), ("Basic abc", nil), ("Bearer", nil),
            (nil, nil),
        ] as [(String?, String?)])
    func bearerTokens(value: String?, token: String?) throws {
        let request = ServiceRequest(
            method: "GET", target: try #require(ServiceTarget("/")),
            fields: value.map { [ServiceField("authorization", $0)] } ?? [],
            peer: ServicePeer(address: .loopback(port: 1)), speech: .http1, now: .zero)
        #expect(request.bearerToken == token)
    }

    /// What goes in comes out in order, whatever the pieces.
    @Test func outputKeepsItsOrder() {
        var random = SeededRandom(seed: 3)
        var (output, other) = (ServiceOutput(), ServiceOutput())
        var (given, taken): ([UInt8], [UInt8]) = ([], [])
        func drain(_ output: inout ServiceOutput, _ most: Int) {
            let count = output.withFirst { bytes in
                let count = min(bytes.count, most)
                unsafe taken.append(contentsOf: bytes[0..<count].raw)
                return count
            }
            output.drop(count)
        }
        for _ in 0..<2000 {
            let size = [0, 1, 100, 40_000][random.below(4)]
            let piece = (0..<size).map { _ in UInt8(random.below(256)) }
            given += piece
            output.append(piece)
            output.move(random.below(30_000), to: &other)
            drain(&other, random.below(30_000))
        }
        while !output.isEmpty { output.move(1 << 20, to: &other) }
        while !other.isEmpty { drain(&other, 1 << 20) }
        #expect(other.count == 0)
        #expect(taken == given)
    }
}
