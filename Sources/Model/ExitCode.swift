/// How a command ends, for the shell and for CI. docs/RESULTS.md explains each to users.
///
/// 64 and 65 are those of BSD's sysexits.h (EX_USAGE, EX_DATAERR); 99 is k6's for a failed
/// threshold; 130 is the shell's for SIGINT.
public enum ExitCode: Int32, CaseIterable, Sendable {
    /// All held.
    case success = 0
    /// The command itself failed: a child died unasked, a port was taken, a disk was full.
    case failed = 1
    /// The gate found a regression.
    case regressed = 2
    /// Inconclusive, and the scenario says that this fails.
    case inconclusive = 3
    /// The measurement is not to be believed.
    case invalid = 4
    /// There is no baseline, and the scenario says that this fails.
    case baselineMissing = 5
    /// The command line was wrong.
    case usage = 64
    /// The scenario or configuration file was wrong.
    case badScenario = 65
    /// An expectation did not hold.
    case expectationFailed = 99
    /// Stopped by the user.
    case interrupted = 130

    /// Gravest first. What stopped the run comes before what the run found, and a measurement that
    /// is not to be believed before anything that was concluded from it.
    private static let byGravity: [ExitCode] = [
        .usage, .badScenario, .interrupted, .failed, .invalid, .expectationFailed, .regressed,
        .baselineMissing, .inconclusive, .success,
    ]

    /// The code to end with where several hold; `success` where none does.
    public static func gravest(of codes: some Sequence<ExitCode>) -> ExitCode {
        let all = Set(codes)
        return byGravity.first(where: all.contains) ?? .success
    }
}
