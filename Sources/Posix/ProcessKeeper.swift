// Our own roles start no processes: the parent-death signal is enough for them. A `command` service
// may start any number (nginx's workers, gunicorn's, a shell's), which get no such signal, may
// leave the process group, and are handed to init when their parent dies. So each such service runs
// under a keeper: a tiny process that adopts every orphan below it, and that holds a pipe from the
// rig. When the pipe closes, because the rig let go or because it died in whatever way, the keeper
// kills all below it and ends. When the service itself ends, the keeper kills what it left behind
// and ends the same way.
//
//     rig ──(pipe, descriptor 3)── keeper (subreaper) ── service ── workers …

public import Base
import CShims
import Glibc

/// The life of one command and of all that descends from it.
public enum Keeper {
    /// The descriptor from which nothing is ever read but its end.
    public static let lifeline: Int32 = 3

    /// Runs `arguments` until it ends, SIGTERM comes and `grace` is over, or the lifeline closes.
    /// Nothing that it has started is left when this returns.
    ///
    /// Standard streams and the working directory are passed on to the command.
    /// - Returns: how the command ended.
    public static func run(_ arguments: [String], grace: Duration) throws(SystemError) -> ProcessEnd
    {
        precondition(!arguments.isEmpty, "a keeper of no command")
        guard fcntl(lifeline, F_GETFD) >= 0 else { throw SystemError("use the lifeline") }
        let code = mb_become_subreaper()
        guard code == 0 else { throw SystemError("adopt orphans", code: code) }
        // Inherited, it would take the end of the service from this process.
        Signals.standard(SIGCHLD)
        let signals = try Signals([SIGTERM, SIGINT, SIGHUP, SIGCHLD])
        let service = try startInheriting(arguments)

        var deadline = Instant.distantFuture
        while true {
            let now = Clock.now()
            // Adopted orphans are reaped as they end, so that no zombie outlives its use.
            if let status = reap(service) {
                endDescendants()
                return status
            }
            if now >= deadline { break }
            let ready = waitReadable(
                [signals.descriptor, lifeline], for: min(deadline - now, .seconds(60)))
            if ready[1] { break }
            while let signal = signals.next() {
                if signal == SIGCHLD { continue }
                kill(-service, signal)
                if signal == SIGTERM || signal == SIGINT {
                    deadline = min(deadline, Clock.now() + grace)
                }
            }
        }
        endDescendants()
        return .killed(SIGKILL)
    }

    private static func startInheriting(_ arguments: [String]) throws(SystemError) -> Int32 {
        let command = ProcessCommand(
            name: arguments[0], program: arguments[0], arguments: Array(arguments.dropFirst()))
        return try spawn(
            command,
            with: Connections(
                input: STDIN_FILENO, output: STDOUT_FILENO, error: STDERR_FILENO, lifeline: -1))
    }

    /// Reaps all that have ended; how `service` ended, if it did.
    private static func reap(_ service: Int32) -> ProcessEnd? {
        var found: ProcessEnd?
        var end = mb_exit()
        while true {
            let pid = unsafe mb_reap_any(&end)
            if pid <= 0 { return found }
            if pid == service {
                found = end.signal != 0 ? .killed(end.signal) : .exited(end.code)
            }
        }
    }

    /// Kills all descendants and waits for their end. Each kill may hand further orphans to this
    /// process, so it goes on until the kernel says that no child is left.
    public static func endDescendants() {
        var end = mb_exit()
        while true {
            for process in descendants(of: getpid()) { kill(process.pid, SIGKILL) }
            var reaped: Int32
            repeat { reaped = unsafe mb_reap_any(&end) } while reaped > 0
            if reaped == -ECHILD { return }
            Clock.sleep(until: Clock.now() + .milliseconds(1))
        }
    }
}
