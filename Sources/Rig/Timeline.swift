import Base
import Model

/// The instants of one arm's turn: when each phase begins and ends. Load generators and the
/// accounting both follow it, so that CPU is counted over the very windows in which the requests
/// are.
struct Timeline: Equatable {
    /// The start of each phase and the end of the last: one more than there are phases.
    var boundaries: [Instant]
    /// Whether a measured phase begins or ends at each boundary.
    var isRead: [Bool]

    init(_ phases: [PhasePlan], from start: Instant) {
        boundaries = [start]
        for phase in phases { boundaries.append(boundaries[boundaries.count - 1] + phase.duration) }
        isRead = boundaries.indices.map { index in
            (index > 0 && phases[index - 1].measure)
                || (index < phases.count && phases[index].measure)
        }
    }

    var end: Instant { boundaries[boundaries.count - 1] }

    /// The phase in which `now` lies: the first before the start, the last after the end.
    func phase(at now: Instant) -> Int {
        let passed = boundaries.dropLast().lastIndex { $0 <= now }
        return passed ?? 0
    }
}
