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
