import Base
import Glibc
import Model
import Posix
import Runtime
import Scenario

extension Command {
    static let app = Command(
        name: "app",
        about: "Run the built-in workload",
        detail: """
            Answers every request with a body of a set size, after a set delay and a set amount \
            of CPU time, with a set share of errors. A request may ask for something else, in its \
            query or in fields: ?size=16KiB&delay=10ms&status=503&chunked=1&burn=1ms&close=1, or \
            x-app-size and so on. Messages of a WebSocket come back. /echo sends the request \
            back, /app/stats tells what was seen, /app/stall?for=1s stops a whole worker. \
            docs/APP.md describes the configuration file.

            SIGTERM and SIGINT let requests in flight end, then the process exits with 0.
            """,
        flags: [
            .appConfig, .certificate, .key, .clientAuthorities, .listen, .appProtocol, .workers,
            .size, .delay, .burn, .status, .chunked, .capacity, .call, .appDNS, .appSeed,
            .control, .ledger, .requestLog,
        ],
        run: runApp)
}

extension Flag {
    fileprivate static let appConfig = Flag(
        "--config", "FILE", about: "the configuration, in JSON (docs/APP.md)")
    fileprivate static let clientAuthorities = Flag(
        "--client-ca", "FILE", about: "PEM: who must vouch for clients; without it nobody is asked")
    fileprivate static let appProtocol = Flag(
        "--protocol", "NAME", standard: "http",
        about: "http, with WebSocket where it is asked for, or tcp: lengths and bytes")
    fileprivate static let size = Flag(
        "--size", "SIZE", standard: "1KiB", about: "bytes of each answer's body")
    fileprivate static let delay = Flag(
        "--delay", "TIME", standard: "0s",
        about: "waited before each answer: 5ms, exp=5ms, or percentiles: p50=1ms,p99=5ms")
    fileprivate static let burn = Flag(
        "--burn", "TIME", standard: "0s", about: "CPU time burnt before each answer")
    fileprivate static let status = Flag(
        "--status", "STATUS=SHARE", repeats: true,
        about: "the share of answers with another status than 200: 503=0.1%")
    fileprivate static let chunked = Flag("--chunked", about: "send bodies chunked")
    fileprivate static let capacity = Flag(
        "--capacity", "N[+QUEUE]",
        about: "requests at work at once, and those that wait: 8+100; one more is answered 503")
    fileprivate static let control = Flag(
        "--control", "HOST:PORT", about: "where faults are held (docs/FAULTS.md)")
    fileprivate static let requestLog = Flag(
        "--request-log", "FILE", about: "a line of JSON for each request")
    fileprivate static let call = Flag(
        "--call", "NAME=HOST:PORT", repeats: true,
        about: "a service to call before each answer; of one name, addresses are taken in turn")
    fileprivate static let appDNS = Flag(
        "--dns", "HOST:PORT",
        about: "a DNS server; then --call may be NAME=cart.shop.mesh, or with a :PORT")
    fileprivate static let appSeed = Flag(
        "--seed", "N", standard: "1", about: "from which delays and statuses are drawn")
}

private func runApp(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let configuration = try configuration(arguments)
    do {
        Signals.ignoreBrokenPipes()
        // Before the first thread, so that they are blocked in all.
        let signals = try Signals([SIGTERM, SIGINT])
        let server = try AppServer(configuration)
        announce(
            "{\"event\":\"ready\",\"role\":\"app\","
                + "\"listeners\":{\"main\":\"\(server.address)\"}"
                + (server.controlAddress.map { ",\"control\":\"\($0)\"" } ?? "") + "}")
        try wait(for: signals)
        server.stop()
        return .success
    } catch AppError.configuration(let message) {
        let file = arguments.value(.appConfig)
        throw CommandFailure(
            code: file == nil ? .usage : .badScenario,
            message: "\(file ?? "meshbench app"): \(message)")
    } catch {
        throw .failed("meshbench app: \(error)")
    }
}

private func wait(for signals: borrowing Signals) throws(SystemError) {
    let reactor = try Reactor()
    try reactor.add(reading: signals.descriptor, token: 0)
    while signals.next() == nil { _ = reactor.wait(until: nil, now: .zero) }
}

