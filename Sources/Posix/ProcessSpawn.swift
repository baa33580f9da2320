// The one place where a program is started: everything that C needs is made ready here, and
// `mb_spawn` does the rest between fork and exec.

import CShims
import Glibc

/// What becomes of descriptors 0 to 3 in the child; negative: /dev/null, or closed for the
/// lifeline.
struct Connections {
    var input: Int32
    var output: Int32
    var error: Int32
    var lifeline: Int32
}

func spawn(_ command: ProcessCommand, with connections: Connections) throws(SystemError)
    -> Int32
{
    let path = try ProcessCommand.locate(command.program)
    var environment = inheritedEnvironment()
    for (name, value) in command.environment { environment[name] = value }
    let arguments = [command.title ?? command.program] + command.arguments
    let variables = environment.map { "\($0.key)=\($0.value)" }.sorted()
    var pid: pid_t = 0
    let code = unsafe withCStrings(arguments) { arguments in
        unsafe withCStrings(variables) { variables in
            unsafe path.withCString { path in
                var request = unsafe mb_spawn_request()
                unsafe request.path = path
                unsafe request.arguments = arguments
                unsafe request.environment = variables
                unsafe request.input = connections.input
                unsafe request.output = connections.output
                unsafe request.error = connections.error
                unsafe request.lifeline = connections.lifeline
                unsafe request.death_signal = command.diesWithParent ? SIGKILL : 0
                guard let directory = command.directory else {
                    return unsafe mb_spawn(&request, &pid)
                }
                return unsafe directory.withCString { directory in
                    unsafe request.directory = directory
                    return unsafe mb_spawn(&request, &pid)
                }
            }
        }
    }
    guard code == 0 else { throw SystemError("start \(command.program)", code: code) }
    return pid
}

/// Where servers are on Debian: an ordinary user's PATH has none of these.
private let systemFolders = "/usr/local/sbin:/usr/sbin:/sbin"

extension ProcessCommand {
    /// What is started for a program: the path that it is, or where PATH and then the system's own
    /// folders have it if its name holds no slash.
    /// - Throws: where there is no such file that may be executed.
    public static func locate(_ program: String) throws(SystemError) -> String {
        if program.utf8.contains(UInt8(ascii: "/")) {
            guard isProgram(program) else { throw SystemError("start \(program)", code: ENOENT) }
            return program
        }
        let path = inheritedEnvironment()["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        for directory in "\(path):\(systemFolders)".split(separator: ":") {
            let candidate = "\(directory)/\(program)"
            if isProgram(candidate) { return candidate }
        }
        throw SystemError("find \(program) in PATH, \(systemFolders)", code: ENOENT)
    }

    /// A folder is none, though it may be "executed".
    private static func isProgram(_ path: String) -> Bool {
        var facts = stat()
        return unsafe stat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFREG
            && access(path, X_OK) == 0
    }
}

private func inheritedEnvironment() -> [String: String] {
    var result: [String: String] = [:]
    var entry = unsafe environ
    while let text = unsafe entry.pointee {
        let words = unsafe String(cString: text).split(
            separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if words.count == 2 { result[String(words[0])] = String(words[1]) }
        unsafe entry += 1
    }
    return result
}

/// Calls `body` with the strings as C has them, ended by a null pointer.
private func withCStrings<Result>(
    _ strings: [String],
    _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var copies: [UnsafeMutablePointer<CChar>?] = unsafe strings.map { unsafe strdup($0) }
    unsafe copies.append(nil)
    defer { unsafe copies.forEach { unsafe free($0) } }
    return unsafe copies.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { preconditionFailure("an array of no elements") }
        return unsafe body(base)
    }
}
