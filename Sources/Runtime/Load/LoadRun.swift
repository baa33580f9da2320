public import Base
import Glibc
public import LoadCore
import Model
public import Posix
public import Secure

/// Why a load run could not begin or go on.
public enum LoadRunError: Error, Equatable, Sendable, CustomStringConvertible {
    case job(LoadJobError)
    case address(String)
    /// Traffic leaves this machine only where that is asked for.
    case notLoopback(String)
    /// The target's name has no address.
    case unknownName(String, reason: String)
    /// No connection to this target could be opened.
    case unreachable(String, code: Int32)
    /// No connection to this target could be secured.
    case unsecured(String, TLSFailure)
    /// Whoever answers at this target refused what was to be spoken on every connection.
    case refused(String, HandshakeRefusal)
    /// A file of certificates or keys cannot be used.
    case file(TLSFileError)
    /// Only some connections could be opened: the load would be another than was asked for.
    case incomplete(opened: Int, asked: Int, code: Int32)
    /// The instant of the start had passed when everything was ready.
    case late(by: Duration)
    /// The line that should say when to begin does not.
    case start(String)
    case system(SystemError)

    public var description: String {
        switch self {
        case .job(let error): error.description
        case .address(let text):
            "'\(text)' is not an address: a host and a port from 1 to 65535 are needed"
        case .notLoopback(let text):
            "\(text) is not on this machine; load leaves it only with --allow-remote"
        case .unknownName(let text, let reason): "cannot find \(text): \(reason)"
        case .unreachable(let text, let code):
            "cannot connect to \(text): \(unsafe String(cString: strerror(code)))"
        case .unsecured(let text, let failure): "cannot connect to \(text): \(failure.detail)"
        case .refused(let text, let refusal): "cannot connect to \(text): \(refusal)"
        case .file(let error): error.description
        case .incomplete(let opened, let asked, let code):
            "only \(opened) of \(asked) connections could be opened: "
                + "\(unsafe String(cString: strerror(code)))\(Self.remedy(for: code))"
        case .late(let by):
            "the start had passed \(by.milliseconds) ms before all connections were open"
        case .start(let line): "'\(line.prefix(80))' is not {\"start\": NANOSECONDS}"
        case .system(let error): error.description
        }
    }

    private static func remedy(for code: Int32) -> String {
        switch code {
        case EMFILE: " (ulimit -Hn bounds the descriptors of this process)"
        case EADDRNOTAVAIL: " (no local port is left for this target)"
        default: ""
        }
    }
}

/// A load job on its threads: prepared, begun, watched, ended. For use from one thread.
public final class LoadRun {
    private let job: LoadJob
    private let inbox: LoadInbox
    private var threads: [JoinableThread] = []
    private let keepsSeconds: Bool
    // Bound: none where they are not kept; else 2 KiB for each second of the job, packed.
    private var seconds: [LoadResult.SecondTally] = []

    /// Starts the threads, which begin to open connections. Raises the limit of descriptors.
    /// - Parameter keepsSeconds: the result will hold every second of the run; else they are only
    ///   to be had from `takeSeconds`, and memory does not grow with the length of the run.
    public init(_ job: LoadJob, allowRemote: Bool = false, keepsSeconds: Bool = true)
        throws(LoadRunError)
    {
        do { try job.validate() } catch { throw .job(error) }
        var addresses: [[SocketAddress]] = []
        for target in job.targets {
            addresses.append(try Self.addresses(of: target.address, allowRemote: allowRemote))
        }
        let contexts = try Self.contexts(job)
        self.job = job
        self.keepsSeconds = keepsSeconds
        DescriptorLimit.raise()
        let messages = LoadMessages(job)
        do throws(SystemError) {
            let inbox = try LoadInbox(threads: job.threadCount)
            self.inbox = inbox
            for number in 0..<job.threadCount {
                let fixed = addresses
                let thread = try Thread(name: "load-\(number)") {
                    do throws(SystemError) {
                        var thread = try LoadThread(
                            job: job, thread: number, addresses: fixed, contexts: contexts,
                            messages: messages, inbox: inbox)
                        thread.run()
                    } catch {
                        inbox.fail(error)
                    }
                }
                threads.append(JoinableThread(thread))
            }
        } catch {
            throw .system(error)
        }
    }

    deinit {
        inbox.stop()
        // Within a second: that long a stopped thread waits for the answers under way.
        for thread in threads { thread.join() }
    }

    /// The context of each target; empty: cleartext.
    private static func contexts(_ job: LoadJob) throws(LoadRunError) -> [TLSContext] {
        guard let tls = job.tls else { return [] }
        let protocols: [String] =
            switch job.plan.speech {
            case .http1, .websocket: ["http/1.1"]
            case .http2, .grpc, .websocketHTTP2: ["h2"]
            case .tcp: []
            }
        var contexts: [TLSContext] = []
        for target in job.targets {
            var tls = tls
            if tls.serverName == nil { tls.serverName = target.serverName }
            do throws(TLSFileError) {
                let options = try TLSFiles.clientOptions(tls, protocols: protocols)
                contexts.append(try TLSFiles.context(tls, options))
            } catch {
                throw .file(error)
            }
        }
        return contexts
    }

