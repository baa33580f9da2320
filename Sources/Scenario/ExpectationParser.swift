// The language of `expect` (docs/SCENARIOS.md, "Expectations"):
//
//     expectation = sum comparison sum [tolerance | need] ["during" phase] ["on" arm]
//     comparison  = "<" | "<=" | ">" | ">=" | "="
//     tolerance   = ("±" | "+-") number-with-unit
//     need        = "within" number-with-unit
//     sum         = product { ("+" | "-") product }
//     product     = factor { ("*" | "/") factor }
//     factor      = ["-"] number-with-unit | function "(" arguments ")" | "(" sum ")"
//
// Units are checked while parsing: what the rig evaluates later cannot mix milliseconds with
// percent.

import Base
import Model

/// What an expectation may name.
struct ExpectationScope {
    var phases: [String]
    var measuredPhases: Set<String>
    var arms: [ArmName]
    /// Services with their replicas; whoever else is a service of the mesh has none.
    var services: [String: Int] = [:]
    var loads: [String] = []
}

/// Why a line is no expectation, and at which character (from 0).
struct ExpectationError: Error {
    var message: String
    var offset: Int
}

/// Parses one line of `expect`.
func parseExpectation(
    _ text: String, in scope: ExpectationScope
) throws(ExpectationError) -> Expectation {
    var parser = ExpectationParser(text, scope)
    return try parser.expectation()
}

/// A term and where it was written.
struct PlacedTerm {
    var term: Term
    var offset: Int

    var unit: Unit { term.unit }

    /// A number without a unit, as written: for the hint that one is missing.
    var isBareNumber: Bool {
        if case .literal(_, .one) = term { true } else { false }
    }
}

struct ExpectationParser {
    var scanner: ExpectationScanner
    private let text: String
    let scope: ExpectationScope
    private var depth = 0

    fileprivate init(_ text: String, _ scope: ExpectationScope) {
        self.text = text
        self.scope = scope
        scanner = ExpectationScanner(text)
    }

    fileprivate mutating func expectation() throws(ExpectationError) -> Expectation {
        let left = try sum()
        let comparison = try self.comparison()
        let right = try sum()
        try requireComparable(left, right)
        let tolerance = try self.tolerance(comparison, left, right)
        let need = try self.need(comparison, left, right, isExact: tolerance == nil)
        let isTime = (left.term.metrics + right.term.metrics).contains(where: \.isOfTime)
        let phase = isTime ? try self.phaseBefore() : try self.phase()
        let arm = try self.arm()
        guard scanner.isAtEnd() else {
            let words = ["during", "after", "on", "±", "within"]
            throw unexpected("'during', 'on' or the end of the line", known: words)
        }
        let metrics = left.term.metrics + right.term.metrics
        try check(metrics, arm, at: left.offset)
        return Expectation(
            source: text, left: left.term, comparison: comparison, right: right.term,
            tolerance: tolerance, need: need, phase: phase, arm: arm?.arm)
    }

    private mutating func comparison() throws(ExpectationError) -> Expectation.Comparison {
        guard let piece = scanner.symbol(["<=", ">=", "<", ">", "=="]) ?? scanner.symbol(["="])
        else { throw unexpected("a comparison (<, <=, >, >=, =)") }
        guard let comparison = Expectation.Comparison(rawValue: piece.text) else {
            throw .init(message: "equality is written with one '='", offset: piece.offset)
        }
        return comparison
    }

    private mutating func tolerance(
        _ comparison: Expectation.Comparison, _ left: PlacedTerm, _ right: PlacedTerm
    ) throws(ExpectationError) -> Expectation.Tolerance? {
        guard let sign = scanner.symbol(["±", "+/-", "+-"]) else {
            if comparison == .equal, !isCertainty(right.term), !right.term.isTheory {
                throw .init(
                    message: "'=' needs a tolerance, as in ± 5%: no measured value is exact",
                    offset: scanner.offset)
            }
            return nil
        }
        guard comparison == .equal else {
            throw .init(message: "a tolerance goes with '=' only", offset: sign.offset)
        }
        return try distance(of: left)
    }

    /// How far the interval of what theory says may reach.
    private mutating func need(
        _ comparison: Expectation.Comparison, _ left: PlacedTerm, _ right: PlacedTerm, isExact: Bool
    ) throws(ExpectationError) -> Expectation.Tolerance? {
        let offset = scanner.start()
        guard takes("within") else { return nil }
        guard comparison == .equal, isExact, right.term.isTheory else {
            throw .init(
                message: "'within' goes with '=' and theory, such as erlang_b(…), without a ±",
                offset: offset)
        }
        return try distance(of: left)
    }

