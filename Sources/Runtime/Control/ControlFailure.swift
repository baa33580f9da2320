import ControlCore
import Model

/// An answer that says that something is wrong.
struct ControlFailure: Error {
    var status: Int
    var message: String
    var problems: [MeshBodyProblem]
    var fields: [ServiceField]

    init(
        _ status: Int, _ message: String, _ problems: [MeshBodyProblem] = [],
        fields: [ServiceField] = []
    ) {
        self.status = status
        self.message = message
        self.problems = problems
        self.fields = fields
    }

    init(_ error: MeshBodyError) {
        self.init(
            error.isUnreadable ? 400 : 422,
            error.isUnreadable ? "the body cannot be read" : "nothing was changed", error.problems)
    }

    /// Statuses of those `ControlRefusal`s that any commit may meet with, whatever it is of:
    /// `tooLarge`, `unavailable` and `full`. `condition` is an answer only where somebody has
    /// asked on one.
    static let ofCommits = [413, 503, 507]

    init(_ refusal: ControlRefusal) {
        switch refusal {
        case .problems(let problems): self.init(422, "nothing was changed", problems)
        case .condition(0): self.init(412, "there is no such declaration")
        case .condition(let revision): self.init(412, "it was last changed by \(revision)")
        case .outdated(let revision):
            self.init(409, "the mesh was last changed by revision \(revision)")
        case .absent: self.init(404, "there is no such declaration")
        case .tooLarge(let reason): self.init(413, reason)
        case .full(let reason): self.init(507, reason)
        case .unavailable(let reason):
            self.init(503, reason)
            fields = [ServiceField("retry-after", "1")]
        }
    }

    init(_ refusal: JoinRefusal) {
        let status =
            switch refusal {
            case .malformed, .forged, .expired: 401
            case .used, .otherService, .noService: 403
            }
        self.init(status, "\(refusal)")
    }
}

extension ControlCenter {
    /// An answer as the description of `operation` has it. What the description lacks is a mistake
    /// of ours: whoever asks is told so, operators see it counted, and the mesh goes on.
    func described(_ answer: ServiceAnswer, of operation: ControlOperation) -> ServiceAnswer {
        let status = answer.status
        guard !operation.statuses.contains(status) else { return answer }
        statistics.undescribed += 1
        // Bound: a line for each status of an operation, however often somebody asks for it.
        if noted.insert("\(operation.rawValue) \(status)").inserted {
            standardError("\(operation.rawValue): an answer that is not described: \(status)")
        }
        return .json(
            500, ControlText.error("the control plane has made a mistake, which its log has"))
    }
}
