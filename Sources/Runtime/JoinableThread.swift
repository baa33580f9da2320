public import Posix

/// A thread that an array can hold: a `Thread` itself cannot be copied.
public final class JoinableThread {
    private var thread: Thread?

    public init(_ thread: consuming Thread) { self.thread = consume thread }

    /// Waits for the end; at once where it has been waited for.
    public func join() {
        guard let thread = thread.take() else { return }
        thread.join()
    }
}
