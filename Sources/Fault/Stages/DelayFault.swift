import Base
import Model

/// Holds requests back.
struct DelayFault: FaultStage, ~Copyable, Sendable {
    private let sampler: DelaySampler

    init(_ distribution: DelayDistribution) { sampler = DelaySampler(distribution) }

    func act(_ draw: FaultDraw, on effect: inout FaultEffect) {
        var random = draw.random
        effect.delay = effect.delay + sampler.next(&random)
    }
}
