// Values of what the mesh and its workloads count themselves, and of the course of a run.

import Base
import Model

extension ExpectationParser {
    /// What stands in the parentheses of one of these functions.
    mutating func evidence(_ function: String) throws(ExpectationError) -> Metric {
        switch function {
        case "counter": return try counter()
        case "workload":
            let counter: WorkloadCounter = try choice()
            guard scanner.symbol([","]) != nil else { throw unexpected("','") }
            return .workload(counter, service: try workload())
        case "edge": return try edge()
        case "attempts":
            guard takes("mean") else { throw unexpected("'mean'", known: ["mean"]) }
            return .attempts
        default: break
        }
        let service = try workload()
        switch function {
        case "retries": return .retries(service: service)
        case "concurrency": return .concurrency(service: service)
        case "ejections": return .ejections(service: service, replica: try replica(of: service))
        default: return .requests(service: service, replica: try replica(of: service))
        }
    }

    /// `/1`; nil: all.
    private mutating func replica(of service: String) throws(ExpectationError) -> Int? {
        guard scanner.symbol(["/"]) != nil else { return nil }
        let count = scope.services[service] ?? 0
        guard let number = scanner.number(), let replica = Int(number.text), replica < count
        else {
            throw unexpected("a replica of '\(service)' from 0 to \(count - 1)")
        }
        return replica
    }

    /// `front -> leaf`.
    private mutating func edge() throws(ExpectationError) -> Metric {
        let from = try meshService()
        guard scanner.symbol(["->"]) != nil else { throw unexpected("'->'") }
        return .edge(from: from, to: try workload())
    }

    private mutating func counter() throws(ExpectationError) -> Metric {
        guard let name = scanner.word() else {
            throw unexpected("a counter of /stats such as requests_total")
        }
        guard scanner.symbol([","]) != nil else { return .counter(name.text, service: nil) }
        return .counter(name.text, service: try meshService())
    }

    /// The name of whoever has proxies.
    private mutating func meshService() throws(ExpectationError) -> String {
        let offset = scanner.start()
        guard let service = scanner.name() else { throw unexpected("the name of a service") }
        // A load is a service of the mesh too.
        guard scope.meshServices.contains(service.text) else {
            let hint = suggestion(for: service.text, in: scope.meshServices)
            throw .init(message: "unknown service '\(service.text)'\(hint)", offset: offset)
        }
        return service.text
    }

    /// The name of a service with a built-in workload, which is what counts.
    private mutating func workload() throws(ExpectationError) -> String {
        guard let name = scanner.name() else { throw unexpected("the name of a service") }
        guard scope.services[name.text] != nil else {
            let hint = suggestion(for: name.text, in: scope.services.keys.sorted())
            throw .init(message: "unknown service '\(name.text)'\(hint)", offset: name.offset)
        }
        return name.text
    }

    /// What one second has a value of.
    mutating func worstSecond() throws(ExpectationError) -> Metric {
        let offset = scanner.start()
        guard let word = scanner.word() else {
            throw unexpected("a function such as rate(goodput)")
        }
        let inner = try nested { parser throws(ExpectationError) in try parser.metric(word) }
        guard inner.worstIsMost != nil else {
            throw .init(
                message: "worst_second(…) is of rate(goodput), rate(achieved), "
                    + "share(outcome = ok), share(outcome = error), or mean or a percentile of "
                    + "response",
                offset: offset)
        }
        return .worstSecond(inner)
    }

    /// `goodput >= 99% of base`.
    mutating func timeTo() throws(ExpectationError) -> Metric {
        guard takes("goodput") else { throw unexpected("'goodput'", known: ["goodput"]) }
        guard scanner.symbol([">="]) != nil else { throw unexpected("'>='") }
        let offset = scanner.start()
        guard let number = scanner.number(), scanner.unit()?.text == "%" else {
            throw .init(message: "a share such as 99% is needed", offset: offset)
        }
        let share = scaled(number.text, try value(number), by: 0.01)
        guard share > 0, share <= 1 else {
            throw .init(message: "a share above 0% and up to 100% is needed", offset: offset)
        }
        guard takes("of") else { throw unexpected("'of' and the name of a phase") }
        return .timeTo(share: share, of: try phaseName().text)
    }
}

extension ExpectationScope {
    /// Whose proxies count.
    fileprivate var meshServices: [String] {
        services.keys.sorted() + loads.map { LoadPlan.identity(of: $0) }
    }
}
