import Model
import Testing

@testable import ControlCore

/// The first route for a host, of one that is declared.
private func route(_ members: String) throws -> JSONNode {
    let text = """
        [{kind: service, name: web, namespace: shop}, {kind: service, name: cart, namespace: shop},
         {kind: route, name: r, namespace: shop, hosts: [x], to: [cart], \(members)}]
        """
    let table = try resources(try rendered(text).content(EnvoyQuestion(.routes, "outbound")))[0]
    return try #require(table["virtual_hosts"].items.first { $0["name"].text == "x" })["routes"][0]
}

@Suite struct EnvoyRouteTests {
    /// Each condition is told as it is, and none as another.
    @Test func conditionsAreToldInEnvoysMatchers() throws {
        let match = try route(
            """
            matches: [{regex: "/v[0-9]+", headers: {
              a: {present: true}, b: {absent: true}, c: "x", d: {prefix: "x"}, e: {suffix: "x"},
              f: {contains: "x"}, g: {regex: "x+"}, h: {from: -1, to: 5},
              i: {exact: "x", not: true}},
              query: {q: {absent: true}, r: {prefix: "1"}}, cookies: {s: "1", t: {absent: true}}}]
            """)["match"]
        #expect(match["safe_regex"]["regex"].text == "/v[0-9]+")
        let headers = match["headers"].items
        #expect(headers.compactMap { $0["name"].text }.joined() == "abcdefghi")
        #expect(headers[0]["present_match"] == .flag(true))
        #expect(headers[1]["present_match"] == .flag(false))
        for (index, kind) in [(2, "exact"), (3, "prefix"), (4, "suffix"), (5, "contains")] {
            #expect(headers[index]["string_match"] == .object([kind: .text("x")]))
        }
        #expect(headers[6]["string_match"]["safe_regex"]["regex"].text == "x+")
        #expect(headers[7]["range_match"] == .object(["start": .text("-1"), "end": .text("5")]))
        #expect(headers.map { $0["invert_match"] == .flag(true) }.lastIndex(of: false) == 7)
        #expect(headers[8]["invert_match"] == .flag(true))
        let query = match["query_parameters"].items
        #expect(query.map { $0["name"].text } == ["q", "r"])
        #expect(query[0]["present_match"] == .flag(false))
        #expect(query[1]["string_match"]["prefix"].text == "1")
        let cookies = match["cookies"].items
        #expect(cookies[0]["string_match"]["exact"].text == "1")
        #expect(cookies[1]["string_match"]["safe_regex"]["regex"].text == #"\C*"#)
        #expect(cookies[1]["invert_match"] == .flag(true))
    }

