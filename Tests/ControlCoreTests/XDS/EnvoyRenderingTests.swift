import Base
import FoundationEssentials
import Model
import Scenario
import Testing

@testable import ControlCore

/// A mesh of declarations as files write them.
func declared(_ text: String) throws -> MeshState {
    let body = try MeshCodec.json.body(Array("{declarations: \(text)}".utf8))
    let mesh = MeshState(body.declarations)
    #expect(mesh.check().isEmpty)
    return mesh
}

let envoyFacts = EnvoyFacts(
    service: MeshName("web", in: "shop"), app: NumericAddress("127.0.0.1:8080"),
    inbound: NumericAddress("127.0.0.1:15006"), outbound: NumericAddress("[::1]:15001"),
    workers: 2, identityFile: "/etc/envoy/identity.json")

func rendered(_ text: String, _ facts: EnvoyFacts = envoyFacts) throws -> EnvoyRendering {
    try EnvoyRendering(facts, view: try declared(text), authorities: "PEM")
}

/// Resources as JSON.
func resources(_ content: EnvoyContent?) throws -> [JSONNode] {
    let body = try #require(content).body
    let answer = try JSONDecoder().decode(JSONNode.self, from: Data(body))
    #expect(answer["version_info"].text == content?.version)
    return answer["resources"].items
}

/// JSON to look into.
enum JSONNode: Decodable, Equatable {
    case text(String)
    case number(Int)
    case flag(Bool)
    case list([JSONNode])
    case object([String: JSONNode])
    case absent

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let flag = try? value.decode(Bool.self) {
            self = .flag(flag)
        } else if let number = try? value.decode(Int.self) {
            self = .number(number)
        } else if let list = try? value.decode([JSONNode].self) {
            self = .list(list)
        } else {
            self = .object(try value.decode([String: JSONNode].self))
        }
    }

    subscript(_ key: String) -> JSONNode {
        guard case .object(let members) = self else { return .absent }
        return members[key] ?? .absent
    }

    subscript(_ index: Int) -> JSONNode {
        items.indices.contains(index) ? items[index] : .absent
    }

    var items: [JSONNode] { if case .list(let items) = self { items } else { [] } }
    var text: String? { if case .text(let text) = self { text } else { nil } }
    var number: Int? { if case .number(let number) = self { number } else { nil } }
}

private let shop = """
    [{kind: service, name: web, namespace: shop},
     {kind: service, name: cart, namespace: shop, protocol: http2},
     {kind: service, name: plain, namespace: shop, mtls: "off"},
     {kind: service, name: bytes, protocol: tcp},
     {kind: endpoint, name: cart-1, namespace: shop, service: cart, address: "127.0.0.1:9001"},
     {kind: endpoint, name: cart-2, namespace: shop, service: cart, address: "127.0.0.1:9002",
      weight: 3},
     {kind: endpoint, name: cart-3, namespace: shop, service: cart, address: "127.0.0.1:9003",
      health: draining},
     {kind: policy, name: cart, namespace: shop, to: [cart],
      timeout: {connect: 250ms, request: 2s, idle: 5m}, breaker: {connections: 100, pending: 50}},
     {kind: route, name: cart, namespace: shop, hosts: [cart.shop.mesh, "*.example.org"],
      matches: [
       {prefix: /api, methods: [GET, POST], headers: {x-a: "1", x-b: {present: true}}}],
      to: [{service: cart, weight: 95}, {service: plain, weight: 5}], timeout: 1s},
     {kind: route, name: rest, namespace: shop, matches: [{path: /here}, {prefix: /there/}],
      to: [plain]}]
    """

