import Base
import ControlCore
import Model
import Testing

/// What the Envoys of services are told of, and what changes make of it.
@Suite struct EnvoyViewsTests {
    private static let count = 50

    /// Services `s-N` that call `t-N` alone, of which each has two endpoints and an Envoy.
    private let mesh = MeshState(
        (0..<count).flatMap { index -> [MeshDeclaration] in
            [
                .service(MeshService("s-\(index)", calls: [MeshName("t-\(index)")])),
                .service(MeshService("t-\(index)", calls: [])),
                endpoint(index, 1), endpoint(index, 2),
            ]
        })

    private static func endpoint(_ service: Int, _ place: Int) -> MeshDeclaration {
        .endpoint(
            MeshEndpoint(
                "e-\(service)-\(place)", service: "t-\(service)",
                address: "127.0.0.1:\(1000 * place + service)"))
    }

    private func views() -> EnvoyViews {
        var views = EnvoyViews(mesh)
        for index in 0..<Self.count {
            views.add("n-\(index)", to: MeshName("s-\(index)"), mesh) { _ in true }
        }
        return views
    }

    /// What is found of an endpoint goes to the views that have it, and costs nothing for others.
    @Test func findingsGoToThoseWhomTheyConcern() {
        var views = views()
        let sick = MeshName("e-3-1")
        var asked = 0
        let stale = views.take(checksOf: [sick], mesh) { name in
            asked += 1
            return name != sick
        }
        #expect(stale == [MeshName("s-3"): EnvoyStaleness(endpoints: [MeshName("t-3")])])
        #expect(asked == 1)
        for index in 0..<Self.count {
            let unwell = views.view(of: MeshName("s-\(index)"))?.unwell
            #expect(unwell == (index == 3 ? [sick] : []))
        }
        // Said again it is no news, and its end is.
        let again = views.take(checksOf: [sick], mesh) { $0 != sick }
        let end = views.take(checksOf: [sick], mesh) { _ in true }
        #expect(again.isEmpty && end == stale)
        #expect(views.view(of: MeshName("s-3"))?.unwell == [])
    }

    /// A view has findings of what is in it only.
    @Test func whatLeavesTakesItsFindingAlong() {
        var (views, mesh) = (views(), mesh)
        let sick = MeshName("e-3-1")
        _ = views.take(checksOf: [sick], mesh) { $0 != sick }
        let key = MeshKey(.endpoint, sick)
        let before = mesh.remove(key)
        #expect(before != nil)
        let news = MeshNews.changes([MeshChange(key, before: before, after: nil)])
        let stale = views.take(news, mesh) { $0 != sick }
        #expect(stale == [MeshName("s-3"): EnvoyStaleness(endpoints: [MeshName("t-3")])])
        #expect(views.view(of: MeshName("s-3"))?.unwell == [])
        // What comes to be known of it afterwards concerns nobody.
        let late = views.take(checksOf: [sick], mesh) { _ in true }
        #expect(late.isEmpty)
    }
}

/// What is kept of contents after changes is what a control plane that begins anew would make.
@Suite struct EnvoyStalenessTests {
    private static let own = MeshName("web", in: "shop")
    private static let services = ["web", "cart", "till"].map { MeshName($0, in: "shop") }
    private static let questions =
        [EnvoyQuestion(.clusters), EnvoyQuestion(.listeners), EnvoyQuestion(.routes, "outbound")]
        + services.map { EnvoyQuestion(.endpoints, $0.text) }

    /// A mesh that changes, and an Envoy that is told.
    private struct Bench {
        var mesh = MeshState(
            services.map { MeshDeclaration.service(MeshService($0.name, in: $0.namespace)) })
        var unwell: Set<MeshName> = []
        var views: EnvoyViews
        var contents: [EnvoyQuestion: String] = [:]

        init() {
            views = EnvoyViews(mesh)
            views.add("n", to: own, mesh) { _ in true }
            renew(.all)
        }

        func isWell(_ name: MeshName) -> Bool { !unwell.contains(name) }

        /// What would be made of it all; a refusal is a content too.
        func content(_ question: EnvoyQuestion, _ view: MeshState?) -> String {
            do throws(EnvoyRefusal) {
                let rendering = try EnvoyRendering(
                    envoyFacts, view: view ?? MeshState(), authorities: "PEM")
                return try rendering.content(question)?.version ?? "none"
            } catch {
                return error.reason
            }
        }

        mutating func renew(_ stale: EnvoyStaleness?) {
            for question in questions where stale?.covers(question) ?? false {
                contents[question] = content(question, views.view(of: own))
            }
        }

