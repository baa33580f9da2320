public import Base
import Glibc
public import LoadCore
public import Posix

/// Why a load run could not begin or go on.
public enum LoadRunError: Error, Equatable, Sendable, CustomStringConvertible {
    case job(LoadJobError)
    case address(String)
    /// Traffic leaves this machine only where that is asked for.
    case notLoopback(String)
    /// No connection to this target could be opened.
    case unreachable(String, code: Int32)
    /// The instant of the start had passed when everything was ready.
    case late(by: Duration)
    /// The line that should say when to begin does not.
    case start(String)
    case system(SystemError)

    public var description: String {
        switch self {
        case .job(let error): error.description
        case .address(let text):
            "'\(text)' is not an address: a numeric IP or localhost, and a port, are needed"
        case .notLoopback(let text):
            "\(text) is not on this machine; load leaves it only with --allow-remote"
        case .unreachable(let text, let code):
            "cannot connect to \(text): \(unsafe String(cString: strerror(code)))"
        case .late(let by):
            "the start had passed \(by.milliseconds) ms before all connections were open"
        case .start(let line): "'\(line.prefix(80))' is not {\"start\": NANOSECONDS}"
        case .system(let error): error.description
        }
    }
}

/// A load job on its threads: prepared, begun, watched, ended. For use from one thread.
public final class LoadRun {
    private let job: LoadJob
    private let inbox: LoadInbox
    private let threads: Int
    /// How many seconds have been given out.
    private var secondsTaken = 0
    private var seconds: [LoadResult.SecondTally] = []

    /// Starts the threads, which begin to open connections.
    public init(_ job: LoadJob, allowRemote: Bool = false) throws(LoadRunError) {
        do { try job.validate() } catch { throw .job(error) }
        var addresses: [SocketAddress] = []
        for target in job.targets {
            guard let address = SocketAddress(target.address) else {
                throw .address(target.address)
            }
            guard address.isLoopback || allowRemote else { throw .notLoopback(target.address) }
            addresses.append(address)
        }
        self.job = job
        threads = job.threadCount
        do throws(SystemError) {
            let inbox = try LoadInbox(threads: threads)
            self.inbox = inbox
            for number in 0..<threads {
                let fixed = addresses
                // The thread is left to itself: it ends when told, and tells so by the inbox.
                _ = try Thread(name: "load-\(number)") {
                    do throws(SystemError) {
                        var thread = try LoadThread(
                            job: job, thread: number, addresses: fixed, inbox: inbox)
                        thread.run()
                    } catch {
                        inbox.fail(error)
                    }
                }
            }
        } catch {
            throw .system(error)
        }
    }

    deinit { inbox.give(.stop) }

    /// Readable when something has changed: look at `isReady`, `takeSeconds`, `result`.
    public var newsDescriptor: Int32 { inbox.newsDescriptor }
    /// Makes `newsDescriptor` unreadable until the next change. Call it before looking.
    public func clearNews() { inbox.clearNews() }

    /// Whether all connections are open.
    /// - Throws: `LoadRunError` if a target has none, or a thread failed.
    public func isReady() throws(LoadRunError) -> Bool {
        let (settled, unreached, code, failure) = inbox.read {
            ($0.settled, $0.unreached, $0.connectError, $0.failure)
        }
        if let failure { throw .system(failure) }
        guard settled == threads else { return false }
        if let unreached {
            throw .unreachable(
                job.targets[unreached].address, code: code == 0 ? ETIMEDOUT : code)
        }
        return true
    }

    /// Orders all threads to begin at `start`, or, without one, as soon as they can.
    public func begin(at start: Instant?) throws(LoadRunError) {
        let now = Clock.now()
        if let start, start < now { throw .late(by: now - start) }
        // Time for every thread to hear of it.
        inbox.give(.begin(start ?? now + .milliseconds(2)))
    }

    /// Stops offering. The result follows within a second or so.
    public func stop() { inbox.give(.stop) }

    /// The seconds that all threads have closed since the last call, merged.
    public func takeSeconds() -> [LoadResult.SecondTally] {
        let from = seconds.count
        while mergeSecond(all: true) {}
        return Array(seconds[from...])
    }

    /// The end of the run; nil until every thread has come to it.
    public func result() throws(LoadRunError) -> LoadResult? {
        let (ends, failure) = inbox.read { ($0.ends, $0.failure) }
        if let failure { throw .system(failure) }
        guard ends.count == threads else { return nil }
        while mergeSecond(all: false) {}
        var phases = ends[0].tallies
        for end in ends.dropFirst() {
            for i in phases.indices {
                phases[i].merge(end.tallies[i])
                phases[i].end = max(phases[i].end, end.tallies[i].end)
            }
        }
        let hashes = ends.lazy.compactMap(\.hashes).first
        return LoadResult(
            scheduleHash: hex(hashes?.instants ?? 0), assignmentHash: hex(hashes?.assignment ?? 0),
            phases: phases, seconds: seconds, threads: ends.map(\.usage),
            partial: ends.contains { $0.partial })
    }

    /// Merges the next second of all threads.
    /// - Parameter all: only if every thread has closed it; else of those that have.
    private func mergeSecond(all: Bool) -> Bool {
        let parts = inbox.read { state in
            let some = state.seconds.filter { !$0.isEmpty }.count
            if all ? some < state.seconds.count : some == 0 { return [LoadResult.SecondTally]() }
            return state.seconds.indices.compactMap { i in
                state.seconds[i].isEmpty ? nil : state.seconds[i].removeFirst()
            }
        }
        guard var merged = parts.first else { return false }
        for part in parts.dropFirst() { merged.merge(part) }
        seconds.append(merged)
        return true
    }

    private func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
