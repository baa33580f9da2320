import Base
import FoundationEssentials
import LoadCore
import Model
import Posix

/// One load generator process for one arm in one round.
final class LoadSession {
    let plan: LoadPlan
    let role: Role
    private(set) var isReady = false
    private(set) var result: LoadResult?
    /// The last second that was reported.
    private(set) var second: LoadEvent.Second?

    init(_ job: LoadJob, label: String, in place: Workplace) throws(RigError) {
        plan = job.plan
        let log = try place.folder.folder("logs") + "/\(fileName(label)).log"
        let name = "load \(job.plan.name)"
        let command = ProcessCommand(
            name: name, program: place.program.image, title: "meshbench",
            arguments: ["load", "--job", "-"],
            pipesInput: true, output: .pipe, errorLog: log)
        do throws(SystemError) {
            let process = try Process(command)
            role = Role(
                node: .init(name: name, group: .load, kind: .generator), process: process,
                log: log, addresses: [:])
        } catch {
            throw RigError(.start, "\(name): \(error)")
        }
        try send(job)
    }

    /// Tells the generator when its first phase begins.
    func begin(at start: Instant) throws(RigError) { try send(StartOrder(start: start)) }

    /// Lets the generator end, once nothing more is to be read of its use.
    func end() { role.process.closeInput() }

    /// Takes in what the generator has said since the last call.
    /// - Throws: if it failed or ended without a result.
    func listen() throws(RigError) {
        while result == nil, let line = try nextLine() { try take(line) }
        guard result == nil, role.process.outputDescriptor < 0 else { return }
        if let end = role.process.wait(until: Clock.now() + .seconds(2)) {
            throw role.died(.died, end)
        }
        throw RigError(
            .speech, "\(role.node.name) closed its output without a result",
            log: tail(of: role.log, lines: 20))
    }

    private func nextLine() throws(RigError) -> [UInt8]? {
        do throws(SystemError) {
            return try role.process.nextLine()
        } catch {
            throw RigError(.speech, "\(role.node.name): \(error)")
        }
    }

    private func take(_ line: [UInt8]) throws(RigError) {
        let event: LoadEvent
        do {
            event = try JSONDecoder().decode(LoadEvent.self, from: Data(line))
        } catch {
            let text = String(decoding: line.prefix(200), as: UTF8.self)
            throw RigError(.speech, "\(role.node.name) said what nobody understands: \(text)")
        }
        switch event {
        case .ready: isReady = true
        case .second(let second): self.second = second
        case .result(let result): self.result = result
        case .late(let by):
            throw RigError(
                .late,
                "\(role.node.name) could not begin in time: the start had passed "
                    + "\(by.milliseconds) ms before it was ready")
        case .failed(let message):
            throw RigError(
                .died, "\(role.node.name): \(message)", log: tail(of: role.log, lines: 20))
        }
    }

    private func send(_ message: some Encodable) throws(RigError) {
        do {
            var line = [UInt8](try JSONEncoder().encode(message))
            line.append(UInt8(ascii: "\n"))
            try role.process.write(line)
        } catch {
            throw RigError(
                .died, "\(role.node.name) does not listen: \(error)",
                log: tail(of: role.log, lines: 20))
        }
    }
}
