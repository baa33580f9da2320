// A fuzz twin is a function of (seed, steps). The test suite calls it with a small fixed budget,
// and `scripts/fuzz` calls the same test with its own, handed over in the environment: one
// function, one way to repeat a failure.

import Glibc

/// How far a fuzz test goes: from which seed, and for how many steps.
public struct FuzzBudget: Equatable, Sendable {
    public var seed: UInt64
    public var steps: Int

    public init(seed: UInt64, steps: Int) {
        self.seed = seed
        self.steps = steps
    }

    /// The budget of `scripts/fuzz` where that runs the test, otherwise the test's own.
    public static func current(seed: UInt64 = 1, steps: Int) -> FuzzBudget {
        FuzzBudget(
            seed: variable("MESHBENCH_FUZZ_SEED", UInt64.init) ?? seed,
            steps: variable("MESHBENCH_FUZZ_STEPS") { Int($0) } ?? steps)
    }

    /// The command that repeats a run of the tests that `target` matches.
    public func rerun(_ target: String) -> String {
        "scripts/fuzz '\(target)' \(seed) \(steps)"
    }

    /// - Precondition: the variable is absent or well formed: a run from a seed other than the one
    ///   asked for would be worse than none.
    private static func variable<Value>(_ name: String, _ parse: (String) -> Value?) -> Value? {
        guard let text = unsafe getenv(name) else { return nil }
        let value = unsafe parse(String(cString: text))
        precondition(value != nil, "\(name) is not a whole number that fits")
        return value
    }
}