        mutating func put(_ key: MeshKey, _ after: MeshDeclaration?) {
            let before = after.map { mesh.declare($0) } ?? mesh.remove(key)
            let news = MeshNews.changes([MeshChange(key, before: before, after: after)])
            let unwell = unwell
            renew(views.take(news, mesh) { !unwell.contains($0) }[own])
        }

        mutating func check(_ name: MeshName, isWell: Bool) {
            if isWell { unwell.remove(name) } else { unwell.insert(name) }
            let unwell = unwell
            renew(views.take(checksOf: [name], mesh) { !unwell.contains($0) }[own])
        }

        /// The questions of which what is kept is not what there is.
        var wrong: [EnvoyQuestion] {
            var views = EnvoyViews(mesh)
            views.add("n", to: own, mesh, isWell: isWell)
            let view = views.view(of: own)
            return questions.filter { contents[$0] != content($0, view) }
        }
    }

    private static func endpoint(_ service: String, _ place: Int) -> MeshEndpoint {
        MeshEndpoint(
            "\(service)-\(place)", in: "shop", service: service, address: "127.0.0.1:\(place)")
    }

    /// Who ejects is told of the unwell too: from the policy's coming to its end.
    @Test func aPolicyThatEjectsChangesWhichEndpointsAreTold() {
        var bench = Bench()
        for place in 1...2 {
            let endpoint = Self.endpoint("cart", place)
            bench.put(endpoint.key, .endpoint(endpoint))
        }
        bench.check(MeshName("cart-1", in: "shop"), isWell: false)
        let cart = EnvoyQuestion(.endpoints, "shop/cart")
        let before = bench.contents[cart]
        func policy(_ name: String, _ target: MeshName, _ outlier: OutlierPolicy?) -> MeshPolicy {
            MeshPolicy(
                name, in: "shop", targets: [target], timeouts: .init(request: .seconds(1)),
                outlier: outlier)
        }
        let wide = policy("wide", MeshName("*", in: "shop"), OutlierPolicy())
        bench.put(wide.key, .policy(wide))
        let told = bench.contents[cart]
        #expect(told != before && bench.wrong.isEmpty)
        // A narrower one that says nothing of it takes its place.
        let narrow = policy("narrow", MeshName("cart", in: "shop"), nil)
        bench.put(narrow.key, .policy(narrow))
        #expect(bench.contents[cart] == before && bench.wrong.isEmpty)
        bench.put(narrow.key, nil)
        #expect(bench.contents[cart] == told && bench.wrong.isEmpty)
        bench.put(wide.key, nil)
        #expect(bench.contents[cart] == before && bench.wrong.isEmpty)
    }

    @Test(arguments: 0..<20)
    func whatIsKeptIsWhatThereIs(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var bench = Bench()
        for step in 0..<60 {
            change(&bench, &random)
            #expect(bench.wrong.isEmpty, "after step \(step)")
        }
    }

    private func change(_ bench: inout Bench, _ random: inout SeededRandom) {
        let isThere = random.below(3) > 0
        let service = Self.services[random.below(Self.services.count)]
        switch random.below(8) {
        case 0:
            let mtls: MeshService.MutualTLS = Bool.random(using: &random) ? .strict : .off
            let declared = MeshService(service.name, in: service.namespace, mtls: mtls)
            let isKept = isThere || service == Self.own
            bench.put(declared.key, isKept ? .service(declared) : nil)
        case 1, 2:
            let endpoint = Self.endpoint(service.name, 1 + random.below(2))
            bench.put(endpoint.key, isThere ? .endpoint(endpoint) : nil)
        case 3:
            let endpoint = Self.endpoint(service.name, 1 + random.below(2))
            bench.check(endpoint.meshName, isWell: Bool.random(using: &random))
        case 4:
            let route = MeshRoute("r", in: "shop", hosts: ["x"], destinations: [.init(service)])
            bench.put(route.key, isThere ? .route(route) : nil)
        case 5:
            let rules = [MeshAuthorization.Rule(prefixes: ["/x"])]
            let denied = MeshAuthorization("a", in: "shop", .deny, targets: [service], rules: rules)
            bench.put(denied.key, isThere ? .authorization(denied) : nil)
        default:
            let targets = [[service], [MeshName("*", in: "shop")], [MeshName("*", in: "*")]]
            let breadth = random.below(3)
            var policy = MeshPolicy(
                "p-\(breadth)", in: "shop", targets: targets[breadth],
                timeouts: .init(request: .seconds(Int64(1 + random.below(2)))))
            if random.below(3) == 0 { policy.balance = BalancePolicy() }
            if random.below(3) == 0 { policy.outlier = OutlierPolicy() }
            bench.put(policy.key, isThere ? .policy(policy) : nil)
        }
    }
}
