// The keys of an arm, and of what is spoken between two proxies. An arm is a word, or a mapping
// that says what is different on it.

import Base
import Model

/// An arm as written, with the places that the checks across keys need.
struct ArmDraft: Sendable {
    /// Nil where it is missing or wrong.
    var name: Placed<String>?
    var via = ArmPlan.Way.mesh
    var speech: Placed<LoadPlan.Speech>?
    var security: Placed<LoadPlan.Security>?
    var connections: Placed<Int>?
    var streams: Placed<Int>?
    var hop = HopDraft()
    var hopSecurity: Placed<HopPlan.Security>?

    /// Where something is said of what passes between two proxies.
    var hopPlaces: [Place] {
        [hop.speech?.place, hop.connections?.place, hopSecurity?.place].compactMap(\.self)
    }
}

struct HopDraft: Sendable {
    var speech: Placed<HopPlan.Speech>?
    var connections: Placed<Int>?
}

extension Form where Value == ArmDraft {
    static var arm: Form {
        .either(
            scalar: Form<ArmPlan.Way>.choice.map { way, node, _ in
                ArmDraft(name: Placed(way.rawValue, node.place), via: way)
            },
            mapping: Shape<ArmDraft>.arm.form)
    }
}

extension Shape where Whole == ArmDraft {
    static var arm: Shape {
        Shape(
            ArmDraft(),
            [
                .init(
                    "name", \.name, Form<String>.armName.placed.optional, isRequired: true,
                    about: "what `on` and the report call it"),
                .init(
                    "via", \.via, .choice, standard: "mesh",
                    about: "straight to the service (`direct`) or through the mesh"),
                .init(
                    "protocol", \.speech, Form<LoadPlan.Speech>.choice.placed.optional,
                    about: "what every load speaks on this arm, in place of its own"),
                .init(
                    "tls", \.security, Form<LoadPlan.Security>.choice.placed.optional,
                    about: "who shows a certificate to whom, in place of the loads' own"),
                .init(
                    "connections", \.connections, Form<Int>.connections.placed.optional,
                    about: "of every load on this arm, in place of its own"),
                .init(
                    "streams", \.streams, Form<Int>.streams.placed.optional,
                    about: "requests that one connection carries at once, in place of its own"),
                .init(
                    "hop", \.hop, Shape<HopDraft>.hop(isMesh: false).form, standard: "{}",
                    about: "what two proxies speak on this arm, in place of `mesh.hop`"),
                .init(
                    "mtls", \.hopSecurity, Form<HopPlan.Security>.choice.placed.optional,
                    about: "how two proxies are secured on this arm, in place of `mesh.mtls`"),
            ])
    }
}

extension Shape where Whole == HopDraft {
    /// - Parameter isMesh: whether these are the mesh's own, which have defaults.
    static func hop(isMesh: Bool) -> Shape {
        Shape(
            HopDraft(),
            [
                .init(
                    "protocol", \.speech, Form<HopPlan.Speech>.choice.placed.optional,
                    standard: isMesh ? "http2" : nil,
                    about:
                        "one request at a time on each connection (`http1`) or many (`http2`); a "
                        + "load's TCP passes as it is. Proxies that join speak `http2` unless "
                        + "`mtls` is `off`, and then what the service does"),
                .init(
                    "connections", \.connections, Form<Int>.connections.placed.optional,
                    about:
                        "the most that a worker opens to all replicas of a service; absent: 1024"),
            ])
    }
}

extension Form where Value == Int {
    static var connections: Form { .integer(1...10_000) }
    static var streams: Form { .integer(1...1024) }
}

extension Form where Value == String {
    /// Short: it stands in every line of every table.
    static let armName = word(
        "a name of lower-case letters, digits and hyphens, at most 20,", pattern: "[a-z0-9-]+",
        atMost: 20, isName)
}

extension ArmDraft {
    var plan: ArmPlan? {
        name.map {
            ArmPlan(
                name: ArmName(rawValue: $0.value), via: via, speech: speech?.value,
                security: security?.value, connections: connections?.value,
                streams: streams?.value, hopSpeech: hop.speech?.value,
                hopSecurity: hopSecurity?.value, hopConnections: hop.connections?.value)
        }
    }
}

extension MeshDraft {
    var plan: MeshPlan {
        MeshPlan(
            dataplane: dataplane, mode: mode, workers: workers,
            hop: HopPlan(
                speech: hop.speech?.value ?? .http2, security: hopSecurity.value,
                connections: hop.connections?.value),
            control: dataplane == .none ? nil : control.value, timeScale: timeScale.value)
    }
}
