// The course of one load job for whoever runs it: ready, start, seconds, result; and the signals
// that cut it short.

import Base
import FoundationEssentials
import Glibc
public import LoadCore
public import Posix

/// Runs one job to its end.
public struct JobSession: ~Copyable {
    private let job: LoadJob
    private let run: LoadRun
    private let reactor: Reactor
    private let signals: Signals
    private var stopping = false

    private enum Token: UInt64 {
        case news
        case signal
        case input
    }

    /// What came of waiting.
    private struct Occasion {
        var news = false
        var interrupted = false
        var input = false
    }

    /// Starts to open connections.
    /// - Parameter signals: SIGINT and SIGTERM, blocked before any thread was started.
    /// - Parameter keepsSeconds: see `LoadRun`.
    public init(
        _ job: LoadJob, allowRemote: Bool, keepsSeconds: Bool, signals: consuming Signals
    ) throws(LoadRunError) {
        let run = try LoadRun(job, allowRemote: allowRemote, keepsSeconds: keepsSeconds)
        do throws(SystemError) {
            let reactor = try Reactor()
            try reactor.add(reading: signals.descriptor, token: Token.signal.rawValue)
            try reactor.add(reading: run.newsDescriptor, token: Token.news.rawValue)
            self.reactor = reactor
        } catch {
            throw .system(error)
        }
        self.job = job
        self.run = run
        self.signals = signals
    }

    /// Runs to the end.
    /// - Parameters:
    ///   - input: where a `StartOrder` comes from if the job has no start; nil, or its end: starts
    ///     at once.
    ///   - began: hears when the run begins, nanoseconds since 1970.
    ///   - closed: hears each second with its histogram, before `tell` does.
    ///   - tell: hears `ready`, each second, and the result.
    /// - Returns: the result; nil if the run was interrupted before it began, or twice.
    public mutating func run(
        input: inout LineReader?, inputDescriptor: Int32, began: (Int64) -> Void = { _ in },
        closed: (LoadResult.SecondTally) -> Void = { _ in }, tell: (LoadEvent) -> Void
    ) throws(LoadRunError) -> LoadResult? {
        while try !run.isReady() {
            if wait().interrupted { return nil }
        }
        tell(.ready)
        guard let start = try startOrder(&input, inputDescriptor) else { return nil }
        let instant = try run.begin(at: start.instant)
        began(Clock.wallNanoseconds() + (instant - Clock.now()).nanoseconds)
        while true {
            let occasion = wait()
            if occasion.interrupted {
                if stopping { return nil }
                stopping = true
                run.stop()
            }
            // Asked before the seconds are taken, so that none comes in between.
            let ended = try run.hasEnded()
            for second in run.takeSeconds() {
                closed(second)
                tell(.second(LoadEvent.Second(second)))
            }
            guard ended, let result = try run.result() else { continue }
            tell(.result(result))
            return result
        }
    }

    /// Waits until nobody holds the other end of `descriptor` any more, or a signal comes. What is
    /// still said there is not heard.
    public mutating func awaitEnd(of descriptor: Int32) {
        // A regular file is always at its end.
        guard (try? reactor.add(reading: descriptor, token: Token.input.rawValue)) != nil else {
            return
        }
        defer { reactor.remove(descriptor) }
        var reader = LineReader(descriptor)
        while true {
            let occasion = wait()
            if occasion.interrupted { return }
            if occasion.input, reader.next() == nil { return }
        }
    }

    private struct Start { var instant: Instant? }

    /// When to begin: as the job says, as the input says, or at once; nil where a signal comes
    /// first.
    private mutating func startOrder(_ input: inout LineReader?, _ descriptor: Int32)
        throws(LoadRunError) -> Start?
    {
        if let start = job.start { return Start(instant: start) }
        guard input != nil else { return Start(instant: nil) }
        // A regular file cannot be watched, and need not be: it never makes one wait.
        let watched = (try? reactor.add(reading: descriptor, token: Token.input.rawValue)) != nil
        defer { if watched { reactor.remove(descriptor) } }
        while watched, input?.hasLine == false {
            let occasion = wait()
            if occasion.interrupted { return nil }
            if occasion.input { break }
        }
        guard let line = input?.next(), !line.isEmpty else { return Start(instant: nil) }
        guard let order = try? JSONDecoder().decode(StartOrder.self, from: Data(line.utf8)) else {
            throw .start(line)
        }
        return Start(instant: Instant(nanoseconds: order.start))
    }

    private func wait() -> Occasion {
        let ready = reactor.wait(until: nil, now: Clock.now())
        var occasion = Occasion()
        for i in 0..<ready {
            switch Token(rawValue: reactor.ready(i).token) {
            case .news:
                run.clearNews()
                occasion.news = true
            case .signal:
                while signals.next() != nil { occasion.interrupted = true }
            case .input: occasion.input = true
            case nil: preconditionFailure("an event that nobody asked for")
            }
        }
        return occasion
    }
}
