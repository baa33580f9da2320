// The arithmetic of expectations: sums, products, numbers with units, and the functions that name
// measured values.

import Base
import Model

extension ExpectationParser {
    mutating func sum() throws(ExpectationError) -> PlacedTerm {
        var left = try product()
        while let sign = sumSign() {
            let right = try product()
            try requireSame(left, right, to: sign.text == "+" ? "added to" : "subtracted from")
            left.term =
                sign.text == "+" ? .sum(left.term, right.term) : .difference(left.term, right.term)
        }
        return left
    }

    /// A plus or minus that does not begin a tolerance.
    private mutating func sumSign() -> ExpectationScanner.Piece? {
        var ahead = scanner
        guard ahead.symbol(["+/-", "+-"]) == nil else { return nil }
        return scanner.symbol(["+", "-"])
    }

    private mutating func product() throws(ExpectationError) -> PlacedTerm {
        var left = try factor()
        while let sign = scanner.symbol(["*", "/"]) {
            let right = try factor()
            if sign.text == "*" {
                guard left.unit.isDimensionless || right.unit.isDimensionless else {
                    let message = "\(left.unit.noun) times \(right.unit.noun) has no meaning here"
                    throw .init(message: message, offset: right.offset)
                }
                left.term = .product(left.term, right.term)
            } else {
                guard right.unit.isDimensionless || left.unit == right.unit else {
                    let message = "\(left.unit.noun) over \(right.unit.noun) has no meaning here"
                    throw .init(message: message, offset: right.offset)
                }
                left.term = .quotient(left.term, right.term)
            }
        }
        return left
    }

    private mutating func factor() throws(ExpectationError) -> PlacedTerm {
        let offset = scanner.start()
        if scanner.symbol(["("]) != nil {
            let inner = try nested { parser throws(ExpectationError) in try parser.sum() }
            try require(")")
            return .init(term: inner.term, offset: offset)
        }
        let isNegative = scanner.symbol(["-"]) != nil
        if let number = scanner.number() {
            let unit = scanner.unit()
            let term = try literal(number, unit, isNegative: isNegative)
            return .init(term: term, offset: offset)
        }
        guard !isNegative, let word = scanner.word() else {
            throw unexpected("a number or a function such as p99(response)")
        }
        let term = try nested { parser throws(ExpectationError) in try parser.function(word) }
        return .init(term: term, offset: offset)
    }

    func value(_ number: ExpectationScanner.Piece) throws(ExpectationError) -> Double {
        guard number.text.count <= 18, number.text.last != ".", let value = Double(number.text)
        else {
            throw .init(
                message: "'\(abbreviated(number.text))' is no number", offset: number.offset)
        }
        return value
    }

    /// A number in the base unit of its kind.
    func literal(
        _ number: ExpectationScanner.Piece, _ unit: ExpectationScanner.Piece?,
        isNegative: Bool = false
    ) throws(ExpectationError) -> Term {
        let value = try self.value(number)
        let sign = isNegative ? -1.0 : 1
        guard let unit else { return .literal(sign * value, .one) }
        guard let known = Self.units.first(where: { $0.name == unit.text }) else {
            let names = Self.units.map(\.name)
            let hint =
                unit.text == "pp"
                ? ": percentage points are for tolerances (±)"
                : suggestion(for: unit.text, in: names)
            throw .init(
                message: "unknown unit '\(abbreviated(unit.text))'\(hint)", offset: unit.offset)
        }
        return .literal(sign * scaled(number.text, value, by: known.worth), known.unit)
    }

    /// As everywhere in a scenario, but that `m` is a thousandth of a core and not a minute:
    /// latencies of minutes are not measured here, CPU in cores always is.
    private static let units: [(name: String, worth: Double, unit: Unit)] = {
        let kinds: [(Quantity, Unit)] = [
            (.duration, .time), (.size, .bytes), (.rate, .rate), (.percent, .share),
        ]
        let all = kinds.flatMap { kind, unit in
            kind.units.map { (name: $0.name, worth: $0.worth, unit: unit) }
        }
        return all.filter { $0.name != "m" } + [("m", 0.001, .cores), ("cores", 1, .cores)]
    }()

    mutating func require(_ symbol: String) throws(ExpectationError) {
        guard scanner.symbol([symbol]) != nil else { throw unexpected("'\(symbol)'") }
    }
}

// MARK: - Functions

extension ExpectationParser {
    private static let functions =
        [
            "min", "mean", "max", "p50", "p90", "p99", "rate", "share", "cpu_per_1000rps", "cpu",
            "memory", "overhead", "step", "count", "requests", "retries", "concurrency",
            "counter", "workload", "time_to", "edge", "attempts", "ejections", "worst_second",
        ] + Theory.allCases.map(\.rawValue)

    fileprivate mutating func function(
        _ word: ExpectationScanner.Piece
    ) throws(ExpectationError) -> Term {
        if let theory = Theory(rawValue: word.text) { return try self.theory(theory) }
        return .metric(try metric(word))
    }

    mutating func metric(
        _ word: ExpectationScanner.Piece
    ) throws(ExpectationError) -> Metric {
        guard isFunction(word.text) else {
            let hint = suggestion(for: word.text, in: Self.functions)
            throw .init(
                message: "unknown function '\(abbreviated(word.text))'\(hint)", offset: word.offset)
        }
        try require("(")
        var metric = try self.measured(word)
        if metric.isOfRequests, scanner.symbol([","]) != nil {
            metric = .ofLoad(metric, try loadName())
        }
        try require(")")
        return metric
    }

    private mutating func loadName() throws(ExpectationError) -> String {
        guard let name = scanner.name() else { throw unexpected("the name of a load") }
        guard scope.loads.contains(name.text) else {
            let hint = suggestion(for: name.text, in: scope.loads)
            throw .init(message: "unknown load '\(name.text)'\(hint)", offset: name.offset)
        }
        return name.text
    }

