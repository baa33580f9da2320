// The control plane of an arm, and the proxies that join it. They are told where it is, all of its
// replicas, given a token each, and find out all else; an arm is ready when all of them have in
// force what names the last endpoint.

import Base
import FoundationEssentials
import Glibc
import Model
import Posix

extension Roster {
    /// Starts a replica of the control plane, in a folder that goes with the arm. The first is told
    /// what the mesh is.
    func startControl(
        _ node: Topology.Node, _ control: Topology.Control, label: String, log: String
    ) throws(RigError) {
        let data = try makeScratch(label) + "/data"
        // Proxies are told where it is once: it is there when it starts again.
        let held = [try HeldPort(), try HeldPort()]
        let doors = ControlDoors(api: held[0].address, proxies: held[1].address)
        let role = try serve(node, try words(of: control, data: data, doors), log: log)
        role.held = held
        role.doors = doors
        do throws(DeskError) {
            if let desk {
                open(try desk.with(doors.api))
                return
            }
            let desk = try MeshDesk(
                doors.api, token: try readToken(data + "/token"), proxies: control.proxies,
                envoys: control.envoys)
            _ = try desk.apply(control.declarations)
            open(desk)
        } catch {
            throw RigError(.start, "\(node.name): \(error)", log: tail(of: log, lines: 20))
        }
        try writeFile(
            Array(MeshDesk.body(control.declarations).utf8),
            to: try place.folder.folder("configuration") + "/\(label).json")
    }

    /// Starts a proxy that joins.
    func startJoined(
        _ node: Topology.Node, _ joined: Topology.Joined, label: String, log: String
    ) throws(RigError) {
        guard let desk else { preconditionFailure("a proxy joins before there is a control plane") }
        let scratch = try makeScratch(label)
        let replicas = try endpoints(joined.gateway?.replicas ?? [])
        do throws(DeskError) {
            try desk.register(replicas)
        } catch {
            throw RigError(.start, "\(node.name) cannot join: \(error)")
        }
        var words = ["proxy"] + (try joining(joined, in: scratch))
        words += ["--admin", try door(of: node, Self.adminDoor)]
        if topology.keepsState { words += ["--state", scratch + "/state"] }
        if topology.logsAccess { words += ["--access-log", try trace(of: node, .access)] }
        if node.isInjected { words += ["--ledger", try trace(of: node, .ledger)] }
        if let application = joined.application {
            words += ["--inbound", try door(of: node, "inbound")]
            words += ["--app", try address(of: application)]
        }
        for service in joined.bytesTo {
            words += ["--tcp", "\(service.text)=\(try door(of: node, service.text))"]
        }
        if let gateway = joined.gateway {
            words += gateway.words(place.credentials)
        } else {
            words += ["--outbound", try door(of: node, "outbound")]
        }
        _ = try serve(node, words, log: log)
    }

    /// The words that say where to join, and as whom, with a token.
    /// - Parameter scratch: where the token is put.
    func joining(
        _ joined: Topology.Joined, in scratch: String
    ) throws(RigError) -> [String] {
        guard let desk else { preconditionFailure("a proxy joins before there is a control plane") }
        let token: String
        do throws(DeskError) {
            // What keeps no certificate joins anew at each start.
            token = try desk.token(for: joined.service, singleUse: topology.keepsState)
        } catch {
            throw RigError(.start, "no token for \(joined.name): \(error)")
        }
        try writePrivate(Array("\(token)\n".utf8), to: scratch + "/token")
        let servers = control(nil).flatMap { ["--join", $0.doors.proxies] }
        return servers + [
            "--token-file", scratch + "/token", "--name", joined.name,
            "--workers", "\(joined.workers)",
        ] + (joined.zone.map { ["--zone", $0] } ?? [])
            + (joined.weight == 1 ? [] : ["--weight", "\(joined.weight)"])
            + (joined.level == 0 ? [] : ["--level", "\(joined.level)"])
            + joined.labels.sorted { $0.key < $1.key }.flatMap { ["--label", "\($0)=\($1)"] }
    }

    /// Declarations of what no proxy declares.
    private func endpoints(
        _ replicas: [Topology.Joined.Replica]
    ) throws(RigError) -> [MeshEndpoint] {
        var endpoints: [MeshEndpoint] = []
        for replica in replicas {
            endpoints.append(
                MeshEndpoint(
                    replica.name, service: replica.service,
                    address: try address(of: replica.application), zone: replica.zone,
                    weight: replica.weight, level: replica.level, labels: replica.labels))
        }
        return endpoints
    }

