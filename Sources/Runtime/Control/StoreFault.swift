public import ControlCore
public import Posix

/// Why a store does not open, or does not commit.
public enum StoreFault: Error, Equatable, CustomStringConvertible, Sendable {
    /// Another process has the store; nil: it has not said which.
    case locked(holder: Int32?)
    /// Others may write to the folder, whose mode this is.
    case exposed(mode: UInt32)
    /// The folder cannot be read or made sound.
    case folder(SystemError)
    /// A file is not as it was written.
    case damaged(name: String, StoreDamage)
    /// A file that must be there is not.
    case missing(name: String)
    /// The change did not happen. The next may.
    case notWritten(SystemError)
    /// The change did not happen, but could be there after a crash: the log can neither be trusted
    /// nor replaced. Nothing is committed until it is replaced, which is tried again.
    case undecided(SystemError)
    /// Nothing is committed: see `undecided`. The change did not happen.
    case suspended(SystemError)
    /// A store elsewhere cannot be asked. The change did not happen.
    case unreachable(String)
    /// A store elsewhere was asked and has not answered. The change may have happened, or happen
    /// yet; if so, it will be seen as one that somebody else has made.
    case unanswered(String)

    public var description: String {
        switch self {
        case .locked(let holder?): "the store is in use by process \(holder)"
        case .locked(nil): "the store is in use by another process"
        case .exposed(let mode):
            "the store's folder may be written to by others (mode \(String(mode, radix: 8))); "
                + "chmod 700"
        case .folder(let error): "the store's folder: \(error)"
        case .damaged(let name, let damage): "the store's file \(name): \(damage)"
        case .missing(let name):
            "the store's file \(name) is missing: changes that were acknowledged are lost"
        case .notWritten(let error): "nothing was changed: \(error)"
        case .undecided(let error):
            "nothing was changed, but a crash could bring the change back: \(error)"
        case .unreachable(let reason): "nothing was changed: \(reason)"
        case .unanswered(let reason): "whether anything was changed is not known: \(reason)"
        case .suspended(let error): "nothing was changed, the store takes no changes: \(error)"
        }
    }
}
