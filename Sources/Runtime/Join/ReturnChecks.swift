// Active checks of endpoints that a proxy has ejected: one that passes brings the endpoint back,
// unless the policy says otherwise.
//
// The control plane checks all endpoints, for all, and tells what changes. One that passes its
// checks while requests to it fail is nothing new to anybody; so a proxy asks for itself, and only
// those that it has ejected: as the service's `health` says, over the way that its requests take,
// with its own certificate. That goes on without a control plane.

import Base
import ControlCore
import Model
import Posix
import ProxyCore
import Secure

/// The checks of one proxy, on its main thread.
final class ReturnChecks {
    /// Checks under way at once. Bound: descriptors, of those that are set aside for what is not a
    /// client's.
    static let places = 4
    /// How often is looked for endpoints that were ejected.
    private static let pause = Duration.milliseconds(200)

    private let reactor: Reactor
    private let random: SeededRandom
    /// nil: nothing was ever to be checked.
    private(set) var loop: HealthLoop?
    private var now = Instant.zero
    private var mesh = MeshState()
    /// Clusters whose endpoints a check brings back, which have the names of services.
    private var clusters: [String: MeshName] = [:]
    private var lookAt: Instant?
    /// Endpoints that are out: their services and they.
    private var asked = MeshState()
    private var boards: [HostBoard] = []

    init(on reactor: Reactor, random: SeededRandom) {
        self.reactor = reactor
        self.random = random
    }

    /// Checks that have passed, and that have failed.
    var counts: (passed: UInt64, failed: UInt64) { (loop?.passes ?? 0, loop?.failures ?? 0) }

    /// The proxy serves what this says.
    func follow(_ mesh: MeshState) {
        self.mesh = mesh
        clusters = [:]
        for (name, service) in mesh.services where service.health != nil {
            if mesh.policy(for: name)?.outlier?.returnsOnHealthCheck == true {
                clusters[name.text] = name
            }
        }
        if clusters.isEmpty, asked.count == 0 {
            lookAt = nil
        } else {
            lookAt = lookAt ?? now
        }
    }

    var deadline: Instant? { [lookAt, loop?.deadline].compactMap { $0 }.min() }

    func handle(_ readiness: Readiness) -> Bool { loop?.handle(readiness) ?? false }

    /// Does what is due.
    /// - Parameter context: of sessions with endpoints; asked for when there is one to check.
    func turnEnds(_ now: Instant, _ server: any JoinServer, _ context: () -> TLSContext?) {
        self.now = now
        loop?.begin(now)
        if let lookAt, lookAt <= now { look(server, context) }
        loop?.end()
    }

    private func look(_ server: any JoinServer, _ context: () -> TLSContext?) {
        guard let found = server.hostBoards(of: Set(clusters.keys)) else { return lookAt = nil }
        boards = found
        var next = MeshState(trustDomain: mesh.trustDomain)
        for board in boards {
            let addresses = Set(board.awaitingChecks)
            guard !addresses.isEmpty, let name = clusters[board.cluster],
                let service = mesh.services[name]
            else { continue }
            next.declare(.service(service))
            for endpoint in mesh.endpoints(of: name) where addresses.contains(endpoint.address) {
                next.declare(.endpoint(endpoint))
            }
        }
        lookAt = clusters.isEmpty && next.count == 0 ? nil : now + Self.pause
        guard next.count > 0 || asked.count > 0, let loop = loop ?? makeLoop() else { return }
        // Whoever is out may stay out for longer than a certificate lasts.
        loop.context = context()
        guard next != asked else { return }
        asked = next
        loop.meshChanged()
    }

    private func makeLoop() -> HealthLoop? {
        let made = HealthLoop(random: random, places: Self.places) { [unowned self] in asked }
        do throws(SystemError) {
            try made.attach(to: reactor, now: now)
        } catch {
            standardError("endpoints are not checked: \(error)")
            return nil
        }
        made.onPass = { [unowned self] probe in
            guard let cluster = asked.endpoints[probe.endpoint]?.serviceName.text else { return }
            for board in boards where board.cluster == cluster {
                board.passedCheck(probe.address, now: now)
            }
        }
        loop = made
        return made
    }
}
