public import Base
import Glibc

/// The machine's clocks. Only the edges of the program read them; cores are told the time.
public enum Clock {
    /// CLOCK_MONOTONIC: the time line of every instant in a run, the same in all its processes.
    public static func now() -> Instant { Instant(nanoseconds: read(CLOCK_MONOTONIC)) }

    /// CLOCK_REALTIME, nanoseconds since 1970.
    public static func wallNanoseconds() -> Int64 { read(CLOCK_REALTIME) }

    /// CPU time of the calling thread.
    public static func threadCPU() -> Duration {
        Duration(nanoseconds: read(CLOCK_THREAD_CPUTIME_ID))
    }

    /// CPU time of this process.
    public static func processCPU() -> Duration {
        Duration(nanoseconds: read(CLOCK_PROCESS_CPUTIME_ID))
    }

    private static func read(_ clock: clockid_t) -> Int64 {
        var t = timespec()
        unsafe clock_gettime(clock, &t)
        return Int64(t.tv_sec) * 1_000_000_000 + Int64(t.tv_nsec)
    }

    /// Sleeps until `instant`, interrupted by nothing.
    public static func sleep(until instant: Instant) {
        var t = timespec(
            tv_sec: Int(instant.nanoseconds / 1_000_000_000),
            tv_nsec: Int(instant.nanoseconds % 1_000_000_000))
        while unsafe clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nil) == EINTR {}
    }
}
