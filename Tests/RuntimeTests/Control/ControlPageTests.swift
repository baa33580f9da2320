import Base
import ControlCore
import FoundationEssentials
import Model
import Posix
import Testing

@testable import Runtime

@Suite struct ControlPageTests {
    /// Every certificate is on one of the pages, and none of them has more than was asked for.
    @Test func listsComeInPages() throws {
        struct Answer: Decodable {
            var certificates: [RecordAnswer]
            var next: String?
        }
        let api = try ControlAPI.withEcho()
        for index in 0..<5 {
            #expect(try api.join(try api.makeToken(), proxy: "p-\(index)").status == 200)
        }
        var pages: [[RecordAnswer]] = []
        var after: String?
        repeat {
            let more = after.map { "&after=\($0)" } ?? ""
            let answer = try api.ask("GET", "/v1/certificates?limit=2\(more)").read(Answer.self)
            pages.append(answer.certificates)
            after = answer.next
        } while after != nil && pages.count < 9
        #expect(pages.map(\.count) == [2, 2, 1])
        #expect(
            try api.ask("GET", "/v1/certificates").read(Answer.self).certificates
                == pages.flatMap { $0 })
    }

    @Test func pagesHaveTheirLimit() {
        let names = ["d", "a", "c!1", "b", "c", "c!2"]
        #expect(ControlPage(limit: 2, after: "a").cut(names) == (["b", "c"], "c"))
        #expect(ControlPage(limit: 2, after: "c").cut(names) == (["c!1", "c!2"], "c!2"))
        #expect(ControlPage(limit: 2, after: "c!2").cut(names) == (["d"], nil))
        #expect(ControlPage(limit: 6).cut(names).next == nil)
    }

    /// Several Envoys may call themselves the same; each is on one of the pages all the same.
    @Test func pagesOfOneNameEnd() throws {
        let api = try ControlAPI.withEcho()
        api.hasPushes = true
        try api.joined()
        let body = "{\"proxy\":\"echo-1\",\"service\":\"default/echo\"}"
        _ = try api.askProxies("POST", "/v1/proxy/watch", body).expect(200)
        let peer = ControlPeer.of("default/echo", "echo-1")
        let envoys = Dictionary(
            uniqueKeysWithValues: (0..<5).map { number in
                (
                    "l\(number)",
                    ConnectedEnvoy(
                        name: "echo-1", service: MeshName("echo"), identity: peer.identity,
                        peer: "127.0.0.2:\(number)", since: .zero, sent: 1)
                )
            })
        struct Listing: Decodable {
            struct Proxy: Decodable {
                var proxy: String
                var peer: String
            }
            var proxies: [Proxy]
            var next: String?
        }
        var seen: [[String]] = []
        var after: String? = ""
        while let start = after, seen.count < 9 {
            let page = ControlPage(limit: 2, after: start)
            let bytes = api.pushes.json(with: envoys, page)
            let listing = try JSONDecoder().decode(Listing.self, from: Data(bytes))
            #expect(listing.proxies.allSatisfy { $0.proxy == "echo-1" })
            seen.append(listing.proxies.map(\.peer))
            after = listing.next
        }
        #expect(seen.map(\.count) == [2, 2, 2] && Set(seen.flatMap { $0 }).count == 6)
    }
}
