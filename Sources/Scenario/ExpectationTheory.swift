// Functions of theory in expectations. Arguments are written with their names, or without them in
// the order in which the function has them; what has a default may be left out.

import Base
import Model

extension ExpectationParser {
    /// What stands behind the name of the function.
    mutating func theory(_ theory: Theory) throws(ExpectationError) -> Term {
        try require("(")
        let parameters = theory.parameters
        var values = [PlacedTerm?](repeating: nil, count: parameters.count)
        var next = 0
        var isNamed = false
        while scanner.symbol([")"]) == nil {
            if next > 0 { try require(",") }
            let name = try parameterName(of: parameters)
            guard let place = name?.place ?? (isNamed || next >= values.count ? nil : next) else {
                throw unexpected(
                    isNamed ? "a name such as '\(parameters[0].name) ='" : "')'",
                    known: parameters.map(\.name))
            }
            if name != nil { isNamed = true }
            guard values[place] == nil else {
                throw .init(
                    message: "\(parameters[place].name) is there twice",
                    offset: name?.offset ?? scanner.offset)
            }
            values[place] = try argument(parameters[place])
            next += 1
        }
        var terms: [Term] = []
        for (parameter, value) in zip(parameters, values) {
            if let term = value?.term {
                terms.append(term)
            } else if let standard = parameter.standard {
                terms.append(.literal(standard, parameter.kind.unit))
            } else {
                throw .init(
                    message: "'\(parameter.name) =' is missing in \(theory.rawValue)(…)",
                    offset: max(0, scanner.offset - 1))
            }
        }
        try check(theory, terms, at: values[0]?.offset ?? scanner.offset)
        return .theory(theory, terms)
    }

    /// The parameter whose name and '=' stand next, taken; nil where a value does.
    private mutating func parameterName(
        of parameters: [Theory.Parameter]
    ) throws(ExpectationError) -> (place: Int, offset: Int)? {
        var ahead = scanner
        guard let word = ahead.word(), ahead.symbol(["="]) != nil else { return nil }
        guard let place = parameters.firstIndex(where: { $0.name == word.text }) else {
            let names = parameters.map(\.name)
            let hint = suggestion(for: word.text, in: names)
            let known = names.map { "'\($0) ='" }.joined(separator: ", ")
            throw .init(
                message: "\(known) is expected, not '\(abbreviated(word.text))'\(hint)",
                offset: word.offset)
        }
        scanner = ahead
        return (place, word.offset)
    }

    private mutating func argument(
        _ parameter: Theory.Parameter
    ) throws(ExpectationError) -> PlacedTerm {
        let value = try sum()
        let unit = parameter.kind.unit
        let isFit = unit == .one ? value.unit.isDimensionless : value.unit == unit
        guard isFit else {
            throw .init(
                message: "\(parameter.name) is \(unit.noun), not \(value.unit.noun)",
                offset: value.offset)
        }
        if case .literal(let number, _) = value.term,
            let complaint = parameter.kind.complaint(number)
        {
            throw .init(message: "\(parameter.name) \(complaint)", offset: value.offset)
        }
        return value
    }

    /// What no argument tells by itself.
    private func check(
        _ theory: Theory, _ terms: [Term], at offset: Int
    ) throws(ExpectationError) {
        if theory == .mmck, case .literal(let servers, _) = terms[0],
            case .literal(let capacity, _) = terms[1], capacity < servers
        {
            throw .init(
                message: "the capacity counts those in service too: it is no less than servers",
                offset: offset)
        }
    }
}