@Suite struct EnvoyRenderingTests {
    @Test func clustersAreServicesAndTheOwnProcess() throws {
        let clusters = try resources(try rendered(shop).content(EnvoyQuestion(.clusters)))
        #expect(clusters.map { $0["name"].text } == ["shop/cart", "shop/plain", "shop/web", "app"])
        let cart = clusters[0]
        #expect(cart["connect_timeout"].text == "0.250000000s")
        let threshold = cart["circuit_breakers"]["thresholds"][0]
        #expect(threshold["max_connections"].number == 200)
        #expect(threshold["max_pending_requests"].number == 100)
        let tls = cart["transport_socket"]["typed_config"]
        #expect(tls["sni"].text == "cart.shop.mesh")
        let security = tls["common_tls_context"]
        let validation = security["combined_validation_context"]
        let names = validation["default_validation_context"]["match_typed_subject_alt_names"]
        #expect(
            names[0]["matcher"]["exact"].text == "spiffe://meshbench.test/ns/shop/sa/cart")
        #expect(validation["validation_context_sds_secret_config"]["name"].text == "authorities")
        let identity = security["tls_certificate_sds_secret_configs"][0]["sds_config"]
        #expect(identity["path_config_source"]["path"].text == "/etc/envoy/identity.json")
        // In cleartext they speak what the service does, and show nothing.
        #expect(clusters[1]["transport_socket"] == .absent)
        #expect(clusters[1]["connect_timeout"].text == "5s")
        let endpoint = clusters[3]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
        #expect(
            endpoint["endpoint"]["address"]["socket_address"]["port_value"].number == 8080)
    }

    private func cart(_ policy: String) throws -> JSONNode {
        let text = shop.replacing(
            "breaker: {connections: 100, pending: 50}", with: policy)
        return try resources(try rendered(text).content(EnvoyQuestion(.clusters)))[0]
    }

    @Test func policiesAreToldInEnvoysWords() throws {
        let cluster = try cart(
            """
            outlier: {consecutive_5xx: 3, consecutive_gateway: off, max_percent: 50, base: 10s},
            balance: {algorithm: least-request, choices: 3, panic: 0%, slow_start: 5s},
            retry: {on: [5xx], budget: {percent: 25, min: 2}}, breaker: {high: {requests: 7}}
            """)
        let outlier = cluster["outlier_detection"]
        #expect(outlier["consecutive_5xx"].number == 3)
        #expect(outlier["enforcing_consecutive_5xx"].number == 100)
        #expect(outlier["enforcing_consecutive_gateway_failure"].number == 0)
        #expect(outlier["max_ejection_percent"].number == 50)
        #expect(outlier["base_ejection_time"].text == "10s")
        #expect(outlier["success_rate_stdev_factor"].number == 1900)
        #expect(cluster["lb_policy"].text == "LEAST_REQUEST")
        #expect(cluster["least_request_lb_config"]["choice_count"].number == 3)
        #expect(cluster["common_lb_config"]["healthy_panic_threshold"]["value"].number == 0)
        let thresholds = cluster["circuit_breakers"]["thresholds"].items
        #expect(thresholds.map { $0["priority"].text } == ["DEFAULT", "HIGH"])
        // Of both workers.
        #expect(thresholds.map { $0["max_requests"].number } == [2048, 14])
        #expect(thresholds[0]["retry_budget"]["min_retry_concurrency"].number == 4)
    }

    @Test(
        arguments: [
            ("accrual: {}", "`accrual`, Linkerd's breaker"),
            ("breaker: {strict: true}", "limits to the request (`strict`)"),
            (
                "retry: {on: [5xx], budget: {per: 10s}}", "a retry budget by time (`per`)"
            ),
            ("balance: peak-ewma", "`peak-ewma`, Linkerd's balancing"),
            (
                "outlier: {max_percent: 33.3}",
                "a share of 33.3 % in `outlier`, a part of a percent"
            ),
        ])
    func whatEnvoyHasNotIsRefused(policy: String, what: String) {
        let error = #expect(throws: EnvoyRefusal.self) { try cart(policy) }
        #expect(
            error?.reason == "the policy for shop/cart asks for \(what), which Envoy has not")
    }

    @Test func attemptsAreToldOfRoutes() throws {
        let text = shop.replacing(
            "breaker: {connections: 100, pending: 50}",
            with: """
                balance: {algorithm: maglev, hash: [{header: x-user}, source]},
                retry: {on: [5xx, connect-failure], max: 2, per_try: 200ms,
                        previous_hosts: avoid, hedge: true, non_idempotent: true}
                """
        ).replacing("timeout: 1s}", with: "timeout: 1s, retry: {on: []}}")
        let named = text.replacing("{service: plain, weight: 5}", with: "")
        let table = try resources(
            try rendered(named).content(EnvoyQuestion(.routes, "outbound")))[0]
        let host = try #require(
            table["virtual_hosts"].items.first { $0["name"].text == "cart.shop" })
        let action = host["routes"][0]["route"]
        let retry = action["retry_policy"]
        #expect(retry["retry_on"].text == "5xx,connect-failure")
        #expect(retry["num_retries"].number == 2)
        #expect(retry["retriable_request_headers"] == .absent)
        #expect(retry["host_selection_retry_max_attempts"].number == 1)
        #expect(action["hedge_policy"]["hedge_on_per_try_timeout"] == .flag(true))
        #expect(action["hash_policy"][0]["header"]["header_name"].text == "x-user")
        #expect(action["hash_policy"].items.count == 2)
        // A route of its own says that it sends nothing again.
        let declared = try #require(
            table["virtual_hosts"].items.first { $0["name"].text == "cart.shop.mesh" })
        #expect(declared["routes"][0]["route"]["retry_policy"] == .absent)
        // Where destinations differ there is no one answer.
        let error = #expect(throws: EnvoyRefusal.self) {
            try rendered(text).content(EnvoyQuestion(.routes, "outbound"))
        }
        #expect(error?.reason.contains("different hashes") == true)
    }

    @Test func onlyHealthyEndpointsAreInTurn() throws {
        let question = EnvoyQuestion(.endpoints, "shop/cart")
        let found = try resources(try rendered(shop).content(question))
        let items = found[0]["endpoints"][0]["lb_endpoints"].items
        let ports = items.map { $0["endpoint"]["address"]["socket_address"]["port_value"].number }
        #expect(ports == [9001, 9002])
        #expect(items.map { $0["load_balancing_weight"].number } == [1, 3])
        let none = EnvoyQuestion(.endpoints, "shop/plain")
        #expect(try resources(try rendered(shop).content(none))[0]["endpoints"] == .list([]))
        #expect(try rendered(shop).content(EnvoyQuestion(.endpoints, "shop/nobody")) == nil)
    }

    @Test func virtualHostsFallThroughToWiderOnes() throws {
        let question = EnvoyQuestion(.routes, "outbound")
        let table = try resources(try rendered(shop).content(question))[0]
        var hosts: [String: [JSONNode]] = [:]
        for host in table["virtual_hosts"].items {
            #expect(host["domains"] == .list([host["name"]]))
            hosts[try #require(host["name"].text)] = host["routes"].items
        }
        #expect(
            hosts.keys.sorted() == [
                "*", "*.example.org", "cart", "cart.shop", "cart.shop.mesh", "plain", "plain.shop",
                "plain.shop.mesh", "web", "web.shop", "web.shop.mesh",
            ])
        let matches = hosts.mapValues { $0.map { $0["match"] } }
        #expect(
            matches["*"]?.map { $0["path"].text ?? $0["prefix"].text } == ["/here", "/there/"])
        #expect(matches["*.example.org"]?.count == 3)
        // Declared, by the own name, for any host.
        #expect(
            matches["cart.shop.mesh"]?.map {
                $0["path_separated_prefix"].text ?? $0["prefix"].text ?? $0["path"].text
            } == ["/api", "/", "/here", "/there/"])
        let first = try #require(hosts["cart.shop.mesh"]?[0])
        #expect(
            first["match"]["headers"][0]["string_match"]["safe_regex"]["regex"].text
                == "GET|POST")
        #expect(first["match"]["headers"][1]["string_match"]["exact"].text == "1")
        #expect(first["match"]["headers"][2]["present_match"] == .flag(true))
        let shares = first["route"]["weighted_clusters"]["clusters"]
        #expect(shares.items.map { $0["name"].text } == ["shop/cart", "shop/plain"])
        #expect(shares.items.map { $0["weight"].number } == [95, 5])
        #expect(first["route"]["timeout"].text == "1s")
        #expect(hosts["cart"]?[0]["route"]["timeout"].text == "2s")
        #expect(hosts["web"]?[0]["route"]["timeout"].text == "15s")
    }

    @Test func whatEnvoyHasNoWordsForIsRefused() throws {
        let routes = EnvoyQuestion(.routes, "outbound")
        let mixed = shop.replacing(", timeout: 1s}", with: "}")
        #expect(mixed != shop)
        let error = #expect(throws: EnvoyRefusal.self) { try rendered(mixed).content(routes) }
        #expect(
            error?.reason
                == "the destinations of the route shop/cart have different request timeouts "
                + "(shop/cart 2s, shop/plain 15s), and Envoy has one for a route: say `timeout`")
        // The rest is as it was.
        let clusters = EnvoyQuestion(.clusters)
        #expect(try rendered(mixed).content(clusters) == rendered(shop).content(clusters))

        var mesh = MeshState([.service(MeshService("web", in: "shop"))])
        for index in 0..<4295 {
            mesh.declare(
                .endpoint(
                    MeshEndpoint(
                        "e\(index)", in: "shop", service: "web", address: "127.0.0.1:1",
                        weight: 1_000_000)))
        }
        let rendering = try EnvoyRendering(envoyFacts, view: mesh, authorities: "PEM")
        #expect(throws: EnvoyRefusal.self) {
            try rendering.content(EnvoyQuestion(.endpoints, "shop/web"))
        }
        #expect(throws: EnvoyRefusal("there is no service shop/web")) {
            try EnvoyRendering(envoyFacts, view: MeshState(), authorities: "PEM")
        }
    }

    @Test func versionsFollowContents() throws {
        let clusters = EnvoyQuestion(.clusters)
        let one = try rendered(shop).content(clusters)
        let moved = shop.replacing("9001", with: "9009")
        #expect(try rendered(moved).content(clusters)?.version == one?.version)
        let other = shop.replacing("250ms", with: "251ms")
        #expect(try rendered(other).content(clusters)?.version != one?.version)
        let endpoints = EnvoyQuestion(.endpoints, "shop/cart")
        #expect(
            try rendered(moved).content(endpoints)?.version
                != rendered(shop).content(endpoints)?.version)
    }
}