private func configuration(_ arguments: Arguments) throws(CommandFailure) -> AppConfiguration {
    var configuration: AppConfiguration
    if let file = arguments.value(.appConfig) {
        let others = Command.app.flags.filter { $0.name != "--config" && $0.name != "--workers" }
        if let other = others.first(where: arguments.has) {
            throw arguments.usage("\(other.name) goes into the file of --config")
        }
        configuration = try AppFile.read(file)
    } else {
        guard let listen = arguments.value(.listen) else {
            throw arguments.usage("give --config or --listen")
        }
        configuration = AppConfiguration(
            listen: listen, tls: try tls(arguments), behaviour: try behaviour(arguments))
        if let text = arguments.value(.appProtocol) {
            guard let speech = AppConfiguration.Speech(rawValue: text) else {
                throw arguments.usage("'--protocol \(text)': http or tcp is needed")
            }
            configuration.speech = speech
        }
        for text in arguments.values(.call) {
            guard let (name, address) = halves(text) else {
                throw arguments.usage("'--call \(text)': NAME=HOST:PORT is needed")
            }
            if configuration.calls[name] == nil { configuration.behaviour.calls.append(name) }
            configuration.calls[name, default: []].append(address)
        }
        configuration.dns = arguments.value(.appDNS)
        configuration.control = arguments.value(.control)
        configuration.ledger = arguments.value(.ledger)
        configuration.requestLog = arguments.value(.requestLog)
        if let seed = try arguments.integer(.appSeed, in: 0...Int.max) {
            configuration.seed = UInt64(seed)
        }
    }
    if let workers = try arguments.integer(.workers, in: 1...64) {
        configuration.workers = workers
    }
    return configuration
}

private func tls(_ arguments: Arguments) throws(CommandFailure) -> ServerTLS? {
    guard let certificate = arguments.value(.certificate), let key = arguments.value(.key) else {
        if let flag = [Flag.certificate, .key, .clientAuthorities].first(where: arguments.has) {
            throw arguments.usage("'\(flag.name)' goes with --cert and --key")
        }
        return nil
    }
    let authorities = arguments.value(.clientAuthorities)
    return ServerTLS(
        certificate: certificate, key: key, authorities: authorities,
        clientCertificate: authorities == nil ? .none : .required)
}

private func behaviour(_ arguments: Arguments) throws(CommandFailure) -> AppBehaviour {
    var behaviour = AppBehaviour()
    if let text = arguments.value(.size) {
        behaviour.size = try quantity(arguments, text, Quantity.size)
    }
    if let text = arguments.value(.burn) {
        behaviour.burn = try quantity(arguments, text, Quantity.duration)
    }
    if let text = arguments.value(.delay) { behaviour.delay = try delay(arguments, text) }
    for text in arguments.values(.status) {
        guard let (name, share) = halves(text), let status = Int(name) else {
            throw arguments.usage("'--status \(text)': STATUS=SHARE is needed, as 503=0.1%")
        }
        behaviour.statuses.append(
            .init(status: status, share: try quantity(arguments, share, Quantity.percent)))
    }
    behaviour.chunked = arguments.has(.chunked)
    if let text = arguments.value(.capacity) {
        let parts = text.split(separator: "+", maxSplits: 1, omittingEmptySubsequences: false)
        guard let concurrency = Int(parts[0]), let queue = parts.count > 1 ? Int(parts[1]) : 0
        else { throw arguments.usage("'--capacity \(text)': 8 or 8+100 is needed") }
        behaviour.capacity = AppCapacity(concurrency: concurrency, queue: queue)
    }
    return behaviour
}

/// `5ms`, `exp=5ms`, or `p50=1ms,p99=5ms`.
private func delay(_ arguments: Arguments, _ text: String) throws(CommandFailure)
    -> DelayDistribution
{
    if text.hasPrefix("exp=") {
        let mean = try quantity(arguments, String(text.dropFirst(4)), Quantity.duration)
        return DelayDistribution(.exponential(mean: mean))
    }
    guard text.hasPrefix("p") else {
        return .fixed(try quantity(arguments, text, Quantity.duration))
    }
    var points: [DelayDistribution.Point] = []
    for pair in text.split(separator: ",", omittingEmptySubsequences: false) {
        guard let (name, delay) = halves(String(pair)), name.hasPrefix("p"),
            let percentile = Double(name.dropFirst())
        else {
            throw arguments.usage("'--delay \(text)': percentiles are needed, as p50=1ms,p99=5ms")
        }
        let time = try quantity(arguments, delay, Quantity.duration)
        points.append(.init(quantile: percentile / 100, delay: time))
    }
    return DelayDistribution(points: points)
}

/// A number with a unit; what is wrong with it is a usage failure.
private func quantity<Value>(
    _ arguments: Arguments, _ text: String, _ parse: (String) throws(QuantityError) -> Value
) throws(CommandFailure) -> Value {
    do throws(QuantityError) {
        return try parse(text)
    } catch {
        throw arguments.usage(error.message)
    }
}

/// What stands before and after the first `=`.
private func halves(_ text: String) -> (String, String)? {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    return parts.count == 2 && !parts[0].isEmpty ? (String(parts[0]), String(parts[1])) : nil
}
