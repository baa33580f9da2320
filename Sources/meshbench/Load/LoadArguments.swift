import Base
import LoadCore
import Model
import Scenario

/// What the words after `meshbench load` ask for.
struct LoadArguments {
    let job: LoadJob
    /// The first target, for people.
    let url: String

    /// Long enough for the wake-ups of a quiet machine, short enough to leave the core to others:
    /// of 5,000 instants a second, at most a quarter of one core.
    static let standardSpin = Duration.microseconds(50)

    init(_ arguments: Arguments) throws(CommandFailure) {
        let words = LoadWords(arguments: arguments)
        var targets: [(url: LoadURL, weight: Int)] = []
        if let first = arguments.positionals.first {
            targets.append((try words.url(first), 1))
        }
        for text in arguments.values(.target) { targets.append(try words.target(text)) }
        guard let first = targets.first else { throw arguments.usage("URL is missing") }
        for target in targets where target.url.path != first.url.path {
            throw arguments.usage(
                "all targets take the same request: '\(target.url.path)' is not "
                    + "'\(first.url.path)'")
        }
        for target in targets
        where target.url.speech != first.url.speech || target.url.isSecured != first.url.isSecured {
            throw arguments.usage("all targets speak the same: one URL's scheme is another's")
        }
        let closed = arguments.has(.closed) || arguments.value(.arrivals) == "closed"
        let rate = try words.rate(closed: closed)
        let plan = LoadPlan(
            name: "load", to: first.url.address, rate: rate, arrivals: try words.arrivals(),
            connections: try arguments.integer(.connections, in: 1...LoadLimits.connections) ?? 16,
            timeout: try words.duration(.timeout) ?? .seconds(3),
            request: try words.request(to: first.url),
            requestsPerConnection: try arguments.integer(
                .requestsPerConnection, in: 0...Int(Int32.max)) ?? 0,
            threads: try arguments.integer(.threads, in: 1...LoadLimits.threads) ?? 1,
            speech: try words.speech(first.url),
            streams: try arguments.integer(.streams, in: 1...LoadLimits.streams) ?? 1)
        var phases: [PhasePlan] = []
        if let warmup = try words.duration(.warmup), warmup > .zero {
            phases.append(
                PhasePlan(
                    name: "warm", duration: warmup, measure: false,
                    rate: closed ? nil : rate.first))
        }
        phases.append(
            PhasePlan(
                name: "base", duration: try words.duration(.duration) ?? .seconds(10),
                measure: true, rate: nil))
        url = arguments.positionals.first ?? arguments.values(.target)[0]
        job = LoadJob(
            plan: plan,
            targets: targets.map {
                .init(address: $0.url.address, host: $0.url.host, weight: $0.weight)
            },
            tls: try words.arguments.clientTLS(isSecured: first.url.isSecured), phases: phases,
            start: nil,
            seed: UInt64(try arguments.integer(.loadSeed, in: 0...Int.max) ?? 1),
            spin: try words.duration(.spin) ?? Self.standardSpin)
    }
}

extension RateShape {
    /// The rate that the shape begins with.
    fileprivate var first: Double? {
        switch self {
        case .constant(let rate): rate
        case .ramp(let start, _): start
        case .steps(let rates): rates.first
        }
    }
}

/// The values of the flags, each with its own errors.
private struct LoadWords {
    let arguments: Arguments

    func url(_ text: String) throws(CommandFailure) -> LoadURL {
        do throws(LoadURL.Flaw) { return try LoadURL(text) } catch {
            throw arguments.usage("'\(text)': \(error.description)")
        }
    }

    func target(_ text: String) throws(CommandFailure) -> (url: LoadURL, weight: Int) {
        // The weight follows the last '='; a query may have others before it.
        guard let cut = text.lastIndex(of: "="), let weight = Int(text[text.index(after: cut)...]),
            (1...LoadLimits.rotation).contains(weight)
        else { throw arguments.usage("'--target \(text)': URL=WEIGHT is needed, a weight from 1") }
        return (try url(String(text[..<cut])), weight)
    }

