import Base
import FoundationEssentials
import Glibc
import LoadCore
import Model
import Posix
import Runtime
import Scenario

extension Command {
    static let load = Command(
        name: "load",
        about: "Offer load to any server and measure it honestly",
        detail: """
            Requests are sent at the instants of a schedule, whether or not the server keeps up, \
            and response latency counts from those instants (docs/METHOD.md). Every planned \
            request ends in exactly one outcome. Names are looked up once, before the start.

            The scheme says what is spoken: HTTP (http, https), messages of --body-size that a \
            WebSocket server echoes (ws, wss), or lengths and bytes over TCP (tcp, and tcps over \
            TLS; docs/APP.md). HTTP/2 is spoken with prior knowledge, or over TLS as agreed by \
            ALPN. A call of gRPC is unary, with the body as the bytes of field 1, and takes the \
            timeout along; without a path it is /meshbench.Echo/Unary.

            With --job - it does a job of the rig: one line of JSON from standard input, events as \
            JSON lines on standard output; after the result it ends when its input does.
            """,
        positionals: [
            Positional(
                name: "URL", about: "http://HOST:PORT/PATH, or https, ws, wss, tcp, tcps",
                isRequired: false)
        ],
        flags: [
            .speech, .rate, .arrivals, .ramp, .steps, .closed, .duration, .warmup, .connections,
            .streams, .threads, .timeout, .method, .header, .bodySize, .requestsPerConnection,
            .target, .loadSeed,
            .authorities, .certificate, .key, .spin, .allowRemote, .hgrm, .hlog, .loadJSON, .job,
        ],
        run: runLoad)
}

extension Flag {
    static let speech = Flag(
        "--protocol", "WHAT", standard: "http1",
        about: "over an http: URL: http1, http2 or grpc; over ws: websocket or websocket-http2")
    static let streams = Flag(
        "--streams", "N", standard: "1",
        about: "requests, or WebSockets, at once on each connection; 1 for http1")
    static let rate = Flag("--rate", "RATE", standard: "1000/s", about: "requests in all")
    static let arrivals = Flag(
        "--arrivals", "KIND", standard: "constant",
        about: "constant, poisson, uniform (one in each slot) or closed")
    static let ramp = Flag(
        "--ramp", "A..B", about: "a rate that goes straight from A to B, 100/s..2000/s")
    static let steps = Flag(
        "--steps", "A,B,...", about: "rates one after another, each for an equal span")
    static let closed = Flag(
        "--closed", about: "no schedule: each connection sends as soon as it has its answer")
    static let duration = Flag("--duration", "TIME", standard: "10s", about: "measured time")
    static let warmup = Flag(
        "--warmup", "TIME", standard: "0s", about: "time before it that is not measured")
    static let connections = Flag(
        "--connections", "N", standard: "16", about: "connections in all")
    static let threads = Flag("--threads", "N", standard: "1", about: "threads of the generator")
    static let timeout = Flag(
        "--timeout", "TIME", standard: "3s",
        about: "from the intended instant to the complete answer")
    static let method = Flag("--method", "METHOD", standard: "GET", about: "the request's method")
    static let header = Flag(
        "--header", "NAME: VALUE", repeats: true, about: "a header of every request")
    static let bodySize = Flag("--body-size", "SIZE", standard: "0B", about: "the request's body")
    static let requestsPerConnection = Flag(
        "--requests-per-connection", "N", standard: "0, without end",
        about: "answers after which a connection is replaced")
    static let target = Flag(
        "--target", "URL=WEIGHT", repeats: true, about: "a further target, with the same path")
    static let loadSeed = Flag(
        "--seed", "N", standard: "1", about: "what random arrivals derive from")
    static let spin = Flag(
        "--spin", "TIME", standard: LoadArguments.standardSpin.text,
        about: "the longest stretch before an instant that is spun, not slept; 0s: never")
    static let allowRemote = Flag(
        "--allow-remote", about: "let targets be on other machines; only loopback without it")
    static let hgrm = Flag(
        "--hgrm", "FILE",
        about: "write the percentiles of response latency, in milliseconds; of service latency "
            + "and lag beside it")
    static let hlog = Flag(
        "--hlog", "FILE",
        about: "write a HdrHistogram log: response latency by second, the others by phase")
    static let loadJSON = Flag(
        "--json", "FILE",
        about: "write everything that was measured; - for standard output, in place of the summary"
    )
    static let job = Flag(
        "--job", "FILE", about: "do the job in this file, - for standard input; nothing else")
}

