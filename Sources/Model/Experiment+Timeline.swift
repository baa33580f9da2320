// What follows from a scenario before anything is run: the order of the arms, the requests to be
// offered and the time it takes. `plan` shows it and the rig does it, from the same functions.

public import Base

extension Experiment {
    /// The arms in the order in which this round runs them.
    ///
    /// A drift of the machine within a round must not always meet the same arm, so the order is
    /// drawn from the seed. It is drawn once for each pair of rounds, of which the second runs the
    /// other way round (permuted blocks): with few rounds, independent draws too often put one arm
    /// first nearly every time.
    /// - Parameter round: from 0.
    public func order(ofRound round: Int) -> [ArmPlan] {
        precondition(round >= 0, "the round \(round)")
        var random = SeededRandom(seed: seed).split("order of arms").split(round / 2)
        let order = arms.shuffled(using: &random)
        return round.isMultiple(of: 2) ? order : order.reversed()
    }

    /// How long one arm takes in one round, without starting and stopping.
    public var armDuration: Duration {
        phases.reduce(.zero) { $0 + $1.duration }
    }

    /// How long all phases of all arms and controls take in so many rounds, without starting and
    /// stopping.
    public func duration(rounds: Int) -> Duration {
        armDuration * Int64(rounds * (arms.count + controls.count))
    }

    /// Requests that all loads together plan for one phase of one arm of one round; nil where a
    /// load has closed arrivals, which follow no plan.
    public func plannedRequests(in phase: PhasePlan) -> Double? {
        var total = 0.0
        for load in loads {
            guard let rate = load.meanRate(in: phase) else { return nil }
            total += rate * phase.duration.seconds
        }
        return total
    }
}

extension LoadPlan {
    /// The mean rate over a phase, requests per second; nil for closed arrivals.
    public func meanRate(in phase: PhasePlan) -> Double? {
        arrivals == .closed ? nil : phase.rate ?? rate.mean
    }
}

extension RateShape {
    /// The mean over a phase, requests per second.
    public var mean: Double {
        switch self {
        case .constant(let rate): rate
        case .ramp(let start, let end): (start + end) / 2
        case .steps(let rates): rates.reduce(0, +) / Double(max(rates.count, 1))
        }
    }
}
