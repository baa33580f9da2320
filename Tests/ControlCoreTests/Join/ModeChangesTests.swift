import Base
import Model
import Testing

@testable import ControlCore

@Suite struct ModeChangesTests {
    private static let cart = MeshName("cart")

    private func mesh(_ mode: MeshService.MutualTLS) -> MeshState {
        MeshState([.service(MeshService("cart", mtls: mode))])
    }

    private func at(_ seconds: Int64) -> Instant { .zero + .seconds(seconds) }

    /// Between `strict` and `permissive` clients have nothing to change.
    @Test func onlyOffMatters() {
        var changes = ModeChanges()
        for (second, mode) in [(0, MeshService.MutualTLS.strict), (1, .permissive), (2, .strict)] {
            changes.follow(mesh(mode), at(Int64(second)))
            #expect(changes.underWay(at(Int64(second))).isEmpty)
        }
        #expect(changes.deadline(after: at(2)) == nil)
    }

    @Test func stepsFollowOneAnother() {
        var changes = ModeChanges()
        changes.follow(mesh(.strict), at(0))
        changes.follow(mesh(.off), at(100))
        #expect(changes.underWay(at(100)) == [Self.cart: .announced])
        #expect(changes.deadline(after: at(100)) == at(105))
        #expect(changes.underWay(at(105)) == [Self.cart: .followed])
        #expect(changes.deadline(after: at(105)) == at(110))
        #expect(changes.underWay(at(110)).isEmpty)
        #expect(changes.deadline(after: at(110)) == nil)
        // What else is said of the mesh meanwhile puts nothing off.
        changes.follow(mesh(.off), at(104))
        #expect(changes.underWay(at(105)) == [Self.cart: .followed])
        changes.follow(mesh(.off), at(111))
        changes.follow(mesh(.permissive), at(112))
        #expect(changes.underWay(at(112)) == [Self.cart: .announced])
    }

    /// Whether one service is looked at or all of them.
    @Test func oneIsFollowedAsAllAre() {
        var random = SeededRandom(seed: 5)
        var (one, all) = (ModeChanges(), ModeChanges())
        var mesh = MeshState()
        var second: Int64 = 0
        for _ in 0..<2000 {
            second += Int64(random.below(4))
            let name = MeshName("s\(random.below(3))")
            if random.below(8) == 0 {
                mesh.remove(MeshKey(.service, name))
            } else {
                let modes = MeshService.MutualTLS.allCases
                let mode = modes[random.below(modes.count)]
                mesh.declare(.service(MeshService(name.name, mtls: mode)))
            }
            one.follow(name, mesh.services[name], at(second))
            all.follow(mesh, at(second))
            #expect(one == all)
        }
    }

    @Test func aChangeIsTakenBack() {
        var changes = ModeChanges()
        changes.follow(mesh(.strict), at(0))
        changes.follow(mesh(.off), at(10))
        // No client has followed yet.
        changes.follow(mesh(.strict), at(12))
        #expect(changes.underWay(at(12)).isEmpty)
        // Clients have followed: it is another change.
        changes.follow(mesh(.off), at(20))
        changes.follow(mesh(.strict), at(27))
        #expect(changes.underWay(at(27)) == [Self.cart: .announced])
        #expect(changes.underWay(at(36)) == [Self.cart: .followed])
        #expect(changes.underWay(at(37)).isEmpty)
    }

    /// A service that nobody knew before is what it is.
    @Test func newServicesAreAsTheyAre() {
        var changes = ModeChanges()
        changes.follow(MeshState(), at(0))
        changes.follow(mesh(.off), at(1))
        #expect(changes.underWay(at(1)).isEmpty)
        changes.follow(MeshState(), at(2))
        changes.follow(mesh(.strict), at(3))
        #expect(changes.underWay(at(3)).isEmpty)
    }
}
