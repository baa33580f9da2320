import Base
import Model
import Posix
import Secure
import Testing

@testable import ProxyCore
@testable import Runtime

@Suite struct ReturnChecksTests {
    private final class Server: JoinServer {
        let board: HostBoard

        init(_ board: HostBoard) { self.board = board }

        func adopt(_ configuration: ProxyConfiguration, _ material: TLSMaterial) -> String? { nil }

        func hostBoards(of clusters: Set<String>) -> [HostBoard]? {
            clusters.contains(board.cluster) ? [board] : []
        }

        func drain() {}
    }

    /// Somebody is out for longer than a certificate lasts: the checks show the one that is held
    /// now, although there is nobody else to check.
    @Test func checksShowTheNewestCertificate() throws {
        let policy = OutlierPolicy(baseEjection: .seconds(3600), mostPercent: 100)
        let board = HostBoard(cluster: "shop/cart", outlier: policy, accrual: nil)
        let server = Server(board)
        var mesh = MeshState(trustDomain: "mesh.test")
        let health = MeshHealthCheck(interval: .seconds(3600))
        _ = mesh.declare(.service(MeshService("cart", in: "shop", health: health)))
        _ = mesh.declare(
            .endpoint(MeshEndpoint("a", in: "shop", service: "cart", address: "127.0.0.1:9")))
        let target = MeshName("cart", in: "shop")
        var eject = MeshPolicy("eject", in: "shop", targets: [target])
        eject.outlier = policy
        _ = mesh.declare(.policy(eject))

        let checks = ReturnChecks(on: try Reactor(), random: SeededRandom(seed: 1))
        let contexts = try (0..<2).map { _ in try TLSContext(client: TLSClientOptions()) }
        var (held, asked) = (0, 0)
        var now = Instant.zero
        func turn() {
            now = now + .seconds(1)
            checks.turnEnds(now, server) {
                asked += 1
                return contexts[held]
            }
        }
        checks.follow(mesh)
        let marks = board.join("127.0.0.1:9", isHealthy: true, now: now)
        turn()
        #expect(checks.loop == nil && asked == 0, "nobody is out")
        var random = SeededRandom(seed: 1)
        board.act(on: .all5xx, marks, now: now, &random)
        #expect(board.awaitingChecks == ["127.0.0.1:9"])
        turn()
        #expect(checks.loop?.context === contexts[0])
        held = 1
        turn()
        #expect(checks.loop?.context === contexts[1])
    }
}