    /// Waits until every proxy has in force all that the control plane has been told by then.
    func awaitMesh(within patience: Duration) throws(RigError) {
        guard let desk else { return }
        let deadline = Clock.now() + patience
        while true {
            let state: String
            do throws(DeskError) {
                let standing = try desk.standing()
                let now = Clock.now()
                let isReady =
                    standing.inForce(
                        standing.newest, proxies: desk.proxies, envoys: desk.envoys, answered: now)
                    != nil
                if isReady { return }
                let ready = standing.proxies.count { $0.acknowledged >= $0.sent }
                state =
                    standing.complaint
                    ?? "\(ready) of \(desk.proxies) proxies have joined and serve what they should"
            } catch {
                state = "\(error)"
            }
            try checkAlive()
            guard Clock.now() < deadline else {
                throw RigError(
                    .start, "the mesh was not ready within \(patience.seconds) s: \(state)",
                    log: control(nil).first.map { tail(of: $0.role.log, lines: 20) } ?? [])
            }
            try place.wait(for: endings, until: min(deadline, Clock.now() + .milliseconds(20)))
        }
    }

    // MARK: While it carries load

    /// Ends the control plane as a power cut would.
    /// - Parameter replica: which one; nil: all.
    func cutControl(_ replica: Int?, _ accountant: inout Accountant) {
        cut(control(replica).map(\.role).filter { !$0.isDown }, &accountant)
    }

    /// Starts it again where it was, with what it had. That it serves is seen at the end
    /// (`checkResumed`).
    func resumeControl(_ replica: Int?, _ accountant: inout Accountant) throws(RigError) {
        for (role, _) in control(replica) where role.isDown { try resume(role, &accountant) }
    }

    /// Waits until a replica that was started again can be asked.
    /// - Throws: `.start` where it cannot: the others may have answered in its place.
    func awaitControl(_ role: Role, until deadline: Instant) throws(RigError) {
        guard let desk, let doors = role.doors else { return }
        while true {
            try role.checkAlive()
            do throws(DeskError) {
                try desk.look(at: doors.api)
                return
            } catch {
                guard Clock.now() < deadline else {
                    throw RigError(
                        .start,
                        "\(role.node.name) was started again and does not serve: \(error)",
                        log: tail(of: role.log, lines: 20))
                }
            }
            try place.wait(for: endings, until: Clock.now() + .milliseconds(20))
        }
    }

    /// A replica of the control plane, or all.
    private func control(
        _ replica: Int?
    ) -> [(role: Role, doors: ControlDoors)] {
        roles.compactMap { role in
            guard case .control(let control) = role.node.kind, let doors = role.doors,
                replica == nil || replica == control.replica
            else { return nil }
            return (role, doors)
        }
    }

    /// The words that start a replica.
    private func words(
        of control: Topology.Control, data: String, _ doors: ControlDoors
    ) throws(RigError) -> [String] {
        var words = ["control", "--data", data]
        words += ["--listen", doors.api, "--proxies", doors.proxies]
        if let life = control.plan.certificateLife {
            words += ["--certificate-life", life.exactText]
        }
        if control.plan.store == .etcd {
            words += ["--etcd", "http://" + (try address(of: .application(Topology.etcdName)))]
        }
        return words
    }
}

extension CommandPlan {
    /// One member of etcd, of this machine alone. Nobody else is a member, so the port for others
    /// may be any. The bounds are those of a control plane's largest change (docs/CONTROL.md).
    static let etcd = CommandPlan(
        arguments: [
            Topology.etcdName, "--name", "run", "--data-dir", "{dir}/data",
            "--listen-client-urls", "http://127.0.0.1:{port}",
            "--advertise-client-urls", "http://127.0.0.1:{port}",
            "--listen-peer-urls", "http://127.0.0.1:0",
            "--initial-advertise-peer-urls", "http://127.0.0.1:0",
            "--initial-cluster", "run=http://127.0.0.1:0",
            "--max-txn-ops", "16384", "--max-request-bytes", "33554432", "--log-level", "error",
        ], environment: [:], files: [:], ready: .http(path: "/health"), readyWithin: .seconds(20))
}

extension Topology.Joined.Gateway {
    /// The words that make a proxy one.
    fileprivate func words(_ credentials: Credentials?) -> [String] {
        let words = ["--gateway", "--inbound", "127.0.0.1:0"]
        guard let tls = security.flatMap({ credentials?.server($0) }) else { return words }
        return words + ["--tls-cert", tls.certificate, "--tls-key", tls.key]
            + (tls.authorities.map { ["--client-ca", $0] } ?? [])
    }
}

/// What a control plane has written for its clients.
private func readToken(_ path: String) throws(DeskError) -> String {
    let bytes = FileManager.default.contents(atPath: path) ?? Data()
    let token = String(decoding: bytes, as: UTF8.self).prefix { $0 != "\n" }
    guard !token.isEmpty else { throw .refused("there is no token in \(path)") }
    return String(token)
}
