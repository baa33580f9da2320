// The processes of one arm: started leaf first, watched while they live, ended together.

import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Scenario

/// All running processes of one arm.
final class Roster {
    /// How long a role of ours may take to say that it is ready. It takes some 25 ms; a debug build
    /// on a busy machine may take much longer.
    private static let patience = Duration.seconds(20)
    private static let grace = Duration.seconds(2)

    let topology: Topology
    private(set) var roles: [Role] = []
    /// Where the mesh of the arm is changed; nil: it has no control plane.
    private(set) var desk: MeshDesk?
    let place: Workplace
    /// Of those that are named before they start.
    private var ports: [String: HeldPort] = [:]
    /// Of those that come back, by process and listener.
    private var doors: [String: [String: HeldPort]] = [:]
    /// Files in which processes write down what they do, by their names.
    var traces: [TraceKind: [String: String]] = [:]
    /// Folders that processes were given, within the folder of results.
    private var scratches: [String] = []

    /// Starts everything that `topology` names; returns when all of it is ready.
    init(_ topology: Topology, in place: Workplace) throws(RigError) {
        self.topology = topology
        self.place = place
        for node in topology.nodes where node.isAddressedEarly {
            ports[node.name] = try HeldPort()
        }
        do throws(RigError) {
            for node in topology.nodes { try start(node) }
            try awaitMesh(within: Self.patience)
        } catch {
            stop()
            throw error
        }
    }

    /// - Throws: `.died` if one of the processes has ended.
    func checkAlive() throws(RigError) {
        for role in roles { try role.checkAlive() }
    }

    /// Become readable when a process ends of those that are to live.
    var endings: [Int32] { roles.filter { !$0.isDown }.map(\.process.ending) }

    /// Ends all processes, those that call before those that are called. The user's second wish to
    /// stop cuts the waiting short.
    func stop() {
        for role in roles.reversed() {
            role.process.askToEnd()
            // Who has joined goes on for a second after the first signal, for its clients to hear
            // that it leaves: here they leave too.
            if role.hasJoined { role.process.send(SIGINT) }
        }
        let deadline = Clock.now() + Self.grace
        for role in roles.reversed() {
            while role.process.poll() == nil, !place.interrupts.isAborting {
                let left = deadline - Clock.now()
                if left <= .zero { break }
                _ = waitReadable([role.process.ending, place.interrupts.descriptor], for: left)
            }
            _ = role.process.terminate(grace: .zero)
        }
        roles = []
        for scratch in scratches { place.folder.discard(scratch) }
        scratches = []
    }

    static let adminDoor = "admin"

    /// Where a process listens: of those that come back at a port that is kept for them.
    func door(of node: Topology.Node, _ listener: String) throws(RigError) -> String {
        guard node.comesBack else { return "127.0.0.1:0" }
        if let held = doors[node.name]?[listener] { return held.address }
        let held = try HeldPort()
        doors[node.name, default: [:]][listener] = held
        return held.address
    }

    /// `host:port` of an endpoint.
    /// - Precondition: it is part of the topology.
    func address(of endpoint: Topology.Endpoint) throws(RigError) -> String {
        let (name, listener) =
            switch endpoint {
            case .application(let name): (name, "")
            case .listener(let process, let name): (process, name)
            }
        if let role = roles.first(where: { $0.node.name == name }) {
            guard let address = role.addresses[listener] else {
                throw RigError(
                    .speech,
                    "\(name) announced no listener '\(listener)', but: "
                        + role.addresses.keys.sorted().joined(separator: ", "))
            }
            return address
        }
        guard let port = ports[name] else {
            preconditionFailure("\(name) is needed before it has an address")
        }
        return port.address
    }