    private static func addresses(of text: String, allowRemote: Bool) throws(LoadRunError)
        -> [SocketAddress]
    {
        let addresses: [SocketAddress]
        do throws(ResolveError) { addresses = try SocketAddress.resolve(text) } catch {
            switch error {
            case .form: throw .address(text)
            case .name(let reason): throw .unknownName(text, reason: reason)
            }
        }
        guard addresses.allSatisfy({ $0.port > 0 }) else { throw .address(text) }
        guard allowRemote || addresses.allSatisfy(\.isLoopback) else { throw .notLoopback(text) }
        return addresses
    }

    /// Readable when something has changed: look at `isReady`, `takeSeconds`, `result`.
    public var newsDescriptor: Int32 { inbox.newsDescriptor }
    /// Makes `newsDescriptor` unreadable until the next change. Call it before looking.
    public func clearNews() { inbox.clearNews() }

    /// Whether all connections are open.
    /// - Throws: `LoadRunError` if one could not be opened, or a thread failed.
    public func isReady() throws(LoadRunError) -> Bool {
        let (settled, failure) = inbox.read { ($0.settled, $0.failure) }
        if let failure { throw .system(failure) }
        guard settled.count == threads.count else { return false }
        let failed = settled.reduce(0) { $0 + $1.failed }
        let code = settled.first { $0.code != 0 }?.code ?? ETIMEDOUT
        if let unreached = settled.lazy.compactMap(\.unreached).first {
            if let failure = settled.lazy.compactMap(\.failure).first {
                throw .unsecured(job.targets[unreached].address, failure)
            }
            if let refusal = settled.lazy.compactMap(\.refusal).first {
                throw .refused(job.targets[unreached].address, refusal)
            }
            throw .unreachable(job.targets[unreached].address, code: code)
        }
        let asked = job.plan.connections
        if failed > 0 { throw .incomplete(opened: asked - failed, asked: asked, code: code) }
        return true
    }

    /// Orders all threads to begin at `start`, or, without one, as soon as they can.
    /// - Returns: the instant at which they begin.
    @discardableResult
    public func begin(at start: Instant?) throws(LoadRunError) -> Instant {
        let now = Clock.now()
        if let start, start < now { throw .late(by: now - start) }
        // Time for every thread to hear of it.
        let instant = start ?? now + .milliseconds(2)
        inbox.begin(at: instant)
        return instant
    }

    /// Stops offering. The result follows within a second or so.
    public func stop() { inbox.stop() }

    /// Whether every thread has come to its end: then `takeSeconds` gives the last of them, and
    /// `result` the result.
    /// - Throws: `LoadRunError` if a thread failed.
    public func hasEnded() throws(LoadRunError) -> Bool {
        let (ends, failure) = inbox.read { ($0.ends.count, $0.failure) }
        if let failure { throw .system(failure) }
        return ends == threads.count
    }

    /// The seconds that all threads have closed since the last call, merged.
    public func takeSeconds() -> [LoadResult.SecondTally] {
        var taken: [LoadResult.SecondTally] = []
        while let second = nextSecond() { taken.append(second) }
        if keepsSeconds { seconds += taken }
        return taken
    }

    /// The end of the run; nil until every thread has come to it.
    public func result() throws(LoadRunError) -> LoadResult? {
        let (ends, failure) = inbox.read { ($0.ends, $0.failure) }
        if let failure { throw .system(failure) }
        guard ends.count == threads.count else { return nil }
        for thread in threads { thread.join() }
        _ = takeSeconds()
        var phases = ends[0].tallies
        var due = ends[0].due
        var openFailures = ends[0].openFailures
        for end in ends.dropFirst() {
            for i in phases.indices {
                phases[i].merge(end.tallies[i])
                phases[i].end = max(phases[i].end, end.tallies[i].end)
            }
            for i in due.indices { due[i].merge(end.due[i]) }
            openFailures.merge(end.openFailures)
        }
        let hashes = ends.lazy.compactMap(\.hashes).first
        return LoadResult(
            scheduleHash: hashes.map { hex($0.instants) } ?? "",
            assignmentHash: hashes.map { hex($0.assignment) } ?? "",
            phases: phases, seconds: seconds, due: due, threads: ends.map(\.usage),
            partial: ends.contains { $0.partial }, openFailures: openFailures.list)
    }

    /// The next second of all threads, merged: as soon as every thread that still runs has closed
    /// it.
    private func nextSecond() -> LoadResult.SecondTally? {
        let parts = inbox.read { state in
            let closed = state.seconds.filter { !$0.isEmpty }.count
            let ended = state.ends.count == state.seconds.count
            if ended ? closed == 0 : closed < state.seconds.count {
                return [LoadResult.SecondTally]()
            }
            return state.seconds.indices.compactMap { i in
                state.seconds[i].isEmpty ? nil : state.seconds[i].removeFirst()
            }
        }
        guard var merged = parts.first else { return nil }
        for part in parts.dropFirst() { merged.merge(part) }
        return merged
    }

    private func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
