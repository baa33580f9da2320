/// A program to start, and what it is connected to.
public struct ProcessCommand: Sendable {
    /// Where standard output goes.
    public enum Output: Sendable {
        /// Nowhere.
        case discard
        /// To whoever holds the process, line by line.
        case pipe
        /// To the end of a file, which is created.
        case file(String)
    }

    /// For people, in errors and logs: `server-proxy echo/0`.
    public var name: String
    /// Absolute, or a bare name that is looked for in PATH and then where servers are (`sbin`).
    public var program: String
    /// What the program sees as its own name, and `ps` shows; nil: `program`.
    public var title: String?
    /// Without the program itself.
    public var arguments: [String]
    /// Added to this process's own environment.
    public var environment: [String: String]
    /// The working directory; nil: this process's own.
    public var directory: String?
    /// Whether standard input is a pipe from this process; else it is empty.
    public var pipesInput: Bool
    public var output: Output
    /// The file to whose end standard error goes; nil: this process's own standard error.
    public var errorLog: String?
    /// Whether the kernel kills the process when the *thread* that started it ends: start such
    /// processes from a thread that lives as long as they are to live.
    public var diesWithParent: Bool
    /// Whether the process gets, as descriptor 3, the reading end of a pipe that closes when this
    /// process ends, however it ends.
    public var hasLifeline: Bool

    public init(
        name: String, program: String, title: String? = nil, arguments: [String],
        environment: [String: String] = [:], directory: String? = nil, pipesInput: Bool = false,
        output: Output = .discard,
        errorLog: String? = nil, diesWithParent: Bool = true, hasLifeline: Bool = false
    ) {
        self.name = name
        self.program = program
        self.title = title
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
        self.pipesInput = pipesInput
        self.output = output
        self.errorLog = errorLog
        self.diesWithParent = diesWithParent
        self.hasLifeline = hasLifeline
    }
}

/// How a process ended.
public enum ProcessEnd: Equatable, Sendable, CustomStringConvertible {
    /// With this code, 0 to 255.
    case exited(Int32)
    /// By this signal.
    case killed(Int32)

    public var description: String {
        switch self {
        case .exited(let code): "exited with \(code)"
        case .killed(let signal): "was killed by signal \(signal)"
        }
    }

    /// What a shell would report: the code, or 128 and the signal.
    public var shellCode: Int32 {
        switch self {
        case .exited(let code): code
        case .killed(let signal): 128 + signal
        }
    }
}
