// Delays as files have them: `5ms`, percentiles such as `{p50: 1ms, p99: 5ms}`, or a law:
//
//     {exp: 20ms}                     exponential, by its mean
//     {least: 1ms, most: 5ms}         uniform
//     {mean: 50ms, deviation: 5ms}    normal
//     {least: 1ms, shape: 1.5}        Pareto

import Base
import Model

extension Form where Value == DelayDistribution {
    private static let range = Duration.zero...DelayDistribution.most

    static var delay: Form {
        .either(
            scalar: Form<Duration>.duration(range).map { delay, _, _ in
                delay == .zero ? DelayDistribution.none : .fixed(delay)
            },
            mapping: parts)
    }

    /// A duration, or the shape of a law, which is a plain number.
    private enum Part: Sendable {
        case duration(Duration)
        case shape(Double)

        var duration: Duration? {
            if case .duration(let duration) = self { duration } else { nil }
        }
    }

    private static let laws: [[String]] = [
        ["exp"], ["least", "most"], ["deviation", "mean"], ["least", "shape"],
    ]
    private static let words = ["exp", "least", "most", "mean", "deviation", "shape"]

    private static var parts: Form {
        let duration = Form<Duration>.duration(range)
        let part = Form<Part>(outline: duration.outline) { node, decoding in
            // The last step of the path is the key.
            guard decoding.path.last == "shape" else {
                return duration.decode(node, &decoding).map { .duration($0) }
            }
            guard let text = node.text, let shape = Double(text), shape > 0, shape <= 100 else {
                decoding.report(node.place, "a number above 0, up to 100, is needed")
                return nil
            }
            return .shape(shape)
        }
        return dictionary(
            of: part.placed, atMost: DelayDistribution.mostPoints,
            keyPattern: "p(100|[0-9]{1,2}(\\.[0-9]+)?)|" + words.joined(separator: "|")
        ) { key in
            if words.contains(key) || quantile(key) != nil { return nil }
            return "'\(abbreviated(key))' is no percentile such as p99.9"
        }
        .map { pairs, node, decoding in
            guard !pairs.isEmpty else {
                decoding.report(node.place, "at least one percentile is needed, such as p50")
                return nil
            }
            let named = pairs.filter { words.contains($0.key.value) }
            guard named.isEmpty else { return law(pairs, node, &decoding) }
            return percentiles(pairs, &decoding)
        }
    }

    private static func law(
        _ pairs: [(key: Placed<String>, value: Placed<Part>)], _ node: Node,
        _ decoding: inout Decoding
    ) -> DelayDistribution? {
        let keys = pairs.map(\.key.value).sorted()
        guard laws.contains(keys) else {
            decoding.report(
                node.place,
                "one of exp, least and most, mean and deviation, or least and shape is needed")
            return nil
        }
        func value(_ key: String) -> Duration {
            pairs.first { $0.key.value == key }?.value.value.duration ?? .zero
        }
        let law: DelayDistribution.Law
        switch keys {
        case ["exp"]: law = .exponential(mean: value("exp"))
        case ["least", "most"]: law = .uniform(least: value("least"), most: value("most"))
        case ["deviation", "mean"]:
            law = .normal(mean: value("mean"), deviation: value("deviation"))
        default:
            var shape = 1.0
            for case .shape(let number) in pairs.map(\.value.value) { shape = number }
            law = .pareto(least: value("least"), shape: shape)
        }
        let distribution = DelayDistribution(law)
        if let problem = distribution.problem {
            decoding.report(node.place, problem)
            return nil
        }
        return distribution
    }

    private static func percentiles(
        _ pairs: [(key: Placed<String>, value: Placed<Part>)], _ decoding: inout Decoding
    ) -> DelayDistribution {
        let points = pairs.compactMap { pair in
            quantile(pair.key.value).map {
                (
                    quantile: $0, pair.key,
                    delay: Placed(pair.value.value.duration ?? .zero, pair.value.place)
                )
            }
        }
        .sorted { $0.quantile < $1.quantile }
        for (a, b) in zip(points, points.dropFirst()) {
            if a.quantile == b.quantile {
                decoding.report(b.1.place, "'\(b.1.value)' is '\(a.1.value)' again")
            } else if b.delay.value < a.delay.value {
                decoding.report(
                    b.delay.place, "percentiles must not fall: \(a.1.value) is longer")
            }
        }
        return DelayDistribution(
            points: points.map { .init(quantile: $0.quantile, delay: $0.delay.value) })
    }
}

/// 0.99 for `p99`; nil for what is no percentile from p0 to p100.
func quantile(_ word: String) -> Double? {
    let digits = word.dropFirst()
    guard word.hasPrefix("p"), digits.utf8.count <= 12,
        digits.utf8.allSatisfy({ isAlphanumeric($0) && $0 < UInt8(ascii: "A") || $0 == 0x2E }),
        digits.first != ".", digits.last != ".", let percent = Double(digits), percent <= 100
    else { return nil }
    return scaled(digits, percent, by: 0.01)
}
