import Base
import Model

extension Shape where Whole == ServiceDraft {
    static var service: Shape {
        Shape(
            ServiceDraft(),
            [
                .init(
                    "name", \.name, Form<String>.name.placed.optional, isRequired: true,
                    about: "what `to` and `calls` call it"),
                .init(
                    "replicas", \.replicas, .integer(1...64), standard: "1",
                    about: "processes of this service"),
                .init(
                    "dataplane", \.dataplane, Form<ServicePlan.DataPlane>.choice.placed,
                    standard: "reference",
                    about:
                        """
                        whose proxy stands beside each replica, in mode `sidecar`: meshbench's \
                        own, or an [Envoy](ENVOY.md) that joins the control plane
                        """
                ),
                .init(
                    "respond", \.behaviour, Shape<AppBehaviour>.respond.form, standard: "{}",
                    .without("command"), about: "what the built-in workload answers"),
                .init(
                    "calls", \.calls, list(of: Form<String>.name.placed, 0...32), standard: "[]",
                    .without("command"),
                    about: "services that the built-in workload calls before it answers, in turn"),
                .init(
                    "command", \.command, list(of: Form<String>.text(), 1...100).optional,
                    about:
                        """
                        a program of yours in place of the built-in workload; `{port}` and \
                        `{dir}` stand for the port to serve and a scratch folder
                        """
                ),
                .init(
                    "environment", \.environment, environment, standard: "{}", .with("command"),
                    about: "variables of its environment"),
                .init(
                    "files", \.files, files, standard: "{}", .with("command"),
                    about:
                        """
                        files to write into `{dir}` before the start; `{port}` and `{dir}` are \
                        replaced in them
                        """
                ),
                .init(
                    "ready", \.ready, .readiness, standard: "tcp", .with("command"),
                    about: "how to tell that it serves: `tcp` connects, `http` GETs below 400"),
                .init(
                    "ready_within", \.readyWithin,
                    .duration(.milliseconds(100)...(.seconds(600))), standard: "10s",
                    .with("command"), about: "how long that may take"),
            ])
    }

    private static var environment: Form<[String: String]> {
        dictionary(
            of: Form<String>.text(atMost: 10_000), atMost: 100, keyPattern: "[A-Za-z_][A-Za-z0-9_]*"
        ) { key in
            let isWord = key.utf8.allSatisfy { $0 == UInt8(ascii: "_") || isAlphanumeric($0) }
            let isName = isWord && !key.isEmpty && key.first?.isNumber == false
            return isName ? nil : "'\(abbreviated(key))' is no name of an environment variable"
        }
        .map { pairs, _, _ in byKey(pairs) }
    }

    private static var files: Form<[String: String]> {
        dictionary(
            of: Form<String>.text(atMost: 100_000), atMost: 100,
            keyPattern: "[A-Za-z0-9_-][A-Za-z0-9._-]*"
        ) { key in
            let isSafe = key.utf8.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
            let isName = isSafe && !key.isEmpty && !key.hasPrefix(".") && key.utf8.count <= 255
            return isName
                ? nil : "'\(abbreviated(key))' is no plain file name (letters, digits, . _ -)"
        }
        .map { pairs, _, _ in byKey(pairs) }
    }
}

/// The pairs as a dictionary. Keys differ: the parser has refused duplicates.
func byKey<Value>(_ pairs: [(key: Placed<String>, value: Value)]) -> [String: Value] {
    Dictionary(pairs.map { ($0.key.value, $0.value) }) { first, _ in first }
}

extension Shape where Whole == AppBehaviour {
    static var respond: Shape {
        Shape(
            AppBehaviour(),
            [
                .init(
                    "size", \.size, .size(0...(1 << 40)), standard: "1KiB",
                    about: "bytes of each answer's body"),
                .init(
                    "delay", \.delay, .delay, standard: "0s",
                    about:
                        """
                        waited before each answer: fixed, or percentiles such as `{p50: 1ms, \
                        p99: 5ms}`
                        """
                ),
                .init(
                    "burn", \.burn, .duration(.zero...(.seconds(60))), standard: "0s",
                    about: "CPU time burnt before each answer"),
                .init(
                    "status", \.statuses, .statuses, standard: "{}",
                    about: "the share of answers with each status other than 200"),
                .init(
                    "chunked", \.chunked, .boolean, standard: "false",
                    about: "whether the body is sent chunked rather than with its length"),
            ])
    }
}

private struct Probe: Sendable { var path = "/" }

private enum Word: String, CaseIterable, Sendable {
    case tcp
}

extension Form where Value == CommandPlan.Readiness {
    static var readiness: Form {
        let probe = Shape(
            Probe(),
            [.init("http", \.path, .path, isRequired: true, about: "the path to GET")])
        return .either(
            scalar: Form<Word>.choice.map { _, _, _ in .tcp },
            mapping: probe.form.map { probe, _, _ in .http(path: probe.path) })
    }
}

extension Form where Value == DelayDistribution {
    private static let range = Duration.zero...(.seconds(3600))

    static var delay: Form {
        .either(
            scalar: Form<Duration>.duration(range).map { delay, _, _ in
                delay == .zero ? DelayDistribution.none : .fixed(delay)
            },
            mapping: percentiles)
    }

    private static var percentiles: Form {
        dictionary(
            of: Form<Duration>.duration(range).placed, atMost: 32,
            keyPattern: "p(100|[0-9]{1,2}(\\.[0-9]+)?)"
        ) { key in
            quantile(key) == nil ? "'\(abbreviated(key))' is no percentile such as p99.9" : nil
        }
        .map { pairs, node, decoding in
            guard !pairs.isEmpty else {
                decoding.report(node.place, "at least one percentile is needed, such as p50")
                return nil
            }
            let points = pairs.compactMap { pair in
                quantile(pair.key.value).map { (quantile: $0, pair.key, delay: pair.value) }
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

extension Form where Value == [AppBehaviour.StatusShare] {
    static var statuses: Form {
        dictionary(
            of: Form<Double>.percent, atMost: 100, keyPattern: "[2-5][0-9][0-9]"
        ) { key in
            guard key.utf8.count == 3, let status = Int(key), (201...599).contains(status) else {
                return "'\(abbreviated(key))' is no status from 201 to 599"
            }
            return nil
        }
        .map { pairs, node, decoding in
            let total = pairs.reduce(0) { $0 + $1.value }
            if total > 1 + 1e-9 {
                decoding.report(
                    node.place, "the shares add up to \(decimal(total * 100))%, more than 100%")
            }
            return pairs.compactMap { pair in
                Int(pair.key.value).map { .init(status: $0, share: pair.value) }
            }
        }
    }
}
