/// Takes requests in and does not answer them.
struct HangFault: FaultStage {
    func act(_ draw: FaultDraw, on effect: inout FaultEffect) { effect.hangs = true }
}