private func runLoad(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    Signals.ignoreBrokenPipes()
    let signals: Signals
    do throws(SystemError) { signals = try Signals([SIGINT, SIGTERM]) } catch {
        throw .failed("meshbench load: \(error)")
    }
    return arguments.has(.job)
        ? try doJob(arguments, signals) : try measure(arguments, signals)
}

// MARK: For people

private func measure(_ arguments: Arguments, _ signals: consuming Signals)
    throws(CommandFailure) -> ExitCode
{
    let request = try LoadArguments(arguments)
    let json = arguments.value(.loadJSON)
    let log = try arguments.value(.hlog).map { path throws(CommandFailure) in
        try LoadLog(path: path)
    }
    let progress = LoadProgress(request.job)
    let result: LoadResult?
    do throws(LoadRunError) {
        var session = try JobSession(
            request.job, allowRemote: arguments.has(.allowRemote), keepsSeconds: json != nil,
            signals: signals)
        var none: LineReader?
        result = try session.run(
            input: &none, inputDescriptor: -1, began: { log?.begin(at: $0) },
            closed: { log?.add($0) },
            tell: { event in if case .second(let second) = event { progress.show(second) } })
    } catch {
        throw failure(of: error)
    }
    progress.clear()
    guard let result else { return .interrupted }
    let summary = LoadSummary(job: request.job, url: request.url, result: result)
    // Results on standard output are for one reader, who would not know where JSON begins.
    if json == "-" { complain(summary.text) } else { print(summary.text, terminator: "") }
    let files = LoadFiles(job: request.job, result: result)
    if let path = arguments.value(.hgrm) { try files.writeDistributions(to: path) }
    try log?.finish(result)
    if let json { try files.writeJSON(to: json) }
    if result.partial { return .interrupted }
    return summary.saturation.isEmpty ? .success : .invalid
}

// MARK: For the rig

private func doJob(_ arguments: Arguments, _ signals: consuming Signals)
    throws(CommandFailure) -> ExitCode
{
    let others = Command.load.flags.filter {
        $0.name != Flag.job.name && $0.name != Flag.allowRemote.name
    }
    if let other = others.first(where: arguments.has) {
        throw arguments.usage("'\(other.name)' and '--job' exclude each other: the job says it all")
    }
    if let word = arguments.positionals.first {
        throw arguments.usage("'\(word)' and '--job' exclude each other: the job says it all")
    }
    let path = arguments.value(.job) ?? "-"
    var descriptor = STDIN_FILENO
    if path != "-" {
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw .failed("meshbench load: \(SystemError("open \(path)"))")
        }
    }
    var input: LineReader? = LineReader(descriptor)
    let line = input?.next() ?? ""
    do throws(LoadRunError) {
        let job: LoadJob
        do { job = try JSONDecoder().decode(LoadJob.self, from: Data(line.utf8)) } catch {
            tell(.failed("not a load job: \(error)"))
            return .badScenario
        }
        var session = try JobSession(
            job, allowRemote: arguments.has(.allowRemote), keepsSeconds: true, signals: signals)
        let result = try session.run(input: &input, inputDescriptor: descriptor, tell: tell)
        // The rig reads what this process used after the last answer: it must still be there.
        // Whoever gave the job lets it end by closing the input.
        if path == "-" { session.awaitEnd(of: descriptor) }
        return result.map { $0.partial } == false ? .success : .interrupted
    } catch {
        if case .late(let by) = error { tell(.late(by)) } else { tell(.failed(error.description)) }
        throw failure(of: error)
    }
}

/// Writes an event as one line of JSON.
private func tell(_ event: LoadEvent) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let line = try? encoder.encode(event) else {
        preconditionFailure("an event that cannot be encoded")
    }
    announce(String(decoding: line, as: UTF8.self))
}

private func failure(of error: LoadRunError) -> CommandFailure {
    let message = "meshbench load: \(error.description)"
    switch error {
    case .job, .address, .notLoopback, .start: return .usage(message)
    case .unknownName, .unreachable, .unsecured, .refused, .file, .incomplete, .late, .system:
        return .failed(message)
    }
}
