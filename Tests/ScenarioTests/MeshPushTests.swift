import Model
import Scenario
import Support
import Testing

/// Lines of a proxy's watch.
@Suite struct MeshPushTests {
    private let cart = #"{"kind":"service","mtls":"off","name":"cart","namespace":"shop"}"#

    private func read(_ line: String) throws(MeshBodyError) -> MeshPush {
        try MeshCodec.json.push(Array(line.utf8))
    }

    private func refusal(of line: String) -> String {
        do throws(MeshBodyError) {
            return "read: \(try read(line))"
        } catch {
            let first = error.problems.first
            let path = (first?.path ?? []).joined(separator: ".")
            return (path.isEmpty ? "" : "\(path): ") + (first?.message ?? "no reason")
        }
    }

    @Test func snapshotsAndDeltasAreRead() throws {
        let service = MeshDeclaration.service(.init("cart", in: "shop", mtls: .off))
        #expect(
            try read(
                #"{"version":12,"snapshot":true,"authorities":"-----BEGIN\nab\n","declarations":["#
                    + cart + #"],"deleted":[]}"#)
                == MeshPush(
                    version: 12, isSnapshot: true, authorities: "-----BEGIN\nab\n", puts: [service])
        )
        let key = MeshKey(.endpoint, .init("cart-1", in: "shop"))
        #expect(
            try read(
                " { \"deleted\" : [ \"endpoints/shop/cart-1\" ] , "
                    + "\"version\" : 18446744073709551615 , \"snapshot\" : false }\n")
                == MeshPush(version: .max, isSnapshot: false, deletes: [key]))
        #expect(
            try read(#"{"version":0,"snapshot":false}"#) == .init(version: 0, isSnapshot: false))
        let found = #""checks":{"unhealthy":["endpoints/shop/cart-1"],"healthy":[]}"#
        #expect(
            try read(#"{"version":1,"snapshot":false,"# + found + "}").checks
                == MeshFindings(unhealthy: [key.name]))
        #expect(
            try read(#"{"version":1,"snapshot":false,"checks":{"all":true}}"#).checks
                == MeshFindings(isWhole: true))
        let unknown = #""checks":{"all":true,"undecided":["endpoints/shop/cart-1"]}}"#
        #expect(
            try read(#"{"version":1,"snapshot":false,"# + unknown).checks
                == MeshFindings(isWhole: true, undecided: [key.name]))
    }

    @Test func whatIsNoPushIsRefused() {
        let head = #"{"version":1,"snapshot":false"#
        let cases: [(String, String)] = [
            ("", "an object is needed"), ("[]", "an object is needed"), ("{", "no JSON"),
            (head, "no JSON"), (head + "}}", "no JSON"), (head + #","a}"#, "no JSON"),
            (head + #","declarations":[{"kind":"#, "no JSON"),
            (head + ",\"deleted\":[\"a\\", "no JSON"), (head + "\"a\":1}", "no JSON"),
            (head + ",,}", "no JSON"), (head + #","declarations":[1]]}"#, "no JSON"),
            (#"{"version":1}"#, "the key 'snapshot' is missing"),
            (#"{"snapshot":true,"authorities":""}"#, "the key 'version' is missing"),
            (#"{"version":-1,"snapshot":false}"#, "version: a whole number is needed"),
            (#"{"version":"1","snapshot":false}"#, "version: a whole number is needed"),
            (#"{"version":1,"snapshot":0}"#, "snapshot: 'true' or 'false' is needed"),
            (#"{"version":1,"snapshot":true}"#, "authorities: a snapshot without authorities"),
            (head + #","version":1}"#, "version: stands here already"),
            (head + #","more":1}"#, "unknown key 'more'"), (head + ",a:1}", "a text is needed"),
            (head + #","authorities":7}"#, "authorities: a text is needed"),
            (head + #","deleted":{}}"#, "deleted: a list is needed"),
            (head + #","checks":[]}"#, "checks: an object is needed"),
            (head + #","checks":{"all":1}}"#, "checks.all: 'true' or 'false' is needed"),
            (head + #","checks":{"sick":[]}}"#, "checks.sick: unknown key 'sick'"),
            (
                head + #","checks":{"healthy":["services/a/b"]}}"#,
                "checks.healthy.0: a key such as endpoints/shop/cart-1 is needed"
            ),
            (
                head + #","checks":{"unhealthy":["endpoints/a/b"],"healthy":["endpoints/a/b"]}}"#,
                "checks.healthy.0: endpoint a/b stands here already"
            ),
            (
                head + #","checks":{"undecided":["endpoints/a/b"]}}"#,
                "checks.undecided: without 'all' nothing is said of those not named"
            ),
            (
                head + #","checks":{"all":true,"healthy":["endpoints/a/b"]}}"#,
                "checks.healthy: all that are not named are healthy already"
            ),
            (
                head + #","deleted":["endpoints/shop"]}"#,
                "deleted.0: a key such as endpoints/shop/cart-1 is needed"
            ),
            (
                head + #","deleted":["services/a/b","services/a/b"]}"#,
                "deleted.1: service a/b stands here already"
            ),
            (
                head + ",\"declarations\":[\(cart)],\"deleted\":[\"services/shop/cart\"]}",
                "deleted.0: service shop/cart stands here already"
            ),
            (
                head + ",\"declarations\":[\(cart),\(cart)]}",
                "declarations.1: service shop/cart is already declared"
            ),
            (
                #"{"version":1,"snapshot":true,"authorities":"","deleted":["services/a/b"]}"#,
                "deleted: a snapshot that deletes"
            ),
            (head + #","declarations":[7]}"#, "(keys: kind, name…), not '7'"),
            (head + #","declarations":[{"kind":"servce"}]}"#, "did you mean 'service'?"),
        ]
        for (line, reason) in cases {
            let refusal = refusal(of: line)
            let text = Comment(rawValue: "\(line): \(refusal)")
            #expect(refusal.hasPrefix(reason) || refusal.hasSuffix(reason), text)
        }
    }

    /// A snapshot may have more declarations than one document may have nodes.
    @Test func largeSnapshotsAreRead() throws {
        let count = 30_000
        let endpoints = (0..<count).map { number in
            MeshDeclaration.endpoint(
                .init(
                    "e-\(number)", service: "a",
                    address: "10.\(number / 65_536).\(number / 256 % 256).\(number % 256):80"))
        }
        let line =
            #"{"version":1,"snapshot":true,"authorities":"","declarations":["#
            + endpoints.map(\.json).joined(separator: ",") + "]}"
        #expect(try read(line).puts == endpoints)
    }

    @Test func adoptedPushesReplaceOrChange() {
        var state = MeshState([.service(.init("a")), .service(.init("b"))])
        state.adopt(
            .init(
                version: 2, isSnapshot: false, puts: [.service(.init("c"))],
                deletes: [.init(.service, .init("a")), .init(.service, .init("x"))]))
        #expect(state == MeshState([.service(.init("b")), .service(.init("c"))]))
        state.adopt(
            .init(version: 3, isSnapshot: true, authorities: "", puts: [.service(.init("d"))]))
        #expect(state == MeshState([.service(.init("d"))]))
    }
}
