// What a rule looks at: one file, by lines, and for Swift a copy in which comments and the contents
// of strings are blanked, so that a rule on code does not fire on prose.

/// One text file of the tree.
struct SourceText {
    /// From the root of the tree, with `/`.
    let path: String
    let text: String
    /// Of Swift, the text with comments and string contents replaced by spaces: as many bytes, the
    /// same lines.
    let code: String

    init(path: String, text: String) {
        self.path = path
        self.text = text
        guard path.hasSuffix(".swift") else {
            code = text
            return
        }
        var blanker = Blanker(source: Array(text.utf8))
        code = blanker.run()
    }

    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }

    /// `Sources/<module>/…` or `Tests/<module>/…`.
    var module: String? {
        let parts = path.split(separator: "/")
        guard parts.count > 2, parts[0] == "Sources" || parts[0] == "Tests" else { return nil }
        return String(parts[1])
    }
}

/// A breach of a rule, printed as `path:line: what`.
struct Violation: Equatable, CustomStringConvertible {
    var path: String
    /// From 1.
    var line: Int
    var what: String

    var description: String { "\(path):\(line): \(what)" }
}

/// Walks Swift source and blanks what is not code. Knows line and nested block comments, strings of
/// one and several lines, raw strings and interpolation; not regex literals, which this tree does
/// not use.
private struct Blanker {
    let source: [UInt8]
    var output: [UInt8]
    var position = 0

    init(source: [UInt8]) {
        self.source = source
        output = source
    }

    mutating func run() -> String {
        skipCode(untilParenthesis: false)
        return String(decoding: output, as: UTF8.self)
    }

    private func peek(_ expected: String, at offset: Int = 0) -> Bool {
        var index = position + offset
        for byte in expected.utf8 {
            guard index < source.count, source[index] == byte else { return false }
            index += 1
        }
        return true
    }

    private mutating func blank(_ count: Int) {
        for _ in 0..<count where position < source.count {
            if source[position] != UInt8(ascii: "\n") { output[position] = UInt8(ascii: " ") }
            position += 1
        }
    }

    private mutating func skipCode(untilParenthesis: Bool) {
        var depth = 0
        while position < source.count {
            if peek("//") {
                while position < source.count, source[position] != UInt8(ascii: "\n") { blank(1) }
            } else if peek("/*") {
                skipBlockComment()
            } else if let hashes = stringOpening() {
                skipString(hashes: hashes)
            } else {
                if source[position] == UInt8(ascii: "(") { depth += 1 }
                if source[position] == UInt8(ascii: ")") {
                    if untilParenthesis, depth == 0 { return }
                    depth -= 1
                }
                position += 1
            }
        }
    }

    private mutating func skipBlockComment() {
        var depth = 0
        repeat {
            if peek("/*") {
                depth += 1
                blank(2)
            } else if peek("*/") {
                depth -= 1
                blank(2)
            } else {
                blank(1)
            }
        } while depth > 0 && position < source.count
    }

    /// The number of `#` before a quote at the position; nil where no string begins.
    private func stringOpening() -> Int? {
        var hashes = 0
        while peek("#", at: hashes) { hashes += 1 }
        return peek("\"", at: hashes) ? hashes : nil
    }

    private mutating func skipString(hashes: Int) {
        position += hashes
        let quotes = peek("\"\"\"") ? "\"\"\"" : "\""
        let fence = String(repeating: "#", count: hashes)
        position += quotes.count
        while position < source.count {
            if peek(quotes + fence) {
                position += quotes.count + hashes
                return
            }
            if peek("\\" + fence + "(") {
                position += 2 + hashes
                skipCode(untilParenthesis: true)
                position += 1
            } else if peek("\\" + fence) {
                blank(2 + hashes)
            } else if quotes.count == 1, source[position] == UInt8(ascii: "\n") {
                return
            } else {
                blank(1)
            }
        }
    }
}
