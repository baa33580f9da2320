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

    /// A change over all rounds of an arm, which make it at the same instants.
    struct ChangeSummary: Equatable {
        var arm: ArmName
        var what: String
        /// When it was due, rising; one value where it was once in each round.
        var dues: [Double]
        /// How often it was to be made, in all rounds together.
        var count = 0
        /// How long it took each time; empty where that is not measured.
        var pushes: [Double] = []
        /// How often it was not made by the end, and how often not in force by then.
        var undone = 0
        var missing = 0

        /// Such as `12 ms, longest 40 ms`; nil where that is not measured.
        var push: String? {
            guard let middle = median(pushes), let most = pushes.max() else { return nil }
            let longest = (missing > 0 ? "more than " : "") + Quantity.time.text(most)
            return pushes.count > 1
                ? "\(Quantity.time.text(middle)), longest \(longest)" : longest
        }

        /// Such as `not in force by the end, 1 of 2`; nil: all is well.
        var complaint: String? {
            guard max(undone, missing) > 0 else { return nil }
            let words = undone > 0 ? "not made by the end" : "not in force by the end"
            return words + (count > 1 ? ", \(undone > 0 ? undone : missing) of \(count)" : "")
        }
    }

    /// Each instant by itself, in their order.
    var changeInstants: [ChangeSummary] { changes(by: { "\($0.dueSeconds)" }) }

    /// What was made again and again as one, in the order of their first instants.
    var changeSummaries: [ChangeSummary] { changes(by: { _ in "" }) }

    private func changes(by part: (Change) -> String) -> [ChangeSummary] {
        var places: [String: Int] = [:]
        var found: [ChangeSummary] = []
        var dues: [String: Set<Double>] = [:]
        for change in changes ?? [] {
            let key = "\(part(change)) \(change.arm.rawValue) \(change.what)"
            let place = places[key] ?? found.count
            if place == found.count {
                places[key] = place
                found.append(.init(arm: change.arm, what: change.what, dues: []))
            }
            found[place].count += 1
            dues[key, default: []].insert(change.dueSeconds)
            if let push = change.configPushNs { found[place].pushes.append(Double(push)) }
            if change.inForce == false { found[place].missing += 1 }
            if change.done == false { found[place].undone += 1 }
        }
        for (key, place) in places { found[place].dues = (dues[key] ?? []).sorted() }
        return found.enumerated().sorted {
            ($0.element.dues[0], $0.offset) < ($1.element.dues[0], $1.offset)
        }.map(\.element)
    }
}
