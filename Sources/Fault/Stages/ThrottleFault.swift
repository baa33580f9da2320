/// Lets the body of an answer pass only so fast.
struct ThrottleFault: FaultStage {
    /// Bytes per second.
    let rate: Int

    func act(_ draw: FaultDraw, on effect: inout FaultEffect) {
        effect.rate = effect.rate > 0 ? min(effect.rate, rate) : rate
    }
}
