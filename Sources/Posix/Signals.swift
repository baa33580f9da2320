import CShims
import Glibc

/// Signals as a descriptor: blocked in every thread and read in one place.
public struct Signals: ~Copyable {
    private let descriptorOwner: Descriptor

    /// Blocks `signals` in this thread, and so in all that it starts later, and reads them from
    /// here on. Call it before the first thread is started.
    public init(_ signals: [Int32]) throws(SystemError) {
        let number = unsafe mb_signal_descriptor(signals, Int32(signals.count))
        guard number >= 0 else { throw SystemError("signalfd") }
        descriptorOwner = Descriptor(owning: number)
    }

    /// The descriptor to watch for reading.
    public var descriptor: Int32 { descriptorOwner.number }

    /// The next signal that has come; nil if none is left.
    public func next() -> Int32? {
        let signal = mb_signal_next(descriptor)
        return signal > 0 ? signal : nil
    }

    /// Lets `number` do what it does by default, whatever this process inherited.
    public static func standard(_ number: Int32) { _ = signal(number, SIG_DFL) }

    /// A write to a closed pipe is an error value, not the end of the process.
    public static func ignoreBrokenPipes() { _ = signal(SIGPIPE, SIG_IGN) }
}
