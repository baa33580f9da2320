// A control of a scenario: the same again without the protection that it is about. An expectation
// that holds then too says nothing of the protection: it has no teeth.

/// A rerun of one arm, with something taken away or changed, in which expectations must fail.
public struct NegativeControl: Codable, Equatable, Sendable {
    /// The arm that is run, with a name of its own.
    public var arm: ArmPlan
    /// The arm that it reruns, with the same requests at the same instants.
    public var of: ArmName
    /// What is different, for people: `without policies.echo.breaker`.
    public var changes: [String]
    /// Places in `Experiment.expectations` of those that must fail, each once, at least one.
    public var mustFail: [Int]
    /// The experiment with what is different; what concerns the load, the timeline and the rounds
    /// is the same. It has no controls itself.
    public var experiment: Experiment

    public init(
        arm: ArmPlan, of: ArmName, changes: [String], mustFail: [Int], experiment: Experiment
    ) {
        self.arm = arm
        self.of = of
        self.changes = changes
        self.mustFail = mustFail
        self.experiment = experiment
    }
}

extension Experiment {
    /// The arms and, behind them, those of the controls.
    public var turnNames: [ArmName] { armNames + controls.map(\.arm.name) }

    /// What a round runs, in this order. Controls come last: nothing is measured by comparing them.
    /// - Parameter round: from 0.
    public func turns(ofRound round: Int) -> [ArmPlan] {
        order(ofRound: round) + controls.map(\.arm)
    }
}
