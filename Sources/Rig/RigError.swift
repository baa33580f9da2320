/// An operation of the rig that failed: the run cannot go on.
public struct RigError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Kind: Equatable, Sendable {
        /// A file or folder could not be read or written.
        case file
        /// A process could not be started or did not become ready.
        case start
        /// A process ended though nobody asked it to.
        case died
        /// A load generator could not begin at the instant that was agreed: the turn can be tried
        /// again.
        case late
        /// A process said something that is not in the protocol.
        case speech
        /// The experiment cannot be laid out.
        case layout
        /// The user stopped the run.
        case interrupted
    }

    public var kind: Kind
    /// What happened, for people, with the name of the process and its exit status.
    public var message: String
    /// The last lines of the process's log.
    public var log: [String]
    /// Where that is kept which the run had written by then.
    public var kept: String?

    public init(_ kind: Kind, _ message: String, log: [String] = []) {
        self.kind = kind
        self.message = message
        self.log = log
    }

    public var description: String {
        var text = message
        if !log.isEmpty {
            text += "\nits last words:\n" + log.map { "  | \($0)" }.joined(separator: "\n")
        }
        return text + (kept.map { "\nwhat there was by then: \($0)" } ?? "")
    }
}