    private func start(_ node: Topology.Node) throws(RigError) {
        try place.interrupts.check()
        let label = "\(topology.arm.rawValue)-\(fileName(node.name))"
        let log = try place.folder.folder("logs") + "/\(label).log"
        place.journal.note("start", ["arm": topology.arm.rawValue, "process": node.name])
        switch node.kind {
        case .application(let application):
            var calls: [String: [String]] = [:]
            for (callee, endpoints) in application.calls {
                calls[callee] = try endpoints.map { endpoint throws(RigError) in
                    try address(of: endpoint)
                }
            }
            var random = SeededRandom(seed: topology.seed).split("app").split(node.name)
            let file = AppFile(
                name: node.name, listen: ports[node.name]?.address ?? "127.0.0.1:0",
                speech: application.speech == .tcp ? "tcp" : nil,
                tls: application.security.flatMap { place.credentials?.server($0) },
                seed: random.next(), behaviour: application.behaviour, calls: calls,
                control: node.isInjected ? try door(of: node, Self.adminDoor) : nil,
                ledger: node.isInjected ? try trace(of: node, .ledger) : nil)
            try startOurs(node, "app", try json(file), label: label, log: log)
            if let role = roles.last { role.addresses[""] = role.addresses.values.first }
        case .proxy(let proxy):
            var configuration = try proxy.configuration(
                longest: topology.longestTimeout, place.credentials
            ) {
                endpoint throws(RigError) in try address(of: endpoint)
            }
            for index in configuration.listeners.indices {
                configuration.listeners[index].address =
                    try door(of: node, configuration.listeners[index].name)
            }
            configuration.admin = try door(of: node, Self.adminDoor)
            if topology.logsAccess { configuration.accessLog = try trace(of: node, .access) }
            if node.isInjected { configuration.ledger = try trace(of: node, .ledger) }
            let file = Array(ProxyFile.text(configuration).utf8)
            try startOurs(node, "proxy", file, label: label, log: log)
        case .command(let plan):
            try startCommand(node, plan, label: label, log: log)
        case .control(let control): try startControl(node, control, label: label, log: log)
        case .joined(let joined): try startJoined(node, joined, label: label, log: log)
        case .agent(let joined): try startAgent(node, joined, label: label, log: log)
        case .envoy(let agent): try startEnvoy(node, agent: agent, log: log)
        case .generator: preconditionFailure("a generator is started for each turn")
        }
        let listeners = (roles.last?.addresses ?? [:]).sorted { $0.key < $1.key }
        place.journal.note(
            "ready",
            [
                "arm": topology.arm.rawValue, "process": node.name,
                "listeners": Set(listeners.map(\.value)).sorted().joined(separator: " "),
            ])
    }

    // MARK: Our own roles

    private func startOurs(
        _ node: Topology.Node, _ command: String, _ file: [UInt8], label: String, log: String
    ) throws(RigError) {
        let path = try place.folder.folder("configuration") + "/\(label).json"
        try writeFile(file, to: path)
        _ = try serve(node, [command, "--config", path], log: log)
    }

    /// Starts a role of ours.
    func launch(
        _ node: Topology.Node, _ words: [String], log: String
    ) throws(RigError) -> Process {
        try launch(
            ProcessCommand(
                name: node.name,
                program: node.group == .proxies ? place.proxyProgram : place.program.image,
                title: "meshbench", arguments: words, output: .pipe, errorLog: log))
    }

    /// Starts a role of ours and waits until it says that it serves.
    func serve(
        _ node: Topology.Node, _ words: [String], log: String
    ) throws(RigError) -> Role {
        let process = try launch(node, words, log: log)
        let role = Role(node: node, process: process, log: log, addresses: [:])
        role.words = words
        let deadline = Clock.now() + Self.patience
        while true {
            if let line = try nextLine(of: role) {
                let told = try announcement(line, of: role)
                role.addresses = told.listeners ?? [:]
                role.admin = told.admin ?? told.control
                role.bootstrap = told.bootstrap
                break
            }
            try role.checkStarted()
            guard Clock.now() < deadline else {
                throw RigError(
                    .start, "\(node.name) was not ready within \(Self.patience.seconds) s",
                    log: tail(of: log, lines: 20))
            }
            try place.wait(
                for: [process.outputDescriptor, process.ending],
                until: min(deadline, Clock.now() + .seconds(1)))
        }
        roles.append(role)
        return role
    }

