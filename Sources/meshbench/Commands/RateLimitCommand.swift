import Base
import Glibc
import Model
import Posix
import Runtime
import Scenario

extension Command {
    static let rateLimit = Command(
        name: "ratelimit",
        about: "Run a rate limit service",
        detail: """
            Answers proxies whether requests are within their limits, by Envoy's protocol \
            (envoy.service.ratelimit.v3), in cleartext over HTTP/2. Each file has the rules of one \
            domain (docs/RATELIMIT.md). GET /stats tells what was asked.

            SIGTERM and SIGINT let questions under way be answered, then the process exits with 0.
            """,
        positionals: [
            .init(name: "FILE", about: "the rules of a domain, in YAML", repeats: true)
        ],
        flags: [.listen, .counters],
        run: runRateLimit)
}

extension Flag {
    fileprivate static let counters = Flag(
        "--counters", "N", standard: "100000", about: "how many values are counted at once")
}

private func runRateLimit(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    guard let text = arguments.value(.listen) else {
        throw arguments.usage("give --listen, where proxies connect")
    }
    guard let listen = SocketAddress(text) else {
        throw arguments.usage(
            "'--listen \(text)': a numeric address with a port is needed, such as 127.0.0.1:8081")
    }
    let counters = try arguments.integer(.counters, in: 1...10_000_000) ?? 100_000
    let rules = try rules(in: arguments.positionals)
    Signals.ignoreBrokenPipes()
    do {
        // Before the first thread, so that they are blocked in all.
        let signals = try Signals([SIGTERM, SIGINT])
        DescriptorLimit.raise()
        let server = try RateLimitServer(
            rules, listen: listen, counters: counters,
            wallOffset: Clock.wallNanoseconds() - Clock.now().nanoseconds)
        announce(
            "{\"event\":\"ready\",\"role\":\"ratelimit\","
                + "\"listeners\":{\"main\":\"\(server.address)\"}}")
        let reactor = try Reactor()
        try reactor.add(reading: signals.descriptor, token: 0)
        while signals.next() == nil { _ = reactor.wait(until: nil, now: .zero) }
        server.stop()
        return .success
    } catch {
        throw .failed("meshbench ratelimit: \(error)")
    }
}

private func rules(in files: [String]) throws(CommandFailure) -> RateLimitRules {
    var rules = RateLimitRules([])
    for file in files {
        let domain = try domain(in: file)
        guard !rules.domains.contains(where: { $0.name == domain.name }) else {
            throw CommandFailure(
                code: .badScenario,
                message: "\(file): the domain '\(domain.name)' is another file's already")
        }
        rules.domains.append(domain)
    }
    return rules
}

private func domain(in file: String) throws(CommandFailure) -> RateLimitRules.Domain {
    do throws(ScenarioError) {
        return try RateLimitFile.read(path: file)
    } catch {
        throw CommandFailure(error)
    }
}
