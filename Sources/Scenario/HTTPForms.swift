// The words of HTTP that scenarios and proxy files share.

import Model

extension Form where Value == String {
    /// A method (RFC 9110, 9.1) in upper case. CONNECT is no request for a path.
    static var method: Form {
        .word("a method in upper case, such as GET,", pattern: "[A-Z]+", atMost: 32, isMethod)
    }

    /// A path with an optional query, in origin form (RFC 9112, 3.2.1).
    static var path: Form {
        .word("a path such as /users?page=2", pattern: "/[!-\"$-~]*", atMost: 4096) { text in
            text.hasPrefix("/") && isTargetText(text)
        }
    }

    /// The value of a field (RFC 9110, 5.5): visible characters with single lines of blanks
    /// between.
    static var fieldValue: Form {
        scalar(.text(pattern: nil), "a text") { text throws(FormError) in
            if let why = whyNoFieldValue(text) { throw FormError(why) }
            return text
        }
    }
}

/// The pattern of a field's name.
let fieldNamePattern = "[A-Za-z0-9!#$%&'*+.^_`|~-]+"

extension Form where Value == [RequestPlan.Header] {
    /// Fields that frame the message or belong to the connection are the generator's own.
    private static let reserved = [
        "host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer",
        "keep-alive", "expect",
    ]

    static var requestHeaders: Form {
        dictionary(of: Form<String>.fieldValue, atMost: 64, keyPattern: fieldNamePattern) {
            key in
            if !isFieldName(key) { return "'\(abbreviated(key))' is no name of a field" }
            if reserved.contains(key.lowercased()) {
                return "'\(key)' is set by the load generator itself"
            }
            return nil
        }
        .map { pairs, _, _ in pairs.map { .init(name: $0.key.value, value: $0.value) } }
    }
}
