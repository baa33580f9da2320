// A child process, its pipes and its end. The process leads a group of its own, so that a signal
// reaches whatever it has started and a terminal's Ctrl-C does not reach it. Who lets go of a
// `Process` that still runs kills it: nothing outlives its owner by being forgotten.
//
// A process with a lifeline is a keeper, which alone knows of descendants that left its group. It
// must therefore not be killed but be let go: its lifeline is closed, and it kills what is below it
// and ends. SIGKILL is for a keeper that does not.

public import Base
import CShims
import Glibc

/// A started program, owned by whoever holds this. Not for use by two threads at once.
public final class Process {
    public let name: String
    /// The process, and the group that it leads.
    public let pid: Int32
    /// How it ended, once that has been seen.
    public private(set) var status: ProcessEnd?

    private let watch: Descriptor
    private var input: Descriptor?
    private let output: Descriptor?
    private var lifeline: Descriptor?
    private var lines = LineBuffer()
    private var outputHasEnded: Bool

    /// Starts the program; returns once it runs.
    public init(_ command: ProcessCommand) throws(SystemError) {
        name = command.name
        var inputSource: Descriptor?
        var inputSink: Descriptor?
        var outputSource: Descriptor?
        var outputSink: Descriptor?
        var lifelineSource: Descriptor?
        var lifelineSink: Descriptor?
        if command.pipesInput { try makePipe(&inputSource, &inputSink) }
        switch command.output {
        case .discard: break
        case .pipe: try makePipe(&outputSource, &outputSink)
        case .file(let path): outputSink = try openForAppending(path)
        }
        if command.hasLifeline { try makePipe(&lifelineSource, &lifelineSink) }
        var log: Descriptor?
        if let path = command.errorLog { log = try openForAppending(path) }

        pid = try spawn(
            command,
            with: Connections(
                input: number(inputSource), output: number(outputSink),
                error: command.errorLog == nil ? STDERR_FILENO : number(log),
                lifeline: number(lifelineSource)))
        let ending = mb_pidfd(pid)
        guard ending >= 0 else {
            let error = SystemError("watch \(command.name)")
            killAndReap(pid)
            throw error
        }
        watch = Descriptor(owning: ending)
        input = inputSink
        lifeline = lifelineSink
        outputHasEnded = number(outputSource) < 0
        makeNonBlocking(number(outputSource))
        output = outputSource
    }

    deinit {
        if status == nil && !endsByItself() { killAndReap(pid) }
    }

    /// How long a keeper may take to kill all that is below it, once it has been let go. It takes
    /// milliseconds, but for a process that hangs in the kernel.
    private static let lifelinePatience = Duration.seconds(10)

    /// Lets go of a process with a lifeline and waits for its end; false if it has none, or does
    /// not end.
    private func endsByItself() -> Bool {
        guard number(lifeline) >= 0 else { return false }
        lifeline = nil
        // A stopped keeper would not see that its lifeline has closed.
        kill(-pid, SIGCONT)
        return wait(until: Clock.now() + Self.lifelinePatience) != nil
    }

    /// Becomes readable when the process ends.
    public var ending: Int32 { watch.number }

    /// The reading end of the process's standard output while more may come; -1: nothing more
    /// comes.
    public var outputDescriptor: Int32 { outputHasEnded ? -1 : number(output) }

    /// The next line of standard output that has arrived; nil if no whole line has.
    ///
    /// What follows the last line feed at the end of the output counts as a line.
    public func nextLine() throws(SystemError) -> [UInt8]? {
        while true {
            if let line = lines.take() { return line }
            if outputHasEnded { return lines.takeRest() }
            switch try lines.fill(from: outputDescriptor) {
            case .filled: continue
            case .nothing: return nil
            case .ended: outputHasEnded = true
            }
        }
    }

