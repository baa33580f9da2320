// The words of HTTP that scenarios and proxy files share.

import Model

extension Form where Value == String {
    /// A method (RFC 9110, 9.1) in upper case. CONNECT is no request for a path.
    static var method: Form {
        .word("a method in upper case, such as GET,", pattern: "[A-Z]+", atMost: 32) { text in
            text != "CONNECT"
                && text.utf8.allSatisfy { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
        }
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
            let isClean = text.unicodeScalars.allSatisfy {
                $0 == "\t" || $0.value >= 0x20 && $0.value != 0x7F
            }
            guard isClean else { throw FormError("a field's value cannot hold control characters") }
            guard text.utf8.count <= 8192 else { throw FormError("longer than 8192 bytes") }
            guard text.first?.isWhitespace != true, text.last?.isWhitespace != true else {
                throw FormError("a field's value cannot begin or end with a blank")
            }
            return text
        }
    }
}

/// Whether a text is made of what a request target may hold.
func isTargetText(_ text: String) -> Bool {
    text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x23 }
}

/// Whether a text is the name of a field (RFC 9110, 5.6.2).
func isFieldName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 256
        && text.utf8.allSatisfy { isAlphanumeric($0) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
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