    func nextLine(of role: Role) throws(RigError) -> [UInt8]? {
        do throws(SystemError) {
            return try role.process.nextLine()
        } catch {
            throw RigError(.speech, "\(role.node.name): \(error)")
        }
    }

    func announcement(_ line: [UInt8], of role: Role) throws(RigError) -> Announcement {
        guard let told = try? JSONDecoder().decode(Announcement.self, from: Data(line)),
            told.event == "ready", told.listeners?.isEmpty == false || told.bootstrap != nil
        else {
            throw RigError(
                .speech,
                "\(role.node.name) did not announce itself, but said: "
                    + String(decoding: line.prefix(200), as: UTF8.self))
        }
        return told
    }

    func open(_ desk: MeshDesk) { self.desk = desk }

    func launch(_ command: ProcessCommand) throws(RigError) -> Process {
        do throws(SystemError) {
            return try Process(command)
        } catch {
            throw RigError(.start, "\(command.name): \(error)")
        }
    }

    /// A folder that goes with the arm; absolute.
    func makeScratch(_ label: String) throws(RigError) -> String {
        scratches.append("scratch/\(label)")
        return absolutePath(try place.folder.folder("scratch/\(label)"))
    }

    // MARK: Programs of the user's

    private func startCommand(
        _ node: Topology.Node, _ plan: CommandPlan, label: String, log: String
    ) throws(RigError) {
        // It is free from here on: a server that does not set SO_REUSEADDR could not listen.
        guard let port = ports.removeValue(forKey: node.name)?.number else {
            preconditionFailure("no port was held for \(node.name)")
        }
        // Absolute, since the command runs within it.
        let scratch = try makeScratch(label)
        func filled(_ text: String) -> String {
            text.replacing("{port}", with: String(port)).replacing("{dir}", with: scratch)
                .replacing("{meshbench}", with: place.program.image)
        }
        for (name, text) in plan.files.sorted(by: { $0.key < $1.key }) {
            let bytes = Array(filled(text).utf8)
            try writeFile(bytes, to: scratch + "/" + name)
            let kept = try place.folder.folder("configuration/\(label)")
            try writeFile(bytes, to: kept + "/" + fileName(name))
        }
        // The keeper is not tied to this process by a signal: it has to live on to end the others.
        let process = try launch(
            ProcessCommand(
                name: node.name, program: place.program.image, title: "meshbench",
                arguments: ["keeper", "--"] + plan.arguments.map(filled),
                environment: plan.environment.mapValues(filled), directory: scratch,
                output: .file(log), errorLog: log, diesWithParent: false, hasLifeline: true))
        let role = Role(
            node: node, process: process, log: log, addresses: ["": "127.0.0.1:\(port)"])
        try awaitReady(role, plan.ready, port, within: plan.readyWithin)
    }

    /// Waits until a program serves that announces nothing, and takes it on.
    func awaitReady(
        _ role: Role, _ ready: CommandPlan.Readiness, _ port: UInt16, within patience: Duration
    ) throws(RigError) {
        let deadline = Clock.now() + patience
        while !ready.holds(port: port) {
            try role.checkStarted()
            try checkAlive()
            guard Clock.now() < deadline else {
                throw RigError(
                    .start, "\(role.node.name) was not ready within \(patience.seconds) s",
                    log: tail(of: role.log, lines: 20))
            }
            try place.wait(
                for: [role.process.ending] + endings, until: Clock.now() + .milliseconds(20))
        }
        role.meter.refresh()
        roles.append(role)
    }
}

extension Role {
    /// - Throws: `.start` if the process has ended before it was ready.
    func checkStarted() throws(RigError) {
        if let end = process.poll() { throw died(.start, end) }
    }
}