    /// Writes all of `bytes` to the process's standard input, waiting while its pipe is full.
    /// - Precondition: the input is a pipe and was not closed.
    /// - Throws: EPIPE if the process no longer reads. Broken pipes must not be signals:
    ///   `Signals.ignoreBrokenPipes()`.
    public func write(_ bytes: [UInt8]) throws(SystemError) {
        let sink = number(input)
        precondition(sink >= 0, "\(name) has no open input")
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.write(
                    sink, buffer.baseAddress?.advanced(by: sent), bytes.count - sent)
            }
            if count < 0 {
                let code = errno
                if code == EINTR { continue }
                throw SystemError("write to \(name)", code: code)
            }
            sent += count
        }
    }

    /// Ends the process's standard input.
    public func closeInput() { input = nil }

    /// How the process ended; nil while it runs. Once it has ended, whatever remains of its group
    /// is killed.
    public func poll() -> ProcessEnd? {
        if let status { return status }
        var end = mb_exit()
        // While the zombie is kept, its number cannot pass to another group.
        guard unsafe mb_wait(pid, 1, &end) == 0, end.ended != 0 else { return nil }
        kill(-pid, SIGKILL)
        _ = unsafe mb_wait(pid, 0, &end)
        status = end.signal != 0 ? .killed(end.signal) : .exited(end.code)
        return status
    }

    /// Waits for the end of the process; nil if `deadline` comes first.
    public func wait(until deadline: Instant) -> ProcessEnd? {
        while true {
            if let status = poll() { return status }
            let left = deadline - Clock.now()
            if left <= .zero { return nil }
            _ = waitReadable([ending], for: left)
        }
    }

    /// Sends `signal` to the whole group.
    public func send(_ signal: Int32) {
        if status == nil { kill(-pid, signal) }
    }

    /// Sends SIGTERM to the whole group.
    public func askToEnd() {
        send(SIGTERM)
        // A stopped process would not see it before it is continued.
        send(SIGCONT)
    }

    /// Ends the group: SIGTERM, and SIGKILL after `grace`; a process with a lifeline is let go in
    /// place of that, so that nothing which descends from it is left either.
    public func terminate(grace: Duration) -> ProcessEnd {
        if let status = poll() { return status }
        if grace > .zero {
            askToEnd()
            if let status = wait(until: Clock.now() + grace) { return status }
        }
        if endsByItself(), let status { return status }
        while true {
            send(SIGKILL)
            if let status = wait(until: Clock.now() + .seconds(1)) { return status }
        }
    }
}

/// Waits until one of `descriptors` is readable or closed, at most for `time` (rounded up to 1 ms).
/// Negative descriptors are passed over.
/// - Returns: for each, whether it is.
public func waitReadable(_ descriptors: [Int32], for time: Duration) -> [Bool] {
    var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    let milliseconds = max(0, min((time.nanoseconds + 999_999) / 1_000_000, 60_000))
    let count = unsafe Glibc.poll(&polled, nfds_t(polled.count), Int32(milliseconds))
    return count <= 0 ? descriptors.map { _ in false } : polled.map { $0.revents != 0 }
}

/// Waits until `descriptor` is writable or closed, at most for `time` (rounded up to 1 ms).
/// - Returns: whether it is.
public func waitWritable(_ descriptor: Int32, for time: Duration) -> Bool {
    var polled = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    let milliseconds = max(0, min((time.nanoseconds + 999_999) / 1_000_000, 60_000))
    return unsafe Glibc.poll(&polled, 1, Int32(milliseconds)) > 0
}

private func makePipe(_ source: inout Descriptor?, _ sink: inout Descriptor?) throws(SystemError) {
    var ends: [Int32] = [-1, -1]
    guard unsafe mb_pipe(&ends) == 0 else { throw SystemError("make a pipe") }
    source = Descriptor(owning: ends[0])
    sink = Descriptor(owning: ends[1])
}

private func openForAppending(_ path: String) throws(SystemError) -> Descriptor {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw SystemError("open \(path)") }
    return Descriptor(owning: file)
}

private func makeNonBlocking(_ descriptor: Int32) {
    if descriptor >= 0 { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
}

private func number(_ descriptor: borrowing Descriptor?) -> Int32 {
    switch descriptor {
    case .none: -1
    case .some(let descriptor): descriptor.number
    }
}

private func killAndReap(_ pid: Int32) {
    var end = mb_exit()
    repeat {
        kill(-pid, SIGKILL)
        Clock.sleep(until: Clock.now() + .milliseconds(1))
    } while unsafe mb_wait(pid, 0, &end) == 0 && end.ended == 0
}
