// `${name}` in a scalar stands for a value of `vars`; `$${` stands for `${` itself. Keys are left
// alone, and a variable's own value is taken as it is, so that nothing can refer to itself.

import Base

extension Node {
    /// Puts variables in, in this node and all below it.
    mutating func substitute(_ variables: [String: String], _ decoding: inout Decoding) {
        switch content {
        case .scalar(let scalar):
            guard scalar.text.contains("${") else { return }
            content = .scalar(replaced(scalar, variables, &decoding))
        case .sequence(var items):
            for index in items.indices { items[index].substitute(variables, &decoding) }
            content = .sequence(items)
        case .mapping(var entries):
            for index in entries.indices {
                entries[index].value.substitute(variables, &decoding)
            }
            content = .mapping(entries)
        }
    }

    private func replaced(
        _ scalar: Scalar, _ variables: [String: String], _ decoding: inout Decoding
    ) -> Scalar {
        var result = ""
        var rest = scalar.text[...]
        // Characters before `rest`, counted as they go by.
        var offset = 0
        func take(to end: String.Index) -> Substring {
            defer { rest = rest[end...] }
            offset += rest[..<end].count
            return rest[..<end]
        }
        while let start = rest.firstRange(of: "${") {
            let before = take(to: start.lowerBound)
            let opening = take(to: start.upperBound)
            if before.hasSuffix("$") {
                result += before.dropLast() + opening
                continue
            }
            result += before
            let place = place(ofCharacter: offset - opening.count)
            guard let end = rest.firstIndex(of: "}") else {
                decoding.report(place, "'${' is not closed; '$${' is a plain '${'")
                decoding.unresolved.insert(self.place)
                return scalar
            }
            let name = String(take(to: end))
            _ = take(to: rest.index(after: end))
            if let value = variables[name] {
                result += value
            } else {
                let hint = suggestion(for: name, in: variables.keys.sorted())
                decoding.report(place, "unknown variable '\(abbreviated(name))'\(hint)")
                decoding.unresolved.insert(self.place)
            }
            // Bound: a few variables of 10 000 characters each must not fill the memory.
            guard result.utf8.count <= Limits.fileBytes else {
                decoding.report(place, "longer than \(Limits.fileBytes) bytes with its variables")
                return scalar
            }
        }
        // Not plain: a variable that is empty is an empty text, not nothing.
        return .init(text: result + rest, isPlain: false, textOffset: nil)
    }
}

/// Takes the values of `vars` and puts them in everywhere else.
func substituteVariables(in root: inout Node, _ decoding: inout Decoding) {
    guard case .mapping(var entries) = root.content else { return }
    let reserved = Shape.scenario.fields.map(\.outline.name)
    var variables: [String: String] = [:]
    for entry in entries where entry.key == "vars" {
        guard case .mapping(let pairs) = entry.value.content else { continue }
        for pair in pairs {
            if reserved.contains(pair.key) {
                decoding.report(
                    pair.keyPlace,
                    "a variable cannot be named '\(pair.key)': `--set \(pair.key)=…` is the key")
            } else if !pair.key.utf8.allSatisfy({ isNameByte($0) || $0 == UInt8(ascii: "_") }) {
                decoding.report(
                    pair.keyPlace, "a variable's name has lower-case letters, digits, - and _ only")
            }
            variables[pair.key] = pair.value.text ?? ""
        }
    }
    for index in entries.indices where entries[index].key != "vars" {
        entries[index].value.substitute(variables, &decoding)
    }
    root.content = .mapping(entries)
}