// MARK: Listeners

private func listeners(_ mtls: String, _ speech: String, _ more: String = "") throws -> [JSONNode] {
    let mesh = """
        [{kind: service, name: web, namespace: shop, mtls: "\(mtls)", protocol: \(speech)},
         {kind: service, name: cart, namespace: shop}\(more)]
        """
    return try resources(try rendered(mesh).content(EnvoyQuestion(.listeners)))
}

@Suite struct EnvoyListenerTests {
    @Test(arguments: [("strict", [true]), ("permissive", [true, false]), ("off", [false])])
    func modesOfMutualTLS(mode: String, secured: [Bool]) throws {
        let found = try listeners(mode, "http1")
        #expect(found.map { $0["name"].text } == ["inbound", "outbound"])
        let chains = found[0]["filter_chains"].items
        #expect(chains.map { $0["transport_socket"] != .absent } == secured)
        for chain in chains where chain["transport_socket"] != .absent {
            let tls = chain["transport_socket"]["typed_config"]
            #expect(tls["require_client_certificate"] == .flag(true))
        }
        let matches = chains.map { $0["filter_chain_match"]["transport_protocol"].text }
        #expect(matches == (secured.count == 2 ? ["tls", "raw_buffer"] : [nil]))
        #expect((found[0]["listener_filters"] != .absent) == (secured.count == 2))
        let address = found[1]["address"]["socket_address"]
        #expect(address["address"].text == "::1")
        #expect(address["port_value"].number == 15001)
    }