    private func isFunction(_ word: String) -> Bool {
        Self.functions.contains(word) || percentile(word) != nil
    }

    /// From p0 to p100, both apart: those are `min` and `max`.
    private func percentile(_ word: String) -> Double? {
        quantile(word).flatMap { $0 > 0 && $0 < 1 ? $0 : nil }
    }

    private mutating func measured(
        _ word: ExpectationScanner.Piece
    ) throws(ExpectationError) -> Metric {
        switch word.text {
        case "min": return .percentile(0, try choice())
        case "max": return .percentile(1, try choice())
        case "mean": return .mean(try choice())
        case "rate": return try rate()
        case "share": return try share()
        case "cpu_per_1000rps": return .cpuPer1000(try choice())
        case "cpu": return .cpu(try choice())
        case "memory": return .memory(try choice())
        case "count": return .count(try share())
        case "requests", "retries", "concurrency", "counter", "workload", "edge", "attempts",
            "ejections":
            return try evidence(word.text)
        case "worst_second": return try worstSecond()
        case "time_to": return try timeTo()
        case "overhead": return .overhead(try compared(word.text))
        case "step": return .step(try compared(word.text))
        default:
            guard let quantile = percentile(word.text) else {
                preconditionFailure("'\(word.text)' is listed as a function, yet none reads it")
            }
            return .percentile(quantile, try choice())
        }
    }

    /// What a difference between arms is of.
    private mutating func compared(_ function: String) throws(ExpectationError) -> Metric {
        guard let word = scanner.word() else {
            throw unexpected("a function such as p99(response)")
        }
        let inner = try nested { parser throws(ExpectationError) in try parser.metric(word) }
        guard !inner.isDifference else {
            let message = "\(function)(…) is of a value of one arm, not of another difference"
            throw .init(message: message, offset: word.offset)
        }
        return inner
    }

    private mutating func rate() throws(ExpectationError) -> Metric {
        enum Which: String, CaseIterable {
            case achieved
            case offered
            case goodput
        }
        let which: Which = try choice()
        switch which {
        case .achieved: return .achievedRate
        case .offered: return .offeredRate
        case .goodput: return .goodput
        }
    }

    private mutating func share() throws(ExpectationError) -> Metric {
        enum Which: String, CaseIterable {
            case outcome
            case status
            case flag
        }
        let which: Which = try choice()
        try require("=")
        switch which {
        case .outcome: return .shareOfOutcome(try choice())
        case .flag: return .shareOfFlag(try choice())
        case .status:
            guard let number = scanner.number() else { throw unexpected("a status such as 503") }
            guard let status = Int(number.text), (100...599).contains(status) else {
                throw .init(
                    message: "'\(abbreviated(number.text))' is no status from 100 to 599",
                    offset: number.offset)
            }
            return .shareOfStatus(status)
        }
    }

    /// A word that is a case of `Value`.
    mutating func choice<Value: RawRepresentable & CaseIterable>() throws(ExpectationError)
        -> Value where Value.RawValue == String
    {
        let known = Value.allCases.map(\.rawValue)
        guard let word = scanner.word() else {
            throw unexpected("one of \(known.joined(separator: ", "))")
        }
        guard let value = Value(rawValue: word.text) else {
            let hint = suggestion(for: word.text, in: known)
            let list = hint.isEmpty ? " (known: \(known.joined(separator: ", ")))" : hint
            throw .init(
                message: "unknown word '\(abbreviated(word.text))'\(list)", offset: word.offset)
        }
        return value
    }
}

// MARK: - Units

extension ExpectationParser {
    func requireComparable(_ a: PlacedTerm, _ b: PlacedTerm) throws(ExpectationError) {
        try requireUnits(a, b, "\(a.unit.noun) cannot be compared with \(b.unit.noun)")
    }

    private func requireSame(
        _ a: PlacedTerm, _ b: PlacedTerm, to verb: String
    ) throws(ExpectationError) {
        try requireUnits(a, b, "\(b.unit.noun) cannot be \(verb) \(a.unit.noun)")
    }

    /// A ratio (rate over rate) goes with shares; a bare number does not, as its `%` may be
    /// missing.
    private func requireUnits(
        _ a: PlacedTerm, _ b: PlacedTerm, _ message: String
    ) throws(ExpectationError) {
        let areRatios = a.unit.isDimensionless && b.unit.isDimensionless
        let isUnitMissing =
            a.isBareNumber && b.unit == .share || b.isBareNumber && a.unit == .share
        guard a.unit != b.unit, !areRatios || isUnitMissing else { return }
        let bare = a.isBareNumber ? a : b.isBareNumber ? b : nil
        var hint = ""
        if let bare {
            let other = bare.offset == a.offset ? b : a
            hint = ": the number needs its unit, such as \(other.unit.example)"
        } else if (a.unit, b.unit) == (.time, .cores) || (a.unit, b.unit) == (.cores, .time) {
            hint = ": 'm' is a thousandth of a core here, 60s is a minute"
        }
        throw .init(message: message + hint, offset: bare?.offset ?? b.offset)
    }
}

extension Unit {
    /// For error messages.
    var noun: String {
        switch self {
        case .one: "a plain number"
        case .time: "a time"
        case .bytes: "a size"
        case .rate: "a rate"
        case .cores: "CPU"
        case .share: "a share"
        }
    }

    /// A number with this unit.
    var example: String {
        switch self {
        case .one: "10"
        case .time: "5ms"
        case .bytes: "10MiB"
        case .rate: "1000/s"
        case .cores: "60m"
        case .share: "1%"
        }
    }
}
