// What was changed in the mesh while it carried load.

public import Model

extension RunResult {
    /// One change, in one round of one arm.
    public struct Change: Codable, Equatable, Sendable {
        public var arm: ArmName
        /// From 1.
        public var round: Int
        /// For people: `drain echo/1`.
        public var what: String
        /// When it was due, from the start of the arm's first phase.
        public var dueSeconds: Double
        /// Whether it was made by the end of the arm: the control plane has said so, or its
        /// process was ended or started. Nil in results of versions that did not say.
        public var done: Bool?
        /// From then until the last proxy had it in force, or until the end of the arm where one
        /// had not; nil where that is not measured.
        public var configPushNs: Int64?
        /// By the end of the arm; nil where that is not measured.
        public var inForce: Bool?

        public init(
            arm: ArmName, round: Int, what: String, dueSeconds: Double, done: Bool? = nil,
            configPushNs: Int64? = nil, inForce: Bool? = nil
        ) {
            self.arm = arm
            self.round = round
            self.what = what
            self.dueSeconds = dueSeconds
            self.done = done
            self.configPushNs = configPushNs
            self.inForce = inForce
        }
    }

    /// A change over all rounds of an arm, which make it at the same instant.
    struct ChangeSummary: Equatable {
        var arm: ArmName
        var what: String
        var dueSeconds: Double
        /// How long it took each time; empty where that is not measured.
        var pushes: [Double] = []
        /// How often it was not in force by the end.
        var missing = 0
        /// How often it was not even made by then.
        var undone = 0

        /// Such as `12 ms, longest 40 ms`; nil where that is not measured.
        var push: String? {
            guard let middle = median(pushes), let most = pushes.max() else { return nil }
            let longest = (missing > 0 ? "more than " : "") + Quantity.time.text(most)
            return pushes.count > 1
                ? "\(Quantity.time.text(middle)), longest \(longest)" : longest
        }
    }

    /// In the order in which they were due.
    var changeSummaries: [ChangeSummary] {
        var places: [String: Int] = [:]
        var found: [ChangeSummary] = []
        for change in changes ?? [] {
            let key = "\(change.dueSeconds) \(change.arm.rawValue) \(change.what)"
            let place = places[key] ?? found.count
            if place == found.count {
                places[key] = place
                found.append(
                    .init(arm: change.arm, what: change.what, dueSeconds: change.dueSeconds))
            }
            if let push = change.configPushNs { found[place].pushes.append(Double(push)) }
            if change.inForce == false { found[place].missing += 1 }
            if change.done == false { found[place].undone += 1 }
        }
        return found.enumerated().sorted {
            ($0.element.dueSeconds, $0.offset) < ($1.element.dueSeconds, $1.offset)
        }.map(\.element)
    }
}
