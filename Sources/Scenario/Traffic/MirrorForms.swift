// `mirror` of routes, which names clusters in a proxy's file and services in declarations.

import Base
import Model

struct MirrorDraft<Target: Sendable>: Sendable {
    var target: Target?
    var percent = 100.0
    var marksHost = true

    /// nil: whom is not said, which has been reported.
    func whole<Whole>(_ whole: (Target) -> Whole) -> RequestMirror<Whole>? {
        target.map { RequestMirror(whole($0), percent: percent, marksHost: marksHost) }
    }
}

/// - Parameters:
///   - word: the key that names whom requests are sent to.
///   - form: how it is written.
func mirrorForms<Target>(
    _ word: String, _ form: Form<Target>
) -> Form<[MirrorDraft<Target>]> {
    let shape = Shape(
        MirrorDraft<Target>(),
        [
            .init(
                word, \.target, form.optional, isRequired: true,
                about: "who is sent requests besides"),
            .init(
                "percent", \.percent, .percents, standard: "100%",
                about: "of the route's requests, each drawn by itself"),
            .init(
                "mark_host", \.marksHost, .boolean, standard: "true",
                about: "whether `-shadow` is put behind the host"),
        ])
    return list(of: shape.form, 0...TrafficLimits.mirrors)
}

extension [RequestMirror<String>] {
    /// Nothing where there are none.
    func members(_ word: String) -> [JSON.Member] {
        guard !isEmpty else { return [] }
        let mirrors = map { mirror -> JSON in
            .object([
                .init(word, .string(mirror.target)), .init("percent", mirror.percent.percents),
                .init("mark_host", .boolean(mirror.marksHost)),
            ])
        }
        return [.init("mirror", .array(mirrors))]
    }
}