    /// What the scheme says, and of HTTP and WebSocket the flag.
    func speech(_ url: LoadURL) throws(CommandFailure) -> LoadPlan.Speech {
        guard let text = arguments.value(.speech) else { return url.speech }
        guard let speech = LoadPlan.Speech(rawValue: text) else {
            let known = LoadPlan.Speech.allCases.map(\.rawValue)
            throw arguments.usage(
                "'--protocol \(text)': no such protocol\(suggestion(for: text, in: known))")
        }
        let scheme: LoadPlan.Speech =
            switch speech {
            case .http1, .http2, .grpc: .http1
            case .websocket, .websocketHTTP2: .websocket
            case .tcp: .tcp
            }
        guard scheme == url.speech else {
            throw arguments.usage(
                "'--protocol \(text)' and the URL's scheme contradict each other")
        }
        return speech
    }

    func arrivals() throws(CommandFailure) -> LoadPlan.Arrivals {
        guard let text = arguments.value(.arrivals) else {
            return arguments.has(.closed) ? .closed : .constant
        }
        guard let arrivals = LoadPlan.Arrivals(rawValue: text) else {
            let known = LoadPlan.Arrivals.allCases.map(\.rawValue)
            throw arguments.usage(
                "'--arrivals \(text)': no such arrivals\(suggestion(for: text, in: known))")
        }
        if arguments.has(.closed), arrivals != .closed {
            throw arguments.usage("'--closed' and '--arrivals \(text)' contradict each other")
        }
        return arrivals
    }

    func rate(closed: Bool) throws(CommandFailure) -> RateShape {
        let given = [Flag.rate, .ramp, .steps].filter(arguments.has)
        if closed, let flag = given.first {
            throw arguments.usage("'\(flag.name)' says a rate, and closed arrivals have none")
        }
        if given.count > 1 {
            throw arguments.usage("'\(given[0].name)' and '\(given[1].name)' both say the rate")
        }
        if let text = arguments.value(.ramp) {
            // The dots of the ramp stand together; a decimal point stands alone.
            let dots = text.indices.first { text[$0...].hasPrefix("..") }
            guard let dots else {
                throw arguments.usage("'--ramp \(text)': A..B is needed, such as 100/s..2000/s")
            }
            return .ramp(
                start: try rate(.ramp, text[..<dots]),
                end: try rate(.ramp, text[dots...].dropFirst(2)))
        }
        if let text = arguments.value(.steps) {
            var rates: [Double] = []
            for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                rates.append(try rate(.steps, part))
            }
            return .steps(rates)
        }
        return .constant(
            try arguments.value(.rate).map { text throws(CommandFailure) in
                try rate(.rate, text[...])
            } ?? 1000)
    }

    private func rate(_ flag: Flag, _ text: Substring) throws(CommandFailure) -> Double {
        do { return try Quantity.rate(String(text)) } catch {
            throw arguments.usage("'\(flag.name)': \(error.message)")
        }
    }

    func duration(_ flag: Flag) throws(CommandFailure) -> Duration? {
        guard let text = arguments.value(flag) else { return nil }
        do { return try Quantity.duration(text) } catch {
            throw arguments.usage("'\(flag.name)': \(error.message)")
        }
    }

    func request(to url: LoadURL) throws(CommandFailure) -> RequestPlan {
        let standard = try speech(url) == .grpc ? "POST" : "GET"
        var request = RequestPlan(method: arguments.value(.method) ?? standard, path: url.path)
        for text in arguments.values(.header) {
            guard let colon = text.firstIndex(of: ":") else {
                throw arguments.usage("'--header \(text)': NAME: VALUE is needed")
            }
            let value = text[text.index(after: colon)...].drop { $0 == " " }
            request.headers.append(.init(name: String(text[..<colon]), value: String(value)))
        }
        if let text = arguments.value(.bodySize) {
            do { request.bodySize = try Quantity.size(text) } catch {
                throw arguments.usage("'--body-size': \(error.message)")
            }
        }
        return request
    }
}
