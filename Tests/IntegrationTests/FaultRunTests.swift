import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Report
import Support
import Testing

/// Faults of runs with real processes: done, undone, and written down.
@Suite(.serialized) struct FaultRunTests: RigTesting {
    let scratch: Scratch
    let program: String

    init() throws {
        scratch = try Scratch()
        program = try Program.meshbench()
    }

    private func scenario(_ phases: String, _ faults: String) -> String {
        """
        name: tiny
        seed: 42
        services:
          - {name: echo, replicas: 2, respond: {size: 100B}}
        load:
          - {name: main, to: echo, rate: 200/s, connections: 8, timeout: 1s}
        arms: [mesh]
        rounds: {min: 1, max: 1}
        phases:
          - {name: warm, for: 100ms, measure: false}
        \(phases)
        faults:
        \(faults)
        validity:
          max_lag_p99: 60s
          max_steal: 100%
          max_machine_cpu: 100%
          max_generator_cpu: 100%
          min_tail_samples: 10

        """
    }

    private static let faults = """
          crash: {where: {service: echo, hosts: [0], point: proxy}, do: kill}
          fall: {where: {service: echo, hosts: [1], point: app}, do: kill}
          rest: {where: {service: echo, hosts: [1], point: app}, do: stop}
          away: {where: {service: echo, hosts: [0], point: wire}, do: refuse}
          hole: {where: {service: echo, hosts: [1], point: wire}, do: black-hole}
          alone: {where: {point: control-plane}, do: kill}
        """

    @Test func processesAreEndedAndStoppedAndComeBack() throws {
        let phases = ["crash", "fall", "rest", "away", "hole, alone"].map {
            "  - {name: \($0.prefix(4)), for: 300ms, faults: [\($0)]}"
        }
        let text = scenario(
            phases.joined(separator: "\n") + "\n  - {name: heal, for: 500ms}", Self.faults)
        #expect(try end(of: try start(text)) == .exited(0), "\(self.text("stderr"))")
        let result = try self.result()
        let faults = try #require(result.faults)
        #expect(faults.map(\.name) == ["crash", "fall", "rest", "away", "hole", "alone"])
        for fault in faults {
            #expect(fault.problems == [], "\(fault.name)")
            #expect((fault.begunSeconds ?? 0) >= fault.beginSeconds)
            #expect((fault.endedSeconds ?? 0) >= fault.endSeconds)
        }
        #expect(
            faults.filter { $0.servedSeconds != nil }.map(\.name) == [
                "crash", "fall", "away", "alone",
            ])
        let heal = try #require(result.phases.last)
        #expect((heal.outcomes["ok"] ?? 0) > 0, "all of it is undone: \(heal.outcomes)")
        let folder = try #require(self.folder())
        let ledger = lines(folder + "/ledger.jsonl")
        #expect(ledger.count == 6 && ledger.allSatisfy { $0.contains("\"action\":") })
        #expect(lines(folder + "/journal.jsonl").count { $0.contains("\"fault ends\"") } == 6)
        #expect(!lines(folder + "/access/mesh-client-proxy.jsonl").isEmpty)
        let page = lines(folder + "/report.html").joined(separator: "\n")
        #expect(page.contains("fault-band") && page.contains("black hole"))
        expectNothingLeft(scratch.root)
    }

    private static let requests = """
          cut: {where: {service: echo, point: client-egress-before-retry},
              do: {abort: 503}, when: {chance: 30%}}
          held: {where: {service: echo, point: client-egress-before-retry},
              do: {delay: 5ms}, when: {chance: 40%}}
          slow: {where: {service: echo, hosts: 1, point: server-ingress},
              do: {delay: 20ms}, when: {chance: 50%}}
          ill: {where: {service: echo, point: app}, do: {abort: 500}, when: {chance: 25%}}
          small: {where: {service: echo, point: app}, do: {capacity: {concurrency: 1, queue: 50}}}
          stuck: {where: {service: echo, hosts: 1, point: app}, do: hang}
        """

    @Test func requestsAreMetAsOftenAsTheyShould() throws {
        let phases = """
              - {name: cut, for: 1s, faults: [cut, held]}
              - {name: slow, for: 600ms, faults: [slow]}
              - {name: ill, for: 600ms, faults: [ill]}
              - {name: small, for: 300ms, faults: [small]}
              - {name: heal, for: 500ms}
            """
        #expect(
            try end(of: try start(scenario(phases, Self.requests))) == .exited(0),
            "\(self.text("stderr"))")
        let result = try self.result()
        let faults = try #require(result.faults)
        #expect(faults.map(\.name) == ["cut", "held", "slow", "ill", "small"])
        for fault in faults {
            #expect(fault.problems == [], "\(fault.name)")
            let requests = try #require(fault.requests)
            guard fault.name != "small" else { continue }
            #expect(requests.seen > 0 && requests.hit < requests.seen)
            #expect(requests.lines > 0 && requests.matched == requests.lines, "\(fault.name)")
        }
        #expect(result.phases.last?.outcomes["ok"] == result.phases.last?.planned)
        let folder = try #require(self.folder())
        let cut = lines(folder + "/ledger.jsonl").count { $0.contains("\"fault\":\"cut\"") }
        let aborted = try #require(result.phases.first { $0.phase == "cut" }?.statuses["503"])
        // The phase's requests and the lease's differ by those of a moment at each end.
        #expect(abs(cut - Int(aborted)) <= 10, "\(cut) and \(aborted)")
        expectNothingLeft(scratch.root)
    }

    /// However a run ends, nothing of a fault is left: what is stopped dies too.
    @Test(arguments: ["crash", "rest", "away", "hole", "alone", "cut", "stuck"])
    func aRigThatIsKilledLeavesNothing(fault: String) throws {
        let isLease = fault == "cut" || fault == "stuck"
        let text = scenario(
            "  - {name: hurt, for: 60s, faults: [\(fault)]}",
            isLease ? Self.requests : Self.faults)
        let run = try start(text)
        try self.await("the fault", of: run) {
            // Leases are noted when they have ended: from the phase on one is there.
            journal.contains(isLease ? "\"name\":\"hurt\"" : "fault begins")
        }
        // One process alone: what it has started has nobody to tell it.
        kill(run.pid, SIGKILL)
        #expect(try end(of: run) == .killed(SIGKILL))
        expectNothingLeft(scratch.root)
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func whoStopsARunStopsItsFaults(signal: Int32) throws {
        let text = scenario("  - {name: hurt, for: 60s, faults: [hole, crash]}", Self.faults)
        let run = try start(text)
        try self.await("the faults", of: run) {
            journal.split(separator: "\n").count { $0.contains("fault begins") } == 2
        }
        kill(run.pid, signal)
        #expect(try end(of: run) == .exited(130))
        expectNothingLeft(scratch.root)
    }

    private var journal: String {
        let parent = scratch.path("out/tiny")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        guard let name = names.first(where: { $0.hasPrefix(".") }) else { return "" }
        return text("out/tiny/\(name)/journal.jsonl")
    }

    private func lines(_ path: String) -> [String] {
        let data = FileManager.default.contents(atPath: path) ?? Data()
        return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
