import CShims

/// The kernel's freedom to wake a sleeper late.
public enum TimerSlack {
    /// Asks that the calling thread be woken as exactly as the machine can. The default lets the
    /// kernel bundle wake-ups within 50 µs, which is longer than a load generator may be late.
    public static func minimize() { _ = mb_set_timer_slack(1) }
}
