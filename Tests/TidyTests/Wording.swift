// Words that may not stand in the tree, each with what to do instead. Words of prose are put
// together from halves, so that this file passes its own test.

import Glibc

/// A banned word and its replacement.
struct Ban {
    var word: String
    var instead: String

    /// Of code, outside of strings and comments, in Sources.
    static let inCode = [
        Ban(word: "fatalError(", instead: "precondition for a bug, a typed error otherwise"),
        Ban(word: "try!", instead: "a typed error"),
        Ban(word: " as! ", instead: "a type that needs no cast"),
        Ban(word: "DispatchQueue", instead: "Posix.Thread and the reactor"),
        Ban(word: "Task.detached", instead: "a thread or the reactor; nothing detached"),
        Ban(word: "usleep(", instead: "a timer of the reactor"),
    ]

    /// Of any text, comments and documents included.
    static let anywhere = [
        Ban(word: "TO" + "DO", instead: "doing it, or a decision in docs/decisions"),
        Ban(word: "FIX" + "ME", instead: "fixing it"),
        Ban(word: "XX" + "X:", instead: "fixing it"),
        Ban(word: "/wo" + "rk/", instead: "a path from the root of the tree"),
        Ban(word: "/ro" + "ot/", instead: "$HOME or a relative path"),
        Ban(word: "/ho" + "me/", instead: "$HOME or a relative path"),
        Ban(word: "<<<<" + "<<<", instead: "a finished merge"),
        Ban(word: ">>>>" + ">>>", instead: "a finished merge"),
    ]

    /// Endings of type names that say nothing.
    static let endings = ["Manager", "Helper", "Helpers", "Util", "Utils", "Impl"]
}

/// No banned word in the file.
func wordingViolations(_ file: SourceText) -> [Violation] {
    var found: [Violation] = []
    func search(_ text: String, _ bans: [Ban]) {
        // Of words that are nowhere, as is the rule, lines need not be looked at: `contains` of
        // strings takes its time.
        let bans = bans.filter { unsafe strstr(text, $0.word) != nil }
        if bans.isEmpty { return }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            for ban in bans where line.contains(ban.word) {
                found.append(
                    Violation(
                        path: file.path, line: index + 1,
                        what: "\(ban.word) is banned; instead: \(ban.instead)"))
            }
        }
    }
    search(file.text, Ban.anywhere)
    if file.path.hasPrefix("Sources/"), file.path.hasSuffix(".swift") {
        search(file.code, Ban.inCode)
    }
    return found
}

/// No type is named for what it is not.
func namingViolations(_ file: SourceText) -> [Violation] {
    let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "actor", "typealias"]
    var found: [Violation] = []
    let lines = file.code.split(separator: "\n", omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() {
        let words = line.utf8.split { !$0.isPartOfName }.map { Substring($0) }
        for (kind, name) in zip(words, words.dropFirst()) where kinds.contains(kind) {
            for ending in Ban.endings where name.hasSuffix(ending) {
                found.append(
                    Violation(
                        path: file.path, line: index + 1,
                        what: "\(name): a name that ends in \(ending) says nothing"))
            }
        }
    }
    return found
}

extension UInt8 {
    /// A letter, a digit, an underscore, or a part of what is not ASCII.
    fileprivate var isPartOfName: Bool {
        self >= 0x80 || self == UInt8(ascii: "_") || isalnum(Int32(self)) != 0
    }
}

/// What may not be under version control: whatever a build or a run makes.
func isGenerated(_ path: String) -> Bool {
    if path.hasPrefix("results/") { return path != "results/.gitkeep" }
    let parts = path.split(separator: "/")
    return parts.contains { $0.hasPrefix(".build") || $0 == "__pycache__" }
        || [".o", ".pyc", ".profraw", ".orig", ".rej", ".swp", "~"].contains { path.hasSuffix($0) }
        || parts.last == "Package.resolved" || parts.last == ".DS_Store"
}
