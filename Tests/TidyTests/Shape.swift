// Rules on the size of files, lines and functions.

/// The limits that every file keeps.
enum Limit {
    static let fileLines = 500
    static let functionLines = 95
    static let columns = 100
    /// Tables and generated data, long without being hard to read. Empty: none so far.
    static let longFiles: Set<String> = []
}

/// Files of at most 500 lines, lines of at most 100 columns.
func sizeViolations(_ file: SourceText) -> [Violation] {
    var found: [Violation] = []
    let lines = file.lines
    if lines.count - 1 > Limit.fileLines, !Limit.longFiles.contains(file.path) {
        found.append(
            Violation(
                path: file.path, line: Limit.fileLines + 1,
                what: "\(lines.count - 1) lines; at most \(Limit.fileLines)"))
    }
    for (index, line) in lines.enumerated() where line.count > Limit.columns {
        found.append(
            Violation(
                path: file.path, line: index + 1,
                what: "\(line.count) columns; at most \(Limit.columns)"))
    }
    return found
}

/// Functions, initializers and subscripts of at most 95 lines from brace to brace.
func functionViolations(_ file: SourceText) -> [Violation] {
    functions(in: file).compactMap { function in
        function.lines <= Limit.functionLines
            ? nil
            : Violation(
                path: file.path, line: function.line,
                what: "\(function.name) has \(function.lines) lines; at most "
                    + "\(Limit.functionLines)")
    }
}

/// A function with a body.
struct FunctionExtent: Equatable {
    var name: String
    /// Of the keyword, from 1.
    var line: Int
    /// From the line of the opening brace to that of the closing brace, both counted.
    var lines: Int
}

/// Every function, initializer, deinitializer and subscript with a body, nested ones too.
func functions(in file: SourceText) -> [FunctionExtent] {
    let code = Array(file.code.utf8)
    var found: [FunctionExtent] = []
    var line = 1
    var index = 0
    while index < code.count {
        if code[index] == UInt8(ascii: "\n") { line += 1 }
        guard isWord(code[index]) else {
            index += 1
            continue
        }
        let end = code[index...].firstIndex { !isWord($0) } ?? code.count
        let word = text(code[index..<end])
        let isMember = index > 0 && code[index - 1] == UInt8(ascii: ".")
        if ["func", "init", "deinit", "subscript"].contains(word), !isMember,
            let opening = bodyOpening(code, after: end, hasParameters: word != "deinit")
        {
            let body = code[opening..<matching(code, opening, "{", "}")]
            let name = code[end..<opening].drop { $0 == UInt8(ascii: " ") }.prefix(while: isWord)
            found.append(
                FunctionExtent(
                    name: word == "func" ? text(name) : word, line: line,
                    lines: body.count { $0 == UInt8(ascii: "\n") } + 1))
        }
        index = end
    }
    return found
}

private func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

private func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
        true
    default: false
    }
}

/// The brace that opens a declaration's body: the first after its parameters, before anything that
/// ends the declaration. Nil where it has no body, as a requirement of a protocol.
private func bodyOpening(_ code: [UInt8], after start: Int, hasParameters: Bool) -> Int? {
    var index = start
    if hasParameters {
        guard let list = code[start...].firstIndex(of: UInt8(ascii: "(")) else { return nil }
        index = matching(code, list, "(", ")") + 1
    }
    var depth = 0
    while index < code.count {
        switch code[index] {
        case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: ")"), UInt8(ascii: "]"): depth -= 1
        case UInt8(ascii: "{") where depth == 0: return index
        case UInt8(ascii: "}"), UInt8(ascii: ";"): return nil
        case UInt8(ascii: "\n") where depth == 0:
            let next = text(code[index...].drop { $0 <= UInt8(ascii: " ") }.prefix(8))
            let goesOn = ["{", "where", "->", "throws", "async"].contains { next.hasPrefix($0) }
            let last = text(code[start..<index].suffix(5))
            let isOpen = last.hasSuffix(",") || last.hasSuffix("->") || last == "where"
            if !goesOn, !isOpen { return nil }
        default: break
        }
        index += 1
    }
    return nil
}

/// The position of the bracket that closes the one at `opening`.
private func matching(
    _ code: [UInt8], _ opening: Int, _ left: Unicode.Scalar, _ right: Unicode.Scalar
) -> Int {
    var depth = 0
    for index in opening..<code.count {
        if code[index] == UInt8(ascii: left) { depth += 1 }
        if code[index] == UInt8(ascii: right) {
            depth -= 1
            if depth == 0 { return index }
        }
    }
    return code.count - 1
}
