// The words of a proxy's file: addresses, hosts, paths, conditions on fields.

import Model

extension Form where Value == String {
    /// A numeric address with any port.
    static var address: Form { address(ports: 0...65_535) }
    /// A numeric address that can be connected to.
    static var endpoint: Form { address(ports: 1...65_535) }

    private static func address(ports: ClosedRange<Int>) -> Form {
        let kind = "an address such as 127.0.0.1:8080 or [::1]:8080"
        return scalar(.text(pattern: "([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}"), kind) {
            text throws(FormError) in
            guard let colon = text.lastIndex(of: ":"), isNumericHost(String(text[..<colon])) else {
                throw FormError("\(kind) is needed, not '\(abbreviated(text))'")
            }
            let digits = text[text.index(after: colon)...]
            guard digits.utf8.count <= 5, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let port = Int(digits), ports.contains(port)
            else {
                throw FormError(
                    """
                    a port from \(ports.lowerBound) to \(ports.upperBound) is needed, not \
                    '\(abbreviated(String(digits)))'
                    """
                )
            }
            return text
        }
    }

    static var host: Form {
        word(
            "a host in lower case, without port,",
            pattern: "(\\*\\.)?[a-z0-9._-]+|\\[[0-9a-f:.]+\\]",
            atMost: 255, isHostPattern)
    }

    /// The path that a route compares, which is a request's without its query.
    static var routePath: Form {
        word(
            "a path without a query, such as /users,", pattern: "/[!-\"$->@-~]*", atMost: 4096,
            isRoutePath)
    }

    /// The path that a rule of an authorization compares.
    static var rulePath: Form {
        word(
            "a path that servers read in one way only, such as /users, without a query, `;`, `\\`, "
                + "an encoded slash, segments that are empty or dots, and wrong escapes,",
            pattern: "/[!-\"$-:<->@-\\[\\]-~]*", atMost: 4096, isRulePath)
    }

    /// The name of a protocol in an `upgrade` field, with its version if it has one (RFC 9110,
    /// 7.8).
    static var `protocol`: Form {
        word("a protocol such as websocket, in lower case,", pattern: "[a-z0-9./-]+", atMost: 64) {
            $0 == $0.lowercased()
                && $0.utf8.allSatisfy { isNameByte($0) || "./-".utf8.contains($0) }
        }
    }

    static var pseudonym: Form {
        word("a name of letters, digits, . - and _", pattern: "[A-Za-z0-9._-]+", atMost: 64) {
            $0.utf8.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
        }
    }
}

private struct Presence: Sendable { var present = false }

extension Form where Value == [ProxyConfiguration.HeaderMatch] {
    /// Conditions on fields, whose names come out in lower case.
    static var headerMatches: Form {
        let presence = Shape(
            Presence(),
            [.init("present", \.present, .boolean, isRequired: true, about: "any value matches")])
        let value = Form<String?>.either(
            scalar: Form<String>.fieldValue.optional,
            mapping: presence.form.map { presence, node, decoding in
                if !presence.present {
                    decoding.report(node.place, "only `present: true` can be asked")
                }
                return .some(nil)
            })
        return dictionary(of: value, atMost: 64, keyPattern: fieldNamePattern) { key in
            isFieldName(key) ? nil : "'\(abbreviated(key))' is no name of a field"
        }
        .map { pairs, _, decoding in
            // The parser has refused the same key twice, but not that of another case.
            let names = pairs.map { Placed($0.key.value.lowercased(), $0.key.place) }
            refuseDuplicates(names, "a field", &decoding)
            return zip(names, pairs).map { .init(name: $0.value, value: $1.value) }
        }
    }
}

/// Which requests something is about, as routes of a mesh and faults of a scenario write it.
struct RequestMatchDraft: Sendable {
    fileprivate var exact: String?
    fileprivate var prefix = "/"
    var methods: [String] = []
    var headers: [ProxyConfiguration.HeaderMatch] = []

    var path: ProxyConfiguration.PathMatch { exact.map { .exact($0) } ?? .prefix(prefix) }
}

extension Shape where Whole == RequestMatchDraft {
    /// - Parameter methods: how many at most.
    static func requestMatch(methods: Int) -> Shape {
        Shape(
            RequestMatchDraft(),
            [
                .init("path", \.exact, Form<String>.routePath.optional, about: "exactly this path"),
                .init(
                    "prefix", \.prefix, .routePath, standard: "/", .without("path"),
                    about: "paths that begin with these whole segments"),
                .init(
                    "methods", \.methods, list(of: Form<String>.method, 0...methods),
                    standard: "[]", about: "methods; empty: any"),
                .init(
                    "headers", \.headers, .headerMatches, standard: "{}",
                    about: "fields with exactly this value, or `{present: true}`"),
            ])
    }
}
