// How an arm looks wherever it is drawn: a colour, a dash and a shape, the same in every chart and
// table of a report. Colour is never the only sign: dashes and shapes go round in cycles of
// different lengths, so that no two of eight arms share both.

import Model

/// The arms of a report, the baseline first.
struct ArmLooks {
    private let names: [ArmName]

    init(_ arms: [ArmName]) {
        let baseline = arms.baseline
        names = arms.filter { $0 == baseline } + arms.filter { $0 != baseline }
    }

    /// An arm that the report does not list looks like the baseline.
    subscript(_ name: ArmName) -> ArmLook {
        ArmLook(name: name, place: names.firstIndex(of: name) ?? 0)
    }
}

struct ArmLook {
    let name: ArmName
    /// From 0, which is the baseline's.
    let place: Int

    /// The class that gives an arm its colour.
    var style: String { "arm-\(place % ArmPlan.most)" }

    /// The class that gives its lines their dash.
    var dash: String { ["dashed", "solid", "dotted", "long", "mixed"][place % 5] }

    func shape(_ radius: Double) -> MarkShape {
        switch place % 4 {
        case 0: .circle(radius)
        case 1: .square(radius * 0.9)
        case 2: .diamond(radius * 1.25)
        default: .triangle(radius * 1.15)
        }
    }

    /// Its name behind its colour.
    var markup: Markup {
        element("span", ["class": "arm " + style], Markup(name.rawValue))
    }
}

extension RunResult {
    var looks: ArmLooks { ArmLooks(arms.map(\.name) + (controls ?? []).map(\.arm)) }
}