    @Test func onlyWhatWasAskedForIsListenedOn() throws {
        var facts = envoyFacts
        facts.app = nil
        let mesh = "[{kind: service, name: web, namespace: shop}]"
        let found = try resources(try rendered(mesh, facts).content(EnvoyQuestion(.listeners)))
        #expect(found.map { $0["name"].text } == ["outbound"])
        let clusters = try resources(try rendered(mesh, facts).content(EnvoyQuestion(.clusters)))
        #expect(clusters.map { $0["name"].text } == ["shop/web"])
    }

    private let rules = """
        ,
        {kind: authorization, name: a, namespace: shop, action: allow, to: [web], rules: [
          {identities: ["*/sa/cart", "spiffe://meshbench.test/ns/shop/sa/web", "spiffe://x/*",
           "*"], namespaces: [shop], methods: [GET], paths: [/x], prefixes: [/api, /y/],
           headers: {x-a: {present: true}}, ports: [15006]}, {}]},
        {kind: authorization, name: b, namespace: shop, action: deny, to: ["*"], rules: [
          {prefixes: [/debug]}]},
        {kind: authorization, name: c, namespace: shop, action: deny, to: [cart], rules: [{}]}
        """

    @Test func authorizationsAreFiltersInOrder() throws {
        let chain = try listeners("strict", "http1", rules)[0]["filter_chains"][0]
        let filters = chain["filters"][0]["typed_config"]["http_filters"].items
        #expect(
            filters.map { $0["name"].text } == [
                "envoy.filters.http.rbac", "envoy.filters.http.rbac", "envoy.filters.http.router",
            ])
        let table = filters.map { $0["typed_config"]["rules"] }
        #expect(table.prefix(2).map { $0["action"].text } == ["DENY", "ALLOW"])
        let deny = table[0]["policies"]["shop/b/0"]
        let anybody = deny["principals"][0]["and_ids"]["ids"].items
        #expect(anybody.map { name(in: $0["not_id"]) } == [control])
        let paths = deny["permissions"][0]["and_rules"]["rules"][0]["or_rules"]["rules"].items
        #expect(
            paths.map { $0["url_path"]["path"]["safe_regex"]["regex"].text } == [
                EnvoyPaths.pattern(prefix: "/debug"), EnvoyPaths.unclear, nil,
            ])
        let plain = paths[2]["not_rule"]["url_path"]["path"]["safe_regex"]["regex"].text
        #expect(plain == EnvoyPaths.plain)
        let allow = table[1]["policies"]["shop/a/0"]
        let parts = allow["permissions"][0]["and_rules"]["rules"].items
        #expect(parts.count == 6)
        #expect(parts[3]["url_path"]["path"]["safe_regex"]["regex"].text == EnvoyPaths.plain)
        let unclear = parts[4]["not_rule"]["url_path"]["path"]["safe_regex"]["regex"].text
        #expect(unclear == EnvoyPaths.unclear)
        let ids = allow["principals"][0]["and_ids"]["ids"].items
        let names = ids[0]["or_ids"]["ids"].items.map { $0["authenticated"]["principal_name"] }
        #expect(names[0]["suffix"].text == "/sa/cart")
        #expect(names[1]["exact"].text == "spiffe://meshbench.test/ns/shop/sa/web")
        #expect(names[2]["prefix"].text == "spiffe://x/")
        #expect(names[3]["prefix"].text == "spiffe://")
        let namespace = ids[1]["or_ids"]["ids"][0]["authenticated"]["principal_name"]
        #expect(namespace["safe_regex"]["regex"].text == "spiffe://[^/]+/ns/shop/.+")
        let open = table[1]["policies"]["shop/a/1"]
        #expect(open["permissions"][0]["any"] == .flag(true))
        #expect(open["principals"][0]["any"] == .flag(true))
        let asking = table[1]["policies"]["control"]
        #expect(asking["permissions"][0]["any"] == .flag(true))
        #expect(asking["principals"].items.map(name) == [control])
    }

    /// Whoever asks how a service is.
    private let control = "spiffe://meshbench.test/control"

    private func name(in principal: JSONNode) -> String? {
        principal["authenticated"]["principal_name"]["exact"].text
    }

    @Test func bytesAreAuthorizedByWhatTheyHave() throws {
        let rules = """
            ,
            {kind: authorization, name: a, namespace: shop, action: allow, to: ["*"], rules: [
              {paths: [/x]}, {namespaces: [shop]}]}
            """
        let filters = try listeners("strict", "tcp", rules)[0]["filter_chains"][0]["filters"]
        #expect(
            filters.items.map { $0["name"].text } == [
                "envoy.filters.network.rbac", "envoy.filters.network.tcp_proxy",
            ])
        guard case .object(let policies) = filters[0]["typed_config"]["rules"]["policies"] else {
            Issue.record("no policies")
            return
        }
        #expect(policies.keys.sorted() == ["control", "shop/a/1"])
    }

    /// Bytes may ask for what is denied.
    @Test func denialsOfRequestsMeanAllBytes() throws {
        let rules = """
            ,
            {kind: authorization, name: a, namespace: shop, action: deny, to: ["*"], rules: [
              {paths: [/x], namespaces: [shop]}]}
            """
        let filters = try listeners("strict", "tcp", rules)[0]["filter_chains"][0]["filters"]
        let policy = filters[0]["typed_config"]["rules"]["policies"]["shop/a/0"]
        #expect(policy["permissions"][0]["any"] == .flag(true))
        #expect(policy["principals"][0]["and_ids"]["ids"].items.count == 2)
    }

    @Test func anAllowWithoutRulesAllowsNobodyOfTheMesh() throws {
        let rules = """
            , {kind: authorization, name: a, namespace: shop, action: allow, to: [web]}
            """
        let chain = try listeners("off", "http2", rules)[0]["filter_chains"][0]
        let filters = chain["filters"][0]["typed_config"]["http_filters"].items
        #expect(filters[0]["typed_config"]["rules"]["action"].text == "ALLOW")
        guard case .object(let policies) = filters[0]["typed_config"]["rules"]["policies"] else {
            Issue.record("no policies")
            return
        }
        #expect(Array(policies.keys) == ["control"])
    }
}
