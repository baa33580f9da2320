import Base
import Glibc
import LoadCore
import Model
import Posix
import Support
import Synchronization
import Testing

@testable import Runtime

@Suite struct PhaseMarksTests {
    private func usage(_ wall: Int64, cpu: Int64, spin: Int64) -> LoadResult.ThreadUsage {
        .init(wallNs: wall, cpuNs: cpu, spinNs: spin)
    }

    @Test("A phase's account is from boundary to boundary, spinning apart")
    func accounts() {
        // Phases of 100 ns and 200 ns from instant 1000.
        var marks = PhaseMarks(
            [.zero, .nanoseconds(100), .nanoseconds(300)], from: Instant(nanoseconds: 1000))
        #expect(!marks.isDue(at: Instant(nanoseconds: 999)))
        #expect(marks.isDue(at: Instant(nanoseconds: 1000)))
        marks.add(usage(10, cpu: 5, spin: 0))
        #expect(!marks.isDue(at: Instant(nanoseconds: 1099)))
        #expect(marks.isDue(at: Instant(nanoseconds: 1105)))
        marks.add(usage(115, cpu: 110, spin: 2))
        marks.add(usage(315, cpu: 210, spin: 82))
        #expect(!marks.isDue(at: .distantFuture), "there are no more boundaries")
        let whole = usage(1_315, cpu: 300, spin: 90)
        let phases = marks.phases(until: whole)
        #expect(phases == [usage(105, cpu: 105, spin: 2), usage(200, cpu: 100, spin: 80)])
        var thread = whole
        thread.phases = phases
        #expect(thread.busy < 0.2, "saturated for one phase of many, it looks idle")
        #expect(thread.busy(inPhase: 0) == 103.0 / 105)
        #expect(thread.busy(inPhase: 1) == 0.1)
        #expect(thread.busy(inPhase: 9) == thread.busy)
    }

    @Test("A run that was stopped leaves the later phases empty")
    func stopped() {
        var marks = PhaseMarks([.zero, .seconds(1), .seconds(2)], from: .zero)
        marks.add(usage(0, cpu: 0, spin: 0))
        let phases = marks.phases(until: usage(50, cpu: 40, spin: 10))
        #expect(phases == [usage(50, cpu: 40, spin: 10), usage(0, cpu: 0, spin: 0)])
        #expect(phases[1].busy == 0)
    }

    @Test("Phases are accounted for in a real run")
    func real() throws {
        let server = try LoadRunTests.server()
        var job = LoadRunTests.job([server.address], milliseconds: 200)
        job.phases.append(job.phases[0])
        job.phases[1].name = "second"
        let result = try LoadRunTests.result(of: job)
        let thread = try #require(result.threads.first)
        #expect(thread.phases.count == 2)
        #expect(thread.phases.allSatisfy { $0.wallNs > 0 && $0.cpuNs > 0 })
        #expect(thread.phases.reduce(0) { $0 + $1.cpuNs } <= thread.cpuNs)
    }

    @Test("A job's process stays until whoever gave the job lets it go")
    func staysUntilItsInputEnds() throws {
        let server = try LoadRunTests.server()
        var session = try JobSession(
            LoadRunTests.job([server.address], milliseconds: 20), allowRemote: false,
            keepsSeconds: true,
            signals: try Signals([SIGUSR1]))
        var none: LineReader?
        _ = try session.run(input: &none, inputDescriptor: -1) { _ in }
        var ends: [Int32] = [-1, -1]
        #expect(unsafe pipe(&ends) == 0)
        defer { close(ends[0]) }
        let sink = ends[1]
        let wasLetGo = Mutex(false)
        let closer = try Thread(name: "closer") {
            // What is said in the meantime does not end it.
            _ = unsafe write(sink, "still here\n", 11)
            wasLetGo.withLock { $0 = true }
            close(sink)
        }
        session.awaitEnd(of: ends[0])
        let isFree = wasLetGo.withLock { $0 }
        #expect(isFree)
        closer.join()
    }
}
