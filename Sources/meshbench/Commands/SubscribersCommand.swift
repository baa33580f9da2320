import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Runtime

/// `meshbench subscribers SERVER COUNT FILE [register]`: many proxies in one process that carry
/// nothing, for `scripts/bench control`. It is in no list of commands. FILE has a line for each
/// service: `NAMESPACE/NAME TOKEN`. Says what happens as lines of JSON, until SIGTERM.
func runSubscribers(_ words: [String]) throws(CommandFailure) -> ExitCode {
    guard words.count >= 3, let server = SocketAddress(words[0]), let count = Int(words[1]),
        (1...60_000).contains(count),
        let text = try? String(contentsOfFile: words[2], encoding: .utf8)
    else {
        throw .usage("meshbench subscribers: scripts/bench starts this; SERVER COUNT FILE")
    }
    let tokens = text.split(separator: "\n").compactMap { line -> (String, String)? in
        let parts = line.split(separator: " ").map(String.init)
        return parts.count == 2 ? (parts[0], parts[1]) : nil
    }
    guard !tokens.isEmpty else { throw .usage("meshbench subscribers: no token in \(words[2])") }
    Signals.ignoreBrokenPipes()
    do throws(SystemError) {
        let signals = try Signals([SIGTERM, SIGINT])
        DescriptorLimit.raise()
        let subscribers = try LightSubscribers(
            LightConfiguration(
                server: server, tokens: tokens.map { (service: $0.0, token: $0.1) }, count: count,
                registers: words.count > 3)
        ) { announce($0.json) }
        try subscribers.run(until: signals.descriptor)
        return .success
    } catch {
        throw .failed("meshbench subscribers: \(error)")
    }
}
