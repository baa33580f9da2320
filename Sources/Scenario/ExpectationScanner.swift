/// Reads the characters of an expectation from left to right. Offsets count characters from 0.
struct ExpectationScanner {
    private let characters: [Character]
    private(set) var offset = 0

    init(_ text: String) { characters = Array(text) }

    /// A piece of the text and where it began.
    struct Piece {
        var text: String
        var offset: Int
    }

    private func character(_ ahead: Int = 0) -> Character? {
        offset + ahead < characters.count ? characters[offset + ahead] : nil
    }

    private mutating func skipBlanks() {
        while character()?.isWhitespace == true { offset += 1 }
    }

    /// The offset of the next character that is no blank.
    mutating func start() -> Int {
        skipBlanks()
        return offset
    }

    mutating func isAtEnd() -> Bool {
        skipBlanks()
        return character() == nil
    }

    /// The first of these symbols that stands next, longest first, taken.
    mutating func symbol(_ symbols: [String]) -> Piece? {
        skipBlanks()
        for symbol in symbols where characters[offset...].starts(with: symbol) {
            defer { offset += symbol.count }
            return .init(text: symbol, offset: offset)
        }
        return nil
    }

    /// A word of letters, digits, `_` and `.` that begins with a letter, taken: `p99.9`,
    /// `first_byte`.
    mutating func word() -> Piece? {
        skipBlanks()
        guard let first = character(), first.isLetter || first == "_" else { return nil }
        return take { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." }
    }

    /// A name of the user's, hyphens included, taken. The hyphen of an arrow is none of a name's.
    mutating func name() -> Piece? {
        skipBlanks()
        let start = offset
        while let next = character(), next.isLetter || next.isNumber || next == "-" || next == "_" {
            if next == "-", character(1) == ">" { break }
            offset += 1
        }
        guard offset > start else { return nil }
        return .init(text: String(characters[start..<offset]), offset: start)
    }

    /// Digits with at most one point among them, taken.
    mutating func number() -> Piece? {
        skipBlanks()
        guard let first = character(), first.isASCII, first.isNumber else { return nil }
        return take { $0.isASCII && ($0.isNumber || $0 == ".") }
    }

    /// The unit directly behind a number, taken; nil where there is none.
    mutating func unit() -> Piece? {
        if character() == "%" || character() == "/" && character(1) == "s" && !isWordPart(2) {
            let length = character() == "%" ? 1 : 2
            defer { offset += length }
            return .init(text: String(characters[offset..<offset + length]), offset: offset)
        }
        return take { $0.isLetter }
    }

    /// What stands next, for error messages.
    mutating func upcoming() -> String {
        skipBlanks()
        guard let next = character() else { return "the end of the line" }
        var ahead = self
        let piece = ahead.take { $0.isLetter || $0.isNumber || "_.-".contains($0) }
        return "'\(abbreviated(piece?.text ?? String(next)))'"
    }

    private func isWordPart(_ ahead: Int) -> Bool {
        character(ahead).map { $0.isLetter || $0.isNumber } ?? false
    }

    private mutating func take(while accepts: (Character) -> Bool) -> Piece? {
        let start = offset
        while let next = character(), accepts(next) { offset += 1 }
        guard offset > start else { return nil }
        return .init(text: String(characters[start..<offset]), offset: start)
    }
}
