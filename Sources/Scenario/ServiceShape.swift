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
                    "zones", \.zones, list(of: Form<String>.label, 0...64), standard: "[]",
                    about: "where its replicas run, in turn; empty: nobody knows"),
                .init(
                    "weights", \.weights,
                    list(of: Form<Int>.integer(1...MeshLimits.weight), 0...64), standard: "[]",
                    about: "their shares of requests, in turn; empty: all the same"),
                .init(
                    "levels", \.levels, list(of: Form<Int>.integer(TrafficLimits.levels), 0...64),
                    standard: "[]",
                    about: "their levels, in turn, of which the lowest that suffices is asked"),
                .init(
                    "labels", \.labels, list(of: .labels, 0...64), standard: "[]",
                    about: "their labels, in turn, by which `subsets` of a policy choose"),
                .init(
                    "health", \.health, Form<MeshHealthCheck>.health.placed.optional,
                    about:
                        "how the control plane asks its replicas whether they are well; absent: "
                        + "not at all"),
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
                        `{dir}` stand for the port to serve and a scratch folder, `{meshbench}` \
                        for this program, as in a [rate limit service](RATELIMIT.md)
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
                        waited before each answer: fixed, percentiles such as `{p50: 1ms, p99: \
                        5ms}`, or a law such as `{exp: 20ms}`
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
                .init(
                    "capacity", \.capacity, Shape<AppCapacity>.capacity.form.optional,
                    about: "how many requests each replica works on at once; absent: all"),
                .init(
                    "deadlines", \.keepsDeadlines, .boolean, standard: "false",
                    about:
                        """
                        whether the time that a request is told to have ends its work, and is \
                        told on with its calls
                        """
                ),
                .init(
                    "abandons", \.abandons, .boolean, standard: "true",
                    about:
                        """
                        whether a request over HTTP/1.1 whose client has left is given up; most \
                        servers work on it to the end (`false`)
                        """
                ),
            ])
    }
}

extension Shape where Whole == AppCapacity {
    static var capacity: Shape {
        Shape(
            AppCapacity(concurrency: 1, queue: 0),
            [
                .init(
                    "concurrency", \.concurrency, .integer(1...AppCapacity.most),
                    isRequired: true, about: "requests at work; the others wait"),
                .init(
                    "queue", \.queue, .integer(0...AppCapacity.most), standard: "0",
                    about: "requests that wait; one more is answered 503"),
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
