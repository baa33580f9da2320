// How far the refused share of a sample may be from its expectation. Refusals come in bunches: who
// finds all places taken is followed by others who do. So a sample of n arrivals says less than n
// independent ones.

extension Queueing {
    /// How much more the number of refused arrivals varies than if each were refused or not by
    /// itself: the limit, for many arrivals n, of its variance over n·B·(1 - B), M/M/c/K.
    ///
    /// With f(x) the refused share B(K) less 1 in state K and less 0 in the others, the variance of
    /// Σ f over n arrivals is n·(E f² + 2·Σ π(x)·f(x)·h(x⁺)), where x⁺ is the state behind an
    /// arrival and h solves Poisson's equation of the chain. Of a birth and death process that is
    /// h(x + 1) - h(x) = B(K) / B(x), with B(x) the refused share of a system with room for x; so
    ///
    ///     dispersion = 1 + 2 / (1 - B(K)) · Σ B(K) / B(j) · P(present < j), j from 1 to K - 1
    ///
    /// Service times that vary less than exponential ones make it smaller (constant ones to about
    /// a half: tested by simulation), so an interval from it is then rather too wide.
    ///
    /// Source: Whitt, "Asymptotic formulas for Markov processes with applications to simulation",
    /// Operations Research 40, 1992, for the variance by Poisson's equation.
    /// - Precondition: as of `blocking`.
    public static func dispersion(servers: Int, capacity: Int, load: Double) -> Double {
        let refused = blocking(servers: servers, capacity: capacity, load: load)
        guard capacity > 1, refused > 0, refused < 1 else { return 1 }
        // From the fullest state down: π(x - 1) = π(x) · min(x, c) / load.
        var present = [Double](repeating: 0, count: capacity + 1)
        present[capacity] = refused
        for state in stride(from: capacity, to: 0, by: -1) {
            present[state - 1] = present[state] * Double(min(state, servers)) / load
        }
        var share = 1.0
        var fewer = 0.0
        var sum = 0.0
        for state in 1..<capacity {
            let weighted = load / Double(min(state, servers)) * share
            share = weighted / (1 + weighted)
            fewer += present[state - 1]
            sum += refused / share * fewer
        }
        return 1 + 2 * sum / (1 - refused)
    }

    /// What is refused by `servers` that take `capacity` requests together, waiting ones too.
    public static func prediction(servers: Int, capacity: Int, load: Double) -> Prediction {
        Prediction(
            blocking(servers: servers, capacity: capacity, load: load),
            .share(
                dispersion: dispersion(servers: servers, capacity: capacity, load: load)))
    }
}
