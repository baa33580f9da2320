import CShims

extension Thread {
    /// Lets the kernel wake the calling thread from a timed wait without the slack of 50 µs by which it
    /// otherwise gathers timers (prctl(2), PR_SET_TIMERSLACK).
    public static func wakePrecisely() { mb_set_timer_slack(1) }
}
