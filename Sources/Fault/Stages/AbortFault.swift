import Model

/// Answers in the place of whoever would have.
struct AbortFault: FaultStage {
    private let abort: FaultEffect.Abort

    init(_ abort: FaultRule.Abort) {
        switch abort {
        case .http(let status): self.abort = .http(Int16(status))
        case .grpc(let status): self.abort = .grpc(Int16(status))
        }
    }

    func act(_ draw: FaultDraw, on effect: inout FaultEffect) {
        if effect.abort == .none { effect.abort = abort }
    }
}
