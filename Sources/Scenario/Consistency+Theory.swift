// What theory says holds for what it was made for.

import Base
import Model

/// Whether the load is what the theory of an expectation is about.
struct TheoryConsistency {
    let draft: ScenarioDraft
    let experiment: Experiment

    func check(_ decoding: inout Decoding) {
        guard !experiment.loads.contains(where: { $0.arrivals == .poisson }) else { return }
        for (expectation, line) in zip(experiment.expectations, draft.expectations) {
            let theories = expectation.left.theories + expectation.right.theories
            guard let theory = theories.first(where: \.isOfRandomArrivals) else { continue }
            decoding.report(
                line.node.place,
                "\(theory.rawValue) is of requests that come at random, and no load of this "
                    + "scenario is of them: arrivals: poisson")
        }
    }
}

extension Theory {
    /// Queues, which an even stream fills otherwise (Erlang 1917; Kleinrock, Queueing Systems 1).
    fileprivate var isOfRandomArrivals: Bool { self == .erlangB || self == .mmck }
}

extension Term {
    /// The functions of theory in it.
    fileprivate var theories: [Theory] {
        switch self {
        case .literal, .metric: []
        case .sum(let a, let b), .difference(let a, let b), .product(let a, let b),
            .quotient(let a, let b):
            a.theories + b.theories
        case .theory(let theory, let arguments): [theory] + arguments.flatMap(\.theories)
        }
    }
}
