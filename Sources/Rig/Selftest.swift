// The instrument against theory: what is put in must come back. Each proof runs the real processes
// that `meshbench run` uses, through the same turn, and holds what was measured against what was
// planted. A rig that passes can still be wrong about a mesh, but not in these ways.

public import Base
import Glibc
import Model
import Posix
import Report
import Stats

/// One proof and how it came out.
public struct Proof: Equatable, Sendable {
    public var name: String
    /// What theory says, with the tolerance.
    public var expected: String
    public var observed: String
    public var holds: Bool
}

/// Runs every proof, some 40 seconds in all.
/// - Parameter parent: a folder for scratch files, which are removed.
/// - Throws: `RigError` where a proof could not be run; `.interrupted` where the user stops it.
public func selftest(
    program: Program, parent: String, spin: Duration, progress: Progress, interrupts: Interrupts
) throws(RigError) -> [Proof] {
    let folder = try ResultsFolder(
        parent: parent, name: "selftest", moment: Clock.wallNanoseconds(), commit: "selftest")
    let place = try Workplace(program: program, folder: folder, interrupts: interrupts)
    let bench = Bench(place: place, spin: spin, progress: progress)
    var proofs: [Proof] = []
    let all: [(String, (Bench) throws(RigError) -> [Proof])] = [
        ("a stalled server", proveStall), ("a known delay", proveDelay),
        ("a known CPU burn", proveBurn), ("a known share of errors", proveErrors),
        ("a starved generator", proveStarvation),
    ]
    for (name, prove) in all {
        progress.say("proving \(name)")
        proofs += try prove(bench)
    }
    return proofs
}

/// Runs one arm of one service once.
struct Bench {
    let place: Workplace
    let spin: Duration
    let progress: Progress

    /// Who may be stopped and continued while a load runs.
    struct Server {
        let process: Process
    }

    /// One turn: half a second to warm up, then `seconds` of `rate` requests each second.
    /// - Parameter actions: what happens to the server within the measured phase, from its start.
    func measure(
        _ behaviour: AppBehaviour, rate: Double, seconds: Int64, connections: Int,
        timeout: Duration = .seconds(5), actions: (Server) -> [TurnAction] = { _ in [] }
    ) throws(RigError) -> Sample {
        let warm = Duration.milliseconds(500)
        let experiment = Experiment(
            name: "selftest", about: "", seed: 1,
            mesh: MeshPlan(dataplane: .none, mode: .sidecar, workers: 1),
            services: [ServicePlan(name: "server", replicas: 1, kind: .builtin(behaviour))],
            loads: [
                LoadPlan(
                    name: "main", to: "server", rate: .constant(rate), arrivals: .constant,
                    connections: connections, timeout: timeout, request: RequestPlan(),
                    requestsPerConnection: 0, threads: 1)
            ], arms: [.direct], rounds: RoundsPlan(min: 1, max: 1),
            phases: [
                // An impossible rate would leave a backlog to the measured phase.
                PhasePlan(name: "warm", duration: warm, measure: false, rate: min(rate, 100)),
                PhasePlan(name: "base", duration: .seconds(seconds), measure: true, rate: nil),
            ], expectations: [], limits: Self.limits)
        let roster = try Roster(try Topology(.direct, of: experiment), in: place)
        defer { roster.stop() }
        var turn = Turn(
            experiment: experiment, roster: roster, threads: [:], round: 0, position: 0,
            place: place, progress: Progress(.silent), spin: spin)
        if let role = roster.roles.first {
            turn.actions = actions(Server(process: role.process)).map {
                TurnAction(offset: $0.offset + warm, perform: $0.perform)
            }
        }
        guard let sample = try turn.run().samples.first else {
            preconditionFailure("a turn with a measured phase has a sample")
        }
        return sample
    }

    /// Those of a scenario that says nothing else, but for samples in the tail: a proof asks for
    /// one percentile at a time, for which 20 beyond it suffice.
    static let limits = ValidityLimits(
        minAchieved: 0.995, maxLagP99: .milliseconds(1), maxGeneratorCPU: 0.8, maxMachineCPU: 0.95,
        maxSteal: 0.02, minTailSamples: 20)
}