    @Test(arguments: ["query", "cookies"])
    func aNumberWhereEnvoyHasTextsIsRefused(key: String) {
        let error = #expect(throws: EnvoyRefusal.self) {
            try route("matches: [{\(key): {q: {from: 1, to: 2}}}]")
        }
        #expect(
            error?.reason
                == "the route shop/r asks for a number in 'q', and Envoy compares parameters and "
                + "cookies as text")
    }

    /// Of a route, and of the own listener.
    @Test func aLimitOfAllProxiesIsRefused() throws {
        let limit = "{service: limits, domain: d, descriptors: [{entries: [{key: a, value: b}]}]}"
        let services = """
            {kind: service, name: web, namespace: shop},
            {kind: service, name: cart, namespace: shop},
            {kind: service, name: limits, namespace: shop, protocol: http2}
            """
        let route = """
            [\(services), {kind: route, name: r, namespace: shop, hosts: [x], to: [cart],
              global_rate_limit: \(limit)}]
            """
        let policy = """
            [\(services), {kind: policy, name: p, namespace: shop, to: [web],
              inbound: {global_rate_limit: \(limit)}}]
            """
        let reason = "has a global rate limit of its own, and Envoy has one service for a listener"
        let ofRoute = #expect(throws: EnvoyRefusal.self) {
            try rendered(route).content(EnvoyQuestion(.routes, "outbound"))
        }
        #expect(ofRoute?.reason == "the route shop/r \(reason)")
        let ofPolicy = #expect(throws: EnvoyRefusal.self) {
            try rendered(policy).content(EnvoyQuestion(.listeners))
        }
        #expect(ofPolicy?.reason == "the policy of shop/web \(reason)")
    }

    @Test func whatBecomesOfRequestsIsTold() throws {
        let answered = try route("answer: {status: 410, body: gone}")
        #expect(answered["direct_response"]["status"].number == 410)
        #expect(answered["direct_response"]["body"]["inline_string"].text == "gone")
        #expect(answered["route"] == .absent)
        let sent = try route(
            "redirect: {status: 308, host: y, scheme: https, path: /new, strip_query: true}"
        )["redirect"]
        #expect(sent["response_code"].text == "PERMANENT_REDIRECT")
        #expect(sent["host_redirect"].text == "y" && sent["scheme_redirect"].text == "https")
        #expect(sent["path_redirect"].text == "/new" && sent["strip_query"] == .flag(true))
        let changed = try route(
            """
            host_rewrite: "y:80", request_headers: {set: {a: "5%"}, add: {b: c}, remove: [d]},
            response_headers: {remove: [server]}
            """)
        #expect(changed["route"]["host_rewrite_literal"].text == "y:80")
        #expect(changed["route"]["cluster"].text == "shop/cart")
        let fields = changed["request_headers_to_add"].items
        #expect(fields.map { $0["header"]["value"].text } == ["5%%", "c"])
        #expect(
            fields.map { $0["append_action"].text }
                == ["OVERWRITE_IF_EXISTS_OR_ADD", "APPEND_IF_EXISTS_OR_ADD"])
        #expect(changed["request_headers_to_remove"] == .list([.text("d")]))
        #expect(changed["response_headers_to_remove"] == .list([.text("server")]))
    }

    /// The budget of a cluster is that of all requests that go there, whatever their route says.
    @Test(
        arguments: [
            (nil, "{on: [5xx]}", nil), ("{percent: 20}", "{on: [5xx]}", "no retry budget, and"),
            ("{percent: 20}", "{on: [5xx], budget: {percent: 20}}", nil),
            ("{percent: 20}", "{on: [5xx], budget: {percent: 30}}", "a retry budget that"),
            (nil, "{on: [5xx], budget: {percent: 20}}", "a retry budget that"),
            // What is never sent again takes nothing of it.
            ("{percent: 20}", "{on: []}", nil),
        ] as [(String?, String, String?)])
    func aBudgetIsOfAService(_ budget: String?, _ retry: String, _ refusal: String?) throws {
        let text = """
            [{kind: service, name: web, namespace: shop},
             {kind: service, name: cart, namespace: shop},
             {kind: policy, name: p, namespace: shop, to: [cart],
              retry: {on: [reset]\(budget.map { ", budget: \($0)" } ?? "")}},
             {kind: route, name: r, namespace: shop, hosts: [x], to: [cart], retry: \(retry)}]
            """
        let rendering = try rendered(text)
        do throws(EnvoyRefusal) {
            _ = try rendering.content(EnvoyQuestion(.routes, "outbound"))
            #expect(refusal == nil)
        } catch {
            let start = "the route shop/r has \(refusal ?? "nothing wrong")"
            #expect(error.reason.hasPrefix(start), "\(error.reason)")
        }
    }

    @Test func mirrorsAreTold() throws {
        let text = """
            [{kind: service, name: web, namespace: shop},
             {kind: service, name: cart, namespace: shop},
             {kind: service, name: trial, namespace: shop},
             {kind: route, name: r, namespace: shop, hosts: [x], to: [cart],
              mirror: [{service: trial, percent: 12.5%, mark_host: false}]}]
            """
        let content = try rendered(text).content(EnvoyQuestion(.routes, "outbound"))
        let host = try resources(content)[0]["virtual_hosts"].items.first {
            $0["name"].text == "x"
        }
        let mirror = try #require(host)["routes"][0]["route"]["request_mirror_policies"][0]
        #expect(mirror["cluster"].text == "shop/trial")
        #expect(mirror["disable_shadow_host_suffix_append"] == .flag(true))
        let share = mirror["runtime_fraction"]["default_value"]
        #expect(share["numerator"].number == 125_000 && share["denominator"].text == "MILLION")
    }

    /// How long streams and connections last stands with the cluster, and how long nothing may move
    /// with the route.
    @Test func durationsAreTold() throws {
        let text = """
            [{kind: service, name: web, namespace: shop},
             {kind: service, name: cart, namespace: shop},
             {kind: policy, name: p, namespace: shop, to: [cart],
              timeout: {stream_idle: 7s, max_stream: 8s, max_connection: 9s}},
             {kind: policy, name: own, namespace: shop, to: [web], timeout: {stream_idle: 6s}},
             {kind: route, name: r, namespace: shop, hosts: [x], to: [cart]}]
            """
        let rendering = try rendered(text)
        let table = try resources(rendering.content(EnvoyQuestion(.routes, "outbound")))[0]
        let host = table["virtual_hosts"].items.first { $0["name"].text == "x" }
        #expect(try #require(host)["routes"][0]["route"]["idle_timeout"].text == "7s")
        let clusters = try resources(rendering.content(EnvoyQuestion(.clusters)))
        let cart = try #require(clusters.first { $0["name"].text == "shop/cart" })
        let options = cart["typed_extension_protocol_options"][
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        ]["common_http_protocol_options"]
        #expect(options["max_stream_duration"].text == "8s")
        #expect(options["max_connection_duration"].text == "9s")
        // What clients wait for, the own listener does not cut short.
        let inbound = try resources(rendering.content(EnvoyQuestion(.listeners)))
            .first { $0["name"].text == "inbound" }
        let managers = try #require(inbound)["filter_chains"].items.map {
            $0["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][0]
        }
        #expect(!managers.isEmpty)
        #expect(managers.allSatisfy { $0["route"]["idle_timeout"].text == "6s" })
    }

    /// One service of which the requests are changed is a share, which alone has changes in Envoy.
    @Test func aSharesChangesAreItsOwn() throws {
        let text = """
            [{kind: service, name: web, namespace: shop},
             {kind: service, name: cart, namespace: shop},
             {kind: route, name: r, namespace: shop, hosts: [x],
              to: [{service: cart, request_headers: {set: {a: "1"}}}]}]
            """
        let table = try resources(
            try rendered(text).content(EnvoyQuestion(.routes, "outbound")))[0]
        let host = table["virtual_hosts"].items.first { $0["name"].text == "x" }
        let share = try #require(host)["routes"][0]["route"]["weighted_clusters"]["clusters"][0]
        #expect(share["name"].text == "shop/cart")
        #expect(share["request_headers_to_add"][0]["header"]["key"].text == "a")
    }
}