    /// A distance from the right side, in the unit of the left one or as a share of the right.
    private mutating func distance(
        of left: PlacedTerm
    ) throws(ExpectationError) -> Expectation.Tolerance {
        let start = scanner.start()
        guard let number = scanner.number() else { throw unexpected("a number with its unit") }
        let unit = scanner.unit()
        let value = try self.value(number)
        switch unit?.text {
        case "%": return .relative(scaled(number.text, value, by: 0.01))
        case "pp":
            guard left.unit == .share || left.unit == .one else {
                throw .init(
                    message: "'pp' (percentage points) is for shares, not for \(left.unit.noun)",
                    offset: start)
            }
            return .absolute(scaled(number.text, value, by: 0.01))
        default:
            let term = try literal(number, unit)
            guard term.unit == left.unit else {
                let message = "a tolerance of \(term.unit.noun) on \(left.unit.noun)"
                throw .init(message: message, offset: start)
            }
            guard case .literal(let distance, _) = term else {
                preconditionFailure("a number that is none")
            }
            return .absolute(distance)
        }
    }

    /// 0% and 100%: shares that can be met exactly.
    private func isCertainty(_ term: Term) -> Bool {
        guard case .literal(let value, .share) = term else { return false }
        return value == 0 || value == 1
    }

    private mutating func phase() throws(ExpectationError) -> String? {
        guard takes("during") else { return nil }
        let name = try phaseName()
        guard scope.measuredPhases.contains(name.text) else {
            let message = "the phase '\(name.text)' is not measured (measure: false)"
            throw .init(message: message, offset: name.offset)
        }
        return name.text
    }

    /// The phase that a time is counted from the end of.
    private mutating func phaseBefore() throws(ExpectationError) -> String {
        guard takes("after") else { throw unexpected("'after' and the name of a phase") }
        let name = try phaseName()
        guard name.text != scope.phases.last else {
            throw .init(
                message: "nothing comes after '\(name.text)', the last phase", offset: name.offset)
        }
        return name.text
    }

    /// The name of a phase, measured or not.
    mutating func phaseName() throws(ExpectationError) -> ExpectationScanner.Piece {
        guard let name = scanner.name() else { throw unexpected("the name of a phase") }
        guard scope.phases.contains(name.text) else {
            let hint = suggestion(for: name.text, in: scope.phases)
            throw .init(message: "unknown phase '\(name.text)'\(hint)", offset: name.offset)
        }
        return name
    }

    private mutating func arm() throws(ExpectationError) -> (arm: ArmName, offset: Int)? {
        guard takes("on") else { return nil }
        guard let name = scanner.name() else { throw unexpected("the name of an arm") }
        let arm = ArmName(rawValue: name.text)
        guard scope.arms.contains(arm) else {
            let hint = suggestion(for: name.text, in: scope.arms.map(\.rawValue))
            let list = hint.isEmpty ? " (arms: \(armList))" : hint
            throw .init(message: "unknown arm '\(name.text)'\(list)", offset: name.offset)
        }
        return (arm, name.offset)
    }

    private var armList: String { scope.arms.map(\.rawValue).joined(separator: ", ") }

    /// Takes the word if it stands next.
    mutating func takes(_ word: String) -> Bool {
        var ahead = scanner
        guard ahead.word()?.text == word else { return false }
        scanner = ahead
        return true
    }

    private func check(
        _ metrics: [Metric], _ arm: (arm: ArmName, offset: Int)?, at offset: Int
    ) throws(ExpectationError) {
        guard !metrics.isEmpty else {
            throw .init(message: "nothing measured is compared here", offset: offset)
        }
        guard let subject = arm?.arm ?? scope.arms.subject else {
            throw .init(
                message: "of \(scope.arms.count) arms one must be named: on \(armList)",
                offset: offset)
        }
        for metric in metrics { try check(metric, of: subject, at: arm?.offset ?? offset) }
    }

    /// A difference needs another arm to differ from.
    private func check(
        _ metric: Metric, of subject: ArmName, at offset: Int
    ) throws(ExpectationError) {
        switch metric {
        case .overhead:
            guard scope.arms.count > 1 else {
                let message = "overhead(…) needs two arms, such as arms: [direct, mesh]"
                throw .init(message: message, offset: offset)
            }
            guard subject != scope.arms.baseline else {
                let name = subject.rawValue
                throw .init(
                    message: "overhead(…) is of an arm less '\(name)': 'on \(name)' has no meaning",
                    offset: offset)
            }
        case .step:
            guard scope.arms.predecessor(of: subject) != nil else {
                let name = subject.rawValue
                throw .init(
                    message: "step(…) is of an arm less the one before it: '\(name)' is the first",
                    offset: offset)
            }
        default: break
        }
    }

    /// An error at what stands next. `known` are words one of which may have been meant.
    mutating func unexpected(_ needed: String, known: [String] = []) -> ExpectationError {
        let offset = scanner.start()
        var ahead = scanner
        let word = ahead.word()?.text
        let hint = word.map { known.contains($0) ? "" : suggestion(for: $0, in: known) } ?? ""
        let found = scanner.upcoming()
        return .init(message: "\(needed) is expected, not \(found)\(hint)", offset: offset)
    }

    /// Runs `body` one level deeper.
    mutating func nested<Value>(
        _ body: (inout Self) throws(ExpectationError) -> Value
    ) throws(ExpectationError) -> Value {
        guard depth < Limits.depth else {
            throw .init(
                message: "nested deeper than \(Limits.depth) levels", offset: scanner.offset)
        }
        depth += 1
        defer { depth -= 1 }
        return try body(&self)
    }
}
